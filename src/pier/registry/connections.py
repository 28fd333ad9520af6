"""urllib3's connections, made by our `dial` and known to the Cancel of the call that uses them.

urllib3 has no way to hand something of the caller's down to a connection; it works in the caller's thread, so a thread-local carries it.
"""

import http.client
import socket
import threading
from types import TracebackType
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from pier.registry.cancel import Cancel, Watched
from pier.registry.dial import DialFailed, dial, dial_socks
from pier.registry.proxies import Proxy

IDLE_S = 60.0  # without a byte going out or coming in
MAX_HEADS = 16


class _Current(threading.local):
    watch: "Watch | None" = None


_current = _Current()


class Watch:
    """The sockets of one call: as a context it is this thread's; they stay watched until `end`."""

    def __init__(self, cancel: Cancel, socks: Proxy | None, dial_s: float) -> None:
        self.cancel = cancel
        self.socks = socks
        self.dial_s = dial_s
        self.reused = False  # whether the call went out on a connection that had served before
        self._sockets: list[Watched] = []

    @property
    def watching(self) -> bool:
        """Whether the call has a socket already."""
        return bool(self._sockets)

    def add(self, sock: socket.socket) -> None:
        """Raises Cancelled."""
        self._sockets.append(self.cancel.watch(sock))

    def end(self) -> None:
        """The call is over; again does nothing."""
        while self._sockets:
            self._sockets.pop().end()

    def readable(self, seconds: float) -> bool:
        """Whether more of the answer arrives within that time."""
        return bool(self._sockets) and self._sockets[-1].readable(seconds)

    def __enter__(self) -> "Watch":
        _current.watch = self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _current.watch = None


class _Head(http.client.HTTPResponse):
    """The head of an answer: interim ones (1xx), which http.client reads over, have an end."""

    _heads = 0

    def _read_status(self) -> tuple[str, int, str]:
        self._heads += 1
        if self._heads > MAX_HEADS:
            raise http.client.HTTPException(f"more than {MAX_HEADS} interim answers")
        return super()._read_status()  # type: ignore[misc,no-any-return]  # not in typeshed


class _Dialled(HTTPConnection):
    """Mixed into both kinds of connections."""

    response_class = _Head

    def _new_conn(self) -> socket.socket:
        watch = _current.watch
        assert watch is not None, "a connection is made by Transport.send only"
        host, port = self._dns_host, self.port or self.default_port
        cancel, limit_s = watch.cancel, watch.dial_s
        try:
            sock = dial_socks(watch.socks, host, port, cancel, limit_s) if watch.socks else dial(host, port, cancel, limit_s)
        except DialFailed as error:
            if self.proxy is None:
                raise
            raise DialFailed(f"proxyconnect tcp: {error}", passing=error.passing) from None
        watch.add(sock)
        return sock

    def connect(self) -> None:
        """As urllib3's. TLS has the time of connecting; from here on a socket may be silent for IDLE_S."""
        super().connect()
        assert self.sock is not None
        self.sock.settimeout(IDLE_S)

    def request(self, *args: Any, **keywords: Any) -> None:
        """As urllib3's; a connection that is there already is watched too."""
        watch = _current.watch
        if watch is not None and self.sock is not None and not watch.watching:
            watch.reused = True
            watch.add(self.sock)
            self.sock.settimeout(IDLE_S)
        super().request(*args, **keywords)


class _Secured(_Dialled, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Dialled  # pyright: ignore[reportAssignmentType]  # urllib3's protocol does not fit its own classes either


class _SecuredPool(HTTPSConnectionPool):
    ConnectionCls = _Secured  # pyright: ignore[reportAssignmentType]


def pools(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """The same manager, making connections of this module."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecuredPool}
    return manager
