"""openat2(2): paths that somebody else can influence, resolved below a folder that we hold open.

Every path of an image, a tar, a build context or a running container goes through here: links stay inside the root
(RESOLVE_IN_ROOT), magic links (/proc/N/fd/...) are refused. Never as a string.
"""

import errno
import os
import stat
import struct

from pier.linux.syscalls import call, path_bytes

RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT = 1, 2, 4, 8, 16
_MAX_LINKS = 40  # as the kernel
_ATTEMPTS = 64  # EAGAIN: a rename ran beside the lookup (openat2(2)); a container that renames in a loop must not stop us


_OPEN_HOW = struct.Struct("=QQQ")  # flags, mode, resolve


def openat2(dir_fd: int, path: str, flags: int, mode: int = 0, resolve: int = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS) -> int:
    """Open `path` below `dir_fd`; the descriptor is close-on-exec. Raises OSError with `path`.

    ELOOP: a magic link, or a link where NO_SYMLINKS forbids it; EXDEV: out of the root where BENEATH forbids it.
    """
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode, resolve)
    raw = path_bytes(path)
    for _ in range(_ATTEMPTS):
        try:
            return call("openat2", dir_fd, raw, how, _OPEN_HOW.size, path=path)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                raise
    raise OSError(errno.EAGAIN, "the path keeps changing while it is looked up", path)


def open_root(path: str) -> int:
    """A host folder, opened O_PATH, as a root for `openat2`."""
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def look_up(root_fd: int, path: str, no_links: bool = False) -> int:
    """An O_PATH descriptor of what `path` is inside the root, the last link followed too. Raises OSError (ENOENT, ELOOP)."""
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | (RESOLVE_NO_SYMLINKS if no_links else 0)
    return openat2(root_fd, path, os.O_PATH, 0, resolve)


def make_folders(root_fd: int, path: str, mode: int = 0o755) -> int:
    """An O_PATH descriptor of the folder `path` inside the root; what is missing on the way is created, owned by the caller.

    Links on the way are followed inside the root; where one dangles, its target is made, inside the root too.
    Raises OSError (ENOTDIR: something on the way is no folder; ELOOP: too many links).
    """
    try:
        return openat2(root_fd, path, os.O_PATH | os.O_DIRECTORY)  # nearly always it is there
    except FileNotFoundError:
        return _make_folders(root_fd, path, mode, _MAX_LINKS)


def _make_folders(root_fd: int, path: str, mode: int, links_left: int) -> int:
    current = openat2(root_fd, ".", os.O_PATH | os.O_DIRECTORY)
    walked = ""
    try:
        for part in path.split("/"):
            if part in ("", "."):
                continue
            above, walked = walked, f"{walked}/{part}"
            # The path from the root each time, not part after part: `..` and links must be seen by RESOLVE_IN_ROOT from the root.
            try:
                following = openat2(root_fd, walked, os.O_PATH | os.O_DIRECTORY)
            except FileNotFoundError:
                following = _make_folder(root_fd, current, above, part, mode, links_left)
            os.close(current)
            current = following
        return current
    except BaseException as error:
        os.close(current)
        if isinstance(error, OSError):
            error.filename = path
        raise


def _make_folder(root_fd: int, parent_fd: int, above: str, part: str, mode: int, links_left: int) -> int:
    try:
        os.mkdir(part, mode, dir_fd=parent_fd)
    except FileExistsError:
        # A dangling link, or somebody was faster.
        target = _link_target(parent_fd, above, part, links_left)
        if target:
            return _make_folders(root_fd, target, mode, links_left - 1)
    return openat2(root_fd, f"{above}/{part}", os.O_PATH | os.O_DIRECTORY)


def _link_target(parent_fd: int, above: str, name: str, links_left: int) -> str:
    """Where a link leads, as a path from the root; "" for what is no link."""
    try:
        target = os.readlink(name, dir_fd=parent_fd)
    except OSError:
        return ""
    if links_left <= 0:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return target if target.startswith("/") else f"{above}/{target}"


def make_file(root_fd: int, path: str, mode: int = 0o644) -> int:
    """An O_PATH descriptor of the file `path` inside the root, created empty with its folders where it is missing; links as in `make_folders`.

    Raises OSError.
    """
    return _make_file(root_fd, path, mode, _MAX_LINKS)


def _make_file(root_fd: int, path: str, mode: int, links_left: int) -> int:
    try:
        return look_up(root_fd, path)
    except FileNotFoundError:
        pass
    above, _, name = path.rstrip("/").rpartition("/")
    parent_fd = _make_folders(root_fd, above or "/", 0o755, links_left)
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=parent_fd))
    except FileExistsError:
        target = _link_target(parent_fd, above, name, links_left)
        if target:
            return _make_file(root_fd, target, mode, links_left - 1)
    finally:
        os.close(parent_fd)
    return look_up(root_fd, path)


def read_bounded(root_fd: int, path: str, limit_bytes: int) -> bytes:
    """The content of a regular file inside the root. Raises OSError; EFBIG when it is longer than the limit, EINVAL when it is no file."""
    fd = openat2(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        parts, left = [], limit_bytes + 1
        while left > 0 and (part := os.read(fd, min(left, 1 << 16))):
            parts.append(part)
            left -= len(part)
        if left <= 0:
            raise OSError(errno.EFBIG, f"longer than {limit_bytes} bytes", path)
        return b"".join(parts)
    finally:
        os.close(fd)
