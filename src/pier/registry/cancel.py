"""Ending a call of the client from elsewhere: another thread, or a signal handler."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue


class Cancelled(Exception):
    """The caller's own Cancel was used: no failure of anybody's, so no PierError."""


class Cancel:
    """A switch that is thrown once, for any number of calls in any threads.

    A thrown switch shuts the sockets in use down and wakes who sleeps, so that everybody raises Cancelled at once. `cancel` may run in a signal
    handler: what it takes is re-entrant (an RLock; SimpleQueue.put, by its documentation).
    """

    def __init__(self) -> None:
        self._thrown = False
        self._lock = threading.RLock()
        self._hooks: dict[int, Callable[[], None]] = {}

    @property
    def thrown(self) -> bool:
        """Whether `cancel` was called."""
        return self._thrown

    def cancel(self) -> None:
        """Throw the switch; again does nothing."""
        self._thrown = True
        with self._lock:
            for hook in tuple(self._hooks.values()):
                hook()

    def check(self) -> None:
        """Raises Cancelled if the switch was thrown."""
        if self._thrown:
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Sleep; raises Cancelled as soon as the switch is thrown."""
        woken: SimpleQueue[None] = SimpleQueue()
        with self.waking(lambda: woken.put(None)), contextlib.suppress(Empty):
            woken.get(timeout=seconds)
        self.check()

    @contextlib.contextmanager
    def waking(self, hook: Callable[[], None]) -> Iterator[None]:
        """While the context lasts, `hook` is called when the switch is thrown, in whatever thread does that. Raises Cancelled if it is already."""
        key = self._add(hook)
        try:
            yield
        finally:
            self._remove(key)

    def watch(self, sock: socket.socket) -> Callable[[], None]:
        """Have `sock` shut down when the switch is thrown. Returns what ends that, to be called once; raises Cancelled if it is thrown already.

        The descriptor is a duplicate: its number cannot have become another file's by the time it is shut down.
        """
        own = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
        try:
            key = self._add(lambda: _shut(own))
        except Cancelled:
            own.close()
            raise

        def forget() -> None:
            self._remove(key)
            own.close()

        return forget

    def _add(self, hook: Callable[[], None]) -> int:
        with self._lock:
            self._hooks[id(hook)] = hook
        if self._thrown:  # looked at after the hook is there: a switch thrown in between has called it
            self._remove(id(hook))
            raise Cancelled
        return id(hook)

    def _remove(self, key: int) -> None:
        with self._lock:
            self._hooks.pop(key, None)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # not connected yet, or not any more
        sock.shutdown(socket.SHUT_RDWR)
