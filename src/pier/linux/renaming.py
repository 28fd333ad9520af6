"""renameat2(2): what rename(2) cannot."""

from pier.linux.syscalls import AT_FDCWD, call, path_bytes

_EXCHANGE = 2


def exchange(one: str, other: str) -> None:
    """Each of two paths of one file system gets what was at the other, at one instant. Raises OSError."""
    call("renameat2", AT_FDCWD, path_bytes(one), AT_FDCWD, path_bytes(other), _EXCHANGE, path=one)
