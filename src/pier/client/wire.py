"""HTTP/1.1 as a client speaks it, without any I/O: bytes to send, and a reader that is fed what arrives.

Source: RFC 9112. Two things that general libraries get wrong matter here: bytes that arrive in the same packet as
the 101 of an upgrade belong to the stream, and an old daemon answers a hijack with 200 and no Content-Length.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD_LIMIT_BYTES = 256 * 1024
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


class ProtocolError(Exception):
    """The other side does not speak HTTP/1.1 as it should; the text says what was wrong."""


def quote(text: str, safe: str = "") -> str:
    """Percent-encode `text` (as UTF-8) for a path segment or a query, leaving RFC 3986's unreserved and `safe` bytes."""
    if text.isalnum() and text.isascii():
        return text
    keep = _UNRESERVED | frozenset(safe.encode())
    return "".join(chr(byte) if byte in keep else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def query(pairs: "Iterable[tuple[str, str]]") -> str:
    """`?a=b&c=d` in the order given, or the empty string where there is nothing."""
    text = "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)
    return "?" + text if text else ""


def request_head(method: str, target: str, host: str, headers: "Iterable[tuple[str, str]]") -> bytes:
    """The bytes of a request line and its headers; `target` is the encoded path and query.

    Raises ValueError for a line break in any of them: it would become another header.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines.extend(f"{name}: {value}" for name, value in headers)
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a request line or header")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class ResponseReader:
    """Reads one response out of the bytes it is fed.

    `status` is 0 until the head is complete; then `reason`, `headers` (lower-case names) and `upgraded` are set.
    `take()` gives the body bytes decoded so far; `done` is set at the end of the body. What follows the response
    (or the whole rest, once upgraded) is in `trailing`.
    """

    __slots__ = ("_body", "_buffer", "_left", "_mode", "_no_body", "done", "headers", "reason", "status", "trailing", "upgraded")

    def __init__(self, method: str = "GET") -> None:
        self._no_body = method == "HEAD"
        self._buffer = b""
        self._body: list[bytes] = []
        self._mode = "head"
        self._left = 0
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        self.done = False
        self.upgraded = False
        self.trailing = b""

    def feed(self, data: bytes) -> None:
        """Take in what arrived. Raises ProtocolError for what is not a response."""
        if self.upgraded or self.done:
            self.trailing += data
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self._mode == "head":
            self._read_head()
        if self._mode == "chunked":
            self._read_chunks()
        elif self._mode == "length":
            part, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
            self._left -= len(part)
            if part:
                self._body.append(part)
            if not self._left:
                self._finish()
        elif self._mode == "until-close" and self._buffer:
            self._body.append(self._buffer)
            self._buffer = b""

    def eof(self) -> None:
        """The other side closed: ends a body without a length. Raises ProtocolError where more was announced."""
        if self._mode == "until-close":
            self._finish()
        elif not self.done and not self.upgraded:
            raise ProtocolError("unexpected EOF")

    def take(self) -> bytes:
        """The body bytes that were decoded since the last call."""
        body, self._body = self._body, []
        return body[0] if len(body) == 1 else b"".join(body)

    def unread(self, body: bytes) -> None:
        """Let the next `take` give these bytes first."""
        self._body.insert(0, body)

    def _finish(self) -> None:
        self.done = True
        self._mode = "done"
        self.trailing, self._buffer = self._buffer, b""

    def _read_head(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_LIMIT_BYTES:
                raise ProtocolError("the response's headers are too long")
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        self._buffer = self._buffer[end + 4 :]
        version, _, rest = lines[0].partition(" ")
        code, _, reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or len(code) != 3 or not code.isdigit():
            raise ProtocolError(f"malformed HTTP response {lines[0][:80]!r}")
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise ProtocolError(f"malformed HTTP header {line[:80]!r}")
            headers[name.lower()] = value.strip()
        status = int(code)
        if 100 <= status < 200 and status != 101:
            return self._read_head()
        self.status, self.reason, self.headers = status, reason, headers
        self._choose_body()
        return None

    def _choose_body(self) -> None:
        if self.status == 101:
            self.upgraded = True
            self._mode = "done"
            self.trailing, self._buffer = self._buffer, b""
        elif self._no_body or self.status in (204, 304):
            self._finish()
        elif self.headers.get("transfer-encoding", "").lower() == "chunked":
            self._mode, self._left = "chunked", -1
        elif "content-length" in self.headers:
            length = self.headers["content-length"]
            if not (length.isascii() and length.isdigit()):
                raise ProtocolError(f"malformed Content-Length {length[:40]!r}")
            self._left = int(length)
            self._mode = "length"
        else:
            self._mode = "until-close"

    def _read_chunks(self) -> None:
        # _left: -1 before a size line, -2 before the line break behind a chunk, -3 in the trailers
        while True:
            if self._left > 0:
                part, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
                if not part:
                    return None
                self._body.append(part)
                self._left -= len(part)
                if self._left:
                    return None
                self._left = -2
            if self._left == -2 and not b"\r\n".startswith(self._buffer[:2]):
                raise ProtocolError("malformed chunk: no line break behind it")
            end = self._buffer.find(b"\r\n")
            if end < 0:
                if len(self._buffer) > HEAD_LIMIT_BYTES:
                    raise ProtocolError("malformed chunk")
                return None
            line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
            if self._left == -2:
                self._left = -1
            elif self._left == -1:
                size = line.partition(b";")[0].strip()
                try:
                    self._left = int(size, 16) if size.isalnum() else -9
                except ValueError:
                    self._left = -9
                if self._left == -9:
                    raise ProtocolError(f"malformed chunk size {line[:40]!r}")
                if self._left == 0:
                    self._left = -3
            elif not line:
                return self._finish()
