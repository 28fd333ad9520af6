"""What daemon and keeper tell each other of a child: values."""

from dataclasses import dataclass


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


@dataclass(frozen=True)
class Record:
    """What a daemon wrote down of a running child, to find it again by `adopt`."""

    key: str
    pid: int
    start_time: int
    cgroup: bool = True
