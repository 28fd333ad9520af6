"""Sending the segments of an answer, in a thread: file pages go from the page cache to the socket (sendfile, splice), not through Python.

A thread, since a read of a page that is not in memory cannot be waited for on the loop: it would stop everybody.
"""

import asyncio
import logging
import os
import select
import socket
import threading

from pier.http.message import ClientGone, FileSegment, Segments

_log = logging.getLogger("pier.http")
_AT_ONCE_BYTES = 1 << 20  # of one system call: what a stop waits for at most


class Short(Exception):
    """The parts had fewer, or more, bytes than the answer's length promised."""


async def send(sock: socket.socket, answer: Segments) -> None:
    """Send all parts to `sock` (non-blocking), wherever they come from; the thread is over and `answer.parts` closed when this returns.

    Raises ClientGone where the client hung up, or where the parts failed: the status is out, so a cut connection says that the answer is
    not whole. A cancellation ends the thread at its next write.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[BaseException | None] = loop.create_future()
    stop_fd = os.eventfd(0, os.EFD_CLOEXEC)

    def run() -> None:
        error: BaseException | None = None
        try:
            _Sender(sock, stop_fd).send(answer)
        except BaseException as problem:
            error = problem
        loop.call_soon_threadsafe(ended.set_result, error)

    try:
        threading.Thread(target=run, name="send", daemon=True).start()
        try:
            error = await asyncio.shield(ended)
        except asyncio.CancelledError:
            os.eventfd_write(stop_fd, 1)
            while not ended.done():
                await asyncio.wait([ended])
            raise
    finally:
        os.close(stop_fd)
    if isinstance(error, (ConnectionError, ClientGone)):
        raise ClientGone("the client hung up while its answer was being sent")
    if error is not None:
        _log.error("an answer could not be sent whole", exc_info=error)
        raise ClientGone("the answer failed half-way")


class _Sender:
    """One answer's way through the socket. Blocking; in its own thread."""

    def __init__(self, sock: socket.socket, stop_fd: int) -> None:
        self._sock, self._stop_fd = sock, stop_fd
        self._poll = select.poll()
        self._poll.register(sock, select.POLLOUT)
        self._poll.register(stop_fd, select.POLLIN)

    def send(self, answer: Segments) -> None:
        """All of it. Raises ConnectionError, Short, OSError of a file, and what the generator raises."""
        left = answer.size
        try:
            for part in answer.parts:
                left -= part.size if isinstance(part, FileSegment) else len(part)
                if left < 0:
                    raise Short(f"more than the {answer.size} bytes that were promised")
                if isinstance(part, FileSegment):
                    self._file(part)
                else:
                    self._bytes(part)
        finally:
            answer.parts.close()
        if left:
            raise Short(f"{left} of {answer.size} bytes are missing")

    def _bytes(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                self._writable()

    def _file(self, part: FileSegment) -> None:
        offset, left = part.offset, part.size
        to = self._sock.fileno()
        while left:
            count = min(left, _AT_ONCE_BYTES)
            try:
                sent = os.splice(part.fd, to, count) if part.pipe else os.sendfile(to, part.fd, offset, count)
            except BlockingIOError:
                self._writable()
                continue
            if not sent:
                raise Short(f"a file ends {left} bytes before its end")
            offset, left = offset + sent, left - sent

    def _writable(self) -> None:
        """Wait for the client. Raises ClientGone when the server has no time for it any more."""
        if any(fd == self._stop_fd for fd, _ in self._poll.poll()):
            raise ClientGone("the server ends")
