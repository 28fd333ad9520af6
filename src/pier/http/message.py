"""Requests and responses as values, and what stands in for a response when a connection was taken over."""

import asyncio
import fcntl
import socket
import sys
import termios
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import msgspec

from pier.api.stream import MULTIPLEXED, RAW
from pier.http.body import check_content_type, decode
from pier.http.query import Query

T = TypeVar("T")
MAX_JSON_BODY_BYTES = 4 << 20
_HEAD_S = 1.0
encode = msgspec.json.Encoder().encode


class ProtocolError(Exception):
    """The request breaks HTTP or one of the server's limits: answered with `status` and a line of text, then closed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ClientGone(ConnectionError):
    """The client hung up in the middle of a request or of its answer: nobody is left to tell."""


@dataclass(frozen=True)
class Response:
    """An answer with a body known in full. `json`, `text` and `empty` make the usual ones."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Stream:
    """An answer whose body comes piece by piece. The headers are sent at once, before the first piece.

    When the client goes, `chunks` is closed: what it holds is released in its `finally`. `single`: there is one piece, sent with the end.
    """

    chunks: AsyncIterator[bytes]
    content_type: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    single: bool = False


@dataclass(frozen=True)
class FileSegment:
    """`size` bytes of an open file from `offset` on; of a pipe what comes next. `fd` stays its owner's."""

    fd: int
    size: int
    offset: int = 0
    pipe: bool = False


@dataclass(frozen=True)
class Segments:
    """An answer of a known length, made of byte strings and of files that never pass through the daemon's memory.

    A thread of its own runs `parts` and sends (http/sending.py): neither a slow disk nor a slow client holds up the loop. `parts` may
    block; should it make other than `size` bytes, the connection is cut, so that the client sees that it is not whole. `release` is
    awaited once, however it ended, when the thread is over: there goes what the parts stand on.
    """

    parts: Generator[bytes | FileSegment, None, None]
    size: int
    content_type: str
    release: Callable[[], Awaitable[None]]
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Raw:
    """An answer written word for word, after which the connection is closed (what Docker does when attach fails)."""

    data: bytes


@dataclass(frozen=True)
class Taken:
    """The handler hijacked the connection, there is nothing to answer."""


Answer = Response | Stream | Segments | Raw | Taken


def json(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """An answer of JSON, ended by a line feed as Go's encoder does."""
    return Response(status, encode(value) + b"\n", "application/json", headers)


def text(value: str, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """An answer of plain text."""
    return Response(status, value.encode(), "text/plain; charset=utf-8", headers)


def empty(status: int = 204) -> Response:
    """An answer without a body."""
    return Response(status)


@dataclass(frozen=True)
class Hijacked:
    """A connection that has left the server.

    `sock` is the client's own socket, non-blocking, now the receiver's to close; `initial` is what the client had
    already sent behind its request, and belongs in front of what is read from `sock`.
    """

    sock: socket.socket
    initial: bytes

    async def head_is_read(self) -> None:
        """Wait until the client has read the answer's head, for a second at most.

        Clients that read it by a buffer of their own lose what comes with it: docker-py, on a busy machine, the first output of an exec.
        """
        pause_s, end_s = 0.0002, time.monotonic() + _HEAD_S
        while _unread(self.sock) and time.monotonic() < end_s:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.002)

    async def send(self, data: bytes) -> None:
        """Write to the client from the event loop, waiting for it as long as it takes. Raises OSError when it is gone."""
        self.sock.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(self.sock, data)


def _unread(sock: socket.socket) -> int:
    """What the other end has not read yet; nothing of a socket that cannot tell (unix(7), SIOCOUTQ)."""
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


class Wire(Protocol):
    """What a request needs of its connection (the tests have one without sockets)."""

    async def read_body(self) -> bytes: ...

    async def take(self, head: bytes) -> Hijacked: ...


Hijack = Callable[[bool], Awaitable[Hijacked]]
"""`await hijack(multiplexed)`: answers 101 (or the old 200) and takes the connection over; multiplexed = no terminal."""


@dataclass
class Request:
    """One request. `path` is decoded and without the version; `version` is that of the path, or the newest."""

    method: str
    path: str
    query: Query
    headers: Mapping[str, str]  # names in lower case
    wire: Wire
    target: str = ""
    version: tuple[int, int] = (0, 0)
    params: dict[str, str] = field(default_factory=dict)
    _body: bytes | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises ClientGone when it ends early, ProtocolError when it is malformed."""
        while data := await self.wire.read_body():
            yield data

    async def body(self, limit: int = MAX_JSON_BODY_BYTES) -> bytes:
        """The whole body. Raises ProtocolError 413 above `limit` bytes."""
        if self._body is None:
            parts, size = [], 0
            while data := await self.wire.read_body():
                size += len(data)
                if size > limit:
                    raise ProtocolError(413, f"the request body is larger than {limit} bytes")
                parts.append(data)
            self._body = b"".join(parts)
        return self._body

    async def json(self, kind: type[T]) -> T:
        """The body as a value of `kind`. Raises Invalid with Docker's texts."""
        content_type = self.headers.get("content-type")
        check_content_type(content_type, has_body=self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers)
        return decode(await self.body(), kind)

    async def json_or(self, kind: type[T]) -> T:
        """As `json`, but a missing or empty body gives the type's defaults, as of all Docker's routes but the creation of containers."""
        if not (await self.body()).strip():
            return kind()
        return await self.json(kind)

    async def hijack(self, multiplexed: bool = False, headers: tuple[tuple[str, str], ...] = ()) -> Hijacked:
        """Answer `101 UPGRADED` (`200 OK` to a client that did not ask for an upgrade) and take the connection over.

        The content type says whether the stream is framed, but to clients from API 1.42 on and after an upgrade only.
        """
        await self.body()
        upgrade = "upgrade" in self.headers
        kind = MULTIPLEXED if multiplexed and upgrade and self.version >= (1, 42) else RAW
        lines = ["HTTP/1.1 101 UPGRADED" if upgrade else "HTTP/1.1 200 OK", f"Content-Type: {kind}"]
        lines += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else []
        lines += [f"{name}: {value}" for name, value in headers]
        return await self.wire.take("\r\n".join([*lines, "", ""]).encode())
