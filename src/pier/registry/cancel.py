"""Ending a call of the client from elsewhere: another thread, or a signal handler."""

import contextlib
import os
import socket
import threading
from queue import Empty, SimpleQueue


class Cancelled(Exception):
    """The caller's own Cancel was used: no failure of anybody's, so no PierError."""


class Cancel:
    """A switch that is thrown once, for any number of calls in any threads.

    A thrown switch shuts the sockets in use down, so that whoever waits in one raises Cancelled at once. `cancel` may run in a signal handler:
    what it takes is re-entrant (an RLock; SimpleQueue.put is documented to be).
    """

    def __init__(self) -> None:
        self._thrown = False
        self._lock = threading.RLock()
        self._watched: set[socket.socket] = set()
        self._wake: SimpleQueue[None] = SimpleQueue()

    @property
    def thrown(self) -> bool:
        """Whether `cancel` was called."""
        return self._thrown

    def cancel(self) -> None:
        """Throw the switch; again does nothing."""
        self._thrown = True
        self._wake.put(None)
        with self._lock:
            for sock in tuple(self._watched):
                _shut(sock)

    def check(self) -> None:
        """Raises Cancelled if the switch was thrown."""
        if self._thrown:
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Sleep; raises Cancelled as soon as the switch is thrown."""
        try:
            self._wake.get(timeout=seconds)
        except Empty:
            return
        self._wake.put(None)  # for the next one who waits
        raise Cancelled

    def watch(self, sock: socket.socket) -> socket.socket:
        """Have `sock` shut down when the switch is thrown. Returns what `forget` takes; raises Cancelled if it is thrown already.

        The descriptor is a duplicate: its number cannot have become another file's by the time it is shut down.
        """
        own = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
        with self._lock:
            self._watched.add(own)
        if self._thrown:
            self.forget(own)
            raise Cancelled
        return own

    def forget(self, own: socket.socket) -> None:
        """The call that `watch` was for is over."""
        with self._lock:
            self._watched.discard(own)
            own.close()


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # not connected yet, or not any more
        sock.shutdown(socket.SHUT_RDWR)
