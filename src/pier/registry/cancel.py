"""Ending a call of the client from elsewhere: another thread, or a signal handler."""

import contextlib
import itertools
import os
import select
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
        self._keys = itertools.count()

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

    def watch(self, sock: socket.socket) -> "Watched":
        """Have `sock` shut down when the switch is thrown, until the result is ended. Raises Cancelled if it is thrown already."""
        return Watched(self, sock)

    def _add(self, hook: Callable[[], None]) -> int:
        key = next(self._keys)
        with self._lock:
            self._hooks[key] = hook
        if self._thrown:  # looked at after the hook is there: a switch thrown in between has called it
            self._remove(key)
            raise Cancelled
        return key

    def _remove(self, key: int) -> None:
        with self._lock:
            self._hooks.pop(key, None)


class Watched:
    """A socket that a Cancel shuts down. The descriptor is a duplicate: its number cannot have become another file's by then."""

    def __init__(self, cancel: Cancel, sock: socket.socket) -> None:
        self._cancel = cancel
        self._sock = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
        try:
            self._key = cancel._add(self._shut)
        except Cancelled:
            self._sock.close()
            raise

    def end(self) -> None:
        """It is not watched any more; once."""
        self._cancel._remove(self._key)
        self._sock.close()

    def readable(self, seconds: float) -> bool:
        """Whether something arrives within that time."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _shut(self) -> None:
        with contextlib.suppress(OSError):  # not connected yet, or not any more
            self._sock.shutdown(socket.SHUT_RDWR)
