"""A command on a terminal of its own, driven as a person would: wait for a text, type, resize, look at the terminal's modes."""

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Mapping, Sequence

LIMIT_S = 30.0


class Terminal:
    """Starts `argv` as leader of a new session whose controlling terminal this object holds the other side of."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], rows: int = 24, cols: int = 80) -> None:
        self.seen = b""
        self.status: int | None = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
                os.execvpe(argv[0], list(argv), {**env, "TERM": "xterm"})
            finally:
                os._exit(127)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.status is None:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def expect(self, text: str, limit_s: float = LIMIT_S) -> str:
        """Read until `text` was printed; returns what came up to and with it, and forgets that. AssertionError at the limit or at the end."""
        wanted, end = text.encode(), time.monotonic() + limit_s
        while wanted not in self.seen:
            assert self._read(end), f"{text!r} never came, but {self.seen.decode(errors='replace')!r}"
        before, _, self.seen = self.seen.partition(wanted)
        return (before + wanted).decode(errors="replace")

    def type(self, text: str) -> None:
        """Type; "\\r" is the return key."""
        os.write(self.fd, text.encode())

    def resize(self, rows: int, cols: int) -> None:
        """Change the window's size; the foreground process gets SIGWINCH from the kernel."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def read(self, limit_s: float) -> None:
        """Read what comes within the limit into `seen`."""
        end = time.monotonic() + limit_s
        while self._read(end):
            pass

    def raw(self) -> bool:
        """Whether the terminal is in raw mode now (neither canonical nor echoing)."""
        return not termios.tcgetattr(self.fd)[3] & (termios.ICANON | termios.ECHO)

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Read to the end; the exit code (128 + n for signal n)."""
        end = time.monotonic() + limit_s
        while self.status is None:
            self._read(min(end, time.monotonic() + 0.05))
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                while self._read(time.monotonic() + 0.05):
                    pass
            assert self.status is not None or time.monotonic() < end, f"does not end; it printed {self.seen.decode(errors='replace')!r}"
        return self.status if self.status >= 0 else 128 - self.status

    def _read(self, end: float) -> bool:
        ready, _, _ = select.select([self.fd], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            return False
        self.seen += data
        return bool(data)
