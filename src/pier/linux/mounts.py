"""mount(2), fsopen(2), fsconfig(2), fsmount(2), move_mount(2), open_tree(2), mount_setattr(2), pivot_root(2), umount2(2).

The new interface is used throughout: a file system is made (`new_filesystem`) as a detached mount that only a descriptor
names, filled or changed there, and put in its place by `attach`. A detached mount vanishes with its last descriptor, so
nothing is left when a process dies half-way. All descriptors returned are close-on-exec and owned by the caller.
"""

import errno
import os
import struct
from collections.abc import Iterable, Mapping

from pier.linux.syscalls import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, call, path_bytes

# mount(2) flags
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_BIND, MS_MOVE, MS_REC = 0x400, 0x1000, 0x2000, 0x4000
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_STRICTATIME = 1 << 21, 1 << 24
MNT_DETACH = 2
# attributes of a mount, fsmount(2) and mount_setattr(2)
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8
MOUNT_ATTR_ATIME_MASK, MOUNT_ATTR_RELATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME = 0x70, 0x00, 0x10, 0x20
MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOSYMFOLLOW = 0x80, 0x100000, 0x200000
# fsconfig(2) commands
_SET_FLAG, _SET_STRING, _SET_FD, _CMD_CREATE = 0, 1, 5, 6
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = _OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 0x04, 0x40
FSCONFIG_STRING_MAX = 255  # kernel: longer strings are EINVAL
MOUNT_OPTIONS_MAX = 4095  # mount(2) cuts longer option texts, and may then mount a wrong layer (measured, all kernels)


_MOUNT_ATTR = struct.Struct("=QQQQ")  # attributes to set, to clear, propagation, user namespace


def fsopen(kind: str) -> int:
    """A configuration context for a file system of type `kind`. Raises OSError (ENODEV: not in this kernel)."""
    return call("fsopen", kind.encode(), _FSOPEN_CLOEXEC, path=kind)


def set_string(context_fd: int, key: str, value: str) -> None:
    """Set a parameter with a value of at most 255 bytes. Raises OSError(EINVAL) for what the file system does not take."""
    call("fsconfig", context_fd, _SET_STRING, key.encode(), path_bytes(value), 0, path=f"{key}={value}")


def set_flag(context_fd: int, key: str) -> None:
    """Set a parameter without a value, like `ro`."""
    call("fsconfig", context_fd, _SET_FLAG, key.encode(), None, 0, path=key)


def set_fd(context_fd: int, key: str, fd: int) -> None:
    """Set a parameter to an open file or mount. Raises OSError (EOPNOTSUPP, EBADF: not with this kernel)."""
    call("fsconfig", context_fd, _SET_FD, key.encode(), None, fd, path=key)


def create(context_fd: int) -> None:
    """Make the superblock. Raises OSError; `messages` of the context may say more."""
    call("fsconfig", context_fd, _CMD_CREATE, None, None, 0)


def fsmount(context_fd: int, attributes: int = 0) -> int:
    """A detached mount of the context's superblock, with MOUNT_ATTR_* `attributes`."""
    return call("fsmount", context_fd, _FSMOUNT_CLOEXEC, attributes)


def messages(context_fd: int) -> list[str]:
    """What the kernel logged on the context (`e overlay: ...`), oldest first; empty where it has nothing to say."""
    found = []
    while True:
        try:
            found.append(os.read(context_fd, 1024).decode(errors="replace").strip())
        except OSError:
            return found


Options = Mapping[str, str | None] | Iterable[tuple[str, str | None]]


def pairs(options: Options) -> list[tuple[str, str | None]]:
    """Options in order, however they are given."""
    if isinstance(options, Mapping):
        return [(str(key), value) for key, value in options.items()]
    return list(options)


def new_filesystem(kind: str, options: Options = (), attributes: int = 0) -> int:
    """A detached mount of a new superblock: options in order, None for a flag. Raises OSError with the kernel's own message as file name."""
    context = fsopen(kind)
    try:
        for key, value in pairs(options):
            if value is None:
                set_flag(context, key)
            else:
                set_string(context, key, value)
        create(context)
        return fsmount(context, attributes)
    except OSError as error:
        said = messages(context)
        error.filename = "; ".join(said) if said else (error.filename or kind)
        raise
    finally:
        os.close(context)


def attach(mount_fd: int, to_fd: int) -> None:
    """Put a detached mount on the folder or file that `to_fd` (O_PATH) is, on top of what is mounted there."""
    call("move_mount", mount_fd, b"", to_fd, b"", _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH)


def attach_at(mount_fd: int, path: str, dir_fd: int = AT_FDCWD) -> None:
    """Put a detached mount on `path`, following links: for paths of the host only, never for one a container can influence."""
    call("move_mount", mount_fd, b"", dir_fd, path_bytes(path), _MOVE_MOUNT_F_EMPTY_PATH, path=path)


def clone_tree(path: str, dir_fd: int = AT_FDCWD, recursive: bool = False) -> int:
    """A detached bind of `path` (or of `dir_fd` itself for ""), with the mounts below it when `recursive`."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | (AT_RECURSIVE if recursive else 0) | (0 if path else AT_EMPTY_PATH)
    return call("open_tree", dir_fd, path_bytes(path), flags, path=path or None)


def place_of(fd: int) -> tuple[str, bool, bool]:
    """(mount point, whether it is shared, whether it is a slave) of the mount that a descriptor is on, as this process sees it (proc(5), mountinfo).

    ("", False, False) for one of another namespace.
    """
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
        identity = next((line.split()[1] for line in info if line.startswith("mnt_id:")), "")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            words = line.split(" ")
            if words[0] == identity:
                optional = words[6 : words.index("-", 6)]
                place = words[4].replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
                return place, any(word.startswith("shared:") for word in optional), any(word.startswith("master:") for word in optional)
    return "", False, False


def set_attributes(mount_fd: int, add: int = 0, clear: int = 0, propagation: int = 0, recursive: bool = False, userns_fd: int = -1) -> None:
    """Change MOUNT_ATTR_* and the propagation (MS_PRIVATE...) of a mount, or of its whole tree. Raises OSError (ENOSYS before 5.12)."""
    attr = _MOUNT_ATTR.pack(add, clear, propagation, userns_fd if userns_fd >= 0 else 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    call("mount_setattr", mount_fd, b"", flags, attr, _MOUNT_ATTR.size)


def view(path: str) -> int:
    """A detached bind of a folder to read from: read-only, and `..` at its root leads nowhere (read-only from Linux 5.12 on). Raises OSError."""
    fd = clone_tree(path)
    try:
        attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME
        set_attributes(fd, attributes, clear=MOUNT_ATTR_ATIME_MASK)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            os.close(fd)
            raise
    return fd


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2) as it always was. Raises ValueError for options that the kernel would cut, OSError."""
    data = path_bytes(options)
    if len(data) > MOUNT_OPTIONS_MAX:
        raise ValueError(f"{kind} mount options have {len(data)} bytes, the kernel takes {MOUNT_OPTIONS_MAX}")
    call("mount", path_bytes(source), path_bytes(target), kind.encode(), flags, data, path=target)


def set_propagation(path: str, flags: int) -> None:
    """Set the propagation of the mount at `path` (MS_PRIVATE, MS_SLAVE, MS_SHARED, with MS_REC for the tree)."""
    call("mount", None, path_bytes(path), None, flags, None, path=path)


def unmount(path: str, flags: int = MNT_DETACH) -> None:
    """umount2(2), lazily unless told otherwise."""
    call("umount2", path_bytes(path), flags, path=path)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2): both are mount points or folders of the caller's own mount namespace."""
    call("pivot_root", path_bytes(new_root), path_bytes(put_old), path=new_root)


def mount_erofs(index: str, devices: Iterable[str] = (), directio: bool = True, label: str = "") -> int:
    """A detached read-only mount of an EROFS index file whose payloads lie in `devices` (the layer's tar), without a loop device.

    label: of SELinux, for all that is in it.

    Paths are at most 255 bytes (`/proc/self/fd/N` works). Raises OSError (ENOTBLK: the kernel or the file system below cannot).
    """
    options: list[tuple[str, str | None]] = [("source", index), *(("device", device) for device in devices)]
    if directio:
        options.append(("directio", None))
    if label:
        options.append(("context", label))
    options.append(("ro", None))
    return new_filesystem("erofs", options, MOUNT_ATTR_RDONLY)


def mount_overlay(lowers: Iterable[str | int], upper: str | int = "", work: str | int = "", options: Iterable[str] = (), attributes: int = 0) -> int:
    """A detached overlay mount; lowers topmost first, each a path (at most 255 bytes) or a descriptor of a folder or (detached) mount.

    Without `upper` it is read-only and needs two lowers. Descriptors need the kernel's FSCONFIG_SET_FD for overlay (6.13).
    Raises OSError: EINVAL at the end where the kernel has no `lowerdir+` (before 6.8).
    """
    context = fsopen("overlay")
    try:
        for key, value in [*(("lowerdir+", lower) for lower in lowers), ("upperdir", upper), ("workdir", work)]:
            if isinstance(value, int):
                set_fd(context, key, value)
            elif value:
                set_string(context, key, value)
        for option in options:
            key, _, text = option.partition("=")
            if text:
                set_string(context, key, text)
            else:
                set_flag(context, key)
        create(context)
        return fsmount(context, attributes)
    except OSError as error:
        said = messages(context)
        error.filename = "; ".join(said) if said else (error.filename or "overlay")
        raise
    finally:
        os.close(context)


def in_mountinfo(path: str) -> bytes:
    """A path as /proc/self/mountinfo writes it (proc_pid_mountinfo(5)). path: without links."""
    text = os.fsencode(path)
    for char in b"\\ \t\n":  # the backslash first
        text = text.replace(bytes([char]), b"\\%03o" % char)
    return text
