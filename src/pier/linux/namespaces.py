"""namespaces(7): the CLONE_* flags, setns(2), unshare(2), and the names of a UTS namespace."""

import os

from pier.linux.syscalls import call

CLONE_NEWTIME, CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x80, 0x20000, 0x2000000, 0x4000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x8000000, 0x10000000, 0x20000000, 0x40000000
# Pier's (and the runtime specification's) kind of a namespace -> its flag, and its name under /proc/PID/ns
FLAGS = {
    "mount": CLONE_NEWNS,
    "uts": CLONE_NEWUTS,
    "ipc": CLONE_NEWIPC,
    "pid": CLONE_NEWPID,
    "network": CLONE_NEWNET,
    "cgroup": CLONE_NEWCGROUP,
    "user": CLONE_NEWUSER,
    "time": CLONE_NEWTIME,
}
FILES = {"mount": "mnt", "uts": "uts", "ipc": "ipc", "pid": "pid", "network": "net", "cgroup": "cgroup", "user": "user", "time": "time"}


def flags_of(kinds: "frozenset[str] | set[str] | tuple[str, ...]") -> int:
    """The CLONE_* flags of namespace kinds, or-ed."""
    flags = 0
    for kind in kinds:
        flags |= FLAGS[kind]
    return flags


def setns(fd: int, flags: int) -> None:
    """Join the namespace that `fd` (a /proc/PID/ns file, or a pidfd with several flags) names. Raises OSError."""
    call("setns", fd, flags)


def unshare(flags: int) -> None:
    """Leave the namespaces of `flags` for new ones. Raises OSError."""
    call("unshare", flags)


def open_namespace(pid: int, kind: str) -> int:
    """A descriptor of the namespace of `kind` that process `pid` is in. Raises OSError."""
    return os.open(f"/proc/{pid}/ns/{FILES[kind]}", os.O_RDONLY | os.O_CLOEXEC)


def set_hostname(name: str) -> None:
    """sethostname(2) in the caller's UTS namespace; at most 64 bytes. Raises OSError."""
    raw = name.encode()
    call("sethostname", raw, len(raw))


def set_domainname(name: str) -> None:
    """setdomainname(2) in the caller's UTS namespace; at most 64 bytes. Raises OSError."""
    raw = name.encode()
    call("setdomainname", raw, len(raw))
