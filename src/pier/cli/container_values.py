"""The values of `run` and `create` flags, parsed as Docker's client parses them, with its error texts."""

from pier.cli.flags import go_quote, parse_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SUFFIXES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
ULIMITS = frozenset(
    ["core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"]
)


def memory(text: str) -> int:
    """A size in bytes with a binary suffix (`64m`, `1.5GiB`). Raises ValueError."""
    digits = 0
    while digits < len(text) and (text[digits].isdigit() or text[digits] in ". " or (digits == 0 and text[0] == "-")):
        digits += 1
    head, suffix = text[:digits], text[digits:]
    try:
        value = float(head.strip())
    except ValueError:
        raise ValueError(f"invalid size: '{text}'") from None
    if value < 0:
        raise ValueError(f"invalid size: '{text}'")
    name = suffix.lower()
    unit = name[:-2] if name.endswith("ib") and len(name) == 3 else name[:-1] if name.endswith("b") and len(name) == 2 else name
    if unit not in _SUFFIXES:
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(value * _SUFFIXES[unit])


def memory_swap(text: str) -> int:
    """As `memory`, and -1 for no limit."""
    return -1 if text == "-1" else memory(text)


def cpus(text: str) -> int:
    """A number of CPUs as billionths. Raises ValueError."""
    from fractions import Fraction  # costs 10 ms, and only where --cpus is given in a form that is no plain decimal

    try:
        value = Fraction(text) * 1_000_000_000
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if value.denominator != 1:
        raise ValueError("value is too precise")
    return int(value)


def decimal_cpus(text: str) -> int:
    """`cpus`, the short way for plain decimals."""
    whole, dot, part = text.partition(".")
    if (whole + part).isdigit() and (whole + part).isascii() and (part or not dot):
        if len(part.rstrip("0")) > 9:
            raise ValueError("value is too precise")
        return int(whole or "0") * 1_000_000_000 + int(part.rstrip("0").ljust(9, "0") or "0")
    return cpus(text)


def duration(text: str) -> int:
    """Nanoseconds of a duration (`1m30s`). Raises ValueError with Go's text."""
    from pier.cli.units import parse_span  # where it is given only

    return parse_span(text)


def restart_policy(text: str) -> "dict[str, Any]":
    """`on-failure:3` -> its fields. Raises ValueError with Docker's texts."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    if not colon:
        return {"Name": name, "MaximumRetryCount": 0}
    try:
        return {"Name": name, "MaximumRetryCount": int(count)}
    except ValueError:
        raise ValueError("invalid restart policy format: maximum retry count must be an integer") from None


def ulimit(text: str) -> "dict[str, Any]":
    """`nofile=1024[:2048]` as the API's Ulimit. Raises ValueError."""
    name, equals, rest = text.partition("=")
    if not equals or not rest:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    limits = rest.split(":")
    if len(limits) > 2:
        raise ValueError(f"too many limit value arguments - {rest}, can only have up to two, `soft[:hard]`")
    soft = parse_number(limits[0], 64)
    hard = parse_number(limits[1], 64) if len(limits) == 2 else soft
    if hard != -1 and (soft > hard or soft == -1):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def stream(text: str) -> str:
    """A value of --attach. Raises ValueError."""
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def environment(text: str) -> str:
    """A value of --env; a name alone stays alone here. Raises ValueError."""
    if not text or text.startswith("="):
        raise ValueError(f"invalid environment variable: {text}")
    return text


def label(text: str) -> str:
    """A value of --label. Raises ValueError."""
    name = text.partition("=")[0]
    if not name.strip():
        raise ValueError(f"invalid label '{text}': empty name")
    if any(char.isspace() for char in name):
        raise ValueError(f"label '{name}' contains whitespaces")
    return text


def extra_host(text: str) -> str:
    """A value of --add-host, as host:ip. Raises ValueError."""
    name, equals, address = text.partition("=")
    if not equals:
        name, equals, address = text.partition(":")
    if not equals or not name:
        raise ValueError(f"bad format for add-host: {go_quote(text)}")
    if len(address) > 2 and address[0] == "[" and address[-1] == "]":
        address = address[1:-1]
    if address != "host-gateway" and not is_address(address):
        raise ValueError(f"invalid IP address in add-host: {go_quote(address)}")
    return f"{name}:{address}"


def is_address(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text.partition("%")[0])
            return True
        except OSError:
            continue
    return False


def _fields(text: str) -> "list[str]":
    """Separated by commas; a field that has one is in quotation marks."""
    if '"' not in text:
        return text.split(",")
    import csv

    return next(csv.reader([text]))


def network(text: str) -> "tuple[str, dict[str, Any]]":
    """A value of --network: its name, and the settings that `name=web,alias=a,ip=10.0.0.2` gives. Raises ValueError with Docker's texts."""
    if "=" not in text:
        return text, {}
    name = ""
    settings: dict[str, Any] = {}
    for field in _fields(text):
        key, equals, value = field.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals:
            raise ValueError(f"invalid field {field}")
        if key == "name":
            name = value
        elif key == "alias":
            settings.setdefault("Aliases", []).append(value)
        elif key in ("ip", "ip6"):
            settings.setdefault("IPAMConfig", {})["IPv4Address" if key == "ip" else "IPv6Address"] = value
        elif key == "mac-address":
            settings["MacAddress"] = value
        elif key == "link-local-ip":
            settings.setdefault("IPAMConfig", {}).setdefault("LinkLocalIPs", []).append(value)
        elif key == "driver-opt":
            option, _, given = value.partition("=")
            settings.setdefault("DriverOpts", {})[option.lower()] = given
        elif key == "gw-priority":
            try:
                settings["GwPriority"] = int(value)
            except ValueError:
                raise ValueError(f"invalid gw-priority ({value}): must be an integer") from None
        else:
            raise ValueError(f"invalid field key {key}")
    if not name:
        raise ValueError("network name/id is not specified")
    return name, settings


def dns_server(text: str) -> str:
    """A value of --dns. Raises ValueError."""
    if not is_address(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {text}")
    return text.strip()


def dns_search(text: str) -> str:
    """A value of --dns-search. Raises ValueError."""
    text = text.strip()
    plain = all(char.isascii() and (char.isalnum() or char in "-_.") for char in text)
    if text != "." and (not plain or not text or len(text) > 255 or not text[0].isalnum() or ".." in text):
        raise ValueError(f"{text} is not a valid domain")
    return text


_SYSCTL_NAMES = frozenset(
    ["kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"]
)


def sysctl(text: str) -> str:
    """A value of --sysctl; only what has a namespace of its own. Raises ValueError."""
    name, equals, _ = text.partition("=")
    if not equals or not (name in _SYSCTL_NAMES or name.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{text}' is not allowed")
    return text


def device(text: str) -> "dict[str, str]":
    """A value of --device as the API's DeviceMapping. Raises ValueError."""
    parts = text.split(":")
    source, target, mode = parts[0], "", "rwm"
    if len(parts) > 3:
        raise ValueError(f"invalid device specification: {text}")
    if len(parts) == 3:
        target, mode = parts[1], parts[2]
        if not is_device_mode(mode):
            raise ValueError(f"bad mode specified: {mode}")
    elif len(parts) == 2:
        if is_device_mode(parts[1]):
            mode = parts[1]
        else:
            target = parts[1]
    target = target or source
    if not target.startswith("/"):
        raise ValueError(f"{target} is not an absolute path")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode}


def is_device_mode(text: str) -> bool:
    """Whether a text is a set of r, w and m."""
    return bool(text) and len(set(text)) == len(text) and set(text) <= set("rwm")


def volume(text: str) -> tuple[str, str]:
    """A value of --volume: ("bind", spec) with a relative source made absolute, or ("anonymous", target). Raises ValueError."""
    if not text:
        raise ValueError("invalid empty volume spec")
    parts = text.split(":")
    if len(parts) == 1:
        return "anonymous", text
    if "" in parts:
        raise ValueError(f"invalid spec: {text}: empty section between colons")
    source = parts[0]
    if source.startswith("~"):
        import os

        source = os.path.expanduser(source)
    elif source.startswith("."):
        import os

        source = os.path.abspath(source)
    return "bind", ":".join([source, *parts[1:]])


def capabilities(add: list[str], drop: list[str]) -> tuple[list[str], list[str]]:
    """--cap-add and --cap-drop normalised (`CAP_NET_ADMIN`, `ALL`), without repeats, sorted."""
    plus = {_capability(name) for name in add}
    minus = {_capability(name) for name in drop}
    if "ALL" in plus:
        plus = {"ALL"} | {name for name in plus if name != "ALL"}
    return sorted(plus), sorted(minus)


def _capability(name: str) -> str:
    name = name.strip().upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def key_value_file(path: str, environ: "Any" = None) -> list[str]:
    """The lines of an env file or label file. A name alone takes its value from `environ`, or is left out.

    Raises ValueError with Docker's texts; OSError.
    """
    with open(path, "rb") as file:
        data = file.read()
    found = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"invalid env file ({path}): invalid utf8 bytes at line {number}: {raw!r}") from None
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not name:
            raise ValueError(f"invalid env file ({path}): no variable name on line '{line}'")
        if any(char in name for char in " \t\n\r\x0b\x0c"):
            raise ValueError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
        if equals:
            found.append(f"{name}={value}")
        elif environ is not None and name in environ:
            found.append(f"{name}={environ[name]}")
    return found


def device_rule(text: str) -> str:
    """A value of --device-cgroup-rule: `c 1:3 rwm`. Raises ValueError."""
    parts = text.split(" ")
    numbers = parts[1].split(":") if len(parts) == 3 else []
    if len(numbers) != 2 or parts[0] not in ("a", "b", "c") or not 1 <= len(parts[2]) <= 3 or not set(parts[2]) <= set("rwm"):
        raise ValueError(f"invalid device cgroup format '{text}'")
    if not all(number == "*" or (number.isascii() and number.isdigit()) for number in numbers):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def exposed(text: str) -> list[str]:
    """A value of --expose as ports of the API: `80-81/udp` gives `80/udp` and `81/udp`. Raises ValueError."""
    ports, slash, kind = text.partition("/")
    if ":" in text:
        raise ValueError(f"invalid port format for --expose: {text}")
    kind = kind.lower() if slash else "tcp"
    first, dash, last = ports.partition("-")
    last = last if dash else first
    numbers = [int(port) for port in (first, last) if port.isascii() and port.isdigit()]
    if len(numbers) != 2 or not 0 < numbers[0] <= numbers[1] <= 65535:
        raise ValueError(f"invalid range format for --expose: {text}, error: invalid start port '{first}'")
    if kind not in ("tcp", "udp", "sctp"):
        raise ValueError(f"invalid proto: {kind}")
    return [f"{port}/{kind}" for port in range(numbers[0], numbers[1] + 1)]


def is_mac_address(text: str) -> bool:
    """Whether a text is a MAC address of six bytes."""
    parts = text.replace("-", ":").split(":")
    return len(parts) == 6 and all(len(part) == 2 and all(char in "0123456789abcdefABCDEF" for char in part) for part in parts)
