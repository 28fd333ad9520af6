"""One client's connection: requests in order, their answers, and the way out as a hijacked socket.

The socket is this object's own (no asyncio transport) until `take`. Plain requests are read by plain.py, all others by h11, a fresh
parser for each; answers are written by wire.py, since h11's checks of our own headers cost more than the rest of a small request.
The limits and the refusals that both leave open (a length beside a transfer coding, foreign browsers' Host and Origin) are here.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote

import h11

from pier.errors import Invalid
from pier.http import plain, sending, wire
from pier.http.message import Answer, ClientGone, Hijacked, ProtocolError, Raw, Request, Response, Segments, Stream, Taken, json
from pier.http.origin import is_malformed, refusal
from pier.http.query import Query

_log = logging.getLogger("pier.http")
_READ_BYTES = 256 << 10
_DRAIN_BYTES = 256 << 10  # of an unread body, as Go's server; beyond it the connection is closed
_READS_PER_TURN = 8

Handler = Callable[[Request], Awaitable[Answer]]


@dataclass(frozen=True)
class Limits:
    """What a client may use up."""

    head_bytes: int = 64 << 10
    head_s: float = 10.0  # from the first byte of a head, or the start of the connection, to its end
    idle_s: float = 300.0  # between two requests
    body_gap_s: float = 60.0  # between two pieces of a body


class Connection:
    """Serves one socket until the client goes, breaks the protocol, or the connection is hijacked."""

    def __init__(self, sock: socket.socket, handler: Handler, limits: Limits) -> None:
        sock.setblocking(False)
        self._sock, self._handler, self._limits = sock, handler, limits
        self._loop = asyncio.get_running_loop()
        self._rest = b""  # what has been read and belongs to no request yet, while there is no parser
        self._h11: h11.Connection | None = None  # of the request under way, where it is not plain
        self._body = b""  # of a plain request, until it is read
        self._body_done = True
        self._taken = False
        self._streaming: asyncio.Task[None] | None = None
        self._is_head = False
        self._chunked = self._keep = True  # what the client of the request under way understands
        self._continued = False
        self._reads = 0
        self.busy = False  # a request is being answered

    async def serve(self) -> None:
        """Run to the end; never raises for what a client does. Closes the socket unless it was hijacked."""
        try:
            first = True
            while await self._one(first):
                first = False
        except (ClientGone, OSError):
            pass
        except ProtocolError as error:
            await self._refuse(error)
        finally:
            if not self._taken:
                self._sock.close()

    async def _one(self, first: bool) -> bool:
        """Read and answer one request; says whether the connection lives on."""
        head = await self._head(first)
        if head is None:
            return False
        self.busy = True
        try:
            request = self._request(head)
            try:
                answer = await self._handler(request)
            except ProtocolError as error:
                if error.status == 413:
                    self._keep = False
                    await self._respond(json({"message": str(error)}, 413))
                    return False
                raise
            if self._taken or isinstance(answer, Taken):
                return False
            if isinstance(answer, Raw):
                await self._loop.sock_sendall(self._sock, answer.data)
                return False
            if isinstance(answer, Stream):
                await self._stream(answer)
            elif isinstance(answer, Segments):
                await self._segments(answer)
            else:
                await self._respond(answer)
            return await self._rearm()
        finally:
            self.busy = False

    # reading

    async def _head(self, first: bool) -> "plain.Plain | h11.Request | None":
        """The head of the next request; None where there comes none."""
        started = first
        deadline = self._loop.time() + self._limits.head_s
        self._continued = False
        while True:
            if self._rest and self._h11 is None:
                if request := plain.read(self._rest, self._limits.head_bytes):
                    self._rest, self._body, self._body_done = request.rest, request.body, not request.body
                    self._is_head, self._chunked = request.method == "HEAD", True
                    return request
                self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_bytes)
                self._feed(self._rest)
                self._rest = b""
            if (event := self._parsed()) is not None:
                if isinstance(event, h11.Request):
                    self._body_done = False
                    self._is_head = event.method == b"HEAD"
                    self._chunked = event.http_version >= b"1.1"
                    return event
                return None  # ConnectionClosed, or PAUSED after a refused upgrade
            buffered = self._h11 is not None and bool(self._h11.trailing_data[0])
            if buffered and not started:
                started, deadline = True, self._loop.time() + self._limits.head_s
            wait_s = deadline - self._loop.time() if started else self._limits.idle_s
            try:
                data = await self._recv(wait_s)
            except TimeoutError:
                if buffered:
                    raise ProtocolError(408, f"the headers did not arrive within {self._limits.head_s:g} s") from None
                return None
            if not data and not buffered:
                return None
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        """Take in what was received; b"" is the end."""
        if self._h11 is not None:
            self._h11.receive_data(data)
        else:
            self._rest += data

    def _parsed(self) -> object:
        """The next event of h11's parser, None where it has none yet."""
        if self._h11 is None:
            return None
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise ProtocolError(error.error_status_hint, str(error)) from None
        return None if event is h11.NEED_DATA else event

    async def _recv(self, wait_s: float) -> bytes:
        self._reads += 1
        if self._reads % _READS_PER_TURN == 0:
            await asyncio.sleep(0)  # a client that sends faster than we read must not keep the loop
        try:
            return self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            async with asyncio.timeout(max(wait_s, 0.0)):
                return await self._loop.sock_recv(self._sock, _READ_BYTES)

    def _request(self, head: plain.Plain | h11.Request) -> Request:
        if isinstance(head, plain.Plain):
            method, target, headers = head.method, head.target, head.headers
        else:
            method, target, headers = self._unfolded(head)
        if is_malformed(headers.get("host", "")):
            raise ProtocolError(400, "malformed Host header")
        if reason := refusal(headers):
            raise ProtocolError(403, reason)
        tokens = {token.strip() for token in headers.get("connection", "").lower().split(",")}
        self._keep = self._chunked and "close" not in tokens
        if not target.startswith("/"):
            # a URL in full is what proxies are sent (RFC 9112, 3.2.2): its own host would have to be looked at, and nobody sends one here
            raise ProtocolError(400, f"request target {target[:80]!r} is no path")
        try:
            path, _, query = target.partition("?")
            return Request(method, unquote(path), Query(query), headers, self, target)
        except (Invalid, ValueError) as error:
            raise ProtocolError(400, f"request target: {error}") from None

    def _unfolded(self, event: h11.Request) -> tuple[str, str, dict[str, str]]:
        """Method, target and headers of what h11 has read. Raises ProtocolError for what it lets through and we do not."""
        headers: dict[str, str] = {}
        size = len(event.target)
        for raw_name, raw_value in event.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            size += len(name) + len(value) + 4
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if event.http_version not in (b"1.1", b"1.0"):
            raise ProtocolError(505, "unsupported protocol version")
        if size > self._limits.head_bytes:
            raise ProtocolError(431, f"the headers are larger than {self._limits.head_bytes} bytes")
        if "content-length" in headers and "transfer-encoding" in headers:
            raise ProtocolError(400, "both Content-Length and Transfer-Encoding are given")
        if "transfer-encoding" not in headers and headers.get("content-length", "0") == "0":
            self._parsed()  # the end of a message without a body: nothing will be read for it
            self._body_done = True
        return event.method.decode("latin-1"), event.target.decode("latin-1"), headers

    async def read_body(self) -> bytes:
        """The next piece of the body, empty at its end. Raises ClientGone, ProtocolError."""
        if self._body:
            body, self._body = self._body, b""
            self._body_read()
            return body
        while not self._body_done and self._h11 is not None:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                if self._h11.trailing_data[1]:
                    raise ClientGone("the client hung up inside the request body") from None
                raise ProtocolError(error.error_status_hint, str(error)) from None
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                self._body_read()
            elif event is h11.NEED_DATA:
                if leave := self._leave():
                    await self._loop.sock_sendall(self._sock, leave)
                try:
                    self._h11.receive_data(await self._recv(self._limits.body_gap_s))
                except TimeoutError:
                    raise ProtocolError(408, f"nothing of the request body came for {self._limits.body_gap_s:g} s") from None
            else:
                raise ClientGone("the client hung up inside the request body")
        return b""

    def _leave(self) -> bytes:
        """What lets a client send its body that waits for leave to do so; once, and before the head of an answer that is made while it is read."""
        if self._h11 is None or self._continued or not self._h11.they_are_waiting_for_100_continue:
            return b""
        self._continued = True
        return wire.CONTINUE

    def _body_read(self) -> None:
        self._body_done = True
        if self._streaming is not None:
            self._watch()

    async def take(self, head: bytes) -> Hijacked:
        """Write `head` and give the socket away; the request's body has been read before."""
        await self._loop.sock_sendall(self._sock, head)
        self._taken = True
        return Hijacked(self._sock, self._behind())

    def _behind(self) -> bytes:
        """What the client has sent behind its request."""
        return self._rest if self._h11 is None else bytes(self._h11.trailing_data[0])

    # writing

    async def _respond(self, answer: Response) -> None:
        headers = list(answer.headers)
        bodiless = answer.status in (204, 304)
        if answer.content_type:
            headers.append(("Content-Type", answer.content_type))
        if not bodiless:
            headers.append(("Content-Length", str(len(answer.body))))
        if not self._keep:
            headers.append(("Connection", "close"))
        body = b"" if bodiless or self._is_head else answer.body
        await self._loop.sock_sendall(self._sock, wire.head(answer.status, headers) + body)

    async def _segments(self, answer: Segments) -> None:
        """Send a body of known length from a thread of its own."""
        headers = [*answer.headers, ("Content-Type", answer.content_type), ("Content-Length", str(answer.size))]
        headers += [] if self._keep else [("Connection", "close")]
        try:
            await self._loop.sock_sendall(self._sock, wire.head(answer.status, headers))
            if not self._is_head:
                await sending.send(self._sock, answer)
        finally:
            await answer.release()

    async def _stream(self, answer: Stream) -> None:
        """Send a body piece by piece; stop, and close its source, as soon as the client hangs up."""
        headers = [*answer.headers, ("Content-Type", answer.content_type)]
        headers += [("Transfer-Encoding", "chunked")] if self._chunked else []
        headers += [] if self._keep else [("Connection", "close")]
        head = wire.head(answer.status, headers)
        if self._body_done:
            await self._loop.sock_sendall(self._sock, head)
            head = b""  # else it goes with the first piece: aiohttp sends no more of a body once it has an answer's head
        self._streaming = pump = asyncio.ensure_future(self._pump(answer, head))
        if self._body_done:
            self._watch()
        try:
            await asyncio.wait([pump])
        finally:
            self._streaming = None
            if self._body_done:
                self._loop.remove_reader(self._sock.fileno())
            pump.cancel()
            await asyncio.wait([pump])
        if pump.cancelled():
            raise ClientGone("the client hung up while its answer was being sent")
        pump.result()

    def _watch(self) -> None:
        """From now on the socket's readability means: the client hung up, or its next request is there.

        Not before the body is read (a load answers while it reads): the socket has one reader at a time.
        """
        self._loop.add_reader(self._sock.fileno(), self._look)

    def _look(self) -> None:
        try:
            data = self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._loop.remove_reader(self._sock.fileno())  # a byte: the next request, for later
        if not data and self._streaming is not None:
            self._streaming.cancel()

    async def _pump(self, answer: Stream, head: bytes) -> None:
        chunks = answer.chunks
        try:
            async for chunk in chunks:
                if chunk and not self._is_head:
                    framed = wire.chunk(chunk) if self._chunked else chunk
                    if head:
                        framed, head = self._leave() + head + framed, b""
                    await self._loop.sock_sendall(self._sock, framed + wire.LAST_CHUNK if answer.single and self._chunked else framed)
            last = wire.LAST_CHUNK if self._chunked and not self._is_head and not answer.single else b""
            if head or last:
                await self._loop.sock_sendall(self._sock, head + last)
        except (ClientGone, OSError, asyncio.CancelledError):
            raise
        except ProtocolError:
            if head:
                raise  # nothing was said yet: it is answered as any other
            raise ClientGone("the request's body broke off") from None
        except Exception:
            _log.exception("a streamed answer failed")
            if head:
                raise ProtocolError(500, "the answer failed before it began: the daemon's log has the reason") from None
            # the status line is out: a cut connection is the only way left to say that the answer is not whole
            raise ClientGone("the answer failed half-way") from None
        finally:
            if close := getattr(chunks, "aclose", None):
                await close()

    async def _rearm(self) -> bool:
        """Get ready for the next request: discard what is left of the body, unless it is long or the client waits for leave."""
        left = _DRAIN_BYTES
        while self._keep and not self._body_done:
            if self._h11 is not None and self._h11.they_are_waiting_for_100_continue and not self._continued:
                return False
            left -= len(await self.read_body())
            if left < 0:
                return False
        if not self._keep:
            return False
        self._rest, self._h11 = self._behind(), None
        return True

    async def _refuse(self, error: ProtocolError) -> None:
        reason = wire.reason(error.status)
        body = f"{error.status} {reason}: {error}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close"), ("Content-Length", str(len(body)))]
        try:
            async with asyncio.timeout(5):
                await self._loop.sock_sendall(self._sock, wire.head(error.status, headers) + body)
        except (OSError, TimeoutError):
            pass
