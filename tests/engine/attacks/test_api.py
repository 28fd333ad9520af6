"""The socket itself: who may ask, how much, how slowly, and that one request is never two."""

import resource
import socket
import time
from collections.abc import Iterator

import pytest

from tests.engine.attacks import attacker
from tests.harness.engine import Engine

PING = b"GET /_ping HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "header",
    ["Host: evil.example", "Host: evil.example:2375", "Host: 127.0.0.1.evil.example", "Origin: http://evil.example", "Origin: null", "Origin: file://",
     "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"],
)  # fmt: skip
def test_requests_of_web_pages_are_refused(engine: Engine, header: str) -> None:
    made = attacker.create(engine, ["true"])
    host = b"" if header.startswith("Host") else b"Host: localhost\r\n"
    for line in (b"GET /info", b"POST /containers/%s/start" % made.encode(), b"POST /containers/%s/attach?stream=1&stdin=1" % made.encode()):
        upgrade = b"Connection: Upgrade\r\nUpgrade: tcp\r\n" if b"attach" in line else b""
        answer = attacker.everything(attacker.connection(engine, line + b" HTTP/1.1\r\n" + host + header.encode() + b"\r\n" + upgrade + b"\r\n"))
        assert answer.startswith(b"HTTP/1.1 403 ") and answer.count(b"HTTP/1.1") == 1, answer
    assert engine.api.get(f"/containers/{made}/json")["State"]["Status"] == "created"


def test_two_hosts_are_refused(engine: Engine) -> None:
    answer = attacker.everything(attacker.connection(engine, b"GET /info HTTP/1.1\r\nHost: x\r\nHost: evil.example\r\n\r\n"))
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 ")), answer


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /_ping HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (70 << 10) + b"\r\n\r\n", 431),
        (b"GET /_ping HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20000 + b"\r\n", 431),
        (b"GET /" + b"a" * (70 << 10) + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"A" * (200 << 10), 4),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000000\r\n\r\n" + b" " * 5000000, 413),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
         + (b"100000\r\n" + b" " * (1 << 20) + b"\r\n") * 5, 413),
    ],
    ids=["header", "headers", "target", "no request", "body", "chunks"],
)  # fmt: skip
def test_what_is_too_big_is_refused(engine: Engine, data: bytes, status: int) -> None:
    sock = attacker.connection(engine)
    try:
        sock.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass  # refused before it had all
    answer = attacker.everything(sock)
    assert answer.startswith(b"HTTP/1.1 %d" % status), answer[:200]
    assert attacker.ping_s(engine) < 1


def test_json_of_a_thousand_levels_harms_nobody(engine: Engine) -> None:
    for text in (b"[" * 100000, b'{"a":' * 100000, b'{"Labels":' * 2000 + b"{}" + b"}" * 2000, b'{"Cmd":' + b"9" * 100000 + b"}"):
        head = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        answer = attacker.everything(attacker.connection(engine, head % len(text) + text))
        assert answer.startswith(b"HTTP/1.1 400 "), answer[:300]


SMUGGLED = [
    ("length and coding", b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("coding and length", b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n"),
    ("two lengths", b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n"),
    ("a list of lengths", b"Content-Length: 0, 44\r\n\r\n"),
    ("a length with a sign", b"Content-Length: +0\r\n\r\n"),
    ("a negative length", b"Content-Length: -1\r\n\r\n"),
    ("a length in hex", b"Content-Length: 0x0\r\n\r\n"),
    ("an endless length", b"Content-Length: " + b"9" * 30 + b"\r\n\r\n"),
    ("two codings", b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("an unknown coding", b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("a coding twice", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a space before the colon", b"Content-Length : 0\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("a folded header", b"X: a\r\n Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"),
    ("a NUL in a header", b"X: a\0b\r\nContent-Length: 0\r\n\r\n"),
    ("a bare CR", b"X: a\rContent-Length: 44\r\n\r\n"),
    ("a chunk size with a sign", b"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n"),
    ("a chunk size with 0x", b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n"),
    ("a chunk size too long", b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 40 + b"1\r\nx\r\n0\r\n\r\n"),
    ("a chunk longer than it says", b"Transfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n"),
]


@pytest.fixture
def marker(engine: Engine) -> Iterator[tuple[str, bytes]]:
    """A container, and the request that removes it: hidden in the body of another, it must never be obeyed."""
    made = attacker.create(engine, ["true"])
    yield made, b"DELETE /containers/" + made.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_one_request_is_never_two(engine: Engine, marker: tuple[str, bytes]) -> None:
    """Where two readers could disagree about the end of a request, it is refused and the connection ends."""
    made, hidden = marker
    for what, rest in SMUGGLED:
        head = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        answer = attacker.everything(attacker.connection(engine, head + rest + hidden))
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), (what, answer)
        assert answer.count(b"HTTP/1.1 ") == 1, (what, answer)
        assert made in engine.containers(), what


def test_what_comes_before_a_request_line_is_no_request(engine: Engine, marker: tuple[str, bytes]) -> None:
    made, _ = marker
    for data in (b"\0" * 10 + PING + b"\r\n", b" GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n", b"GET  /_ping HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"GET /_ping HTTP/1.1 \r\nHost: x\r\n\r\n", b"GET /_ping\r\n\r\n", b"GET /_ping HTTP/2.0\r\nHost: x\r\n\r\n",
                 b"\x16\x03\x01\x02\0\x01\0",
                 b"GET /_ping HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GE\nT /_ping HTTP/1.1\r\nHost: x\r\n\r\n"):  # fmt: skip
        sock = attacker.connection(engine, data)
        sock.shutdown(socket.SHUT_WR)
        answer = attacker.everything(sock)
        assert not answer or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 ")), (data, answer)
    assert made in engine.containers()


def test_a_line_feed_alone_ends_lines_for_all_or_for_nobody(engine: Engine, marker: tuple[str, bytes]) -> None:
    """With bare line feeds the body that was announced is the body: what is in it is not obeyed."""
    made, hidden = marker
    data = b"POST /containers/create HTTP/1.1\nHost: x\nContent-Type: application/json\nConnection: close\nContent-Length: %d\n\n" % len(hidden)
    answer = attacker.everything(attacker.connection(engine, data + hidden))
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1 ") == 1, answer
    assert made in engine.containers()


PATHS = ("..%2f..%2fetc", "..%2f", "%2e%2e%2f%2e%2e", "..", "%00", "a%00b", "..%5c..", "%2fetc%2fpasswd", ".%2f.", "%252e%252e%252f", "*", "%25s")
TAKING_A_NAME = (
    ("GET", "/containers/{}/json"), ("GET", "/containers/{}/logs?stdout=1"), ("GET", "/images/{}/json"), ("GET", "/images/{}/history"),
    ("GET", "/exec/{}/json"), ("GET", "/containers/{}/top"), ("DELETE", "/containers/{}?force=1"), ("POST", "/containers/{}/start"),
    ("POST", "/containers/{}/kill"), ("DELETE", "/images/{}"),
)  # fmt: skip


def test_an_id_that_is_a_path_is_nobody(engine: Engine) -> None:
    """No route takes a name for a path: nothing is found, made or removed, whatever the method."""
    for quoted in PATHS:
        for method, route in TAKING_A_NAME:
            line = f"{method} /v1.51{route.format(quoted)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            found = attacker.everything(attacker.connection(engine, line.encode()))
            assert found.split()[1] in (b"404", b"400", b"301"), (line, found[:300])
            assert b"root:" not in found and b"internal error" not in found, (line, found)


def test_slow_clients_stop_nobody_and_are_let_go(engine: Engine) -> None:
    """300 clients that send a byte now and then: others are served at once, and after ten seconds a head must have been there."""
    slow = [attacker.connection(engine, b"GET /_ping HT") for _ in range(250)]
    body = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    slow += [attacker.connection(engine, body) for _ in range(50)]
    began = time.monotonic()
    try:
        worst = 0.0
        for sock in slow[:30]:
            sock.sendall(b"T")
            worst = max(worst, attacker.ping_s(engine))
        assert worst < 1
        assert attacker.run(engine, ["true"])[0] == 0
        slow[100].settimeout(15)
        assert slow[100].recv(100).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began < 14
    finally:
        for sock in slow:
            sock.close()


def test_a_client_that_reads_nothing_of_a_long_answer_stops_nobody(engine: Engine) -> None:
    talker = attacker.create(engine, ["sh", "-c", "yes | head -c 8000000"])
    engine.api("POST", f"/containers/{talker}/start").ok(204)
    engine.api("POST", f"/containers/{talker}/wait").ok()
    line = f"GET /v1.51/containers/{talker}/logs?stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    deaf = [attacker.connection(engine, line) for _ in range(20)]
    try:
        time.sleep(0.2)
        assert max(attacker.ping_s(engine) for _ in range(10)) < 1
        assert attacker.run(engine, ["true"])[0] == 0
    finally:
        for sock in deaf:
            sock.close()


def test_thousands_of_sessions_left_open(engine: Engine) -> None:
    """2,000 idle connections, 300 attached clients and 300 followers of events and logs: the next client is served."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 4000:
        pytest.skip("this test needs 4,000 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    made = attacker.start(engine, ["sleep", "600"])
    open_: list[socket.socket] = []
    try:
        open_ += [attacker.connection(engine) for _ in range(2000)]
        open_ += [attacker.connection(engine, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(150)]
        follow = f"GET /containers/{made}/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        open_ += [attacker.connection(engine, follow) for _ in range(150)]
        attach = (
            f"POST /containers/{made}/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
        )
        for _ in range(300):
            open_.append(attacker.connection(engine, attach))
            assert b" 101 " in open_[-1].recv(400)
        assert attacker.ping_s(engine) < 2
        assert attacker.run(engine, ["echo", "served"]) == (0, "served\n")
    finally:
        for sock in open_:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    engine.api("DELETE", f"/containers/{made}", force=True).ok(204)
