"""Names and options of volumes: what the local driver takes, in Docker's words. Pure.

Source: the docker volume create reference, "Driver-specific options"; texts of Engine 28.5.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pier.errors import Invalid

ANONYMOUS_LABEL = "com.docker.volume.anonymous"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_KNOWN = ("type", "o", "device", "size")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kKmMgGtTpP]?)[iI]?[bB]?")
_LARGEST = 1 << 60
_NEEDS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
MAX_NAME_BYTES = 255  # it is the name of a folder


@dataclass(frozen=True)
class Filesystem:
    """What is mounted as a volume: the arguments of mount(8). A `device` that is a path is one of the host."""

    type: str
    device: str
    options: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The options, one by one."""
        return tuple(filter(None, self.options.split(",")))


def check_name(name: str, what: str = "volume") -> None:
    """Raises Invalid for what cannot be the name of a volume, or of `what`."""
    if len(name) == 1:
        raise Invalid(f"{what} name is too short, names should be at least two alphanumeric characters")
    if not _NAME.fullmatch(name):
        raise Invalid(
            f'"{name}" includes invalid characters for a local {what} name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
            "If you intended to pass a host directory, use absolute path"
        )
    if len(name) > MAX_NAME_BYTES:
        raise Invalid(f"{what} name is too long: {len(name)} bytes, the limit is {MAX_NAME_BYTES}")


def filesystem(options: Mapping[str, str] | None) -> Filesystem | None:
    """What the options ask to be mounted; None where the volume is a plain folder. Raises Invalid."""
    given = options or {}
    for key in given:
        if key not in _KNOWN:
            raise Invalid(f'invalid option: "{key}"')
    for key, needed in _NEEDS.items():
        for other in needed if key in given else ():
            if other not in given:
                raise Invalid(f'missing required option: "{other}"')
    if limit(given) and "type" in given:
        raise Invalid(
            f"size={given['size']} limits a volume of plain files, this one is a file system of its own: give it its size in o=, as mount(8) takes it"
        )
    if "type" not in given:
        return None
    for key in ("type", "device", "o"):
        if "\0" in given.get(key, ""):
            raise Invalid(f'invalid option "{key}": a NUL byte')
    return Filesystem(given["type"], given["device"], given.get("o", ""))


def limit(options: Mapping[str, str] | None) -> int:
    """How many bytes the volume may take, by its option `size` (units of 1024: 10M, 1.5g, 512); 0 for any number. Raises Invalid."""
    text = (options or {}).get("size")
    if text is None:
        return 0
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " ")) if match else -1
    if not 0 <= size <= _LARGEST:
        raise Invalid(f"invalid size: '{text}'")
    return size
