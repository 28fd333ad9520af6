"""SELinux (selinux(8)) as far as containers need it: whether it is on, the labels its policy has for them, and labels of files.

A label, or context, is `USER:ROLE:TYPE:LEVEL`. That of a file is its extended attribute security.selinux.
"""

import errno
import os
from pathlib import Path

ATTRIBUTE = "security.selinux"
MAX_DEPTH = 400  # a descriptor a level
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OFFERED = "usr/share/containers/selinux/contexts"
_CONFIG = "etc/selinux/config"
_MOST_BYTES = 1 << 16


def enabled(root: str = "/sys/fs/selinux") -> bool:
    """Whether SELinux is on, enforcing or not: its file system is there with what says so. root: where it is mounted, for tests."""
    return os.path.exists(os.path.join(root, "enforce"))


def container_contexts(root: str = "/") -> tuple[str, str] | None:
    """What the policy has for processes and for files of containers; None where it has no containers. root: for tests.

    Source: container-selinux's file `contexts`, else `lxc_contexts` of the policy that /etc/selinux/config names: lines of `key = "value"`.
    """
    top = Path(root)
    found = _values(top / _OFFERED)
    if not found:
        policy = _values(top / _CONFIG).get("SELINUXTYPE", "targeted")
        found = _values(top / "etc/selinux" / os.path.basename(policy) / "contexts/lxc_contexts")
    process, file = found.get("process", ""), found.get("file", "")
    return (process, file) if process and file else None


def _values(path: Path) -> dict[str, str]:
    """The values of a file of `key = value` lines; {} where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(_MOST_BYTES).splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith(("#", ";")))
    return {key.strip(): value.strip().strip('"') for key, equals, value in pairs if equals}


def is_known(context: str, root: str = "/sys/fs/selinux") -> bool:
    """Whether the policy that is loaded has a context. root: where selinuxfs is mounted, for tests. Raises OSError where that cannot be asked."""
    fd = os.open(os.path.join(root, "context"), os.O_RDWR | os.O_CLOEXEC)
    try:
        os.write(fd, context.encode())
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    finally:
        os.close(fd)
    return True


def relabel(fd: int, label: str, where: str) -> int:
    """Give a file, or a folder with all that is in it, a label; returns how many files got another one.

    fd: of it, O_PATH will do. where: its path, for errors. No link is followed; what vanishes meanwhile, and a file system without labels, is left
    out. A folder gets its own label last. Raises OSError whose `filename` is the file, ELOOP where folders are more than MAX_DEPTH deep.
    """
    changed = 0
    try:
        folder_fd = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError:
        pass
    else:
        try:
            changed = _inside(folder_fd, label, where, 0)
        finally:
            os.close(folder_fd)
    return changed + _set(f"/proc/self/fd/{fd}", label, where, follow=True)


def label_tree(path: str, label: str) -> None:
    """`relabel` of a folder that nobody else changes, unless it has its label: it gets that when all in it has it. Raises OSError."""
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if _label(f"/proc/self/fd/{fd}", follow=True) != label.encode():
            relabel(fd, label, path)
    finally:
        os.close(fd)


def _inside(folder_fd: int, label: str, where: str, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise OSError(errno.ELOOP, f"more than {MAX_DEPTH} folders deep", where)
    changed = 0
    with os.scandir(folder_fd) as entries:
        for entry in entries:
            path = f"{where}/{entry.name}"
            # The folder by its descriptor, and the last name of a path is not followed.
            changed += _set(f"/proc/self/fd/{folder_fd}/{entry.name}", label, path, follow=False)
            if not entry.is_dir(follow_symlinks=False):
                continue
            try:
                below_fd = os.open(entry.name, _FOLDER_FLAGS, dir_fd=folder_fd)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue  # it is no folder any more
                error.filename = path
                raise
            try:
                changed += _inside(below_fd, label, path, depth + 1)
            finally:
                os.close(below_fd)
    return changed


def _set(name: str, label: str, where: str, follow: bool) -> bool:
    """Whether the file has got the label, which it had not. Raises OSError with `where`."""
    try:
        if _label(name, follow) == label.encode():
            return False
        os.setxattr(name, ATTRIBUTE, label.encode(), follow_symlinks=follow)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
            return False
        raise OSError(error.errno, error.strerror, where) from None
    return True


def _label(name: str, follow: bool) -> bytes:
    try:
        return os.getxattr(name, ATTRIBUTE, follow_symlinks=follow).rstrip(b"\0")
    except OSError as error:
        if error.errno != errno.ENODATA:  # the kernel without SELinux: it has none
            raise
        return b""
