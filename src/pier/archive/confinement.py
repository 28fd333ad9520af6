"""What a job's process gives up before it reads the first byte of an archive.

In this order: it dies with the worker; no core dump and no ptrace by others; no new privileges by execve; no network and no
IPC (namespaces of its own, empty); the ingest folder is its whole file system (chroot); every descriptor but the job's is
closed; then the capabilities: none when it indexes, those that making files needs when it unpacks, those that reading all of a
container's files needs when it makes a layer of them; last the filter of system calls, which is inherited by the thread that hashes.
"""

import errno
import functools
import os
import resource
import signal

from pier import trace
from pier.linux import capabilities, processes, seccomp
from pier.linux.syscalls import MACHINE, call

_CLONE_NEWIPC, _CLONE_NEWNET = 0x08000000, 0x40000000
UNPACK = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETFCAP", "CAP_SYS_ADMIN")
READ = ("CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN")  # the latter for overlay's attributes, trusted.*
# operations on folders of files, which come as read-only mounts of their own
_READING = frozenset({"changes", "differences", "verify", "volume_copy", "volume_export"})
_MAKING_NO_FILES = frozenset({"differences", "verify", "volume_export"})
# What Python, its allocator, a thread and the jobs themselves call; everything else is EPERM. No socket, no execve, no ptrace,
# no mount, no namespaces; names are made and opened below folders that the process has (chroot), never by the older calls.
_ALLOWED = (
    "read pread64 write pwrite64 close openat newfstatat fstat statx lseek getdents64 fstatfs poll ppoll fcntl memfd_create sendmsg "
    "mkdirat unlinkat renameat renameat2 linkat symlinkat mknodat fchown fchownat fchmod fchmodat fchdir utimensat fsetxattr lsetxattr "
    "readlinkat fgetxattr lgetxattr flistxattr llistxattr "
    "ftruncate sendfile umask copy_file_range sync_file_range syncfs fsync "
    "munmap mremap madvise brk futex set_robust_list rseq sched_yield sched_getaffinity restart_syscall "
    "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack clock_gettime clock_nanosleep gettimeofday uname getpid gettid getrandom exit exit_group"
)
_CLONE_THREAD, _PROT_EXEC = 0x10000, 0x4
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
        kept = capabilities.mask(UNPACK if kind == "unpacked" and op not in _MAKING_NO_FILES else ())
        kept |= capabilities.mask(READ if op in _READING else ())
        capabilities.limit_bounding(kept)
        capabilities.Sets(kept, kept, 0).apply()
    if seccomp.available():
        seccomp.install(system_call_filter())


@functools.cache
def system_call_filter() -> bytes:
    """The compiled filter of system calls; the worker calls this once before it forks."""
    failpoints = ("kill",) if trace.active else ()
    rules = (
        seccomp.Rule((*_ALLOWED.split(), *failpoints), seccomp.ALLOW),
        seccomp.Rule(("clone",), seccomp.ALLOW, (seccomp.Condition(0, "MASKED_EQ", _CLONE_THREAD, _CLONE_THREAD),)),
        # libc falls back to clone, whose flags a filter can see.
        seccomp.Rule(("clone3",), seccomp.ERRNO | errno.ENOSYS),
        seccomp.Rule(("mmap", "mprotect"), seccomp.ALLOW, (seccomp.Condition(2, "MASKED_EQ", _PROT_EXEC, 0),)),
    )
    architecture = "arm64" if MACHINE == "aarch64" else MACHINE
    return seccomp.compile_filter(seccomp.Filter(seccomp.ERRNO | errno.EPERM, (architecture,), rules))


def keep_only(fds: list[int]) -> None:
    """Close every descriptor but these."""
    low = 0
    for fd in [*sorted(set(fds)), 1 << 20]:
        if fd > low:
            os.closerange(low, fd)
        low = fd + 1
