"""What a job's process gives up before it reads the first byte of an archive.

In this order: it dies with the worker; no core dump and no ptrace by others; no new privileges by execve; no network and no
IPC (namespaces of its own, empty); the ingest folder is its whole file system (chroot); every descriptor but the job's is
closed; then the capabilities: none when it indexes, those that making files needs when it unpacks; last the filter of system
calls, which is inherited by the thread that hashes.
"""

import os
import resource
import signal

from pier.linux import capabilities, processes
from pier.linux.syscalls import call

_CLONE_NEWIPC, _CLONE_NEWNET = 0x08000000, 0x40000000
UNPACK = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETFCAP", "CAP_SYS_ADMIN")
_DATA_BYTES = 2 << 30  # address space for data: far above the 60 MB a job takes, far below what hurts


def enter(op: str, kind: str, fds: list[int], channel_fd: int) -> None:
    """Confine this process to a job's descriptors; the last of `fds` is the folder it works in. Raises OSError."""
    processes.prctl(processes.PR_SET_PDEATHSIG, signal.SIGKILL)
    processes.prctl(processes.PR_SET_DUMPABLE, 0)
    processes.prctl(processes.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    keep_only([0, 1, 2, channel_fd, *fds])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    resource.setrlimit(resource.RLIMIT_DATA, (_DATA_BYTES, _DATA_BYTES))
    os.umask(0o077)
    if os.geteuid() == 0:
        call("unshare", _CLONE_NEWNET | _CLONE_NEWIPC)
        if fds:
            os.fchdir(fds[-1])
            os.chroot(".")
        kept = capabilities.mask(UNPACK) if kind == "unpacked" else 0
        capabilities.limit_bounding(kept)
        capabilities.Sets(kept, kept, 0).apply()


def keep_only(fds: list[int]) -> None:
    """Close every descriptor but these."""
    low = 0
    for fd in [*sorted(set(fds)), 1 << 20]:
        if fd > low:
            os.closerange(low, fd)
        low = fd + 1
