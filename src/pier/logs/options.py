"""The options of the log drivers: what each knows, its defaults, Docker's texts for what it does not. Pure."""

from pier.errors import Invalid, NotImplementedByPier

DRIVERS = ("local", "json-file", "none")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_KNOWN = {"local": ("max-size", "max-file", "compress"), "json-file": ("max-size", "max-file", "compress"), "none": ()}
_LATER = {
    "local": ("mode", "max-buffer-size"),
    "json-file": ("mode", "max-buffer-size", "labels", "labels-regex", "env", "env-regex", "tag"),
    "none": ("mode", "max-buffer-size"),
}
_OTHER_DRIVERS = ("syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "etwlogs", "gcplogs")
_UNLIMITED = -1


class Limits:
    """When a log file is rotated: at `max_bytes` (-1: never), keeping `max_files` files, older ones compressed or not."""

    __slots__ = ("compress", "max_bytes", "max_files")

    def __init__(self, max_bytes: int, max_files: int, compress: bool) -> None:
        self.max_bytes, self.max_files, self.compress = max_bytes, max_files, compress


def parse(driver: str, options: dict[str, str]) -> Limits:
    """The limits that `options` ask for. Raises Invalid for a wrong driver, option or value, NotImplementedByPier by name."""
    if driver not in DRIVERS:
        if driver in _OTHER_DRIVERS:
            raise NotImplementedByPier(f"the log driver {driver}", "use local, json-file or none")
        raise Invalid(f"logger: no log driver named '{driver}' is registered")
    for name in options:
        if name in _LATER[driver] and not (name == "mode" and options[name] == "blocking"):
            raise NotImplementedByPier(f"log option '{name}' of the {driver} driver")
        if name not in _KNOWN[driver] and name not in _LATER[driver]:
            raise Invalid(f"unknown log opt '{name}' for {driver} log driver")
    local = driver == "local"
    max_bytes = _size(options["max-size"]) if "max-size" in options else 20 << 20 if local else _UNLIMITED
    max_files = _count(options["max-file"]) if "max-file" in options else 5 if local else 1
    compress = _boolean(options["compress"]) if "compress" in options else local
    if max_bytes == _UNLIMITED and "max-file" in options and max_files > 1 and not local:
        raise Invalid("max-file cannot be set without max-size" if "max-size" not in options else "max-file needs a max-size above 0")
    if not local and compress and (max_files == 1 or max_bytes == _UNLIMITED):
        raise Invalid("compress cannot be true when max-file is less than 2 or max-size is not set")
    return Limits(max_bytes, max_files, compress)


def _size(text: str) -> int:
    """Bytes of Docker's sizes: `10m`, `1.5g`, `512KiB`; -1 is no limit."""
    if text == "-1":
        return _UNLIMITED
    lowered = text.strip().lower()
    number = lowered.rstrip("bikmgtp ")
    unit = lowered[len(number) :].strip()
    unit = unit.removesuffix("b").removesuffix("i") if len(unit) > 1 else unit
    try:
        if unit not in _UNITS or not number[:1].isdigit():
            raise ValueError
        size = int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        raise Invalid(f"invalid size: '{text}'") from None
    if size <= 0:
        raise Invalid("max-size must be a positive number")
    return size


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        raise Invalid(f'strconv.Atoi: parsing "{text}": invalid syntax') from None
    if count < 1:
        raise Invalid("max-file cannot be less than 1")
    return count


def _boolean(text: str) -> bool:
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise Invalid(f'strconv.ParseBool: parsing "{text}": invalid syntax')
