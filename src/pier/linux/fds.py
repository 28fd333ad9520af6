"""close_range(2) and what else concerns a process's table of descriptors."""

import ctypes
import fcntl
import os

from pier.linux.syscalls import call

_CLOSE_RANGE_CLOEXEC = 4
_MAX = 0xFFFFFFFF


def close_range(first: int, last: int = _MAX) -> None:
    """Close the descriptors first..last. Raises OSError."""
    if first <= last:
        call("close_range", first, last, 0)


def close_all_but(keep: "tuple[int, ...]") -> None:
    """Close every descriptor above 2 that is not in `keep`."""
    following = 3
    for fd in sorted(fd for fd in keep if fd > 2):
        close_range(following, fd - 1)
        following = fd + 1
    close_range(following)


def cloexec_from(first: int) -> None:
    """Mark every descriptor from `first` on close-on-exec, whatever opened it."""
    try:
        call("close_range", first, _MAX, _CLOSE_RANGE_CLOEXEC)
    except OSError:  # before 5.11
        for name in os.listdir("/proc/self/fd"):
            if int(name) >= first:
                try:
                    fcntl.fcntl(int(name), fcntl.F_SETFD, fcntl.FD_CLOEXEC)
                except OSError:
                    pass  # the listing's own


PROC_SUPER_MAGIC, DEVPTS_SUPER_MAGIC = 0x9FA0, 0x1CD1
SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC = 0x62656572, 0x27E0EB, 0x63677270


def magic(fd: int) -> int:
    """The f_type of the file system that the descriptor is on (linux/magic.h), by fstatfs(2). Raises OSError."""
    buffer = ctypes.create_string_buffer(256)
    call("fstatfs", fd, buffer)
    return int.from_bytes(buffer.raw[:8], "little")
