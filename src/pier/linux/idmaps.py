"""Idmapped mounts: owners on the disk are shown as others, and what is written gets the owners of the disk. Pure, but for `user_namespace`.

Source: mount_setattr(2), MOUNT_ATTR_IDMAP; user_namespaces(7), "User and group ID mappings".
"""

import itertools
import os
from collections.abc import Sequence

from pier.linux import namespaces, processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

IDS = 2**32 - 1  # the last number is nobody's: chown(2)'s "leave it"
MAX_LINES = 340
Range = tuple[int, int, int]  # the first ID on the disk, the first ID that is shown, how many


def parse(text: str) -> tuple[list[Range], list[Range]]:
    """`[u:|g:]DISK:SHOWN[:COUNT]`, several with `;` between: the ranges of users and of groups, those without a letter for both.

    Raises ValueError for what is no mapping.
    """
    users: list[Range] = []
    groups: list[Range] = []
    for part in text.split(";"):
        kind, plain = (part[0], part[2:]) if part[:2] in ("u:", "g:") else ("", part)
        words = plain.split(":")
        if not 2 <= len(words) <= 3 or not all(word.isascii() and word.isdigit() and len(word) <= 10 for word in words):
            raise ValueError(f"{part!r} is no mapping: [u:|g:]DISK:SHOWN[:COUNT] is wanted, like 1000:0")
        disk, shown, count = (*map(int, words), 1)[:3]
        if not count or max(disk, shown) + count > IDS:
            raise ValueError(f"{part!r}: IDs go from 0 to {IDS - 1}")
        for wanted, ranges in (("g", users), ("u", groups)):
            if kind != wanted:
                ranges.append((disk, shown, count))
    for ranges in (users, groups):
        complete(ranges)
    return users, groups


def complete(ranges: Sequence[Range]) -> list[Range]:
    """A mapping of all IDs: the given ranges, everything else as it is; whose place is taken gets one that became free, in order.

    Raises ValueError where two ranges have an ID in common, or there are too many.
    """
    for side, name in ((0, "on the disk"), (1, "that are shown")):
        ordered = sorted(ranges, key=lambda each: each[side])
        for one, other in itertools.pairwise(ordered):
            if one[side] + one[2] > other[side]:
                raise ValueError(f"IDs {name} are mapped twice: {other[side]}")
    disk = _gaps([(start, count) for start, _, count in ranges])
    shown = _gaps([(start, count) for _, start, count in ranges])
    same = _common(disk, shown)
    rest = _paired(_without(disk, same), _without(shown, same))
    found = sorted([*ranges, *((start, start, count) for start, count in same), *rest])
    if len(found) > MAX_LINES:
        raise ValueError(f"more than {MAX_LINES} ranges of IDs")
    return found


def _gaps(taken: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of all IDs is left."""
    found, at = [], 0
    for start, count in sorted(taken):
        if start > at:
            found.append((at, start - at))
        at = start + count
    return [*found, (at, IDS - at)] if at < IDS else found


def _common(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found = []
    for start, count in one:
        for begin, number in other:
            first, end = max(start, begin), min(start + count, begin + number)
            if first < end:
                found.append((first, end - first))
    return found


def _without(ranges: Sequence[tuple[int, int]], taken: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return _common(ranges, _gaps(taken)) if taken else list(ranges)


def _paired(disk: Sequence[tuple[int, int]], shown: Sequence[tuple[int, int]]) -> list[Range]:
    """Both have as many IDs: one after the other."""
    found: list[Range] = []
    left, right = [list(each) for each in disk], [list(each) for each in shown]
    while left and right:
        count = min(left[0][1], right[0][1])
        found.append((left[0][0], right[0][0], count))
        for side in (left, right):
            side[0][0] += count
            side[0][1] -= count
            if not side[0][1]:
                side.pop(0)
    return found


def user_namespace(users: Sequence[Range], groups: Sequence[Range], proc_fd: int) -> int:
    """A descriptor of a user namespace with these mappings, which nobody lives in. proc_fd: a procfs of the caller's pid namespace.

    For a process with one thread: it clones a child and reaps it. Raises OSError.
    """
    pid, fd = processes.clone3(namespaces.CLONE_NEWUSER)
    if pid == 0:
        _signal.pause()
        os._exit(0)
    try:
        for name, ranges in (("uid_map", users), ("gid_map", groups)):
            text = "".join(f"{disk} {shown} {count}\n" for disk, shown, count in ranges)
            file_fd = os.open(f"{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc_fd)
            try:
                os.write(file_fd, text.encode())
            finally:
                os.close(file_fd)
        return os.open(f"{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc_fd)
    finally:
        os.kill(pid, _signal.SIGKILL)
        os.waitpid(pid, 0x40000000)  # __WALL: whatever signal its end sends
        os.close(fd)
