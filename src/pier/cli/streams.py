"""The poll loop of an attached container: terminal or pipes on one side, the hijacked connection on the other."""

import posix

from pier.cli.session import write_all
from pier.cli.terminal import DetachFilter
from pier.client.frames import Demultiplexer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import select
    from collections.abc import Callable

    from pier.client.connection import Response

READ_BYTES = 32 * 1024
ENDED, DETACHED, STOPPED = "ended", "detached", "stopped"


class DaemonStreamError(Exception):
    """The daemon put an error into the stream (frames of stream 3)."""


class Attached:
    """One attached stream. `stdin_fd` is -1 where input is not attached; `raw`: a terminal, so the stream has no frames.

    `keys` are the detach keys, looked for in what is typed; empty: not looked for.
    """

    def __init__(
        self,
        sock: "_socket.socket",
        first: bytes,
        *,
        raw: bool,
        stdin_fd: int = -1,
        stdout: bool = True,
        stderr: bool = True,
        keys: bytes = b"",
    ) -> None:
        self.sock = sock
        self.stdout, self.stderr = stdout, stderr
        self._first = first
        self._stdin_fd = stdin_fd
        self._frames = None if raw else Demultiplexer()
        self._detach = DetachFilter(keys)
        self._unsent = b""
        self._input_open = stdin_fd >= 0
        self._errors = b""
        self._watched: dict[int, Callable[[], bool]] = {}
        self._timeout_ms: int | None = None
        self._on_timeout: Callable[[], int | None] | None = None

    def watch(self, fd: int, act: "Callable[[], bool]") -> None:
        """Call `act` when `fd` is readable; the loop ends with STOPPED where it returns True."""
        self._watched[fd] = act

    def later(self, delay_ms: int, act: "Callable[[], int | None]") -> None:
        """Call `act` once the loop was idle for `delay_ms`; it returns the next delay, or None when it is done."""
        self._timeout_ms, self._on_timeout = delay_ms, act

    def run(self) -> str:
        """Pump until the connection ends (ENDED), the detach keys were typed (DETACHED) or a watched event ends it (STOPPED).

        Raises DaemonStreamError where the daemon put an error into the stream; BrokenPipeError where nobody reads stdout.
        """
        if self._first:
            self._deliver(self._first)
        if not self._input_open and not self._watched and self._on_timeout is None:
            while self._receive():
                pass  # nothing else can happen: `select` would cost an exec 0.5 ms
            return ENDED
        import select

        sock_fd, arrived = self.sock.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR
        self.sock.setblocking(False)
        poll = select.poll()
        poll.register(sock_fd, select.POLLIN)
        for fd in self._watched:
            poll.register(fd, select.POLLIN)
        if self._input_open:
            poll.register(self._stdin_fd, select.POLLIN)
        while True:
            events = dict(poll.poll(self._timeout_ms))
            if not events and self._on_timeout is not None:
                self._timeout_ms = self._on_timeout()
            if events.get(sock_fd, 0) & arrived and not self._receive():
                return ENDED
            for fd, act in self._watched.items():
                if fd in events and act():
                    return STOPPED
            if events.get(sock_fd, 0) & select.POLLOUT:
                self._flush(poll, sock_fd)
            if self._input_open and self._stdin_fd in events and self._read_input(poll, sock_fd):
                return DETACHED

    def _receive(self) -> bool:
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            data = b""
        if not data:
            if self._errors:
                raise DaemonStreamError("error from daemon in stream: " + self._errors.decode("utf-8", "replace"))
            return False
        self._deliver(data)
        return True

    def _deliver(self, data: bytes) -> None:
        if self._frames is None:
            if self.stdout:
                write_all(1, data)
            return
        for stream, piece in self._frames.feed(data):
            if stream == 3:
                self._errors += piece
            elif stream == 2:
                if self.stderr:
                    write_all(2, piece)
            elif self.stdout:
                write_all(1, piece)

    def _read_input(self, poll: "select.poll", sock_fd: int) -> bool:
        try:
            data = posix.read(self._stdin_fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # a terminal that is gone
            data = b""
        detached = False
        if data:
            data, detached = self._detach.feed(data)
            self._unsent += data
        else:
            self._input_open = False
        self._flush(poll, sock_fd)
        return detached

    def _flush(self, poll: "select.poll", sock_fd: int) -> None:
        """Send what was typed; while the container does not take it, nothing more is read, and output goes on."""
        import select

        try:
            while self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except BlockingIOError:
            poll.register(sock_fd, select.POLLIN | select.POLLOUT)
            if self._input_open:
                poll.unregister(self._stdin_fd)
            return
        except OSError:
            # The container's end is closed: output that is on its way is still wanted.
            self._unsent = b""
            self._input_open = False
            self._drop(poll)
            return
        poll.register(sock_fd, select.POLLIN)
        if self._input_open:
            poll.register(self._stdin_fd, select.POLLIN)
        else:
            self._drop(poll)
            try:
                self.sock.shutdown(1)
            except OSError:
                pass

    def _drop(self, poll: "select.poll") -> None:
        try:
            poll.unregister(self._stdin_fd)
        except KeyError:
            pass


def copy_frames(response: "Response", raw: bool) -> None:
    """Write a log stream to stdout and stderr as it comes. Raises DaemonStreamError."""
    frames = Demultiplexer()
    errors = b""
    for data in response.chunks():
        if raw:
            write_all(1, data)
            continue
        for stream, piece in frames.feed(data):
            if stream == 3:
                errors += piece
            else:
                write_all(2 if stream == 2 else 1, piece)
    if errors:
        raise DaemonStreamError("error from daemon in stream: " + errors.decode("utf-8", "replace"))
