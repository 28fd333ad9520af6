"""A listening UNIX socket and its connections."""

import asyncio
import errno
import logging
import socket

from pier.http.connection import Connection, Handler, Limits
from pier.http.message import Hijacked, Request

__all__ = ["Connection", "Handler", "Hijacked", "Limits", "Request", "Server"]

_log = logging.getLogger("pier.http")
_ACCEPTS_PER_TURN = 64
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Server:
    """Serves every connection of one listening socket in a task of its own.

    `listener` is bound and listening; the server closes it. Use from the loop's thread.
    """

    def __init__(self, listener: socket.socket, handler: Handler, limits: Limits | None = None) -> None:
        listener.setblocking(False)
        self._listener, self._handler, self._limits = listener, handler, limits or Limits()
        self._loop = asyncio.get_running_loop()
        self._live: dict[asyncio.Task[None], Connection] = {}
        self._loop.add_reader(listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF:
                    raise
                # level-triggered: without a pause the loop would do nothing else
                _log.warning("cannot accept a connection: %s; trying again in a second", error.strerror)
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(1.0, self._resume)
                return
            connection = Connection(sock, self._handler, self._limits)
            task = self._loop.create_task(connection.serve())
            self._live[task] = connection
            task.add_done_callback(self._ended)

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._live.pop(task, None)
        if not task.cancelled() and (error := task.exception()):
            _log.error("a connection failed", exc_info=error)

    @property
    def connections(self) -> int:
        """How many connections there are, hijacked ones aside."""
        return len(self._live)

    async def close(self, grace_s: float = 0.0) -> None:
        """Accept no more; end idle connections at once, busy ones after `grace_s` seconds."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
        for task, connection in list(self._live.items()):
            if not connection.busy:
                task.cancel()
        if self._live and grace_s:
            await asyncio.wait(list(self._live), timeout=grace_s)
        tasks = list(self._live)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
