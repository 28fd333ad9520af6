"""The ground of the test registries: an HTTP/1.1 server in threads of the test, that records what it is asked and follows a script of faults.

It listens on loopback, of this machine or of an engine's network namespace: a thread may enter another one (setns(2)), and a socket stays in the
namespace in which it was made. Nothing here shares a line with Pier.
"""

import contextlib
import ctypes
import os
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

CLONE_NEWNET = 0x40000000
CHUNK = 64 << 10
T = TypeVar("T")


class Inside(Protocol):
    """Namespaces to be in: tests.harness.engine.Namespaces."""

    pid: int


def in_network(inside: Inside | None, act: Callable[[], T]) -> T:
    """The result of `act` in the network namespace of a process, or of this one; what it raises is raised here."""
    if inside is None:
        return act()
    outcome: list[Any] = []

    def enter() -> None:
        try:
            fd = os.open(f"/proc/{inside.pid}/ns/net", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(fd)
            outcome.extend((act(), None))
        except BaseException as error:
            outcome.extend((None, error))

    thread = threading.Thread(target=enter)  # it ends here, so nobody else finds itself in the other namespace
    thread.start()
    thread.join()
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]  # type: ignore[no-any-return]


def listen(inside: Inside | None = None, address: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A listening socket."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(128)
        return sock

    return in_network(inside, make)


@dataclass(frozen=True)
class Request:
    """What was asked: `path` without the query, several values of one name in `query` with spaces between, names of `headers` in lower case,
    `body` only up to 64 KiB of known length, `connection` a number for each."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    length: int
    connection: int
    at: float
    client_certificate: bool = False

    @property
    def line(self) -> str:
        """Method and path, as faults match them."""
        return f"{self.method} {self.path}"


@dataclass
class Answer:
    """What is answered. A body is bytes, or a file of which `length` bytes from `start` are sent."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    file: str = ""
    start: int = 0
    length: int = -1

    @property
    def size(self) -> int:
        return self.length if self.length >= 0 else os.path.getsize(self.file) - self.start if self.file else len(self.body)


@dataclass
class Fault:
    """Something that goes wrong for `times` requests (None: all) whose "METHOD /path" has the regular expression `match`, after `skip` of them.

    Instead of the answer: `status` with `headers` and `body`; `redirect` (a URL; the path is appended where it ends in "/"); `drop`: the
    connection ends; `answer`: a function makes it. To the answer, also with the former: `delay_s` before it; `hang`: nothing more after the
    headers (`cut` says after how many bytes); `cut`: the connection ends after so many bytes of the body; `lie`: added to Content-Length;
    `flip`: the byte at this place is another; `body` alone replaces it; `rate`: bytes a second.
    """

    match: str
    times: int | None = 1
    skip: int = 0
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    redirect: str = ""
    drop: bool = False
    answer: "Callable[[Request], Answer] | None" = None
    delay_s: float = 0.0
    hang: bool = False
    cut: int | None = None
    lie: int = 0
    flip: int | None = None
    rate: int = 0
    seen: int = 0  # how many requests matched so far
    used: int = 0  # how many it changed

    def takes(self, line: str) -> bool:
        """Whether it is this request's turn; counts."""
        if not re.search(self.match, line):
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.times is not None and self.used >= self.times):
            return False
        self.used += 1
        return True


class Server:
    """A server on loopback. `tls`: a context for https. Use as a context; `requests` is what was asked, in the order of arrival."""

    def __init__(self, inside: Inside | None = None, *, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.inside, self.tls = inside, tls
        self.requests: list[Request] = []
        self.connections = 0
        self.handshakes_failed = 0
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._socket = listen(inside, address, port)
        self.address, self.port = address, int(self._socket.getsockname()[1])
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    # -- what a test says and sees

    @property
    def name(self) -> str:
        """HOST:PORT, as images name it."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.name}"

    def fault(self, match: str, **what: Any) -> Fault:
        """Add a line to the script; faults are tried in the order in which they were added."""
        fault = Fault(match, **what)
        with self._lock:
            self._faults.append(fault)
        return fault

    def forget(self) -> None:
        """Neither faults nor requests are known any more."""
        with self._lock:
            self._faults.clear()
            self.requests.clear()

    def asked(self, match: str = "") -> list[Request]:
        """The requests whose "METHOD /path" has the regular expression."""
        with self._lock:
            return [request for request in self.requests if re.search(match, request.line)]

    def texts(self) -> Iterator[str]:
        """All that was ever sent to it, for a look at what should not have been: query, headers, bodies."""
        for request in self.asked():
            yield f"{request.line} {request.query} {request.headers} {request.body!r}"

    def answer(self, request: Request, body: "Body") -> Answer:
        """What a subclass serves. Whatever it leaves unread of the body is read and forgotten."""
        raise NotImplementedError

    # -- life

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End every connection, also those that hang."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(10)
        self._socket.close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                number = self.connections
                self._open.add(sock)
                self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        wrapped = sock
        try:
            sock.settimeout(120)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                secured = wrapped = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                try:
                    secured.do_handshake()
                except (OSError, ssl.SSLError):
                    self.handshakes_failed += 1
                    self._drain(secured)
                    return
                with self._lock:
                    self._open.add(wrapped)
            with contextlib.suppress(OSError, _Gone):
                self.serve(wrapped, number)
        finally:
            with self._lock:
                self._open -= {sock, wrapped}
            with contextlib.suppress(OSError):
                wrapped.close()
            sock.close()

    def _drain(self, sock: socket.socket) -> None:
        """Read what still comes, so that the alert is not lost with a reset."""
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(2)
            while socket.socket.recv(sock, CHUNK):  # below TLS
                pass

    def serve(self, sock: socket.socket, number: int) -> None:
        """One connection, till its end: HTTP."""
        _Handler(sock, self, number)

    def wait(self, seconds: float) -> None:
        """Sleep; _Gone where the server closes meanwhile."""
        if self._closing.wait(seconds):
            raise _Gone

    def recorded(self, request: Request) -> Fault | None:
        """Note a request; the fault whose turn it is."""
        with self._lock:
            self.requests.append(request)
            for fault in self._faults:
                if fault.takes(request.line):
                    return fault
        return None


class _Gone(Exception):
    """This connection is over."""


class Body:
    """A request's body, of known length or in chunks; read by pieces, or whole."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._file = handler.rfile
        self._chunked = "chunked" in handler.headers.get("Transfer-Encoding", "").lower()
        self._left = int(handler.headers.get("Content-Length") or 0)
        self.length = 0

    def pieces(self) -> Iterator[bytes]:
        """What is left of it; ends early where the client goes away (`cut` is true then)."""
        while size := min(self._next(), CHUNK):
            data = self._file.read(size)
            self._left -= len(data)
            self.length += len(data)
            if self._chunked and not self._left:
                self._file.readline()
            if len(data) < size:
                self.cut = True
                return
            yield data

    cut = False

    def _next(self) -> int:
        if self._chunked and not self._left:
            line = self._file.readline()
            self._left = int(line.partition(b";")[0] or b"0", 16) if line else 0
            if not self._left:
                self._chunked = False
                self._file.readline()
        return self._left

    def read(self) -> bytes:
        return b"".join(self.pieces())


class _Handler(BaseHTTPRequestHandler):
    """The requests of one connection."""

    protocol_version = "HTTP/1.1"
    server: Any

    def __init__(self, sock: socket.socket, owner: Server, number: int) -> None:
        self.owner, self.number = owner, number
        super().__init__(sock, sock.getpeername(), owner)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.act
        raise AttributeError(name)

    def act(self) -> None:
        """Serve one request, as the script wants it."""
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = {name: " ".join(values) for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        certificate = isinstance(self.connection, ssl.SSLSocket) and bool(self.connection.getpeercert(True))
        path = self.path if self.command == "CONNECT" else unquote(parts.path)
        body = Body(self)
        seen = body.read() if 0 < body._left <= CHUNK and not body._chunked else b""
        request = Request(self.command, path, query, headers, seen, body._left or len(seen), self.number, time.monotonic(), certificate)
        fault = self.owner.recorded(request)
        if fault and fault.drop:
            self.abort()
        if fault and fault.delay_s:
            self.owner.wait(fault.delay_s)
        made = self.replaced(request, fault) if fault else None
        answer = made or self.owner.answer(request, _Seen(seen) if seen else body)
        for _ in body.pieces():
            pass
        if fault and fault.body is not None and not fault.status:
            answer = Answer(answer.status, fault.body, answer.headers)
        self.send(answer, fault)

    @staticmethod
    def replaced(request: Request, fault: Fault) -> Answer | None:
        """The answer that comes instead, None where the right one is given (and spoiled)."""
        if fault.answer:
            return fault.answer(request)
        if fault.redirect:
            target = fault.redirect + request.path.lstrip("/") if fault.redirect.endswith("/") else fault.redirect
            return Answer(fault.status or 307, b"", {"Location": target, **fault.headers})
        if fault.status:
            return Answer(fault.status, fault.body or b"", dict(fault.headers))
        return None

    def send(self, answer: Answer, fault: Fault | None) -> None:
        """Headers and body; what the fault says about them happens here."""
        size = answer.size
        headers = dict(answer.headers)
        if answer.status not in (204, 304):
            headers.setdefault("Content-Length", str(size))
        if fault and fault.lie:
            headers["Content-Length"] = str(int(headers["Content-Length"]) + fault.lie)
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = 0
        for piece in _pieces(answer, fault):
            self.wfile.write(piece)
            sent += len(piece)
            if fault and fault.rate:
                self.wfile.flush()
                self.owner.wait(len(piece) / fault.rate)
        self.wfile.flush()
        if fault and fault.hang:
            self.hang()
        if fault and fault.cut is not None:
            self.abort()
        if fault and fault.lie > 0:
            self.close_connection = True

    def hang(self) -> None:
        """Say nothing until the client or the server goes."""
        while True:
            ready, _, _ = select.select([self.connection], [], [], 0.05)
            if ready:
                with contextlib.suppress(ssl.SSLError, OSError):
                    if self.connection.recv(1):
                        continue
                raise _Gone
            self.owner.wait(0)

    def abort(self) -> None:
        """End the connection, by a reset where the client has not read all."""
        raise _Gone


class _Seen(Body):
    """A body that was read already."""

    def __init__(self, data: bytes) -> None:
        self.length, self._data = len(data), data

    def pieces(self) -> Iterator[bytes]:
        data, self._data = self._data, b""
        if data:
            yield data


def _pieces(answer: Answer, fault: Fault | None) -> Iterator[bytes]:
    """The body in pieces, cut and flipped as the fault says."""
    left = answer.size
    if fault and (fault.cut is not None or fault.hang):
        left = min(left, fault.cut or 0)
    if fault and fault.lie < 0:
        left = max(left + fault.lie, 0)
    chunk = min(CHUNK, max(fault.rate // 20, 1)) if fault and fault.rate else CHUNK
    file = open(answer.file, "rb") if answer.file else None  # noqa: SIM115
    at = 0
    try:
        if file:
            file.seek(answer.start)
        while at < left:
            data = file.read(min(chunk, left - at)) if file else answer.body[answer.start + at : answer.start + at + min(chunk, left - at)]
            if not data:
                return
            if fault and fault.flip is not None and at <= fault.flip < at + len(data):
                place = fault.flip - at
                data = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            yield data
            at += len(data)
    finally:
        if file:
            file.close()
