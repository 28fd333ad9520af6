"""A client of the engine's API that shares no line with Pier's own: http.client over a UNIX socket, and raw sockets for what is hijacked."""

import http.client
import json
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class Answer:
    """Status, headers (lower case) and body of a response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def ok(self, *statuses: int) -> "Answer":
        """Itself; AssertionError with the body unless the status is one of `statuses` (default: any 2xx)."""
        assert self.status in statuses if statuses else 200 <= self.status < 300, f"{self.status}: {self.body.decode(errors='replace')}"
        return self

    def refused(self, status: int, text: str) -> "Answer":
        """Itself; AssertionError unless it is an error of this status whose message has `text`."""
        assert self.status == status and text in self.json["message"], f"{self.status}: {self.body.decode(errors='replace')}"
        return self


class Api:
    """Requests to the socket at `path`, under a version of the API."""

    def __init__(self, path: str, version: str = "1.51") -> None:
        self.path, self.version = path, version

    def __call__(
        self, method: str, route: str, body: Any = None, *, data: bytes | None = None, headers: dict[str, str] | None = None,
        timeout_s: float = 60.0, **query: Any,
    ) -> Answer:  # fmt: skip
        """One request; `body` is sent as JSON, `data` as it is; dicts in the query are JSON, True is 1, a list is several."""
        connection = _Unix(self.path, timeout_s)
        try:
            content, own = payload(body, data)
            connection.request(method, self.url(route, query), content, own | (headers or {}))
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, route: str, **query: Any) -> Any:
        """The JSON of a GET that must succeed."""
        return self("GET", route, **query).ok().json

    def url(self, route: str, query: dict[str, Any]) -> str:
        words = {k: json.dumps(v) if isinstance(v, dict) else int(v) if isinstance(v, bool) else v for k, v in query.items() if v is not None}
        prefix = f"/v{self.version}" if self.version else ""
        return prefix + quote(route, safe="/:@%") + (f"?{urlencode(words, doseq=True)}" if words else "")

    def hijack(self, route: str, body: Any = None, late_s: float = 0.0, **query: Any) -> tuple[socket.socket, bytes]:
        """POST with `Upgrade: tcp`; returns the raw socket behind the 101 and the first bytes. AssertionError for another answer.

        late_s: how long it waits before it reads that answer.
        """
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(60)
        sock.connect(self.path)
        data, headers = payload(body, None)
        headers = {"Host": "x", "Upgrade": "tcp", "Connection": "Upgrade", "Content-Length": str(len(data or b"")), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        sock.sendall(f"POST {self.url(route, query)} HTTP/1.1\r\n{head}\r\n".encode() + (data or b""))
        time.sleep(late_s)
        seen = b""
        while b"\r\n\r\n" not in seen:
            more = sock.recv(4096)
            assert more, f"closed after {seen!r}"
            seen += more
        head_bytes, _, rest = seen.partition(b"\r\n\r\n")
        assert b" 101 " in head_bytes.split(b"\r\n")[0], seen
        return sock, rest


def payload(body: Any, data: bytes | None) -> tuple[bytes | None, dict[str, str]]:
    """The bytes of a body and the headers that go with them."""
    if body is not None:
        return json.dumps(body).encode(), {"Content-Type": "application/json"}
    return data, ({"Content-Type": "application/x-tar"} if data is not None else {})


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """(stream, payload) of a multiplexed stream; AssertionError for a cut frame."""
    found = []
    while data:
        size = int.from_bytes(data[4:8], "big")
        assert len(data) >= 8 + size, f"a cut frame: {data[:40]!r}"
        found.append((data[0], data[8 : 8 + size]))
        data = data[8 + size :]
    return found
