"""pty(7), ioctl_tty(2): a pseudo-terminal made from an open ptmx, so that no path of a container is trusted (CVE-2025-52565)."""

import fcntl
import os
import struct
import termios

from pier.linux.syscalls import call

_TIOCGPTPEER, _TIOCSPTLCK = 0x5441, 0x40045431


def open_peer(master_fd: int) -> int:
    """Unlock the pty and open its other end by the master, not by name; close-on-exec, not the controlling terminal. Raises OSError."""
    fcntl.ioctl(master_fd, _TIOCSPTLCK, struct.pack("i", 0))
    return call("ioctl", master_fd, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def set_size(fd: int, rows: int, columns: int) -> None:
    """Tell the terminal its size; its foreground process gets SIGWINCH. Raises OSError."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def make_controlling(fd: int) -> None:
    """Make it the controlling terminal of this session's leader. Raises OSError."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
