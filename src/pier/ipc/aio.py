"""The daemon's end of a channel: requests with answers, and events, on an asyncio loop.

A request is `{"op": ..., "id": n, ...}`, its answer `{"re": n, ...}`; an answer with `error` raises RemoteError. A
message with `op` and no `id` is an event and goes to `on_event`. Sends queue in order and never block the loop.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from pier.ipc.channel import Channel, Message, pack

Event = Callable[[Message, list[int]], None]


class PeerGone(ConnectionError):
    """The process at the other end is gone; the request may or may not have been carried out."""


class RemoteError(Exception):
    """The other end refused or failed: `fields` is the `error` object of its answer (`message`, and maybe `errno`, `step`, `path`)."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(str(fields.get("message", "error")))
        self.fields = fields


class AsyncChannel:
    """Requests and events over one SEQPACKET socket; use from the loop's thread only.

    `on_event(message, fds)` owns the descriptors; `on_close()` is called once, when the peer is gone or `close` was called.
    """

    def __init__(self, sock: socket.socket, on_event: Event | None = None, on_close: Callable[[], None] | None = None) -> None:
        sock.setblocking(False)
        self._channel = Channel(sock)
        self._loop = asyncio.get_running_loop()
        self._on_event, self._on_close = on_event, on_close
        self._waiting: dict[int, asyncio.Future[tuple[Message, list[int]]]] = {}
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self._last_id = 0
        self.closed = False
        self._fd = sock.fileno()
        self._loop.add_reader(self._fd, self.hear)

    async def call(self, op: str, fds: Sequence[int] = (), **fields: Any) -> tuple[Message, list[int]]:
        """Send a request and wait for its answer and descriptors (owned by the caller). Raises PeerGone, RemoteError.

        `fds` are duplicated before this returns control to the loop: the caller may close its own at once.
        """
        self._last_id += 1
        number = self._last_id
        future: asyncio.Future[tuple[Message, list[int]]] = self._loop.create_future()
        self._waiting[number] = future
        try:
            self.post(op, fds, id=number, **fields)
            message, got = await future
        finally:
            self._waiting.pop(number, None)
        if "error" in message:
            for fd in got:
                os.close(fd)
            raise RemoteError(message["error"])
        return message, got

    def post(self, op: str, fds: Sequence[int] = (), **fields: Any) -> None:
        """Send a message that expects no answer. Raises PeerGone."""
        if self.closed:
            raise PeerGone(f"{op}: the helper is gone")
        packets, memfd = pack({"op": op, **fields}, fds)
        for data, part in packets:
            self._queue.append((data, [os.dup(fd) for fd in part]))
        if memfd >= 0:
            os.close(memfd)
        self._flush()

    def close(self) -> None:
        """Close the connection; every request under way raises PeerGone."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._channel.close()
        for _, fds in self._queue:
            for fd in fds:
                os.close(fd)
        self._queue.clear()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(PeerGone("the helper is gone"))
        if self._on_close:
            self._on_close()

    def _flush(self) -> None:
        while self._queue:
            data, fds = self._queue[0]
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"".join(fd.to_bytes(4, "little") for fd in fds))] if fds else []
            try:
                self._channel.sock.sendmsg([data], control, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._loop.add_writer(self._fd, self._flush)
                return
            except OSError:
                self.hear()  # what the peer said before it went
                self.close()
                return
            for fd in fds:
                os.close(fd)
            self._queue.popleft()
        self._loop.remove_writer(self._fd)

    def hear(self) -> None:
        """Take in what has arrived, without waiting for the loop's next turn."""
        if self.closed:
            return
        for _ in range(64):
            try:
                got = self._channel.recv()
            except BlockingIOError:
                return
            except (OSError, ValueError):
                got = None
            if got is None:
                self.close()
                return
            self._dispatch(*got)
            if self.closed:
                return

    def _dispatch(self, message: Message, fds: list[int]) -> None:
        if "re" in message:
            future = self._waiting.get(message["re"])
            if future and not future.done():
                future.set_result((message, fds))
                return
        elif self._on_event:
            self._on_event(message, fds)
            return
        for fd in fds:
            os.close(fd)
