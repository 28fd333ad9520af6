"""A daemon made of a table of answers, on a real UNIX socket: records what it was asked."""

import base64
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = Callable[["FakeDaemon", socket.socket, str, dict[str, str], bytes], bool]


def stream(*messages: Any) -> bytes:
    """The bytes of an answer that is a stream of JSON documents."""
    return reply(200, b"".join(json.dumps(message).encode() + b"\r\n" for message in messages), "Content-Type: application/json\r\n")


def reply(status: int, body: Any = None, headers: str = "") -> bytes:
    """The bytes of one answer; a dict or list is sent as JSON."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(data)}\r\n\r\n".encode() + data


def _key(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


class FakeDaemon:
    """`routes`: "METHOD /path" (without version and query) to bytes, a JSON-able value (status 200), or a function."""

    def __init__(self, folder: Path, routes: dict[str, Any], api_version: str = "1.51") -> None:
        self.routes = routes
        self.api_version = api_version
        self.seen: list[tuple[str, bytes]] = []
        self.headers: list[dict[str, str]] = []  # of each request in `seen`
        self.path = folder / "fake.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(20)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def host(self) -> str:
        return f"unix://{self.path}"

    def requests(self) -> list[str]:
        """What was asked, `METHOD /target`, pings aside."""
        return [line for line, _ in self.seen if "_ping" not in line]

    def body(self, start: str) -> Any:
        """The JSON body of the first request whose line begins so."""
        return next(json.loads(body) for line, body in self.seen if line.startswith(start))

    def registry_auth(self, start: str) -> Any:
        """What the header X-Registry-Auth of the first request whose line begins so says."""
        headers = next(headers for (line, _), headers in zip(self.seen, self.headers, strict=False) if line.startswith(start))
        return json.loads(base64.urlsafe_b64decode(headers["x-registry-auth"]))

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_until_gone, args=(connection,), daemon=True).start()

    def _serve_until_gone(self, connection: socket.socket) -> None:
        try:
            self._serve(connection)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client left: what it sees and returns is what the tests look at

    def _serve(self, connection: socket.socket) -> None:
        buffer = b""
        with connection:
            while True:
                while b"\r\n\r\n" not in buffer:
                    data = connection.recv(65536)
                    if not data:
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
                length = int(headers.get("content-length", 0))
                while len(buffer) < length:
                    buffer += connection.recv(65536)
                body, buffer = buffer[:length], buffer[length:]
                if "transfer-encoding" in headers:
                    body, buffer = _chunks(connection, buffer)
                method, target, _ = lines[0].split(" ")
                asked = ""
                if target.startswith("/v1."):
                    asked, target = target[2:].split("/", 1)
                    target = "/" + target
                self.seen.append((f"{method} {target}", body))
                self.headers.append(headers)
                if asked and _key(asked) > _key(self.api_version):
                    text = f"client version {asked} is too new. Maximum supported API version is {self.api_version}"
                    connection.sendall(reply(400, {"message": text}))
                elif not self._answer(connection, method, target, headers, body):
                    return

    def _answer(self, connection: socket.socket, method: str, target: str, headers: dict[str, str], body: bytes) -> bool:
        if target == "/_ping":
            connection.sendall(f"HTTP/1.1 200 OK\r\nApi-Version: {self.api_version}\r\nOstype: linux\r\nContent-Length: 0\r\n\r\n".encode())
            return True
        route = self.routes.get(f"{method} {target.partition('?')[0]}")
        if callable(route):
            return bool(route(self, connection, target, headers, body))
        if route is None:
            route = reply(404, {"message": "page not found"})
        connection.sendall(route if isinstance(route, bytes) else reply(200, route))
        return True


def _chunks(connection: socket.socket, buffer: bytes) -> tuple[bytes, bytes]:
    """The body of a request that is sent in chunks, and what came behind it."""
    body = b""
    while True:
        while b"\r\n" not in buffer:
            buffer += connection.recv(65536)
        size, _, buffer = buffer.partition(b"\r\n")
        while len(buffer) < int(size, 16) + 2:
            buffer += connection.recv(65536)
        body, buffer = body + buffer[: int(size, 16)], buffer[int(size, 16) + 2 :]
        if not int(size, 16):
            return body, buffer
