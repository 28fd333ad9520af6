"""capabilities(7): their names and numbers, capset(2), the bounding and ambient sets of the calling thread."""

import ctypes

from pier.linux.processes import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    PR_CAPBSET_READ,
    prctl,
)
from pier.linux.syscalls import call

# Position is the number, linux/capability.h.
_TABLE = (
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP "
    "CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER "
    "CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE "
    "CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP "
    "CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF "
    "CAP_CHECKPOINT_RESTORE"
)
NAMES = tuple(_TABLE.split())
NUMBERS = {name: number for number, name in enumerate(NAMES)}
_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int32))


def parse(name: str) -> str:
    """The full name of a capability given as `net_admin`, `NET_ADMIN` or `CAP_NET_ADMIN`. Raises ValueError for one that does not exist."""
    full = name.strip().upper()
    if not full.startswith("CAP_"):
        full = "CAP_" + full
    if full not in NUMBERS:
        raise ValueError(f"unknown capability: {name!r}")
    return full


def mask(names: "tuple[str, ...] | list[str] | frozenset[str]") -> int:
    """The bits of a set of full names. Raises KeyError."""
    bits = 0
    for name in names:
        bits |= 1 << NUMBERS[name]
    return bits


def bounding_has(number: int) -> bool:
    """Whether the bounding set has the capability; False also for one that the kernel does not know."""
    try:
        return prctl(PR_CAPBSET_READ, number) == 1
    except OSError:
        return False


def limit_bounding(keep: int) -> None:
    """Drop from the bounding set what is not in the mask `keep`. Raises OSError (EPERM: no CAP_SETPCAP)."""
    for number in range(64):
        if keep >> number & 1:
            continue
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError:
            if number >= len(NAMES) or not bounding_has(number):
                return  # past the last one of this kernel
            raise


def get() -> tuple[int, int, int]:
    """(effective, permitted, inheritable) of this thread."""
    data = (ctypes.c_uint32 * 6)()
    call("capget", ctypes.byref(_Header(_VERSION_3, 0)), data)
    return data[0] | data[3] << 32, data[1] | data[4] << 32, data[2] | data[5] << 32


class Sets:
    """The three sets of a coming capset, laid out ahead so that `apply` is a single system call."""

    def __init__(self, effective: int, permitted: int, inheritable: int) -> None:
        low = 0xFFFFFFFF
        self._header = _Header(_VERSION_3, 0)
        self._data = (ctypes.c_uint32 * 6)(effective & low, permitted & low, inheritable & low, effective >> 32, permitted >> 32, inheritable >> 32)

    def apply(self) -> None:
        """capset(2) for this thread. Raises OSError (EPERM: more than is permitted)."""
        call("capset", ctypes.byref(self._header), self._data)


def set_ambient(bits: int) -> None:
    """Make the ambient set exactly `bits`, which must be permitted and inheritable. Raises OSError."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(len(NAMES)):
        if bits >> number & 1:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)
