"""The script of faults does what it says, and what stands around a registry works: TLS, proxies, namespaces. Plain sockets, nothing of Pier's."""

import base64
import gzip
import http.client
import json
import os
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import socks as socksipy

from tests.contract.registry.test_servers import ask
from tests.harness.engine import Namespaces
from tests.harness.registry import (
    Answer,
    Authority,
    BlobHost,
    DockerRegistry,
    Document,
    FakeRegistry,
    HttpProxy,
    Options,
    SocksProxy,
    needs_docker_registry,
    small,
)
from tests.harness.registry_docker import ACCEPT
from tests.harness.registry_images import compressed
from tests.harness.registry_server import in_network

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


def raw(registry: Any, path: str) -> bytes:
    """All bytes that come for a GET until the connection ends."""
    with socket.create_connection((registry.address, registry.port), 10) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        found = b""
        while data := sock.recv(65536):
            found += data
        return found


def blob(registry: FakeRegistry, size: int = 100_000) -> tuple[str, bytes]:
    """The path of a layer's blob, and its bytes."""
    made = small(size=size)
    registry.add("app", made, "latest")
    return f"/v2/app/blobs/{made.layers[0]}", made.blobs[1]


def test_a_connection_ends_in_the_middle() -> None:
    with FakeRegistry() as registry:
        path, data = blob(registry)
        fault = registry.fault("GET .*/blobs/", cut=1000, skip=1, times=2)
        lengths = [len(raw(registry, path).partition(b"\r\n\r\n")[2]) for _ in range(4)]
        assert lengths == [len(data), 1000, 1000, len(data)] and (fault.seen, fault.used) == (4, 2)


def test_a_status_with_headers_for_some_requests() -> None:
    with FakeRegistry() as registry:
        path, data = blob(registry)
        registry.fault("GET .*/blobs/", status=429, headers={"Retry-After": "7"}, body=b"slow down", times=1)
        status, headers, said = ask(registry.url, "GET", path)
        assert (status, headers["retry-after"], said) == (429, "7", b"slow down")
        assert ask(registry.url, "HEAD", path)[0] == 200 and ask(registry.url, "GET", path)[2] == data


def test_lies_about_length() -> None:
    with FakeRegistry() as registry:
        path, data = blob(registry)
        registry.fault("GET", lie=5)
        registry.fault("GET", lie=-5)
        head, _, body = raw(registry, path).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(data) + 5}".encode() in head and body == data
        head, _, body = raw(registry, path).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(data) - 5}".encode() in head


def test_other_bytes() -> None:
    with FakeRegistry() as registry:
        path, data = blob(registry)
        registry.fault("GET", flip=70_000)
        got = ask(registry.url, "GET", path)[2]
        assert [n for n in range(len(data)) if got[n] != data[n]] == [70_000]
        registry.fault("GET", body=b"other")
        assert ask(registry.url, "GET", path)[2] == b"other"


def test_it_hangs_until_somebody_goes() -> None:
    with FakeRegistry() as registry:
        path, _ = blob(registry)
        registry.fault("GET", hang=True, cut=100, times=None)
        connection = http.client.HTTPConnection(registry.address, registry.port, timeout=0.2)
        connection.request("GET", path)
        response = connection.getresponse()
        assert len(response.read(100)) == 100
        with pytest.raises(TimeoutError):
            response.read(1)
        connection.close()
        other = socket.create_connection((registry.address, registry.port))
        other.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        started = time.monotonic()
    assert time.monotonic() - started < 5
    other.close()


def test_redirects_drops_and_answers_of_the_tests_own() -> None:
    with FakeRegistry() as registry:
        registry.fault("GET /v2/a", redirect="http://127.0.0.1:1/")
        registry.fault("GET /v2/b", drop=True)
        registry.fault("GET /v2/c", answer=lambda request: Answer(200, request.headers["x-a"].encode()))
        status, headers, _ = ask(registry.url, "GET", "/v2/a")
        assert (status, headers["location"]) == (307, "http://127.0.0.1:1/v2/a")
        with pytest.raises(http.client.RemoteDisconnected):
            ask(registry.url, "GET", "/v2/b")
        assert ask(registry.url, "GET", "/v2/c", X_A="b")[2] == b"b"
        assert [request.line for request in registry.asked()] == ["GET /v2/a", "GET /v2/b", "GET /v2/c"]
        registry.forget()
        assert not registry.asked()


def test_slowly() -> None:
    with FakeRegistry() as registry:
        path, data = blob(registry, 3000)
        registry.fault("GET", rate=5 * len(data))
        started = time.monotonic()
        assert ask(registry.url, "GET", path)[2] == data and time.monotonic() - started > 0.1


def test_blobs_elsewhere_and_no_ranges() -> None:
    with FakeRegistry() as registry, BlobHost(registry.blobs) as elsewhere:
        path, data = blob(registry)
        registry.options.ranges = False
        assert ask(registry.url, "GET", path, Range="bytes=5-9")[::2] == (200, data)
        registry.options.blob_host = elsewhere.url + "/"
        status, headers, _ = ask(registry.url, "GET", path)
        assert status == 307 and ask(elsewhere.url, "GET", headers["location"], Range="bytes=5-9")[::2] == (206, data[5:10])


def test_referrers_with_and_without_the_api() -> None:
    with FakeRegistry(options=Options(referrers=True)) as registry:
        made = small()
        signature = small("signature", subject=made, artifact_type="application/x.signature")
        registry.add("app", made, "latest")
        registry.add("app", signature)
        path = f"/v2/app/referrers/{made.digest}"

        def entries(query: str = "") -> Any:
            return json.loads(ask(registry.url, "GET", path + query)[2])["manifests"]

        assert [(entry["digest"], entry["artifactType"]) for entry in entries()] == [(signature.digest, "application/x.signature")]
        assert entries("?artifactType=other") == []
        registry.options.referrers = False
        assert ask(registry.url, "GET", path)[0] == 404


def test_documents_that_lie() -> None:
    made = small(docker=True, compression="zstd")
    wrong = made.changed(mediaType="text/plain", annotations={"a": "\x1b[2J"}, layers=made.json["layers"] * 10_000)
    assert isinstance(wrong, Document) and wrong.media_type == "text/plain" and len(wrong.layers) == 10_000 and wrong.digest != made.digest


def test_layers_are_the_same_every_time() -> None:
    assert compressed(b"x" * 1000, "gzip") == compressed(b"x" * 1000, "gzip") and gzip.decompress(compressed(b"x", "gzip")) == b"x"
    assert compressed(b"x", "zstd").startswith(b"\x28\xb5\x2f\xfd") and compressed(b"x", "none") == b"x"


@pytest.mark.parametrize("kind", [pytest.param("fake"), pytest.param("docker", marks=needs_docker_registry)])
def test_tls_and_client_certificates(tmp_path: Path, kind: str) -> None:
    authority, stranger = Authority(tmp_path / "a"), Authority(tmp_path / "b")
    fake = kind == "fake"
    with FakeRegistry(tls=authority.server(clients=True)) if fake else DockerRegistry(authority=authority, clients=True) as registry:

        def get(context: ssl.SSLContext) -> int:
            connection = http.client.HTTPSConnection("127.0.0.1", registry.port, context=context, timeout=10)
            connection.request("GET", "/v2/")
            try:
                return connection.getresponse().status
            finally:
                connection.close()

        with pytest.raises(ssl.SSLCertVerificationError):
            get(stranger.client())
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            get(authority.client())
        known = authority.client()
        known.load_cert_chain(*authority.pair("me"))
        assert get(known) == 200


@pytest.mark.parametrize("user", ["", "bob"])
def test_proxies_reach_names_that_nobody_knows(user: str) -> None:
    right = {"Proxy-Authorization": "Basic " + base64.b64encode(b"bob:pw").decode()} if user else {}
    with FakeRegistry() as registry:
        names = {"reg.example.com:5000": ("127.0.0.1", registry.port)}
        with HttpProxy(names, user=user, password="pw") as web, SocksProxy(names, user=user, password="pw") as socks:
            tunnel = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
            tunnel.set_tunnel("reg.example.com", 5000, right)
            assert answer_of(tunnel, "/v2/") == (200, b"{}")
            plain = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
            assert answer_of(plain, "http://reg.example.com:5000/v2/", right) == (200, b"{}")
            through = http.client.HTTPConnection("reg.example.com", 5000)
            through.sock = socksipy.create_connection(
                ("reg.example.com", 5000), 10, None, socksipy.SOCKS5, "127.0.0.1", socks.port, True, user or None, "pw" if user else None
            )
            assert answer_of(through, "/v2/") == (200, b"{}")
            assert web.targets == ["reg.example.com:5000"] * 2 and socks.targets == ["reg.example.com:5000"]
            if user:
                plain = http.client.HTTPConnection("127.0.0.1", web.port, timeout=10)
                assert answer_of(plain, "http://reg.example.com:5000/v2/")[0] == 407 and len(web.targets) == 2


def answer_of(connection: http.client.HTTPConnection, target: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    try:
        connection.request("GET", target, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@needs_root
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("kind", [pytest.param("fake"), pytest.param("docker", marks=needs_docker_registry)])
def test_on_the_loopback_of_other_namespaces(kind: str, address: str) -> None:
    inside = Namespaces()
    try:
        with FakeRegistry(inside=inside, address=address) if kind == "fake" else DockerRegistry(inside, address=address) as registry:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address, registry.port), 5)
            with in_network(inside, lambda: socket.create_connection((address, registry.port), 5)) as sock:
                sock.sendall(b"GET /v2/ HTTP/1.0\r\n\r\n")
                assert b" 200 OK\r\n" in sock.recv(1000)
    finally:
        inside.close()


@needs_docker_registry
def test_docker_registry_as_a_cache_of_another() -> None:
    with FakeRegistry() as upstream, DockerRegistry(proxy=upstream.url) as cache:
        made = small()
        upstream.add("library/app", made, "latest")
        for _ in range(2):
            assert ask(cache.url, "GET", f"/v2/library/app/manifests/{made.digest}", Accept=ACCEPT)[2] == made.data
        assert len(upstream.asked("GET .*/manifests/")) == 1
