"""How a process ended: by waitid for children, by PIDFD_GET_INFO for others (kernel 6.15), else an honest unknown."""

import os

from pier.linux import pidfd

WALL = 0x40000000
"""__WALL: children with an exit signal of 0, too (wait(2))."""
UNKNOWN_CODE = 255

Ended = tuple[int, int]
"""(exit code as a shell gives it: 0-255, 128 + signal; signal or 0)."""


def from_wait_status(status: int) -> Ended:
    """Decode the status word of wait(2), as PIDFD_GET_INFO gives it."""
    number = status & 0x7F
    return (128 + number, number) if number else ((status >> 8) & 0xFF, 0)


def from_waitid(result: "os.waitid_result") -> Ended:
    """Decode what os.waitid gave."""
    if result.si_code == os.CLD_EXITED:
        return result.si_status & 0xFF, 0
    return 128 + result.si_status, result.si_status


def reap(pid: int) -> Ended | None:
    """Reap a child that has ended; None while it runs. Raises ChildProcessError where it is no child."""
    result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | WALL)
    return from_waitid(result) if result is not None else None


def peek_any() -> int:
    """The pid of some child that has ended and was not reaped, 0 where there is none."""
    try:
        result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | WALL)
    except ChildProcessError:
        return 0
    return result.si_pid if result is not None else 0


def ask_kernel(process: int) -> Ended | None:
    """The exit of a process of another parent, by a pidfd opened before it ended.

    None where the kernel does not tell: before 6.15, or while nobody has reaped the process.
    """
    status = pidfd.exit_status(process)
    return from_wait_status(status & 0xFFFF) if status is not None else None


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat, in clock ticks since boot: with the pid, the identity of a process. Raises OSError."""
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(fd, 1024)
    finally:
        os.close(fd)
    return int(text[text.rindex(b")") + 2 :].split()[19])
