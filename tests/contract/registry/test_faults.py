"""What a registry does wrong, or the network: what passes is tried again and told, what does not has its cause named."""

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.errors import Internal, Invalid, PierError
from pier.oci import digest as digests
from pier.oci.descriptor import OCI_INDEX, OCI_MANIFEST
from pier.oci.reference import parse
from pier.registry import connections
from pier.registry.cancel import Cancel, Cancelled
from pier.registry.credentials import Credentials
from pier.registry.errors import Missing, Overloaded, TooMany, Unreachable, Untrue
from tests.harness.registry import Answer, Authority, BlobHost, FakeRegistry, Options, TokenServer, small

from .clients import Bytes, noise, registries, repository, whole

APP = small("app", size=300_000)
LAYER, DATA = APP.layers[0], APP.blobs[1]


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        made.add("app", APP, "1")
        yield made


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_an_overloaded_registry_is_asked_again(registry: FakeRegistry, patience: list[float], status: int) -> None:
    registry.fault("manifests", status=status, times=3)
    told: list[str] = []
    assert repository(registry, notice=told.append).manifest("1").digest == APP.digest
    assert len(patience) == 3 and sorted(patience) == patience and len(told) == 3
    assert all(line.startswith("retrying") and (str(status) in line or "toomanyrequests" in line) for line in told)


def test_it_is_not_asked_for_ever(registry: FakeRegistry, patience: list[float]) -> None:
    registry.fault("manifests", status=503, times=None)
    with pytest.raises(
        Overloaded, match=rf'Get "http://{registry.name}/v2/app/manifests/1": received unexpected HTTP status: 503 Service Unavailable'
    ):
        repository(registry).manifest("1")
    assert len(registry.asked("manifests")) == 5 and sum(patience) < 10


@pytest.mark.parametrize(("after", "waited"), [("7", [7.0]), ("0", None), ("Wed, 01 Jan 2020 00:00:00 GMT", None), ("nonsense", None)])
def test_retry_after(registry: FakeRegistry, patience: list[float], after: str, waited: list[float] | None) -> None:
    registry.fault("manifests", status=429, headers={"Retry-After": after})
    assert repository(registry).manifest("1").digest == APP.digest
    assert patience == waited or (waited is None and 0 < patience[0] < 1)


def test_a_registry_that_wants_an_hour(registry: FakeRegistry, patience: list[float]) -> None:
    registry.fault("manifests", status=429, headers={"Retry-After": "3600"}, body=b"slow down", times=None)
    with pytest.raises(TooMany, match="toomanyrequests: slow down"):
        repository(registry).manifest("1")
    assert not patience


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 418, 501])
def test_a_no_is_a_no(registry: FakeRegistry, patience: list[float], status: int) -> None:
    registry.fault("manifests", status=status, times=None)
    with pytest.raises(PierError):
        repository(registry).manifest("1")
    assert len(registry.asked("manifests")) == 1 and not patience


def test_a_connection_that_ends_before_the_answer(registry: FakeRegistry, patience: list[float]) -> None:
    registry.fault("manifests", drop=True, times=2)
    assert repository(registry).manifest("1").digest == APP.digest
    assert len(patience) == 2


def test_a_connection_of_the_pool_that_was_closed_meanwhile(registry: FakeRegistry, patience: list[float]) -> None:
    """A request goes out again at once: nobody has to hear of it."""
    made = repository(registry)
    made.manifest("1")
    registry.fault("manifests", drop=True)
    assert made.manifest("1").digest == APP.digest and not patience


@pytest.mark.parametrize("cut", [0, 1, 100_000, len(DATA) - 1])
def test_a_blob_that_breaks_off_goes_on(registry: FakeRegistry, patience: list[float], cut: int) -> None:
    registry.fault(f"GET .*{LAYER}", cut=cut)
    assert whole(repository(registry), LAYER) == DATA
    assert [request.headers.get("range") for request in registry.asked(LAYER)] == [None, f"bytes={cut}-" if cut else None]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_blob_that_breaks_off_again_and_again(registry: FakeRegistry, patience: list[float], ranges: bool) -> None:
    """As long as something comes each time; a server that knows no ranges begins at its start, which is thrown away."""
    registry.options = Options(ranges=ranges)
    for n in range(4):
        registry.fault(f"GET .*{LAYER}", cut=70_000 if ranges else 70_000 * (n + 1))
    assert whole(repository(registry), LAYER) == DATA and len(patience) == 4


def test_a_range_that_breaks_off(registry: FakeRegistry, patience: list[float]) -> None:
    registry.fault(f"GET .*{LAYER}", cut=1000)
    with repository(registry).blob(LAYER, start=50_000, stop=60_000) as blob:
        assert b"".join(iter(lambda: blob.read(333), b"")) == DATA[50_000:60_000]
    assert [request.headers["range"] for request in registry.asked(LAYER)] == ["bytes=50000-59999", "bytes=51000-59999"]


def test_a_blob_of_which_nothing_comes_is_given_up(registry: FakeRegistry, patience: list[float]) -> None:
    registry.fault(f"GET .*{LAYER}", cut=0, times=None)
    with repository(registry).blob(LAYER) as blob, pytest.raises(Unreachable, match="unexpected EOF"):
        blob.read()
    assert len(registry.asked(LAYER)) == 5


def test_a_blob_of_which_a_byte_comes_each_time_is_given_up(registry: FakeRegistry, patience: list[float]) -> None:
    registry.fault(f"GET .*{LAYER}", cut=1, times=None)
    with repository(registry).blob(LAYER) as blob, pytest.raises(Unreachable):
        while blob.read():
            pass
    assert len(registry.asked(LAYER)) == 5


def test_what_came_before_a_break_is_not_lost(registry: FakeRegistry, patience: list[float]) -> None:
    registry.fault(f"GET .*{LAYER}", cut=100_000, times=None)
    got = b""
    with repository(registry).blob(LAYER) as blob:
        while len(got) < 300_000:
            got += blob.read(1 << 20)
    assert got == DATA[: len(got)] and len(registry.asked(LAYER)) == 3


@pytest.mark.parametrize("lie", [-1000, 1000])
def test_a_length_that_lies(registry: FakeRegistry, patience: list[float], lie: int) -> None:
    """More bytes than announced are not read; fewer are a break, and what the registry says next does not fit."""
    registry.fault(f"GET .*{LAYER}", lie=lie)
    with repository(registry).blob(LAYER) as blob:
        if lie < 0:
            assert b"".join(iter(lambda: blob.read(), b"")) == DATA[:lie] and blob.total == len(DATA) + lie
        else:
            with pytest.raises(Untrue, match=f"announced more bytes than the {len(DATA)} that it has"):
                while blob.read():
                    pass


@pytest.mark.parametrize("said", ["", "bytes 0-9/300000", "bytes 11-20/300000", "bytes 20-10/300000", "bytes */300000", "junk"])
def test_a_range_that_is_another(registry: FakeRegistry, said: str) -> None:
    registry.fault(LAYER, answer=lambda _: Answer(206, b"0123456789", {"Content-Range": said} if said else {}))
    with pytest.raises(Untrue, match=r"/app: blob sha256:.*: asked for the bytes from 10 on, the registry sent"):
        repository(registry).blob(LAYER, start=10)


def test_a_blob_that_changes_its_size(registry: FakeRegistry, patience: list[float]) -> None:
    registry.fault(LAYER, cut=1000)
    registry.fault(LAYER, answer=lambda _: Answer(206, b"x" * 10, {"Content-Range": "bytes 1000-1009/1010"}))
    with repository(registry).blob(LAYER) as blob, pytest.raises(Untrue, match=r"its size was \d+ bytes, now it is 1010"):
        while blob.read():
            pass


def test_a_redirect_that_never_ends(registry: FakeRegistry) -> None:
    registry.fault("manifests", redirect="/v2/app/manifests/1", times=None)
    with pytest.raises(Untrue, match="stopped after 10 redirects"):
        repository(registry).manifest("1")


@pytest.mark.parametrize("where", ["", "ftp://x/", "http://u:p@x/", "//", "http://\x01/"])
def test_a_redirect_to_nowhere(registry: FakeRegistry, where: str) -> None:
    registry.fault("manifests", answer=lambda _: Answer(307, b"", {"Location": where}), times=None)
    with pytest.raises(PierError) as raised:
        repository(registry).manifest("1")
    assert "/v2/app/manifests/1" in str(raised.value)


def test_a_manifest_of_any_size_is_bounded(registry: FakeRegistry) -> None:
    registry.fault("manifests", body=b" " * (5 << 20), times=None)
    with pytest.raises(Untrue, match="more than the 4194304 bytes that a manifest may have"):
        repository(registry).manifest("1")


def test_other_bytes_than_the_digest(registry: FakeRegistry) -> None:
    registry.fault("manifests", flip=3, times=None)
    with pytest.raises(Untrue, match=f"manifest verification failed for digest {APP.digest}: {registry.name} sent sha256:"):
        repository(registry).manifest(APP.digest)


def test_a_header_that_lies_about_the_digest(registry: FakeRegistry) -> None:
    said = digests.of(b"other")
    registry.fault("manifests", answer=lambda _: Answer(200, APP.data, {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": said}))
    with pytest.raises(Untrue, match=f"manifest verification failed for digest {said}"):
        repository(registry).manifest("1")


@pytest.mark.parametrize(
    ("data", "media_type", "why"),
    [
        (b"{", OCI_MANIFEST, "manifest: "),
        (b"\xff", OCI_MANIFEST, "manifest: "),
        (b"[" * 100_000, OCI_MANIFEST, "manifest: "),
        (APP.data, OCI_INDEX, "it says .*, but was announced as"),
        (APP.data, "application/vnd.example+json", "it says .*, but was announced as"),
        (b'{"schemaVersion":2,"layers":[],"manifests":[]}', OCI_MANIFEST, "it has both layers and manifests"),
        (b'{"schemaVersion":1,"fsLayers":[]}', "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1 support has been removed"),
        (b'{"schemaVersion":1,"fsLayers":[]}', "application/json", "schema version 1 is not supported"),
    ],
)
def test_manifests_that_are_none(registry: FakeRegistry, data: bytes, media_type: str, why: str) -> None:
    registry.fault("manifests", answer=lambda _: Answer(200, data, {"Content-Type": media_type}))
    with pytest.raises(Invalid, match=why) as raised:
        repository(registry).manifest("1")
    assert str(raised.value).startswith(f"{registry.name}/app: manifest 1: ") and str(raised.value).isprintable()


@pytest.mark.parametrize("media_type", ["", "application/json", "text/plain; charset=utf-8", OCI_MANIFEST + "; charset=utf-8", OCI_MANIFEST.upper()])
def test_a_type_that_says_nothing_is_that_of_the_document(registry: FakeRegistry, media_type: str) -> None:
    registry.fault("manifests", answer=lambda _: Answer(200, APP.data, {"Content-Type": media_type} if media_type else {}), times=None)
    made = repository(registry)
    assert made.manifest("1").media_type == OCI_MANIFEST
    found = made.head("1")
    assert found is not None and (found.digest, found.media_type, found.size) == (APP.digest, OCI_MANIFEST, len(APP.data))


def test_tags_without_an_end(registry: FakeRegistry) -> None:
    numbers = iter(range(10**9))

    def page(_: object) -> Answer:
        number = next(numbers)
        return Answer(200, b'{"tags":["t%d"]}' % (number if number < 50 else 0), {"Link": f'</v2/app/tags/list?last={number}>; rel="next"'})

    registry.fault("tags/list", answer=page, times=None)
    assert repository(registry).tags() == [f"t{n}" for n in range(50)]
    assert len(registry.asked("tags/list")) == 51


@pytest.mark.parametrize("body", [b"", b"[]", b'{"tags":7}', b'{"name":"app"}', b"<html>"])
def test_tags_that_are_none(registry: FakeRegistry, body: bytes) -> None:
    registry.fault("tags/list", body=body)
    with pytest.raises(Untrue, match="not the JSON of a list of tags"):
        repository(registry).tags()


def test_tags_with_control_bytes(registry: FakeRegistry) -> None:
    registry.fault("tags/list", body=b'{"tags":["a","\\u001b[31m",7,null]}')
    assert repository(registry).tags() == ["a", "\\x1b[31m"]


def test_nobody_listens(registry: FakeRegistry, patience: list[float]) -> None:
    registry.close()
    with pytest.raises(Unreachable) as raised:
        repository(registry).manifest("1")
    url = f"http://{registry.name}/v2/app/manifests/1"
    assert str(raised.value) == f'Get "{url}": dial tcp {registry.name}: connect: connection refused'
    assert not patience  # nobody listens there, and nobody ever did: said at once


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may be silent for a moment only."""
    monkeypatch.setattr(connections, "IDLE_S", 0.3)
    monkeypatch.setattr("pier.registry.transport.IDLE_S", 0.3)


def test_a_registry_that_says_nothing_is_noticed(registry: FakeRegistry, impatient: None, patience: list[float]) -> None:
    registry.fault("manifests", delay_s=60)
    assert repository(registry).manifest("1").digest == APP.digest and len(patience) == 1


def test_a_blob_that_stops_coming_goes_on(registry: FakeRegistry, impatient: None, patience: list[float]) -> None:
    registry.fault(LAYER, cut=100_000, hang=True)
    assert whole(repository(registry), LAYER) == DATA
    assert registry.asked(LAYER)[1].headers["range"] == "bytes=65536-"  # what stops coming within one read is not kept


@pytest.mark.parametrize(
    ("fault", "act"),
    [
        ({"delay_s": 60}, lambda made: made.manifest("1")),
        ({"cut": 1000, "hang": True}, lambda made: whole(made, LAYER)),
        ({"status": 503, "headers": {"Retry-After": "30"}}, lambda made: made.manifest("1")),
        ({"delay_s": 60, "match": "POST"}, lambda made: made.upload(None, None, Bytes(b"x"))),
        ({"delay_s": 60, "match": "PATCH"}, lambda made: made.upload(None, None, Bytes(noise(9 << 20)))),
        ({"delay_s": 60, "match": "PUT"}, lambda made: made.upload(None, None, Bytes(b"x"))),
    ],
    ids=["head", "body", "pause", "post", "patch", "put"],
)
def test_a_call_ends_at_once_when_it_is_cancelled(registry: FakeRegistry, fault: dict[str, object], act) -> None:  # type: ignore[no-untyped-def]
    cancel = Cancel()
    registry.fault(str(fault.get("match", "manifests|blobs/sha")), times=None, **{k: v for k, v in fault.items() if k != "match"})
    made = repository(registry, cancel=cancel, push=True)
    threading.Timer(0.2, cancel.cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        act(made)
    assert time.monotonic() - began < 20
    with pytest.raises(Cancelled):
        made.manifest("1")


def test_who_is_cancelled_takes_nobody_along(registry: FakeRegistry) -> None:
    client, cancel = registries(), Cancel()
    reference = parse(f"{registry.name}/app")
    registry.fault(LAYER, cut=1000, hang=True)
    with client.repository(reference, cancel=cancel).blob(LAYER) as blob, client.repository(reference).blob(LAYER) as other:
        blob.read(10)
        cancel.cancel()
        assert b"".join(iter(lambda: other.read(), b"")) == DATA
        with pytest.raises(Cancelled):
            while blob.read():
                pass


def test_a_mirror_that_breaks_off_twice_is_left_for_the_registry(registry: FakeRegistry, patience: list[float]) -> None:
    from pier.registry.config import RegistryOptions

    with FakeRegistry() as mirror:
        mirror.add("app", APP, "1")
        mirror.fault(LAYER, cut=100_000, times=None)
        rows = {registry.name: RegistryOptions(mirrors=(mirror.url,))}
        made = registries(registries=rows).repository(parse(f"{registry.name}/app"))
        assert whole(made, LAYER) == DATA
        assert len(mirror.asked(LAYER)) == 2 and len(registry.asked(LAYER)) == 1


def test_what_a_mirror_gives_wrong_is_had_from_the_registry(registry: FakeRegistry) -> None:
    from pier.registry.config import RegistryOptions

    with FakeRegistry() as mirror:
        mirror.add("app", APP, "1")
        mirror.fault("manifests", flip=3, times=None)
        told: list[str] = []
        rows = {registry.name: RegistryOptions(mirrors=(mirror.url,))}
        made = registries(registries=rows).repository(parse(f"{registry.name}/app"), notice=told.append)
        assert made.manifest(APP.digest).data == APP.data
        assert told and told[0].startswith(f"mirror {mirror.name} is passed by: manifest verification failed")
        with made.blob(LAYER, mirrors=False) as blob:
            blob.read()
        assert not mirror.asked(LAYER) and registry.asked(LAYER)


def test_a_redirected_blob_that_breaks_off_asks_the_registry_for_a_fresh_address(registry: FakeRegistry, patience: list[float]) -> None:
    with BlobHost({LAYER: DATA}) as other:
        registry.options = Options(blob_host=f"{other.url}/")
        other.fault(LAYER, cut=100_000)
        assert whole(repository(registry), LAYER) == DATA
        assert len(registry.asked(LAYER)) == 2 and other.asked()[1].headers["range"] == "bytes=100000-"


def test_missing_words_of_a_blob(registry: FakeRegistry) -> None:
    registry.fault(LAYER, status=404, body=b"<Error>NoSuchKey</Error>")
    with pytest.raises(Missing, match=rf"{registry.name}/app: blob {LAYER}: .*404|unknown"):
        repository(registry).blob(LAYER)


def test_who_spoke_tls_is_not_asked_without(tmp_path: Path, patience: list[float]) -> None:
    """Whether an insecure registry speaks TLS is found out once, not when it breaks off later."""
    with FakeRegistry(tls=Authority(tmp_path).server()) as registry:
        registry.fault("PUT", drop=True, times=None)
        with pytest.raises(Unreachable, match=r'Put "https://'):
            repository(registry, push=True).upload(None, None, Bytes(b"x"))
        assert not registry.handshakes_failed


def test_who_speaks_no_tls_is_asked_so_once(registry: FakeRegistry) -> None:
    client = registries()
    for _ in range(3):
        client.repository(parse(f"{registry.name}/app")).manifest("1")
    assert registry.connections <= 3


def test_a_registry_that_learns_tls_is_found_again(registry: FakeRegistry, tmp_path: Path) -> None:
    client = registries(max_attempts=1)
    reference = parse(f"{registry.name}/app")
    client.repository(reference).manifest("1")
    registry.close()
    with FakeRegistry(tls=Authority(tmp_path).server(), port=registry.port) as secured:
        secured.add("app", APP, "1")
        with pytest.raises(Unreachable):
            client.repository(reference).manifest("1")
        assert client.repository(reference).manifest("1").digest == APP.digest


def test_idle_connections_are_ended_when_that_is_said(registry: FakeRegistry) -> None:
    client = registries()
    made = client.repository(parse(f"{registry.name}/app"))
    with made.blob(LAYER) as blob:
        blob.read(1)
        made.manifest("1")
        before = registry.connections
        client.close_idle()
        rest = b"".join(iter(blob.read, b""))
        assert len(rest) == len(DATA) - 1  # what is in use goes on
    assert made.manifest("1").digest == APP.digest and registry.connections == before + 1


def test_a_digest_of_another_algorithm_is_verified_by_it(registry: FakeRegistry) -> None:
    name = "sha512:" + hashlib.sha512(APP.data).hexdigest()
    registry.fault("manifests", answer=lambda _: Answer(200, APP.data, {"Content-Type": OCI_MANIFEST}))
    assert repository(registry).manifest(name).digest == name
    registry.fault("manifests", answer=lambda _: Answer(200, APP.data + b" ", {"Content-Type": OCI_MANIFEST}))
    with pytest.raises(Untrue, match=f"manifest verification failed for digest {name}: {registry.name} sent sha512:"):
        repository(registry).manifest(name)


def test_an_answer_to_head_of_something_else_is_not_believed(registry: FakeRegistry) -> None:
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": digests.of(b"other")}
    registry.fault("HEAD", answer=lambda _: Answer(200, APP.data, headers), times=None)
    found = repository(registry).head(APP.digest)
    assert found is not None and found.digest == APP.digest


def test_blobs_of_other_registries_are_not_mounted(registry: FakeRegistry) -> None:
    assert not repository(registry, push=True).mount(LAYER, parse("other.example.com/app")) and not registry.asked()


@pytest.mark.parametrize("status", [401, 403, 404, 405, 200])
def test_a_search_where_there_is_none(registry: FakeRegistry, status: int) -> None:
    registry.fault("/v1/search", status=status, body=b"<html>", times=None)
    assert [row.name for row in registries().search(f"{registry.name}/pp")] == [f"{registry.name}/app"]
    registry.options = Options(catalog=False)
    with pytest.raises(Internal, match=f"{registry.name} has neither a search .* nor a catalogue"):
        registries().search(f"{registry.name}/pp")


def test_a_search_that_fails(registry: FakeRegistry, patience: list[float]) -> None:
    registry.fault("/v1/search", status=500, times=None)
    with pytest.raises(Internal, match="Unexpected status code 500"):
        registries().search(f"{registry.name}/pp")


@pytest.mark.parametrize("status", [401, 307])
def test_the_rest_of_an_answer_that_nobody_reads_is_not_waited_for(registry: FakeRegistry, patience: list[float], status: int) -> None:
    headers = {"WWW-Authenticate": 'Basic realm="r"', "Location": "/v2/app/manifests/1"}
    registry.fault("manifests", status=status, headers=headers, body=b"x" * 1000, cut=10, hang=True)
    began = time.monotonic()
    assert repository(registry, credentials=Credentials("alice", "x")).manifest("1").digest == APP.digest
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("secure", [True, False])
def test_one_connection_for_a_dance(tmp_path: Path, secure: bool) -> None:
    """What an answer of 401 says beside its head is read, so that its connection serves again."""
    authority = Authority(tmp_path)
    tls = authority.server() if secure else None
    with TokenServer({"alice": "x"}) as tokens, FakeRegistry(auth=tokens, tls=tls) as made:
        made.add("app", APP, "1")
        repository(made, credentials=Credentials("alice", "x")).manifest("1")
        assert len({request.connection for request in made.asked()}) == 1 and len(made.asked()) == 2
