"""Hearing of changes in directories (inotify(7)); numbers from linux/inotify.h."""

import os
import struct
from collections.abc import Iterator

from pier.linux.syscalls import call, path_bytes

MODIFY, MOVED_TO, CREATE, DELETE, OVERFLOW = 0x2, 0x80, 0x100, 0x200, 0x4000
_ONLYDIR = 0x01000000
_HEAD = struct.Struct("iIII")
_BUFFER_BYTES = 64 << 10


def open_queue() -> int:
    """A queue of events: non-blocking, close-on-exec. Raises OSError (EMFILE: the user has as many as may be)."""
    return call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)


def watch(queue: int, directory: str, mask: int) -> int:
    """The number under which changes in a directory come from now on. Raises OSError (ENOSPC: as many as may be)."""
    return call("inotify_add_watch", queue, path_bytes(directory), mask | _ONLYDIR, path=directory)


def unwatch(queue: int, number: int) -> None:
    """Hear no more of a directory; harmless where it is gone."""
    try:
        call("inotify_rm_watch", queue, number)
    except OSError:
        pass


def events(queue: int) -> Iterator[tuple[int, int]]:
    """(number, mask) of what came until now, for which nobody waits; -1 is the number of OVERFLOW, where events were lost."""
    try:
        data = os.read(queue, _BUFFER_BYTES)
    except BlockingIOError:
        return
    at = 0
    while at < len(data):
        number, mask, _, length = _HEAD.unpack_from(data, at)
        yield number, mask
        at += _HEAD.size + length
