"""One attached client of the pump: a hijacked connection, its queue of output, and what it types.

The socket's blocking mode is shared with the daemon's descriptor and left alone: every call is MSG_DONTWAIT.
"""

import socket
import struct
from collections import deque

from pier.logs.keys import DetachKeys

BUFFER_BYTES = 1 << 20
"""What waits for one client at most; above it the client is full."""
_RESUME_BYTES = BUFFER_BYTES // 2
_HEADER = struct.Struct(">BxxxI")
_FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class Attached:
    """A client. `typing` says that its input is still read, `ending` that it is closed once its queue is empty."""

    __slots__ = (
        "ending", "full_since", "gone", "keys", "multiplexed", "number",
        "owner", "queue", "queued_bytes", "sock", "stdin", "streams", "typing",
    )  # fmt: skip

    def __init__(
        self, number: int, sock: socket.socket, owner: object, streams: frozenset[int], *, stdin: bool, multiplexed: bool, keys: bytes
    ) -> None:
        self.number, self.sock, self.owner, self.streams, self.stdin, self.multiplexed = number, sock, owner, streams, stdin, multiplexed
        self.keys = DetachKeys(keys)
        self.queue: deque[bytes] = deque()
        self.queued_bytes = 0
        self.full_since = 0.0
        self.typing, self.ending, self.gone = stdin, False, False

    def send(self, stream: int, data: memoryview) -> None:
        """Send or queue output of a stream that the client asked for; sets `gone` where nobody is there to take it."""
        if stream not in self.streams or self.gone or self.ending:
            return
        parts: list[bytes | memoryview] = [_HEADER.pack(stream, len(data)), data] if self.multiplexed else [data]
        total = sum(len(part) for part in parts)
        sent = 0
        if not self.queue:
            try:
                sent = self.sock.sendmsg(parts, [], _FLAGS)
            except BlockingIOError:
                pass
            except OSError:
                self.gone = True
                return
        if sent < total:
            rest = b"".join(parts)[sent:]
            self.queue.append(rest)
            self.queued_bytes += len(rest)

    def flush(self) -> None:
        """Send what the socket takes of the queue."""
        while self.queue and not self.gone:
            data = self.queue[0]
            try:
                sent = self.sock.send(data, _FLAGS)
            except BlockingIOError:
                return
            except OSError:
                self.gone = True
                return
            self.queued_bytes -= sent
            if sent < len(data):
                self.queue[0] = data[sent:]
                return
            self.queue.popleft()

    @property
    def full(self) -> bool:
        """More than its buffer waits; it stays full until half of that is gone, once `full_since` was set."""
        return self.queued_bytes > (_RESUME_BYTES if self.full_since else BUFFER_BYTES)

    def receive(self, limit: int) -> tuple[bytes, bool] | None:
        """(input to pass on, whether the detach keys came); None at the end of input. Raises BlockingIOError."""
        try:
            data = self.sock.recv(limit, socket.MSG_DONTWAIT)
        except BlockingIOError:
            raise
        except OSError:
            self.gone = True
            return None
        return self.keys.feed(data) if data else None

    def close(self) -> None:
        """End the connection also for those who share the socket: the client reads what was sent, then the end."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.sock.close()
