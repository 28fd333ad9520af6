"""What the pump knows of one container or exec: where output comes from, the log, the clients, the input on its way."""

import fcntl
import os
import sys
import termios
from collections import deque
from typing import Any

from pier.logs.attached import Attached
from pier.logs.writer import NoWriter, Writer

STDIN_BUFFER_BYTES = 1 << 20


class Source:
    """A descriptor that output is read from; `done` once it has ended."""

    __slots__ = ("done", "fd", "parked", "session", "stream")

    def __init__(self, session: "Session", fd: int, stream: int) -> None:
        self.session, self.fd, self.stream, self.done, self.parked = session, fd, stream, False, False


class Session:
    """Everything of one key. Owns its descriptors. Before `opened` it only collects clients and their input."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.opened = False
        self.sources: list[Source] = []
        self.console = self.stdin_fd = -1
        self.stdin_once = self.stdin_ending = self.input_ended_early = False
        self.writer: Writer = NoWriter()
        self.clients: list[Attached] = []
        self.input: deque[bytes] = deque()
        self.input_bytes = 0
        self.paused = False
        self.drains: list[Any] = []
        self.drain_deadline = 0.0

    def open(self, fds: dict[str, int], writer: Writer, stdin_once: bool) -> None:
        """Take the descriptors by name ("console", or "stdin", "stdout", "stderr") and the log."""
        self.opened, self.writer, self.stdin_once = True, writer, stdin_once
        for fd in fds.values():
            os.set_blocking(fd, False)
        if "console" in fds:
            self.console = self.stdin_fd = fds["console"]
            self.sources = [Source(self, self.console, 1)]
        else:
            self.stdin_fd = fds.get("stdin", -1)
            self.sources = [Source(self, fds[name], number) for number, name in ((1, "stdout"), (2, "stderr")) if name in fds]
        self.stdin_ending = self.input_ended_early and stdin_once and not self.terminal
        if self.stdin_fd < 0:
            self.input.clear()
            self.input_bytes = 0

    @property
    def terminal(self) -> bool:
        return self.console >= 0

    def take_input(self, data: bytes) -> None:
        """Queue input for the container; dropped where its input is closed."""
        if data and not (self.opened and self.stdin_fd < 0) and not self.stdin_ending:
            self.input.append(data)
            self.input_bytes += len(data)

    def write_input(self) -> None:
        """Write what the container takes of the queued input; a broken pipe drops it."""
        while self.input and self.stdin_fd >= 0:
            data = self.input[0]
            try:
                written = os.write(self.stdin_fd, data)
            except BlockingIOError:
                return
            except OSError:
                self.input.clear()
                self.input_bytes = 0
                return
            self.input_bytes -= written
            if written < len(data):
                self.input[0] = data[written:]
                return
            self.input.popleft()

    def unread_input(self) -> int:
        """How many bytes wait in the FIFO for the container to read them."""
        return int.from_bytes(fcntl.ioctl(self.stdin_fd, termios.FIONREAD, bytes(4)), sys.byteorder)

    def fds(self) -> dict[str, int]:
        """The open descriptors by name."""
        if self.console >= 0:
            return {"console": self.console}
        found = {"stdin": self.stdin_fd} if self.stdin_fd >= 0 else {}
        return found | {("stdout", "stderr")[source.stream - 1]: source.fd for source in self.sources}
