"""pidfd_open(2), pidfd_send_signal(2) and the PIDFD_GET_INFO ioctl."""

import ctypes
import errno
import fcntl

from pier.linux.syscalls import call

PIDFD_INFO_EXIT = 1 << 3
_PIDFD_INFO_PID, _PIDFD_INFO_CREDS, _PIDFD_INFO_CGROUPID = 1, 2, 4


class _PidfdInfo(ctypes.Structure):  # linux/pidfd.h, PIDFD_INFO_SIZE_VER0 of 64 bytes
    _fields_ = (
        ("mask", ctypes.c_uint64),
        ("cgroupid", ctypes.c_uint64),
        ("pid", ctypes.c_uint32),
        ("tgid", ctypes.c_uint32),
        ("ppid", ctypes.c_uint32),
        ("ruid", ctypes.c_uint32),
        ("rgid", ctypes.c_uint32),
        ("euid", ctypes.c_uint32),
        ("egid", ctypes.c_uint32),
        ("suid", ctypes.c_uint32),
        ("sgid", ctypes.c_uint32),
        ("fsuid", ctypes.c_uint32),
        ("fsgid", ctypes.c_uint32),
        ("exit_code", ctypes.c_int32),
    )


_PIDFD_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11  # _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)
assert ctypes.sizeof(_PidfdInfo) == 64


def pidfd_open(pid: int, flags: int = 0) -> int:
    """A close-on-exec descriptor of the process. Raises OSError (ESRCH: there is none)."""
    return call("pidfd_open", pid, flags)


def send_signal(pidfd: int, signal: int, flags: int = 0) -> None:
    """Send a signal to the process that the descriptor means, and to no other. Raises OSError (ESRCH: it is gone)."""
    call("pidfd_send_signal", pidfd, signal, None, flags)


def pid_of(pidfd: int) -> int:
    """The process's pid in the reader's pid namespace; -1 once it has been reaped. Raises OSError (no such descriptor)."""
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        return next(int(line[4:]) for line in file if line.startswith("Pid:"))


def exit_status(pidfd: int) -> int | None:
    """The wait status of a process that has been reaped, also for one who is not its parent; None where the kernel does not tell.

    The descriptor must have been opened before the reap; the kernel tells from 6.15 on. Raises OSError (EBADF).
    """
    info = _PidfdInfo(mask=PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info, True)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL, errno.ESRCH):
            return None
        raise
    return int(info.exit_code) if info.mask & PIDFD_INFO_EXIT else None
