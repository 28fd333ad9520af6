"""What the layers below a container's writable folder show, looked up folder by folder on descriptors: overlay's rules, without a mount.

Rules (Documentation/filesystems/overlayfs.rst): folders of one name are merged down to the first opaque one; anything else hides what is
below it; a character device 0:0 hides without showing anything. Nothing is ever followed.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator

from pier.archive.tree import OPAQUE

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Below:
    """One folder as the layers show it. `fds`: the folder in each layer that has it, topmost first, closed by `close`."""

    def __init__(self, fds: Iterable[int]) -> None:
        self._fds = list(fds)

    @classmethod
    def of(cls, layer_fds: Iterable[int]) -> "Below":
        """The root of the layers (topmost first), whose descriptors stay the caller's."""
        return cls(os.open(".", _FOLDER_FLAGS, dir_fd=fd) for fd in layer_fds)

    def look(self, name: str) -> os.stat_result | None:
        """What stands there under this name, None where nothing does. Raises OSError."""
        found = self._first(name)
        return found[1] if found else None

    def capability(self, name: str) -> bytes:
        """The file capabilities of the file of this name, as stored. Raises OSError."""
        found = self._first(name)
        if not found or not stat.S_ISREG(found[1].st_mode):
            return b""
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=found[0])
        try:
            return xattr(fd, b"security.capability")
        finally:
            os.close(fd)

    def enter(self, name: str) -> "Below":
        """The folder of this name; one without content where there is none. Raises OSError."""
        fds: list[int] = []
        for fd, info in self._all(name):
            if not stat.S_ISDIR(info.st_mode):
                break
            fds.append(os.open(name, _FOLDER_FLAGS, dir_fd=fd))
            if xattr(fds[-1], OPAQUE) == b"y":
                break
        return Below(fds)

    def names(self) -> set[str]:
        """Everything that the folder shows. Raises OSError."""
        shown: set[str] = set()
        hidden: set[str] = set()
        for fd in self._fds:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if entry.name not in shown and entry.name not in hidden:
                        (hidden if is_whiteout(entry.stat(follow_symlinks=False)) else shown).add(entry.name)
        return shown

    def close(self) -> None:
        """Close the descriptors; may be called again."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def _first(self, name: str) -> tuple[int, os.stat_result] | None:
        return next(self._all(name), None)

    def _all(self, name: str) -> Iterator[tuple[int, os.stat_result]]:
        """(folder, entry) in each layer that has the name, down to the first whiteout."""
        for fd in self._fds:
            try:
                info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if is_whiteout(info):
                return
            yield fd, info


def is_whiteout(info: os.stat_result) -> bool:
    """Whether overlayfs takes it for the absence of a name."""
    return stat.S_ISCHR(info.st_mode) and not info.st_rdev


def xattr(fd: int, name: bytes) -> bytes:
    """An attribute of an open file, empty where it has none. Raises OSError for other reasons."""
    try:
        return os.getxattr(fd, name)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise
        return b""
