"""Uploads that break, are refused, or go on elsewhere: in the end the blob is there once, or the error says why."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pier.errors import PierError
from pier.oci import digest as digests
from pier.oci.reference import parse
from pier.registry.errors import Denied, Overloaded, Refused, Unreachable, Untrue
from pier.registry.upload import FIRST_CHUNK, LARGEST_CHUNK
from tests.harness.registry import Answer, DockerRegistry, FakeRegistry, Options, needs_docker_registry
from tests.harness.registry_server import Server

from .clients import Bytes, Growing, noise, registries, repository, whole

DATA = noise(3 * FIRST_CHUNK + 12345)
DIGEST = digests.of(DATA)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        yield made


def upload(registry: Server | DockerRegistry, **options: Any) -> list[int]:
    """Upload DATA; what the progress said."""
    told: list[int] = []
    made = repository(registry, push=True, **options)
    assert made.upload(DIGEST, len(DATA), Bytes(DATA), told.append) == DIGEST
    assert whole(made, DIGEST) == DATA and told[-1] == len(DATA)
    return told


@pytest.mark.parametrize("absolute", [True, False])
def test_locations_of_both_kinds(registry: FakeRegistry, absolute: bool) -> None:
    registry.options = Options(absolute_locations=absolute)
    upload(registry)


def test_chunks_are_announced_and_grow(registry: FakeRegistry) -> None:
    upload(registry)
    chunks = [request.headers.get("content-range", "") for request in registry.asked("PATCH|PUT")]
    assert chunks == [f"0-{FIRST_CHUNK - 1}", f"{FIRST_CHUNK}-{FIRST_CHUNK * 3 - 1}", f"{FIRST_CHUNK * 3}-{len(DATA) - 1}"]
    assert all(request.headers["content-length"] == str(request.length) for request in registry.asked("PATCH|PUT"))


def test_a_small_blob_takes_two_requests(registry: FakeRegistry) -> None:
    repository(registry, push=True).upload(None, None, Bytes(b"small"))
    assert [request.method for request in registry.asked()] == ["POST", "PUT"]


def test_a_registry_that_wants_larger_chunks(registry: FakeRegistry) -> None:
    least = FIRST_CHUNK * 2 + 5
    registry.fault("POST", answer=lambda request: begun(registry, {"OCI-Chunk-Min-Length": str(least)}))
    upload(registry)
    assert registry.asked("PATCH")[0].length == least


@pytest.mark.parametrize("least", ["-1", "x", "9" * 30, str(2 << 30)])
def test_a_registry_that_wants_nonsense(registry: FakeRegistry, least: str) -> None:
    registry.fault("POST", answer=lambda request: begun(registry, {"OCI-Chunk-Min-Length": least}))
    upload(registry)
    assert registry.asked("PATCH")[0].length == FIRST_CHUNK


def begun(registry: FakeRegistry, headers: dict[str, str]) -> Answer:
    """The answer to a POST of the registry's own, with headers."""
    from tests.harness.registry_fake import Upload

    registry.uploads["key"] = Upload("app")
    return Answer(202, b"", {"Location": "/v2/app/blobs/uploads/key", "Range": "0-0", **headers})


@pytest.mark.parametrize("status", [404, 405, 411, 413, 501])
def test_a_registry_that_takes_no_chunks_gets_all_at_once(registry: FakeRegistry, status: int) -> None:
    registry.fault("PATCH", status=status, times=None)
    upload(registry)
    assert [(request.method, request.length) for request in registry.asked("PATCH|PUT")] == [("PATCH", FIRST_CHUNK), ("PUT", len(DATA))]


def test_a_registry_that_forgets_chunks_until_the_end(registry: FakeRegistry) -> None:
    """The digest does not fit what it kept of them; in one request it does."""
    registry.fault("PUT", status=400, body=b'{"errors":[{"code":"DIGEST_INVALID"}]}')
    upload(registry)
    assert [request.method for request in registry.asked("PATCH|PUT")] == ["PATCH", "PATCH", "PUT", "PUT"]


def test_one_connection_is_enough(registry: FakeRegistry) -> None:
    made = repository(registry, push=True)
    made.head("1")
    before = registry.connections
    for blob in (b"1", b"2"):
        made.upload(None, None, Bytes(blob))
        made.blob_size(digests.of(blob))
        whole(made, digests.of(blob))
    made.upload(DIGEST, len(DATA), Bytes(DATA))
    made.mount(digests.of(b"3"), parse("other"))
    assert registry.connections == before


def test_what_still_grows_goes_to_a_registry_that_takes_no_chunks_when_it_is_whole(registry: FakeRegistry) -> None:
    registry.fault("PATCH", status=404, times=None)
    source = Growing()

    def make() -> None:
        for at in range(0, len(DATA), 1 << 20):
            source.grow(DATA[at : at + (1 << 20)])
        source.grow(None)

    maker = threading.Thread(target=make)
    maker.start()
    assert repository(registry, push=True).upload(None, None, source) == DIGEST
    maker.join()


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
def test_an_overloaded_registry(registry: FakeRegistry, patience: list[float], method: str, status: int) -> None:
    registry.fault(f"{method} .*uploads", status=status, times=2)
    upload(registry)
    assert len(patience) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
def test_a_registry_that_stays_overloaded(registry: FakeRegistry, patience: list[float], method: str) -> None:
    registry.fault(f"{method} .*uploads", status=503, times=None)
    with pytest.raises(Overloaded, match="503 Service Unavailable"):
        upload(registry)
    assert len(registry.asked(f"{method} .*uploads")) == 5 and len(patience) == 4
    assert len(registry.asked("POST .*uploads")) == (5 if method == "POST" else 1)


def test_a_registry_that_takes_nothing_of_any_chunk(registry: FakeRegistry, patience: list[float]) -> None:
    registry.fault("PATCH|GET .*uploads", answer=lambda _: Answer(202, b"", {"Range": "0-9"}), times=None)
    with pytest.raises(Unreachable, match="keeps 10 bytes and takes no more"):
        upload(registry)
    assert len(registry.asked("PATCH")) == 6


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
def test_a_lost_answer(registry: FakeRegistry, patience: list[float], method: str) -> None:
    registry.fault(f"{method} .*uploads", drop=True)
    upload(registry)


def test_an_answer_that_is_lost_after_the_work_was_done(registry: FakeRegistry, patience: list[float]) -> None:
    """The blob is looked for, not sent once more."""
    made = repository(registry, push=True)

    def done(request: Any) -> Answer:
        registry.blobs[DIGEST] = DATA
        registry.repositories["app"].blobs.add(DIGEST)
        return Answer(504)

    registry.fault("PUT", answer=done)
    assert made.upload(DIGEST, len(DATA), Bytes(DATA)) == DIGEST
    assert len(registry.asked("PUT")) == 1 and len(registry.asked("POST")) == 1


def test_a_registry_that_forgot_the_upload(registry: FakeRegistry, patience: list[float]) -> None:
    registry.fault("PATCH", drop=True)
    registry.fault("GET .*uploads", status=404)
    upload(registry)
    assert len(registry.asked("POST")) == 2


def test_a_registry_that_forgets_every_upload(registry: FakeRegistry, patience: list[float]) -> None:
    registry.fault("PATCH", drop=True, times=None)
    registry.fault("GET .*uploads", status=404, times=None)
    with pytest.raises(Unreachable):
        upload(registry)
    assert len(registry.asked("POST")) <= 5


def test_a_registry_that_has_less_than_was_sent(registry: FakeRegistry) -> None:
    """Range says how far it is: from there on it goes."""

    def half(request: Any) -> Answer:
        found = next(iter(registry.uploads.items()))
        found[1].data += DATA[:1000]
        return Answer(202, b"", {"Location": f"/v2/app/blobs/uploads/{found[0]}", "Range": "0-999"})

    registry.fault("PATCH", answer=half)
    told = upload(registry)
    assert registry.asked("PATCH|PUT")[1].headers["content-range"].startswith("1000-") and told != sorted(told)


@pytest.mark.parametrize("said", ["0-99999999999", "0-x", "junk", "5-10", ""])
def test_a_range_that_cannot_be(registry: FakeRegistry, patience: list[float], said: str) -> None:
    def answer(request: Any) -> Answer:
        found = next(iter(registry.uploads.items()))
        found[1].data += DATA[:FIRST_CHUNK]
        return Answer(202, b"", {"Location": f"/v2/app/blobs/uploads/{found[0]}", **({"Range": said} if said else {})})

    registry.fault("PATCH", answer=answer)
    if said == "0-99999999999":
        with pytest.raises(Untrue, match="has more bytes than were sent"):
            upload(registry)
    else:
        upload(registry)


def test_a_416_is_answered_with_what_is_missing(registry: FakeRegistry, patience: list[float]) -> None:
    """Another connection of ours was alive after all, and its bytes came in."""

    def late(request: Any) -> Answer:
        next(iter(registry.uploads.values())).data += DATA[:FIRST_CHUNK]
        return Answer(416)

    registry.fault("PATCH", answer=late)
    upload(registry)
    assert len(registry.asked("POST")) == 1


def test_a_denied_upload(registry: FakeRegistry) -> None:
    registry.fault("POST", status=403, body=b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}', times=None)
    with pytest.raises(Denied, match="denied: requested access to the resource is denied"):
        upload(registry)
    assert len(registry.asked()) == 1


def test_a_digest_that_does_not_fit(registry: FakeRegistry) -> None:
    with pytest.raises(Refused, match=rf"{registry.name}/app: blob {DIGEST}: digest invalid: "):
        repository(registry, push=True).upload(DIGEST, 5, Bytes(b"other"))
    assert len(registry.asked("POST")) == 1


def test_a_registry_that_stores_it_as_something_else(registry: FakeRegistry) -> None:
    registry.fault("PUT", answer=lambda _: Answer(201, b"", {"Docker-Content-Digest": digests.of(b"other")}))
    with pytest.raises(Untrue, match=f"{registry.name} stored the blob {DIGEST} as {digests.of(b'other')}"):
        upload(registry)


@pytest.mark.parametrize("location", ["", "ftp://x/", "http://u:p@x/", "http://\x7f/"])
def test_an_upload_without_a_place(registry: FakeRegistry, location: str) -> None:
    registry.fault("POST", answer=lambda _: Answer(202, b"", {"Location": location} if location else {}))
    with pytest.raises(Untrue, match=rf"{registry.name}/app: .*(no Location|a place for an upload that is none)"):
        upload(registry)


def test_a_source_that_shrinks(registry: FakeRegistry) -> None:
    with pytest.raises(Untrue, match="has become shorter: 5 of 100 bytes"):
        repository(registry, push=True).upload(None, 100, Bytes(b"short"))


@pytest.mark.parametrize("error", [OSError(5, "I/O error"), TimeoutError("I/O error"), Unreachable("GET", "http://other/", "I/O error")])
def test_a_source_that_fails(registry: FakeRegistry, error: Exception, patience: list[float]) -> None:
    class Broken(Bytes):
        def read(self, offset: int, size: int) -> bytes:
            if offset > FIRST_CHUNK // 2 and size > 1:
                raise error
            return super().read(offset, size)

    with pytest.raises(type(error), match="I/O error"):
        repository(registry, push=True).upload(None, None, Broken(DATA))
    assert len(registry.asked("POST")) == 1 and not patience


def test_the_largest_chunk_bounds_a_request() -> None:
    assert LARGEST_CHUNK <= 100_000_000  # what well-known proxies take in one request


class Cutting:
    """A port that leads to a registry, and cuts each of its connections after so many bytes of requests."""

    def __init__(self, target: tuple[str, int], budgets: list[int]) -> None:
        self.target, self.budgets = target, budgets
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.name = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Cutting":
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        budget = self.budgets.pop(0) if self.budgets else 1 << 60
        with client, socket.create_connection(self.target) as other:
            back = threading.Thread(target=self._back, args=(other, client), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while budget > 0 and (data := client.recv(min(65536, budget))):
                    budget -= len(data)
                    other.sendall(data)
            self.cuts += budget == 0
            for sock in (client, other):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            back.join(10)

    def _back(self, other: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := other.recv(65536):
                client.sendall(data)


@needs_docker_registry
@pytest.mark.parametrize("budget", [100, 5_000, 1 << 20, FIRST_CHUNK + 5000, FIRST_CHUNK * 2, FIRST_CHUNK * 3])
def test_a_connection_to_the_real_registry_that_is_cut(budget: int, patience: list[float]) -> None:
    with DockerRegistry() as registry, Cutting((registry.address, registry.port), [budget] * 3) as port:
        made = registries().repository(parse(f"{port.name}/app"), push=True)
        assert made.upload(DIGEST, len(DATA), Bytes(DATA)) == DIGEST
        assert port.cuts and whole(repository(registry), DIGEST) == DATA


def test_what_went_out_before_a_break_is_not_sent_again(patience: list[float]) -> None:
    with FakeRegistry() as registry, Cutting((registry.address, registry.port), [FIRST_CHUNK + 100_000]) as port:
        made = registries().repository(parse(f"{port.name}/app"), push=True)
        told: list[int] = []
        assert made.upload(DIGEST, len(DATA), Bytes(DATA), told.append) == DIGEST
        assert sum(request.length for request in registry.asked("PATCH|PUT")) < len(DATA) + FIRST_CHUNK * 2
        assert len(registry.asked("POST")) == 1


def test_a_push_of_many_blobs_at_once(registry: FakeRegistry) -> None:
    client, failed = registries(), []
    blobs = [noise(200_000, str(n)) for n in range(12)]

    def send(blob: bytes) -> None:
        try:
            client.repository(parse(f"{registry.name}/app"), push=True).upload(digests.of(blob), len(blob), Bytes(blob))
        except PierError as error:
            failed.append(error)

    threads = [threading.Thread(target=send, args=(blob,)) for blob in blobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and all(digests.of(blob) in registry.blobs for blob in blobs)
