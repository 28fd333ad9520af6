"""Proxies for tests: HTTP (CONNECT and absolute URLs) and SOCKS5. They count what goes through them, and know names that no DNS knows."""

import base64
import contextlib
import select
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .registry_server import CHUNK, Answer, Body, Request, Server, in_network


class _Proxy(Server):
    """`names`: HOST or HOST:PORT -> (address, port) where it is really found. `targets`: what was asked for, HOST:PORT each."""

    def __init__(self, names: Mapping[str, tuple[str, int]] | None = None, *, user: str = "", password: str = "", **server: Any) -> None:
        self.names, self.user, self.password = dict(names or {}), user, password
        self.targets: list[str] = []
        super().__init__(**server)

    def reach(self, host: str, port: int) -> socket.socket:
        """A connection to a target. OSError where there is none."""
        self.targets.append(f"{host}:{port}")
        address = self.names.get(f"{host}:{port}") or self.names.get(host) or (host, port)
        return in_network(self.inside, lambda: socket.create_connection(address, 10))

    def relay(self, one: socket.socket, other: socket.socket) -> None:
        """Bytes both ways until one end is done."""
        with other:
            while True:
                ready, _, _ = select.select([one, other], [], [], 0.5)
                self.wait(0)
                for source in ready:
                    data = source.recv(CHUNK)
                    if not data:
                        return
                    (other if source is one else one).sendall(data)


class HttpProxy(_Proxy):
    """For http:// by absolute URLs, for all else by CONNECT. With `user` it wants Proxy-Authorization."""

    def answer(self, request: Request, body: Body) -> Answer:
        raise AssertionError("serve does it all")

    def serve(self, sock: socket.socket, number: int) -> None:
        stream = sock.makefile("rb")
        while line := stream.readline().decode("latin-1").strip():
            method, target, _ = line.split(" ", 2)
            headers = {}
            while field := stream.readline().decode("latin-1").strip():
                name, _, value = field.partition(":")
                headers[name.lower()] = value.strip()
            fault = self.recorded(Request(method, target, {}, headers, b"", int(headers.get("content-length", 0)), number, 0.0))
            if fault and fault.drop:
                return
            if self.user and headers.get("proxy-authorization") != "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode():
                sock.sendall(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="p"\r\nContent-Length: 0\r\n\r\n')
                continue
            if fault and fault.status:
                sock.sendall(f"HTTP/1.1 {fault.status} No\r\nContent-Length: 0\r\n\r\n".encode())
                continue
            if method == "CONNECT":
                host, _, port = target.rpartition(":")
                self._tunnel(sock, host.strip("[]"), int(port))
                return
            self._forward(sock, stream.read(int(headers.get("content-length", 0))), method, target, headers)

    def _tunnel(self, sock: socket.socket, host: str, port: int) -> None:
        try:
            other = self.reach(host, port)
        except OSError:
            sock.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.relay(sock, other)

    def _forward(self, sock: socket.socket, body: bytes, method: str, target: str, headers: Mapping[str, str]) -> None:
        """One request of an absolute URL, by a connection of its own."""
        parts = urlsplit(target)
        try:
            other = self.reach(parts.hostname or "", parts.port or 80)
        except OSError:
            sock.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with other:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            kept = {name: value for name, value in headers.items() if not name.startswith("proxy-") and name != "connection"}
            head = "".join(f"{name}: {value}\r\n" for name, value in kept.items())
            other.sendall(f"{method} {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode("latin-1") + body)
            while data := other.recv(CHUNK):
                sock.sendall(data)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


class SocksProxy(_Proxy):
    """SOCKS5 (RFC 1928), CONNECT only; with `user` it wants user and password (RFC 1929)."""

    def answer(self, request: Request, body: Body) -> Answer:
        raise AssertionError("serve does it all")

    def serve(self, sock: socket.socket, number: int) -> None:
        stream = sock.makefile("rb")
        version, count = stream.read(2)
        methods = stream.read(count)
        wanted = 2 if self.user else 0
        if version != 5 or wanted not in methods:
            sock.sendall(b"\x05\xff")
            return
        sock.sendall(bytes([5, wanted]))
        if self.user:
            _, size = stream.read(2)
            user = stream.read(size).decode()
            password = stream.read(stream.read(1)[0]).decode()
            right = (user, password) == (self.user, self.password)
            sock.sendall(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return
        _, command, _, kind = stream.read(4)
        if kind == 3:
            host = stream.read(stream.read(1)[0]).decode()
        else:
            host = socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, stream.read(4 if kind == 1 else 16))
        port = int.from_bytes(stream.read(2), "big")
        self.recorded(Request("CONNECT", f"{host}:{port}", {}, {"kind": str(kind)}, b"", 0, number, 0.0))
        try:
            other = self.reach(host, port) if command == 1 else None
        except OSError:
            other = None
        sock.sendall(bytes([5, 0 if other else 5, 0, 1]) + bytes(6))
        if other:
            self.relay(sock, other)
