"""The FIFOs of a container's standard streams.

    <exec-root>/io/<key>/{stdin,stdout,stderr}    0600, owned by the container's user; stdin only where it is open

The container holds stdout and stderr O_RDWR: without a reader it waits, it does not die of SIGPIPE. With a terminal there
are none but, as a place to remove, the folder. Beside them `ran`, a link to nothing, says in its text which process runs; it is
there before the start is acknowledged, and costs one system call.
"""

import contextlib
import os
import shutil
from typing import NamedTuple

_RAN = "ran"


class Ends(NamedTuple):
    """Pier's ends, non-blocking and close-on-exec; -1 where the stream is not there. The caller owns them."""

    stdin: int
    stdout: int
    stderr: int

    def close(self) -> None:
        for fd in self:
            if fd >= 0:
                os.close(fd)


class Fifos(NamedTuple):
    """The paths of one container or exec; None where the stream is not there."""

    folder: str
    stdin: str | None
    stdout: str | None
    stderr: str | None

    def open(self, stdin: bool = True) -> Ends:
        """Open Pier's ends: readers of stdout and stderr, and the writer of stdin. Raises OSError.

        The writer is opened read-write, so that it does not need the container to be there; `stdin=False` leaves it out, for a
        pump after the first whose stdin is held by the keeper.
        """
        fds: list[int] = []
        try:
            for path, mode in ((self.stdin if stdin else None, os.O_RDWR), (self.stdout, os.O_RDONLY), (self.stderr, os.O_RDONLY)):
                fds.append(os.open(path, mode | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW) if path else -1)
        except OSError:
            Ends(*fds, *([-1] * (3 - len(fds)))).close()
            raise
        return Ends(*fds)

    def open_inside(self) -> Ends:
        """Open the ends of a process that cannot see the paths, as its child would: blocking, output O_RDWR. Raises OSError.

        Open Pier's ends first: a reader of stdin is told the end of a FIFO that nobody writes to.
        """
        fds: list[int] = []
        try:
            for path, mode in ((self.stdin, os.O_RDONLY), (self.stdout, os.O_RDWR), (self.stderr, os.O_RDWR)):
                fds.append(os.open(path, mode | os.O_CLOEXEC | os.O_NOFOLLOW) if path else -1)
        except OSError:
            Ends(*fds, *([-1] * (3 - len(fds)))).close()
            raise
        return Ends(*fds)

    def remove(self) -> None:
        """Remove the folder; harmless when it is gone."""
        try:
            for path in self[1:]:
                if path:
                    os.unlink(path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.folder, _RAN))
            os.rmdir(self.folder)
        except OSError:
            shutil.rmtree(self.folder, ignore_errors=True)


def make(exec_root: str | os.PathLike[str], key: str, *, stdin: bool, terminal: bool, uid: int = 0, gid: int = 0, label: str = "") -> Fifos:
    """Make the FIFOs of a start, in the place of those of an earlier one. label: of SELinux, who uses them. Raises OSError."""
    found = _paths(exec_root, key, stdin and not terminal, not terminal)
    try:
        os.mkdir(found.folder, 0o711)
    except OSError:
        shutil.rmtree(found.folder, ignore_errors=True)
        os.makedirs(found.folder, mode=0o711)
    for path in (found.stdin, found.stdout, found.stderr):
        if path:
            os.mkfifo(path, 0o600)
            if uid or gid:
                os.chown(path, uid, gid)
            if label:
                os.setxattr(path, "security.selinux", label.encode(), follow_symlinks=False)
    return found


def note_run(exec_root: str | os.PathLike[str], key: str, pid: int, start_time: int, started_ns: int) -> None:
    """Leave a note of the process that runs: its start time is field 22 of /proc/PID/stat. Raises OSError."""
    os.symlink(f"{pid} {start_time} {started_ns}", os.path.join(os.fspath(exec_root), "io", key, _RAN))


def noted_run(exec_root: str | os.PathLike[str], key: str) -> tuple[int, int, int] | None:
    """(pid, start time, nanoseconds of its start) of the last `note_run`, until the FIFOs are removed."""
    try:
        pid, start_time, started_ns = os.readlink(os.path.join(os.fspath(exec_root), "io", key, _RAN)).split()
        return int(pid), int(start_time), int(started_ns)
    except (OSError, ValueError):
        return None


def find(exec_root: str | os.PathLike[str], key: str) -> Fifos:
    """The FIFOs that are there, for a daemon or a pump after the first."""
    every = _paths(exec_root, key, True, True)
    present = [path if path and os.path.exists(path) else None for path in every[1:]]
    return Fifos(every.folder, *present)


def keys(exec_root: str | os.PathLike[str]) -> list[str]:
    """Whose FIFOs there are."""
    try:
        return sorted(os.listdir(os.path.join(os.fspath(exec_root), "io")))
    except FileNotFoundError:
        return []


def _paths(exec_root: str | os.PathLike[str], key: str, stdin: bool, output: bool) -> Fifos:
    folder = os.path.join(os.fspath(exec_root), "io", key)
    names = {"stdin": stdin, "stdout": output, "stderr": output}
    return Fifos(folder, *(os.path.join(folder, name) if wanted else None for name, wanted in names.items()))
