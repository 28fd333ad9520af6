"""A repository's verbs, over a registry of our own and the real one: what is pushed is there, under the same digest."""

import json
import threading

import pytest

from pier.errors import Invalid, NotFound
from pier.oci import digest as digests
from pier.oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from pier.oci.reference import parse
from pier.registry.errors import Missing, Refused
from pier.registry.repository import Repository
from pier.registry.upload import FIRST_CHUNK
from tests.harness.registry import FakeRegistry, Options, image, index, small
from tests.harness.registry_images import Document

from .clients import Bytes, Growing, noise, registries, repository, whole
from .conftest import Registry

APP = small("app", layers=3)


def push(made: Repository, document: Document, tag: str = "") -> None:
    """All of an image, blobs first."""
    for blob in document.blobs:
        made.upload(digests.of(blob), len(blob), Bytes(blob))
    for member in document.manifests:
        push(made, member)
    assert made.put_manifest(tag or document.digest, document.data, document.media_type) == document.digest


def test_what_is_pushed_is_pulled(registry: Registry) -> None:
    made = repository(registry, push=True)
    push(made, APP, "latest")
    for name in ("latest", APP.digest):
        found = made.manifest(name)
        assert (found.data, found.digest, found.media_type) == (APP.data, APP.digest, APP.media_type)
    assert [whole(made, digests.of(blob)) for blob in APP.blobs] == list(APP.blobs)
    assert registry.manifest("app", "latest") == APP.data


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_indexes(registry: Registry, docker: bool) -> None:
    both = index([(image([], docker=docker), "linux/amd64"), (image([], docker=docker, platform="linux/arm64"), "linux/arm64")], docker=docker)
    made = repository(registry, push=True)
    push(made, both, "all")
    assert (made.manifest("all").data, made.manifest("all").media_type) == (both.data, both.media_type)


def test_what_a_name_means_now(registry: Registry) -> None:
    registry_push(registry, APP, "1")
    made = repository(registry)
    for name in ("1", APP.digest):
        found = made.head(name)
        assert found is not None and (found.digest, found.size, found.media_type) == (APP.digest, len(APP.data), APP.media_type)
    assert made.head("2") is None and made.head(digests.of(b"")) is None and repository(registry, "other").head("1") is None


def registry_push(registry: Registry, document: Document, *tags: str) -> None:
    registry.add("app", document, *tags) if isinstance(registry, FakeRegistry) else registry.push("app", document, *tags)


def test_what_is_not_there(registry: Registry) -> None:
    registry_push(registry, APP, "1")
    made = repository(registry)
    with pytest.raises(Missing, match=r"manifest unknown"):
        made.manifest("2")
    with pytest.raises(Missing, match=r"/app: blob sha256:e3b0c442.*: blob unknown"):
        made.blob(digests.of(b""))
    assert made.blob_size(digests.of(b"")) is None
    with pytest.raises(NotFound):
        repository(registry, "other").tags()


@pytest.mark.parametrize("name", ["../../x", "a b", "", "x" * 200, "sha256:1", "a/b", "a?b", "a#b", "..", "%2e"])
def test_names_that_are_none_are_not_asked_for(name: str) -> None:
    with FakeRegistry() as registry:
        made = repository(registry, push=True)
        for act in (made.manifest, made.head, made.delete, lambda name: made.put_manifest(name, b"{}", OCI_MANIFEST)):
            with pytest.raises(Invalid):
                act(name)
        for act in (made.blob, made.blob_size):
            with pytest.raises(Invalid):
                act(f"sha256:{name}")
        assert not registry.requests


@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 10), (10, None), (10, 20), (999, 1000), (0, 5000)])
def test_ranges(registry: Registry, start: int, stop: int | None) -> None:
    data = noise(1000)
    made = repository(registry, push=True)
    digest = made.upload(None, None, Bytes(data))
    with made.blob(digest, start=start, stop=stop) as blob:
        assert (blob.start, blob.total) == (start, 1000)
        assert b"".join(iter(lambda: blob.read(7), b"")) == data[start:stop]


def test_a_blob_into_a_buffer(registry: Registry) -> None:
    data = noise(100_000)
    made = repository(registry, push=True)
    buffer = bytearray(70_000)
    with made.blob(made.upload(None, None, Bytes(data))) as blob:
        counts = iter(lambda: blob.readinto(buffer), 0)
        assert sum(counts) == 100_000


@pytest.mark.parametrize("size", [0, 1, 1000, FIRST_CHUNK, FIRST_CHUNK + 1, 3 * FIRST_CHUNK, 4 * FIRST_CHUNK + 17])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_uploads_of_any_size(registry: Registry, size: int, known: bool) -> None:
    data = noise(size)
    made = repository(registry, push=True)
    told: list[int] = []
    digest = made.upload(digests.of(data) if known else None, size if known else None, Bytes(data), told.append)
    assert digest == digests.of(data) and made.blob_size(digest) == size
    assert told == sorted(told) and (told or [0])[-1] == size


def test_an_upload_of_what_still_grows(registry: Registry) -> None:
    data = noise(3 * FIRST_CHUNK + 99)
    source, sent = Growing(), threading.Event()
    made = repository(registry, push=True)

    def make() -> None:
        source.grow(data[: FIRST_CHUNK + 1])
        assert sent.wait(30), "the first chunk did not go out before the source was whole"
        for at in range(FIRST_CHUNK + 1, len(data), 1 << 20):
            source.grow(data[at : at + (1 << 20)])
        source.grow(None)

    maker = threading.Thread(target=make)
    maker.start()
    digest = made.upload(None, None, source, lambda done: sent.set() if done >= FIRST_CHUNK else None)
    maker.join()
    assert digest == digests.of(data) and whole(made, digest) == data


def test_a_mount(registry: Registry) -> None:
    client = registries()
    source, other = parse(f"{registry.name}/team/base"), parse(f"{registry.name}/app")
    digest = client.repository(source, push=True).upload(None, None, Bytes(b"layer"))
    made = client.repository(other, push=True)
    assert made.blob_size(digest) is None
    assert made.mount(digest, source) and made.blob_size(digest) == 5


def test_a_mount_of_what_is_not_there_is_an_upload_that_has_begun(registry: Registry) -> None:
    made = repository(registry, push=True)
    digest = digests.of(b"layer")
    assert not made.mount(digest, parse(f"{registry.name}/team/base"))
    assert made.upload(digest, 5, Bytes(b"layer")) == digest and made.blob_size(digest) == 5
    if isinstance(registry, FakeRegistry):
        assert len(registry.asked("POST")) == 1


def test_tags(registry: Registry) -> None:
    registry_push(registry, APP, *(f"v{n}" for n in range(25)))
    made = repository(registry)
    assert sorted(made.tags()) == sorted(f"v{n}" for n in range(25))
    assert len(made.tags(10)) == 10


def test_a_tag_and_a_manifest_are_deleted(registry: Registry) -> None:
    registry_push(registry, APP, "a", "b")
    made = repository(registry, push=True)
    made.delete(APP.digest)
    assert made.head("a") is None and made.head(APP.digest) is None
    with pytest.raises(Missing):
        made.delete(APP.digest)


def test_a_registry_that_deletes_nothing() -> None:
    with FakeRegistry(options=Options(deletes=False)) as registry:
        registry.add("app", APP, "a")
        with pytest.raises(Refused, match=r"unsupported: The operation is unsupported"):
            repository(registry, push=True).delete("a")


def signature(of: Document, kind: str = "application/example.signature") -> bytes:
    config = {"mediaType": OCI_CONFIG, "digest": of.json["config"]["digest"], "size": of.json["config"]["size"]}
    layer = {"mediaType": OCI_LAYER, "digest": config["digest"], "size": config["size"]}
    about = {"mediaType": of.media_type, "digest": of.digest, "size": len(of.data)}
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": kind,
            "config": config,
            "layers": [layer],
            "subject": about,
            "annotations": {"by": kind},
        }
    ).encode()


def test_referrers(registry: Registry) -> None:
    """docker-registry 2.8 has no API for them: the list is under the fallback tag."""
    made = repository(registry, push=True)
    push(made, APP, "1")
    assert made.referrers(APP.digest).manifests == []
    one, two = signature(APP), signature(APP, "application/example.sbom")
    for data in (one, two, one):
        made.put_manifest(digests.of(data), data, OCI_MANIFEST)
    found = {entry.digest: entry for entry in made.referrers(APP.digest).manifests}
    assert found.keys() == {digests.of(one), digests.of(two)}
    entry = found[digests.of(two)]
    assert (entry.artifact_type, entry.annotations, entry.size) == ("application/example.sbom", {"by": "application/example.sbom"}, len(two))
    assert [e.digest for e in made.referrers(APP.digest, "application/example.sbom").manifests] == [digests.of(two)]
    kept = made.head(APP.digest.replace(":", "-"))
    assert (kept is None) == isinstance(registry, FakeRegistry) and (kept is None or kept.media_type == OCI_INDEX)


def test_referrers_where_there_is_no_api() -> None:
    with FakeRegistry(options=Options(referrers=False)) as registry:
        made = repository(registry, push=True)
        push(made, APP, "1")
        one = signature(APP)
        made.put_manifest(digests.of(one), one, OCI_MANIFEST)
        assert [entry.digest for entry in made.referrers(APP.digest).manifests] == [digests.of(one)]


def test_what_is_deleted_is_no_referrer_any_more(registry: Registry) -> None:
    made = repository(registry, push=True)
    push(made, APP, "1")
    one, two = signature(APP), signature(APP, "application/example.sbom")
    for data in (one, two):
        made.put_manifest(digests.of(data), data, OCI_MANIFEST)
    for gone, left in ((one, [two]), (two, [])):
        made.delete(digests.of(gone))
        assert [entry.digest for entry in made.referrers(APP.digest).manifests] == [digests.of(data) for data in left]


def test_the_catalogue(registry: Registry) -> None:
    for name in ("team/a", "team/b", "c"):
        registry.add(name, APP, "1") if isinstance(registry, FakeRegistry) else registry.push(name, APP, "1")
    assert registries().catalog(registry.name) == ["c", "team/a", "team/b"]
    assert registries().catalog(registry.name, limit=2) == ["c", "team/a"]


def test_a_search_of_the_catalogue(registry: Registry) -> None:
    for name in ("team/apple", "team/pear", "apple"):
        registry.add(name, APP, "1") if isinstance(registry, FakeRegistry) else registry.push(name, APP, "1")
    found = registries().search(f"{registry.name}/apple")
    assert [row.name for row in found] == [f"{registry.name}/apple", f"{registry.name}/team/apple"]
    assert registries().search(f"{registry.name}/apple", limit=1) == found[:1]
    assert registries().search(f"{registry.name}/apple", filters={"stars": ["1"]}) == []
