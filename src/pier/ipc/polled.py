"""A channel for processes that poll for themselves: sends never block, what does not fit waits in a queue.

Used by keeper, launcher and pump. The owner polls `fileno()` for reading, and for writing while `pending` is true.
"""

import array
import errno
import os
import socket
from collections import deque
from collections.abc import Sequence

from pier.ipc.channel import Channel, Message, pack

MAX_QUEUED_PACKETS = 20_000


class PolledChannel:
    """One end of a SEQPACKET connection. After the peer is gone, or does not read at all, `closed` is true and sends are dropped."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._channel = Channel(sock)
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self.closed = False

    def fileno(self) -> int:
        return self._channel.fileno()

    @property
    def pending(self) -> bool:
        """Whether packets wait for the socket to take them."""
        return bool(self._queue)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send or queue a message and duplicates of `fds`; the caller keeps its own. Raises OSError(EBADF) where one of `fds` is closed."""
        if self.closed:
            return
        packets, memfd = pack(message, fds)
        try:
            for data, part in packets:
                if self._queue or not self._transmit(data, part):
                    self._queue.append((data, [os.dup(fd) for fd in part]))
        except OSError as error:
            if error.errno == errno.EBADF:
                raise  # a fault of the caller: the connection is sound
            self.close()
        finally:
            if memfd >= 0:
                os.close(memfd)
        if len(self._queue) > MAX_QUEUED_PACKETS:
            self.close()

    def answer(self, request: Message, fds: Sequence[int] = (), **fields: object) -> None:
        """Answer a request; a message without `id` wants no answer and gets none."""
        if "id" in request:
            self.send({"re": request["id"], **fields}, fds)

    def refuse(self, request: Message, text: str, **fields: object) -> None:
        """Answer a request with an error."""
        self.answer(request, error={"message": text, **fields})

    def flush(self) -> None:
        """Send what the socket takes of the queue."""
        while self._queue and not self.closed:
            data, fds = self._queue[0]
            try:
                if not self._transmit(data, fds):
                    return
            except OSError:
                self.close()
                return
            self._queue.popleft()
            for fd in fds:
                os.close(fd)

    def recv(self) -> tuple[Message, list[int]] | None:
        """The next message, or None when there is none now (look at `closed`: the peer may be gone)."""
        if self.closed:
            return None
        try:
            got = self._channel.recv()
        except BlockingIOError:
            return None
        except (OSError, ValueError):
            got = None
        if got is None:
            self.close()
        return got

    def close(self) -> None:
        """Close the socket and drop the queue; harmless when done before."""
        if self.closed:
            return
        self.closed = True
        for _, fds in self._queue:
            for fd in fds:
                os.close(fd)
        self._queue.clear()
        self._channel.close()

    def _transmit(self, data: bytes, fds: Sequence[int]) -> bool:
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._channel.sock.sendmsg([data], control, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        return True
