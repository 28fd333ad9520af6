"""Project quotas: the kernel counts what a tree of folders takes, by a number that its files inherit, and refuses what is beyond a limit.

ext4 (features `project` and `quota`) and xfs, both mounted with `prjquota`. A write beyond the limit is EDQUOT on ext4, ENOSPC on xfs; statfs(2)
inside the tree shows limit and rest. On ext4 who has CAP_SYS_RESOURCE is not held. Sources: quotactl(2), linux/quota.h, linux/dqblk_xfs.h,
ioctl_xfs_fsgetxattr(2).
"""

import ctypes
import errno
import os
import struct
from dataclasses import dataclass

from pier.linux.syscalls import call, path_bytes

_PROJECT_QUOTA = 2  # PRJQUOTA
_GET_QUOTA, _SET_QUOTA = 0x800007, 0x800008
_GET_STATE = (ord("X") << 8) + 8  # Q_XGETQSTATV: the same for both file systems
_DQBLK = struct.Struct("=8QI4x")  # struct if_dqblk: hard limit (KiB), soft limit, used bytes, three of inodes, two times, what is valid
_BLOCK_LIMITS = 1  # QIF_BLIMITS
_BLOCK_BYTES = 1024  # QIF_DQBLKSIZE
_STATE = struct.Struct("=bxH156x")  # struct fs_quota_statv, as far as its flags
_ENFORCED = 1 << 5  # FS_QUOTA_PDQ_ENFD
_COUNTED = 1 << 4  # FS_QUOTA_PDQ_ACCT
_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820  # FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
_ATTRIBUTES = struct.Struct("=5I8x")  # struct fsxattr: flags, extent size, extents, project, cow extent size
_INHERIT = 0x200  # FS_XFLAG_PROJINHERIT


@dataclass(frozen=True)
class Mount:
    """The file system that something is on, as /proc/self/mountinfo has it; "unknown" and "" where it is not listed."""

    type: str = "unknown"
    source: str = ""


def mount_of(device: int, mountinfo: str) -> Mount:
    """device: st_dev; mountinfo: the text of /proc/self/mountinfo. Pure."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        if dash and left.split()[2] == wanted:
            words = right.split()
            return Mount(words[0], words[1])
    return Mount()


def where(fd: int) -> Mount:
    """What a descriptor is on."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return mount_of(os.fstat(fd).st_dev, file.read())


def missing(fd: int) -> str:
    """Why no tree on the file system of `fd` can have a limit, with the way out; "" where it can."""
    try:
        buffer = ctypes.create_string_buffer(_STATE.pack(1, 0), _STATE.size)
        _quotactl(fd, _GET_STATE, 0, buffer)
        flags = _STATE.unpack(buffer.raw)[1]
    except OSError:
        flags = 0
    return "" if flags & _ENFORCED else cause(where(fd), counted=bool(flags & _COUNTED))


def cause(mount: Mount, *, counted: bool) -> str:
    """The text of `missing`. counted: the file system counts what projects take, but holds them to no limit. Pure."""
    if mount.type == "xfs" or (mount.type == "ext4" and counted):
        return f"{mount.source} ({mount.type}) is mounted without project quotas: mount it with the option prjquota"
    if mount.type == "ext4":
        return (
            f"{mount.source} (ext4) has no project quotas: unmount it, `tune2fs -O project,quota {mount.source}`, "
            "and mount it with the option prjquota (on a kernel that has CONFIG_QFMT_V2)"
        )
    return f"the file system {mount.type} has no project quotas: ext4 and xfs have"


def used(fd: int, project: int) -> tuple[int, int]:
    """(bytes that a project's files take, its limit in bytes, 0 for none). Raises OSError (ESRCH: no quotas)."""
    buffer = ctypes.create_string_buffer(_DQBLK.size)
    try:
        _quotactl(fd, _GET_QUOTA, project, buffer)
    except OSError as error:
        if error.errno != errno.ENOENT:  # xfs: nothing was ever counted for it
            raise
        return 0, 0
    limit, _, taken, *_ = _DQBLK.unpack(buffer.raw)
    return taken, limit * _BLOCK_BYTES


def limit(fd: int, project: int, size: int) -> None:
    """Hold a project to `size` bytes (rounded up to 1024), 0: to nothing. fd: anything on the file system. Raises OSError (ESRCH: no quotas)."""
    _quotactl(fd, _SET_QUOTA, project, ctypes.create_string_buffer(_DQBLK.pack(-(-size // _BLOCK_BYTES), *[0] * 7, _BLOCK_LIMITS), _DQBLK.size))


def project_of(fd: int) -> int:
    """The project of an open file or folder; 0 for none. Raises OSError (ENOTTY, EOPNOTSUPP: the file system has no projects)."""
    return int(_attributes(fd)[3])


def give(fd: int, project: int) -> None:
    """Make an open folder a project's, and with it all that is made in it from now on. Raises OSError."""
    flags, extent, extents, _, cow = _attributes(fd)
    call("ioctl", fd, _SET_ATTRIBUTES, _ATTRIBUTES.pack(flags | _INHERIT, extent, extents, project, cow))


def _attributes(fd: int) -> tuple[int, ...]:
    buffer = ctypes.create_string_buffer(_ATTRIBUTES.size)
    call("ioctl", fd, _GET_ATTRIBUTES, buffer)
    return _ATTRIBUTES.unpack(buffer.raw)


def _quotactl(fd: int, command: int, project: int, buffer: object) -> None:
    """By descriptor from Linux 5.14 on, before that by the name of the disk."""
    words = (command << 8 | _PROJECT_QUOTA, project, buffer)
    try:
        call("quotactl_fd", fd, *words)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        source = where(fd).source
        call("quotactl", words[0], path_bytes(source), project, buffer, path=source)
