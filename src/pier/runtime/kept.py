"""What the keeper holds: children with their exits, and file descriptors by (key, name).

Invariants: a child stays until it is acknowledged (a spare one until it dies); every descriptor in the tables is owned
by them and closed by `forget`, `release` or the end of the process. No I/O but closing.
"""

import os
from typing import Any


class KeptChild:
    """A process that the keeper reaps, or watches where it was adopted and has another parent.

    `pidfd` is -1 once the exit is known and the descriptor was closed; `code` is None while the process runs; `started`: the daemon
    said that it runs the user's program, it is no blank child any more.
    """

    __slots__ = ("adopted", "cgroup", "code", "finished_ns", "key", "known", "mntns", "pid", "pidfd", "signal", "spare", "start_time", "started")

    def __init__(self, key: str, pid: int, start_time: int, pidfd: int, mntns: int, *, spare: bool, cgroup: bool, adopted: bool) -> None:
        self.key, self.pid, self.start_time, self.pidfd, self.mntns = key, pid, start_time, pidfd, mntns
        self.spare, self.cgroup, self.adopted = spare, cgroup, adopted
        self.code: int | None = None
        self.signal, self.finished_ns, self.known, self.started = 0, 0, True, False

    def describe(self) -> dict[str, Any]:
        """The child as the daemon, and the keeper after an execve of itself, get to know it."""
        return {
            name: getattr(self, name)
            for name in ("key", "pid", "start_time", "code", "signal", "finished_ns", "known", "spare", "cgroup", "adopted", "started")
        }

    def close(self) -> None:
        for fd in (self.pidfd, self.mntns):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.mntns = -1


class KeptTable:
    """Children by key and by pid, held descriptors, and notes: (helper, what it wants to know again with them) by key."""

    def __init__(self) -> None:
        self.children: dict[str, KeptChild] = {}
        self.by_pid: dict[int, KeptChild] = {}
        self.held: dict[str, dict[str, int]] = {}
        self.notes: dict[str, tuple[str, Any]] = {}

    def add(self, child: KeptChild) -> None:
        """Take a child and its descriptors. Raises ValueError for a key or a pid that is there already."""
        if child.key in self.children or (child.pid in self.by_pid):
            raise ValueError(f"{child.key} (pid {child.pid}) is kept already")
        self.children[child.key] = self.by_pid[child.pid] = child

    def finish(self, child: KeptChild, code: int, signal: int, finished_ns: int, known: bool) -> None:
        """Record an exit: from now on the pid may be anybody's."""
        child.code, child.signal, child.finished_ns, child.known = code, signal, finished_ns, known
        if self.by_pid.get(child.pid) is child:
            del self.by_pid[child.pid]

    def forget(self, key: str) -> KeptChild | None:
        """Remove a child and what is held under its key; the caller closes the child's own descriptors."""
        self.release(key)
        child = self.children.pop(key, None)
        if child and self.by_pid.get(child.pid) is child:
            del self.by_pid[child.pid]
        return child

    def hold(self, key: str, name: str, fd: int) -> None:
        """Own a descriptor as (key, name), in the place of an earlier one."""
        names = self.held.setdefault(key, {})
        if name in names:
            os.close(names[name])
        names[name] = fd

    def find(self, key: str, name: str) -> int:
        """The descriptor (key, name), -1 where there is none; `pidfd` and `mntns` are the child's."""
        child = self.children.get(key)
        if child and name == "pidfd":
            return child.pidfd
        if child and name == "mntns":
            return child.mntns
        return self.held.get(key, {}).get(name, -1)

    def release(self, key: str, name: str | None = None) -> None:
        """Close (key, name), or everything held under a key; harmless when it is not there."""
        names = self.held.get(key)
        if names is None:
            return
        for each in [name] if name is not None else list(names):
            fd = names.pop(each, -1)
            if fd >= 0:
                os.close(fd)
        if not names:
            del self.held[key]
            self.notes.pop(key, None)

    def names(self, key: str) -> list[str]:
        """The names of the descriptors that `find` would give for a key."""
        child = self.children.get(key)
        own = [name for name in ("pidfd", "mntns") if child and getattr(child, name) >= 0]
        return own + sorted(self.held.get(key, {}))


def close_all(fds: "list[int]") -> None:
    """Close descriptors that nobody wants."""
    for fd in fds:
        os.close(fd)
