"""SELinux labels of containers: which a new one gets, what `--security-opt label=` changes in them, and what may be relabelled. Pure.

Each container has two categories of its own (multi-category security): its processes reach what has these, or none. They are in its record, and
a pair is free again when its record is gone. Texts are Docker's (Engine 28.5).
"""

import posixpath
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from pier.errors import Conflict, Internal

CATEGORIES = 1024
_ATTEMPTS = 100
_SHARED_LEVEL = "s0"
_UNCONFINED_LEVEL = f"s0:c{CATEGORIES - 2},c{CATEGORIES - 1}"
"""Of the files of containers whose processes have no label: no other container has it."""
_PARTS = ("user", "role", "type", "level")
_HOSTS_OWN = (
    "/ /bin /boot /dev /etc /etc/passwd /etc/pki /etc/shadow /home /lib /lib64 /media /opt /proc /root /run /sbin /srv /sys /tmp /usr /var "
    "/var/lib /var/log"
)
HOSTS_OWN = frozenset(_HOSTS_OWN.split())
"""What is never relabelled: all of the host needs its label there."""


class Labels(NamedTuple):
    """Of a container's processes ("" for none of its own), and of its files."""

    process: str = ""
    mount: str = ""


@dataclass(frozen=True)
class Labelling:
    """What the host's policy has for containers: contexts of a process and of a file."""

    process: str
    file: str

    def choose(self, options: Sequence[str], taken: Collection[str], below: Callable[[int], int] = secrets.randbelow) -> Labels:
        """The labels of a new container. options: of `label=`. taken: levels of other containers. below: gives a random number below another.

        Raises Internal for an option that is none (Docker answers 500), Conflict where every pair of categories is taken.
        """
        process, file = _parts(self.process), _parts(self.file)
        asked = _asked(options)
        if asked is None:
            return Labels("", _joined({**file, "level": _UNCONFINED_LEVEL}) if file.get("level") else self.file)
        if process.get("level"):  # a policy without levels has no categories
            process["level"] = file["level"] = asked.get("level") or _free_level(taken, below)
        process |= {part: value for part, value in asked.items() if part != "filetype"}
        file |= {part: value for part, value in asked.items() if part in ("user", "level")}
        if "filetype" in asked:
            file["type"] = asked["filetype"]
        return Labels(_joined(process), _joined(file))


def _asked(options: Sequence[str]) -> dict[str, str] | None:
    """What the options set; None for `disable`. Raises Internal."""
    found: dict[str, str] = {}
    for option in options:
        if option == "disable":
            return None
        part, colon, value = option.partition(":")
        if not colon:
            raise Internal(
                f"bad label option \"{option}\", valid options 'disable' or \n'user, role, level, type, filetype' followed by ':' and a value"
            )
        if part not in (*_PARTS, "filetype"):
            raise Internal(f"bad label option \"{part}\", valid options 'disable, user, role, level, type, filetype'")
        found[part] = value
    return found


def _free_level(taken: Collection[str], below: Callable[[int], int]) -> str:
    for _ in range(_ATTEMPTS):
        low, high = sorted((below(CATEGORIES), below(CATEGORIES)))
        level = f"s0:c{low},c{high}"
        if low != high and level not in taken and level != _UNCONFINED_LEVEL:
            return level
    free = (f"s0:c{low},c{high}" for low, high in combinations(range(CATEGORIES), 2))
    level = next((level for level in free if level not in taken and level != _UNCONFINED_LEVEL), "")
    if not level:
        raise Conflict("every pair of SELinux categories is a container's: remove containers, or use --security-opt label=level:...")
    return level


def level_of(label: str) -> str:
    """The level of a label; "" where it has none."""
    return _parts(label).get("level", "")


def shared(label: str) -> str:
    """The label of files that every container may use, made of that of one container's."""
    parts = _parts(label)
    return _joined({**parts, "level": _SHARED_LEVEL}) if parts.get("level") else label


def same_as(label: str) -> list[str]:
    """The `--security-opt` by which a container gets another one's process label; [] where that has none."""
    return [f"label={part}:{value}" for part, value in _parts(label).items()]


def word(mode: str) -> str:
    """`z`, `Z`, or "" where a mount's mode asks for no label."""
    return next((each for each in mode.split(",") if each in ("z", "Z")), "")


def check_source(path: str, homes: Iterable[str] = ()) -> None:
    """Raise Internal, in Docker's words, for a path of the host's own, whose files no container may have. homes: of users, which are such paths."""
    path = posixpath.normpath(path).replace("//", "/")
    if path in HOSTS_OWN or path in homes:
        raise refusal(path)


def refusal(path: str) -> Internal:
    """The error of a path that keeps its label."""
    return Internal(f"error setting label on mount source '{path}': SELinux relabeling of {path} is not allowed")


def check_start(label: str, host_has_labels: bool) -> None:
    """Raise Internal, in runc's words, where a container was made with a label, and the host has been started without SELinux since."""
    if label and not host_has_labels:
        raise Internal("failed to create task for container: selinux label is specified in config, but selinux is disabled or not supported")


def not_carried_out(options: Sequence[str], binds: Sequence[str], host_has_labels: bool) -> list[str]:
    """Warnings of a daemon that sets no labels: what was asked for on a host that has them. As with Docker it means nothing then."""
    if not host_has_labels:
        return []
    asked = [f"label={option}" for option in options if option != "disable"]
    asked += [f"{word(bind.split(':')[2])} of {bind}" for bind in binds if bind.count(":") == 2 and word(bind.split(":")[2])]
    return [f"SELinux is on, but not for containers (selinux-enabled): {', '.join(asked)} changes no label."] if asked else []


def _parts(label: str) -> dict[str, str]:
    return dict(zip(_PARTS, label.split(":", 3), strict=False)) if label else {}


def _joined(parts: dict[str, str]) -> str:
    return ":".join(parts[part] for part in _PARTS if part in parts)
