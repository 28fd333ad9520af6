"""One daemon for each root."""

import fcntl
import os
from pathlib import Path

from pier.errors import Conflict


class RootLock:
    """A flock on a file beside the database; the kernel gives it back whatever way the holder dies."""

    def __init__(self, path: Path) -> None:
        """Take the lock on `path`, creating the file.

        Raises Conflict, with the pid of the holder, where another process has it.
        """
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise Conflict(
                f"{path.parent} is in use by another pierd (pid {holder}, lock {path}): stop that one, or give this one roots of its own"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; the file stays, so that nobody locks a name that another is about to remove."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
