"""Sockets to a daemon, and one request with its response on one of them. Blocking; no `socket` import (6 ms)."""

import _socket
import posix

from pier.client.wire import ProtocolError, ResponseReader, request_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

READ_BYTES = 64 * 1024
_CLOEXEC = getattr(_socket, "SOCK_CLOEXEC", 0)


class Unreachable(Exception):
    """Nothing answers at the address. `errno` says why."""

    def __init__(self, address: str, cause: OSError) -> None:
        self.address = address
        self.errno = cause.errno
        super().__init__(f"{address}: {cause.strerror or cause}")


class ConnectionFailed(Exception):
    """No daemon answers, or its answer breaks off; the text says which and names the address where there is one."""


class Unsupported(ValueError):
    """An address of a kind that this client does not speak."""


def dial(address: str) -> "_socket.socket":
    """A connected socket to `unix:///path`, `tcp://host:port` (no TLS) or, through the program ssh, `ssh://[user@]host[:port][/path]`.

    Raises Unreachable; Unsupported for another scheme, by its name, and for what is no such address.
    """
    scheme, separator, rest = address.partition("://")
    try:
        if scheme == "unix":
            sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _CLOEXEC)
            sock.connect(rest)
            return sock
        if scheme == "tcp":
            host, _, port = rest.rstrip("/").rpartition(":")
            family, kind, proto, _, where = _socket.getaddrinfo(host.strip("[]") or "localhost", port, 0, _socket.SOCK_STREAM)[0]
            sock = _socket.socket(family, kind | _CLOEXEC, proto)
            sock.connect(where)
            return sock
        if scheme == "ssh":
            from pier.client import ssh

            try:
                return ssh.dial(address)
            except ValueError as error:
                raise Unsupported(str(error)) from None
    except OSError as error:
        raise Unreachable(address, error) from None
    if not separator:
        raise Unsupported(f"unable to parse docker host `{address}`")
    raise Unsupported(f"{scheme}:// is not supported by Pier yet: use unix://")


class Response:
    """A response whose head is there and whose body is read on demand, from its own connection."""

    def __init__(self, sock: "_socket.socket", reader: ResponseReader) -> None:
        self.sock = sock
        self._reader = reader
        self.status = reader.status
        self.headers = reader.headers

    def fileno(self) -> int:
        """The connection's descriptor, for poll; bytes may wait in the reader too, so read once before waiting."""
        return self.sock.fileno()

    @property
    def finished(self) -> bool:
        """Whether the body is at its end."""
        return self._reader.done

    def waiting(self) -> bytes:
        """Body bytes that are decoded already, without reading."""
        return self._reader.take()

    def receive(self) -> bytes:
        """Read once from the connection; what of it was body (perhaps nothing: see `finished`). Raises ConnectionFailed where it breaks off."""
        try:
            data = self.sock.recv(READ_BYTES)
            if data:
                self._reader.feed(data)
            else:
                self._reader.eof()
        except (ProtocolError, ConnectionResetError) as error:
            raise ConnectionFailed(f"the daemon's answer broke off: {getattr(error, 'strerror', None) or error}") from None
        return self._reader.take()

    def chunks(self) -> "Iterator[bytes]":
        """The body, piece by piece as it comes."""
        piece = self._reader.take()
        while True:
            if piece:
                yield piece
            if self._reader.done:
                return
            piece = self.receive()

    def read(self) -> bytes:
        """The whole body."""
        return b"".join(self.chunks())

    def peek(self) -> bytes:
        """The whole body, which stays to be read."""
        body = self.read()
        self._reader.unread(body)
        return body

    def hijacked(self) -> bytes:
        """What came behind the head already; from here on the connection is the caller's raw stream."""
        if self._reader.upgraded:
            rest, self._reader.trailing = self._reader.trailing, b""
            return rest
        return self._reader.take()

    @property
    def reusable(self) -> bool:
        """Whether another request may go over the same connection."""
        return self._reader.done and not self._reader.trailing and self.headers.get("connection", "").lower() != "close"

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()


def send(
    sock: "_socket.socket",
    method: str,
    target: str,
    host: str,
    headers: "list[tuple[str, str]]",
    body: "bytes | Iterable[bytes] | None",
    meanwhile: "Callable[[], None] | None" = None,
) -> Response:
    """Send one request and wait for the head of its response; `meanwhile` is called while the daemon works on it.

    A body of bytes is sent with its length, an iterable as chunks; where the daemon answers before it took all of
    that (it refuses the archive), the answer is returned and the rest is not sent.
    Raises ProtocolError, OSError.
    """
    if isinstance(body, bytes):
        headers = [*headers, ("Content-Length", str(len(body)))]
        sock.sendall(request_head(method, target, host, headers) + body)
    elif body is None:
        sock.sendall(request_head(method, target, host, headers))
    else:
        sock.sendall(request_head(method, target, host, [*headers, ("Transfer-Encoding", "chunked")]))
        _send_chunks(sock, body)
    if meanwhile is not None:
        meanwhile()
    reader = ResponseReader(method)
    while not reader.status:
        try:
            data = sock.recv(READ_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            raise ProtocolError("EOF")
        reader.feed(data)
    return Response(sock, reader)


def _send_chunks(sock: "_socket.socket", body: "Iterable[bytes]") -> None:
    try:
        for piece in body:
            if piece:
                sock.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        sock.sendall(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass  # the answer that explains it is on its way


def read_file(fd: int, size: int = 1 << 20) -> "Iterator[bytes]":
    """The rest of a file or pipe, in pieces."""
    while piece := posix.read(fd, size):
        yield piece
