"""Values as Go prints them: what JSON lost (struct or map, nil slice or nil pointer) comes back from the fields' names."""

from pier.cli.flags import go_quote
from pier.cli.formats import Row
from pier.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Map(dict):  # type: ignore[type-arg]
    """An object that is a map in Docker's types: a missing key is no error, it prints as map[...]."""


class Struct(dict):  # type: ignore[type-arg]
    """An object that is a struct in Docker's types, and the field that it was found under."""

    def __init__(self, value: "dict[str, Any]", parent: str) -> None:
        super().__init__(value)
        self.parent = parent


class NilSlice(list):  # type: ignore[type-arg]
    """A null where Docker's type is a slice: empty, prints as [], is null in JSON."""


class NilMap(Map):
    """A null where Docker's type is a map."""


_MAPS = frozenset(
    [
        "Annotations", "Config.Volumes", "Data", "Details", "DriverOpts", "ExposedPorts", "Labels", "Networks", "Options", "PortBindings",
        "Ports", "StorageOpt", "Sysctls", "Tmpfs", "Volumes", "LogConfig.Config", "Endpoints", "Metadata", "Attributes", "Runtimes",
    ]
)  # fmt: skip
_POINTERS = frozenset(
    [
        "Healthcheck", "Health", "MemorySwappiness", "Init", "StopTimeout", "PidsLimit", "OomKillDisable", "SizeRw", "SizeRootFs", "IPAMConfig",
        "Server", "Descriptor", "ImageManifestDescriptor", "ContainerConfig", "BindOptions", "VolumeOptions", "TmpfsOptions",
    ]
)  # fmt: skip
# What the daemon leaves out when it is empty, and what Go prints for it then.
_OMITTED: "dict[str, Any]" = {
    "Healthcheck": None, "Health": None, "SizeRw": None, "SizeRootFs": None, "StopTimeout": None, "Init": None, "StopSignal": "",
    "ExposedPorts": NilMap(), "Tmpfs": NilMap(), "Sysctls": NilMap(), "Annotations": NilMap(), "StorageOpt": NilMap(), "Shell": NilSlice(),
    "Runtime": "", "NetworkDisabled": False, "ArgsEscaped": False, "Mounts": NilSlice(), "ImageManifestDescriptor": None, "Variant": "",
    "OsVersion": "", "Manifests": NilSlice(), "Descriptor": None, "MacAddress": "", "Warnings": NilSlice(), "ClientInfo": None,
}  # fmt: skip


# Go's names of fields whose JSON has another
_GO_NAMES = {
    "ID": "Id", "APIVersion": "ApiVersion", "NanoCPUs": "NanoCpus", "CPUShares": "CpuShares", "CPUPeriod": "CpuPeriod", "CPUQuota": "CpuQuota",
    "CPURealtimePeriod": "CpuRealtimePeriod", "CPURealtimeRuntime": "CpuRealtimeRuntime", "DNS": "Dns", "DNSOptions": "DnsOptions",
    "DNSSearch": "DnsSearch", "CPUCount": "CpuCount", "CPUPercent": "CpuPercent",
}  # fmt: skip


def field(value: "dict[str, Any]", name: str, parent: str) -> "Any":
    """The entry `name` of an object that was found under `parent`. Raises KeyError where there is none."""
    if name not in value and not isinstance(value, Map) and _GO_NAMES.get(name) in value:
        name = _GO_NAMES[name]
    found = value.get(name) if name in value else _omitted(value, name)
    is_map = name in _MAPS or f"{parent}.{name}" in _MAPS
    if found is None:
        if name in _POINTERS or isinstance(value, Map):
            return None
        return NilMap() if is_map else NilSlice()
    if is_map and isinstance(found, dict) and not isinstance(found, Map):
        return Map(found)
    if isinstance(found, dict) and not isinstance(found, Map):
        return Struct(found, name)
    return found


def _omitted(value: "dict[str, Any]", name: str) -> "Any":
    if isinstance(value, Map):
        raise KeyError(name)
    return _OMITTED[name]


def kind_name(value: "Any") -> str:
    """What Go calls the type of a value."""
    if isinstance(value, Row):
        return value.TYPE
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float64"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]string" if value and all(isinstance(item, str) for item in value) else "[]interface {}"
    return "<nil>"


def is_true(value: "Any") -> bool:
    """Go's truth: a struct is always true, everything else when it is not empty."""
    if isinstance(value, Row) or (isinstance(value, dict) and not isinstance(value, Map)):
        return True
    return bool(value)


def go_text(value: "Any") -> str:
    """A value as %v prints it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, Map):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, dict):
        parent = value.parent if isinstance(value, Struct) else ""
        return "{" + " ".join(go_text(field(value, key, parent)) for key in value) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(go_text(item) for item in value) + "]"
    if isinstance(value, Row):
        return "{" + " ".join(go_text(value.get(name)) for name in value.FIELDS) + "}"
    return str(value)


def _float_text(value: float) -> str:
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        sign, digits = (exponent[0], exponent[1:]) if exponent[0] in "+-" else ("+", exponent)
        return f"{mantissa}e{sign}{digits.rjust(2, '0')}"
    return text


def to_json(value: "Any") -> str:
    """A value as Docker's `json` function writes it: compact, nothing escaped for HTML."""
    if isinstance(value, Row):
        return value.to_json()
    return jsontext.encode(_plain(value), html=False)


def _plain(value: "Any") -> "Any":
    if isinstance(value, (NilSlice, NilMap)):
        return None
    return value


def sprintf(layout: str, values: "tuple[Any, ...]") -> str:
    """Go's fmt.Sprintf for the verbs that templates use."""
    out: list[str] = []
    position = used = 0
    while True:
        percent = layout.find("%", position)
        if percent < 0:
            out.append(layout[position:])
            break
        out.append(layout[position:percent])
        position = percent + 1
        flags = ""
        while layout[position : position + 1] in tuple("+-# 0"):
            flags += layout[position]
            position += 1
        width, position, used = _number(layout, position, values, used)
        precision: int | None = None
        if layout[position : position + 1] == ".":
            precision, position, used = _number(layout, position + 1, values, used)
            precision = precision or 0
        verb = layout[position : position + 1]
        position += 1
        if not verb:
            out.append("%!(NOVERB)")
            break
        if verb == "%":
            out.append("%")
            continue
        if used >= len(values):
            out.append(f"%!{verb}(MISSING)")
            continue
        text = _verb(verb, flags, precision, values[used])
        used += 1
        if width is not None and len(text) < width:
            zero = "0" in flags and "-" not in flags and verb in "dfgexXob"
            if zero and text[:1] in "+-":
                text = text[0] + text[1:].rjust(width - 1, "0")
            else:
                text = text.ljust(width) if "-" in flags else text.rjust(width, "0" if zero else " ")
        out.append(text)
    if used < len(values):
        rest = ", ".join(f"{kind_name(value)}={go_text(value)}" if value is not None else "<nil>" for value in values[used:])
        out.append(f"%!(EXTRA {rest})")
    return "".join(out)


def _number(layout: str, position: int, values: "tuple[Any, ...]", used: int) -> "tuple[int | None, int, int]":
    if layout[position : position + 1] == "*":
        value = values[used] if used < len(values) else 0
        return (value if isinstance(value, int) else 0), position + 1, used + 1
    start = position
    while layout[position : position + 1].isdigit():
        position += 1
    return (int(layout[start:position]) if position > start else None), position, used


def _verb(verb: str, flags: str, precision: "int | None", value: "Any") -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if verb == "v":
        return go_quote(value) if "#" in flags and isinstance(value, str) else go_text(value)
    if verb == "T":
        return kind_name(value)
    if verb == "t" and isinstance(value, bool):
        return go_text(value)
    if isinstance(value, str):
        shown = value if precision is None else value[:precision]
        if verb == "s":
            return shown
        if verb == "q":
            return go_quote(shown)
        if verb in "xX":
            text = shown.encode().hex()
            return text.upper() if verb == "X" else text
    if isinstance(value, int) and whole and verb in "dboxXcqU":
        forms = {"d": "d", "b": "b", "o": "o", "x": "x", "X": "X"}
        if verb in forms:
            return format(value, ("+" if "+" in flags else "") + ("#" if "#" in flags and verb in "xX" else "") + forms[verb])
        return chr(value) if verb == "c" else f"'{chr(value)}'" if verb == "q" else f"U+{value:04X}"
    if isinstance(value, float) and verb in "fFeEgG":
        if verb in "gG" and not precision:
            return go_text(value)
        return format(value, ("+" if "+" in flags else "") + f".{6 if precision is None else precision}{verb}")
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_verb(verb, flags, precision, item) for item in value) + "]"
    if verb == "s" and isinstance(value, dict):
        return go_text(value)
    return f"%!{verb}({kind_name(value)}={go_text(value)})" if value is not None else f"%!{verb}(<nil>)"
