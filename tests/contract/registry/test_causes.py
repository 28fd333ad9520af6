"""Why there was no answer, as users read it: the words of Go's net/http, which Docker prints (tried on Docker 28), with the way out."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.registry.config import RegistryOptions
from pier.registry.errors import Unreachable
from pier.registry.proxies import Proxies
from tests.harness.registry import Authority, FakeRegistry, HttpProxy, SocksProxy
from tests.harness.registry_server import listen

from .clients import parse, registries


@contextlib.contextmanager
def saying(data: bytes, *, reset: bool = False) -> Iterator[str]:
    """HOST:PORT of a server that says this to everybody, whatever it is asked."""
    with listen() as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    with sock, contextlib.suppress(OSError):
                        sock.recv(65536)
                        sock.sendall(data)
                        if reset:
                            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                        else:
                            sock.shutdown(socket.SHUT_WR)
                            while sock.recv(65536):
                                pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield "{}:{}".format(*listener.getsockname())
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def cause(name: str, **config: object) -> str:
    """What an error says behind the request."""
    with pytest.raises(Unreachable) as raised:
        registries(max_attempts=1, **config).repository(parse(f"{name}/app")).manifest("1")
    method, _, rest = str(raised.value).partition(" ")
    url, _, words = rest.partition(": ")
    assert method == "Get" and url.strip('"').endswith(f"://{name}/v2/app/manifests/1") and words.isprintable()
    return words


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "EOF"),
        (b"garbage\r\n\r\n", r"malformed HTTP response 'garbage\r\n'"),
        (b"HTTP/1.1 99 X\r\n\r\n", r"malformed HTTP response 'HTTP/1.1 99 X\r\n'"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", "malformed HTTP response: got more than 65536 bytes when reading header line"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n", "malformed HTTP response: got more than 100 headers"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, "malformed HTTP response: more than 16 interim answers"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nabcdefg", "Content-Length contained multiple unmatching values (5, 7)"),
    ],
)
def test_what_is_no_http(data: bytes, words: str) -> None:
    with saying(data) as name:
        assert cause(name) == words


def test_a_reset() -> None:
    with saying(b"", reset=True) as name:
        assert cause(name) == "read: connection reset by peer"


@pytest.fixture
def authorities(tmp_path: Path) -> tuple[Authority, Authority]:
    return Authority(tmp_path / "one"), Authority(tmp_path / "other")


def test_certificates(authorities: tuple[Authority, Authority]) -> None:
    one, other = authorities
    for server, known, words in (
        (one.server(), other, "tls: failed to verify certificate: x509: certificate signed by unknown authority (put its authority's certificate"),
        (one.server("other.example.com"), one, "tls: failed to verify certificate: x509: certificate is not valid for '127.0.0.1'"),
        (one.server(clients=True), one, "remote error: tls: certificate required"),
        (None, one, "http: server gave HTTP response to HTTPS client (name "),
    ):
        with FakeRegistry(tls=server) as registry:
            assert cause(registry.name, registries={registry.name: RegistryOptions(ca=str(known.file))}).startswith(words)
            assert not registry.asked()


def test_nobody_there() -> None:
    with listen() as sock:
        name = "{}:{}".format(*sock.getsockname())
    assert cause(name) == f"dial tcp {name}: connect: connection refused"
    assert cause("nope.invalid").startswith("dial tcp: lookup nope.invalid: ")
    url = f"http://alice:secret@{name}"
    assert cause("reg.example.com", proxies=Proxies(https=url)) == f"proxyconnect tcp: dial tcp {name}: connect: connection refused"
    words = cause("reg.example.com", proxies=Proxies(https=url.replace("http", "socks5")))
    assert words.startswith(f"socks connect tcp {name}->reg.example.com:443: ") and "refused" in words and "secret" not in words


def test_proxies_that_refuse() -> None:
    with HttpProxy(user="u", password="p") as proxy:
        assert cause("reg.example.com", proxies=Proxies(https=f"http://u:secret@{proxy.name}")) == "Proxy: Proxy Authentication Required"
    with HttpProxy() as proxy:
        assert cause("reg.invalid", proxies=Proxies(https=f"http://{proxy.name}")) == "Proxy: Bad Gateway"
    with SocksProxy(user="u", password="p") as proxy:
        assert "SOCKS5 authentication failed" in cause("reg.example.com", proxies=Proxies(https=f"socks5h://u:secret@{proxy.name}"))
    with SocksProxy() as proxy:
        assert "Connection refused" in cause("reg.invalid", proxies=Proxies(https=f"socks5h://{proxy.name}"))
