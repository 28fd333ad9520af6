"""clone3(2), prctl(2), execve(2), keyctl(2): making a process and shaping it before it runs somebody's code.

`clone3` is sound from Python only while the caller has one thread, and the child does nothing but leave by execve or
os._exit (gc off, no imports): CPython is not told of the fork.
"""

import ctypes

from pier.linux.syscalls import call, path_bytes

CLONE_VFORK, CLONE_PARENT, CLONE_PIDFD, CLONE_INTO_CGROUP = 0x4000, 0x8000, 0x1000, 0x200000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 4, 8, 15, 36
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 23, 24, 38, 47
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4
_KEYCTL_GET_KEYRING_ID, _KEYCTL_JOIN_SESSION_KEYRING = 0, 1
_KEY_SPEC_SESSION_KEYRING = -3


class _CloneArgs(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("pidfd", ctypes.c_uint64),
        ("child_tid", ctypes.c_uint64),
        ("parent_tid", ctypes.c_uint64),
        ("exit_signal", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("stack_size", ctypes.c_uint64),
        ("tls", ctypes.c_uint64),
        ("set_tid", ctypes.c_uint64),
        ("set_tid_size", ctypes.c_uint64),
        ("cgroup", ctypes.c_uint64),
    )


def clone3(flags: int = 0, exit_signal: int = 0, cgroup_fd: int = -1) -> tuple[int, int]:
    """Clone this process: (0, -1) in the child, (pid, pidfd) in the parent.

    `flags`: CLONE_NEW*, CLONE_PARENT, CLONE_VFORK; the pidfd is always made, close-on-exec. `cgroup_fd`: a cgroup v2 folder to be born in.
    Raises OSError (EAGAIN: a limit of processes; EBUSY, EOPNOTSUPP: the cgroup cannot take it).
    """
    pidfd = ctypes.c_int(-1)
    arguments = _CloneArgs(flags=flags | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd), exit_signal=exit_signal)
    if cgroup_fd >= 0:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = cgroup_fd
    pid = call("clone3", ctypes.byref(arguments), ctypes.sizeof(arguments))
    return (pid, pidfd.value) if pid else (0, -1)


def prctl(option: int, *arguments: int) -> int:
    """prctl(2); its result. Raises OSError."""
    return call("prctl", option, *arguments)


def set_name(name: str) -> None:
    """The name of this thread in ps and top: 15 bytes at most, longer ones are cut."""
    call("prctl", PR_SET_NAME, name.encode())


def join_session_keyring(name: str | None) -> int:
    """Leave the session keyring for another: the one of this name that the user owns, else a new one; None makes a nameless one.

    Returns its serial number. Raises OSError (ENOSYS: no keyrings; EDQUOT: the user's quota of keys is used up).
    """
    return call("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, name.encode() if name is not None else None)


def read_session_keyring() -> int:
    """The serial number of the session keyring. Raises OSError (ENOSYS: a kernel without keyrings; ENOKEY: none yet)."""
    return call("keyctl", _KEYCTL_GET_KEYRING_ID, _KEY_SPEC_SESSION_KEYRING, 0)


def _vector(texts: list[bytes]) -> "ctypes.Array[ctypes.c_char_p]":
    vector: ctypes.Array[ctypes.c_char_p] = (ctypes.c_char_p * (len(texts) + 1))(*texts, None)
    return vector


class Program:
    """The arguments of an execve, laid out before the last locks fall, so that `execute` is a system call and nothing else."""

    def __init__(self, argv: list[bytes], environ: list[bytes]) -> None:
        self._argv, self._environ = _vector(argv), _vector(environ)

    def execute(self, path: str | bytes) -> None:
        """execve(2): returns never. Raises OSError with the errno as it is."""
        call("execve", path_bytes(path), self._argv, self._environ)
