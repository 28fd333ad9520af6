"""The door to the kernel: raw system calls by number, through one ctypes function.

Everything in `pier.linux` goes through `call`. The GIL stays held (PyDLL), so that a call made by the only thread of a
process is atomic for Python; blocking calls belong elsewhere. Numbers are those of x86-64 and arm64 (asm/unistd_64.h,
asm-generic/unistd.h); from 424 on they are the same for every architecture.
"""

import ctypes
import os

_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
# Whole registers for every argument: ctypes would pass a Python int as 32 bits. c_void_p takes int, bytes, None, arrays, byref.
_syscall.argtypes = [ctypes.c_long] + [ctypes.c_void_p] * 6

MACHINE = os.uname().machine
_NUMBERS = {  # name: (x86-64, arm64)
    "ioctl": (16, 29),
    "fstatfs": (138, 44),
    "execve": (59, 221),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "capget": (125, 90),
    "capset": (126, 91),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "mount": (165, 40),
    "umount2": (166, 39),
    "quotactl": (179, 60),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "inotify_add_watch": (254, 27),
    "inotify_rm_watch": (255, 28),
    "inotify_init1": (294, 26),
    "unshare": (272, 97),
    "setns": (308, 268),
    "renameat2": (316, 276),
    "seccomp": (317, 277),
    "bpf": (321, 280),
    "pidfd_send_signal": (424, 424),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
    "close_range": (436, 436),
    "openat2": (437, 437),
    "mount_setattr": (442, 442),
    "quotactl_fd": (443, 443),
}
if MACHINE not in ("x86_64", "aarch64"):
    raise ImportError(f"pier.linux: the system call numbers of {MACHINE} are not known; x86-64 and arm64 are")
NR = {name: numbers[MACHINE == "aarch64"] for name, numbers in _NUMBERS.items()}

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000


def call(name: str, *arguments: object, path: str | None = None) -> int:
    """Make the system call `name` and return its result.

    Arguments are int, bytes (passed as a pointer to them), None, or ctypes buffers and byref objects, which the caller keeps
    alive. Raises OSError with the errno, and with `path` as its file name where given. EINTR is raised like any other.
    """
    padded = arguments + (0,) * (6 - len(arguments))
    result: int = _syscall(NR[name], *padded)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def path_bytes(path: str | bytes) -> bytes:
    """A path as the kernel takes it. Raises ValueError for one with a NUL byte, which C would cut short."""
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise ValueError(f"path {path!r} has a NUL byte")
    return raw
