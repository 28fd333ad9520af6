"""What daemon and keeper tell each other of a child: values, and the process that a record means."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pier.linux import pidfd as pidfds
from pier.runtime import exits


@dataclass(frozen=True)
class Exit:
    """The end of a container's first process, or of an exec's.

    `code` is 0-255, 128 + `signal` where a signal (else 0) ended it; `known` is False where nobody saw the end (the keeper was
    killed and the kernel, before 6.15, does not tell): then `code` is 255. `finished_ns` is wall-clock time.
    """

    key: str
    pid: int
    code: int
    signal: int
    oom: bool
    finished_ns: int
    known: bool = True

    @classmethod
    def decode(cls, fields: dict[str, Any], oom: Callable[[str], bool]) -> "Exit":
        """Of a message of the keeper; `oom(key)` asks the cgroup of a container whether its memory ran out."""
        key = str(fields["key"])
        killed = bool(fields["cgroup"]) and oom(key)
        return cls(key, fields["pid"], fields["code"], fields["signal"], killed, fields["finished_ns"], fields["known"])


@dataclass(frozen=True)
class Kept:
    """A child as the keeper holds it; `exit` is None while it runs. `names` are those that `fetch(key, name)` gives.

    `started`: a daemon said that it runs the user's program; without it may be a blank child still, or again.
    """

    key: str
    pid: int
    start_time: int
    exit: Exit | None
    names: tuple[str, ...]
    started: bool = False

    @classmethod
    def decode(cls, fields: dict[str, Any], oom: Callable[[str], bool]) -> "Kept":
        """Of the keeper's greeting; `oom` as for Exit."""
        ended = None if fields["code"] is None else Exit.decode(fields, oom)
        return cls(fields["key"], fields["pid"], fields["start_time"], ended, tuple(fields["names"]), bool(fields.get("started")))


@dataclass(frozen=True)
class Record:
    """What a daemon wrote down of a running child, to find it again by `adopt`."""

    key: str
    pid: int
    start_time: int
    cgroup: bool = True


@dataclass
class Live:
    """A child that this daemon watches: its record, the daemon's own pidfd, and whether it runs its program."""

    record: Record
    pidfd: int
    started: bool = False


def open_process(record: Record) -> int:
    """A pidfd of exactly the recorded process, -1 where it is gone."""
    try:
        fd = pidfds.pidfd_open(record.pid)
        if exits.start_time(record.pid) == record.start_time:
            return fd
        os.close(fd)
    except (OSError, ValueError, IndexError):
        pass
    return -1
