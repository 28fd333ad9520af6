"""HTTP to registries: one request, one answer whose body is a stream. urllib3 underneath, imported with this module: import it late.

One pool of connections for each (TLS setting, proxy). Nothing is decoded, followed or repeated here: that is `exchange.py`'s.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from pier.registry import certificates, connections
from pier.registry.cancel import Cancel, Cancelled
from pier.registry.causes import cause_of
from pier.registry.connections import IDLE_S
from pier.registry.credentials import Credentials
from pier.registry.dial import CONNECT_S, DialFailed
from pier.registry.errors import Unreachable
from pier.registry.hosts import Tls
from pier.registry.proxies import Proxy

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

READ_BYTES = 1 << 20
SEND_BYTES = 128 * 1024
SLOW_S = 0.2
LEAST_BYTES = 16 * 1024
DRAINED_BYTES = 64 * 1024
DRAINED_S = 0.1
CONNECTIONS = 32  # kept for each host
HOSTS = 64  # with connections, for each route

logging.getLogger("urllib3").setLevel(logging.WARNING)  # its debug lines hold whole URLs, with signatures in their queries
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # who is not verified was told so by the configuration


@dataclass(frozen=True)
class Body:
    """What is sent: `chunks()` gives it from its start, as often as it has to be sent; `size` in bytes."""

    size: int
    chunks: Callable[[], Iterator[bytes | memoryview]]

    @classmethod
    def of(cls, data: bytes | memoryview) -> "Body":
        """A body that lies in memory, sent in pieces so that a slow line is no hanging one."""
        view = memoryview(data)
        return cls(len(view), lambda: (view[at : at + SEND_BYTES] for at in range(0, len(view), SEND_BYTES)))


@dataclass(frozen=True)
class Route:
    """How a server is reached. dial_s: seconds for the connection, None: CONNECT_S."""

    tls: Tls = field(default_factory=Tls)
    proxy: Proxy | None = None
    dial_s: float | None = None


@dataclass
class Response:
    """An answer. Close it, or use it as a context: what is left of its body ends its connection."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str]  # any case; several of one name are joined by commas
    _raw: urllib3.BaseHTTPResponse
    _watch: connections.Watch
    _failure: Exception | None = field(default=None, repr=False)
    _stride: int = 4 * LEAST_BYTES

    def all(self, name: str) -> list[str]:
        """Each header of that name."""
        return list(self._raw.headers.getlist(name))

    @property
    def length(self) -> int | None:
        """What Content-Length promises; None where it says nothing."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None

    def read(self, size: int = READ_BYTES) -> bytes:
        """Up to `size` bytes of the body as they are; b"" at its end. Raises Unreachable where it breaks off, Cancelled.

        As many at once as come within SLOW_S: few calls on a fast line, and a slow one is not silent.
        """
        if self._failure is not None:
            raise self._failure
        began_s = time.monotonic()
        try:
            data = self._raw.read(min(size, self._stride), decode_content=False)
        except (HTTPError, OSError, HTTPException, ValueError) as error:
            self._watch.end()
            self._failure = Cancelled() if self._watch.cancel.thrown else Unreachable(self.method, self.url, *cause_of(error))
            raise self._failure from None
        took_s = time.monotonic() - began_s
        if took_s > SLOW_S:
            self._stride = max(self._stride // 4, LEAST_BYTES)
        elif took_s < SLOW_S / 4:
            self._stride = min(self._stride * 2, READ_BYTES)
        if not data:
            self._watch.end()
            if self._watch.cancel.thrown:  # a socket that was shut down looks like a body's end where no length is known
                raise Cancelled
        return data

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """The same into a buffer; 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read_bounded(self, limit: int) -> bytes:
        """The whole body; of a longer one `limit` + 1 bytes, so that the caller sees it."""
        data = bytearray()
        while len(data) <= limit and (part := self.read(limit + 1 - len(data))):
            data += part
        return bytes(data)

    def close(self) -> None:
        """The connection goes back to the pool if the body is at its end, or comes to it in a moment; else it ends."""
        left = self._raw.length_remaining
        if self._failure is None and left is not None and left <= DRAINED_BYTES:
            connection = self._raw.connection
            if left and isinstance(connection, HTTPConnection) and connection.sock is not None:
                connection.sock.settimeout(DRAINED_S)
            with contextlib.suppress(HTTPError, OSError, HTTPException, ValueError):
                self._raw.read(decode_content=False)
        self._watch.end()
        self._raw.close()
        self._raw.release_conn()

    def __enter__(self) -> "Response":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport:
    """The pools; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._managers: dict[Route, tuple[certificates.States, urllib3.PoolManager]] = {}

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Body | None, route: Route, cancel: Cancel) -> Response:
        """One request and the head of its answer. Raises Unreachable in Go's words, Cancelled."""
        cancel.check()
        sent = dict(headers)
        if body is not None or method in ("POST", "PUT", "PATCH"):
            sent["Content-Length"] = str(body.size if body else 0)
        socks = route.proxy if route.proxy and route.proxy.scheme.startswith("socks") else None
        watch = connections.Watch(cancel, socks, route.dial_s or CONNECT_S)
        try:
            with watch:
                raw = self._manager(route).urlopen(
                    method, url, body=body.chunks() if body else None, headers=sent, redirect=False, retries=False, preload_content=False,
                    decode_content=False, timeout=urllib3.Timeout(connect=route.dial_s or CONNECT_S, read=IDLE_S),
                )  # fmt: skip
        except (HTTPError, OSError, DialFailed, HTTPException, ValueError) as error:
            watch.end()
            if cancel.thrown:
                raise Cancelled from None
            raise Unreachable(method, url, *cause_of(error), stale=watch.reused) from None
        except BaseException:
            watch.end()
            raise
        return Response(method, url, raw.status, raw.headers, raw, watch)

    def close_idle(self) -> None:
        """End the connections that wait for the next request; those in use go on."""
        with self._lock:
            for _, manager in self._managers.values():
                manager.clear()

    def _manager(self, route: Route) -> urllib3.PoolManager:
        state = certificates.states(route.tls)  # certificates may be renewed under a running daemon
        with self._lock:
            known, found = self._managers.get(route, (state, None))
            if found is None or known != state:
                found = _new_manager(route)
                self._managers[route] = state, found
            return found


def _new_manager(route: Route) -> urllib3.PoolManager:
    context = certificates.context(route.tls)
    if route.proxy is None or route.proxy.scheme.startswith("socks"):
        return connections.pools(urllib3.PoolManager(HOSTS, maxsize=CONNECTIONS, ssl_context=context))
    named = Credentials(route.proxy.username, route.proxy.password)
    headers = {"Proxy-Authorization": named.basic} if named.basic else {}
    return connections.pools(
        urllib3.ProxyManager(
            route.proxy.url, HOSTS, proxy_headers=headers, proxy_ssl_context=certificates.context(Tls()), maxsize=CONNECTIONS, ssl_context=context
        )
    )
