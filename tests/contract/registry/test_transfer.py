"""From one registry to another: only what is missing goes, byte for byte, and nothing half of it is ever under a name."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.errors import Invalid, NotFound, PierError
from pier.oci import platform, reference
from pier.registry import transfer
from pier.registry.cancel import Cancel, Cancelled
from pier.registry.client import Registries
from pier.registry.repository import Repository
from tests.harness.registry import DockerRegistry, Document, FakeRegistry, Options, image, index, needs_docker_registry, small

from .clients import registries

pytestmark = pytest.mark.usefixtures("patience")


@pytest.fixture
def fakes() -> Iterator[tuple[FakeRegistry, FakeRegistry]]:
    with FakeRegistry() as one, FakeRegistry() as two:
        yield one, two


def repository(client: Registries, name: str, push: bool = False, cancel: Cancel | None = None) -> Repository:
    return client.repository(reference.parse(name), push=push, cancel=cancel)


def copied(source: str, target: str, name: str, tag: str = "", cancel: Cancel | None = None) -> tuple[str, list[tuple[str, str]]]:
    """Copy; the digest, and what became of each blob in the end."""
    client, told, cancel = registries(), dict[str, str](), cancel or Cancel()
    where = repository(client, source, cancel=cancel)

    def progress(blob: "transfer.Descriptor", state: str, sent: int) -> None:
        assert 0 <= sent <= blob.size
        told[blob.digest] = state

    what = transfer.tree(where, name)
    digest = transfer.copy(where, repository(client, target, True, cancel), what, tag or name, cancel, progress)
    return digest, sorted(told.items())


@pytest.fixture
def both() -> Document:
    arms = index([(small("v6", platform="linux/arm/v6"), "linux/arm/v6"), (small("v7", platform="linux/arm/v7"), "linux/arm/v7")])
    members = [(small("amd", layers=2), "linux/amd64"), (small("arm", platform="linux/arm64/v8"), "linux/arm64/v8"), (arms, "linux/arm")]
    return index(members, annotations={"made": "here"})


def test_an_index_with_all_that_is_below_it(fakes: tuple[FakeRegistry, FakeRegistry], both: Document) -> None:
    one, two = fakes
    one.add("team/app", both, "v1")
    digest, told = copied(f"{one.name}/team/app", f"{two.name}/other/name", "v1")
    assert digest == both.digest and two.manifest("other/name", "v1") == both.data
    assert {state for _, state in told} == {"done"} and len(told) == 9
    assert {d: two.blobs[d] for d in two.repositories["other/name"].blobs} == {d: one.blobs[d] for d in one.repositories["team/app"].blobs}


@pytest.mark.parametrize("kind", [{}, {"docker": True}, {"compression": "zstd"}, {"annotations": {"a": "b"}}])
def test_one_image_keeps_its_bytes(fakes: tuple[FakeRegistry, FakeRegistry], kind: dict[str, object]) -> None:
    one, two = fakes
    app = small(**kind)  # type: ignore[arg-type]
    one.add("app", app, "v1")
    copied(f"{one.name}/app", f"{two.name}/app", "v1", "v2")
    assert two.repositories["app"].manifests[app.digest] == (app.data, app.media_type) and two.repositories["app"].tags == {"v2": app.digest}


def test_what_is_there_is_not_sent(fakes: tuple[FakeRegistry, FakeRegistry]) -> None:
    one, two = fakes
    old, new = small("app", layers=2), small("app", layers=3)
    one.add("app", old, "old")
    one.add("app", new, "new")
    copied(f"{one.name}/app", f"{two.name}/app", "old")
    two.requests.clear()
    one.requests.clear()
    _, told = copied(f"{one.name}/app", f"{two.name}/app", "new")
    assert sorted(state for _, state in told) == ["done", "done", "exists", "exists"]  # the third layer and the configuration
    assert len(two.asked("^PUT .*/uploads/")) == 2 and len(one.asked("^GET .*/blobs/")) == 2
    two.requests.clear()
    copied(f"{one.name}/app", f"{two.name}/app", "new", "again")
    assert not two.asked("/blobs/") and [request.line for request in two.asked("^PUT")] == ["PUT /v2/app/manifests/again"]


def test_within_one_registry_blobs_are_mounted(fakes: tuple[FakeRegistry, FakeRegistry], both: Document) -> None:
    one, _ = fakes
    one.add("team/app", both, "v1")
    _, told = copied(f"{one.name}/team/app", f"{one.name}/other", "v1")
    assert {state for _, state in told} == {"mounted"} and one.manifest("other", "v1") == both.data
    assert not one.asked("^GET .*/blobs/") and not one.asked("^(PATCH|PUT) .*/uploads/")


def test_a_registry_that_mounts_nothing(fakes: tuple[FakeRegistry, FakeRegistry]) -> None:
    one, _ = fakes
    one.options.mounts = False
    one.add("team/app", small(), "v1")
    _, told = copied(f"{one.name}/team/app", f"{one.name}/other", "v1")
    assert {state for _, state in told} == {"done"} and one.manifest("other", "v1") == small().data


def test_layers_that_live_elsewhere_are_not_handed_on(fakes: tuple[FakeRegistry, FakeRegistry]) -> None:
    one, two = fakes
    app = small(layers=2)
    layers = app.json["layers"]
    layers[1]["urls"] = ["https://elsewhere.example/layer"]
    foreign = app.changed(layers=layers)
    one.add("app", foreign, "v1")
    copied(f"{one.name}/app", f"{two.name}/app", "v1")
    assert two.manifest("app", "v1") == foreign.data and layers[1]["digest"] not in two.repositories["app"].blobs


@pytest.mark.parametrize("fault", [{"cut": 60_000}, {"status": 503}, {"drop": True}])
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_break_is_gone_on_from(fakes: tuple[FakeRegistry, FakeRegistry], side: str, fault: dict[str, object]) -> None:
    one, two = fakes
    app = small(size=200_000)
    one.add("app", app, "v1")
    if side == "source":
        one.fault(f"GET .*/blobs/{app.layers[0]}", **fault)
    elif "cut" not in fault:
        two.fault("(PATCH|PUT) .*/uploads/", **fault)
    copied(f"{one.name}/app", f"{two.name}/app", "v1")
    assert two.manifest("app", "v1") == app.data and all(hashlib.sha256(two.blobs[d]).hexdigest() in d for d in app.layers)


def test_a_server_without_ranges(fakes: tuple[FakeRegistry, FakeRegistry]) -> None:
    one, two = fakes
    one.options.ranges = False
    app = small(size=200_000)
    one.add("app", app, "v1")
    one.fault(f"GET .*/blobs/{app.layers[0]}", cut=60_000)
    two.fault("(PATCH|PUT) .*/uploads/", status=503)
    copied(f"{one.name}/app", f"{two.name}/app", "v1")
    assert two.manifest("app", "v1") == app.data


@pytest.mark.parametrize("fault", [{"flip": 100}, {"body": b"other bytes"}, {"status": 404}])
def test_a_blob_that_is_wrong_ends_all_and_leaves_no_name(fakes: tuple[FakeRegistry, FakeRegistry], fault: dict[str, object]) -> None:
    one, two = fakes
    app = small(layers=4)
    one.add("app", app, "v1")
    one.fault(f"GET .*/blobs/{app.layers[2]}", times=None, **fault)
    cancel = Cancel()
    with pytest.raises(PierError) as raised:
        copied(f"{one.name}/app", f"{two.name}/app", "v1", cancel=cancel)
    assert not isinstance(raised.value, Cancelled) and cancel.thrown
    assert two.repositories["app"].manifests == {} and app.layers[2] not in two.repositories["app"].blobs


def test_a_manifest_that_is_not_what_the_index_says(fakes: tuple[FakeRegistry, FakeRegistry]) -> None:
    one, two = fakes
    app = small()
    wrong = app.descriptor(platform={"os": "linux", "architecture": "amd64"}) | {"size": 7}
    one.add("app", app)
    one.add("app", index([(app, "linux/amd64")]).changed(manifests=[wrong]), "v1")
    with pytest.raises(PierError, match=f"@{app.digest}: it has {len(app.data)} bytes, the index that names it says 7"):
        copied(f"{one.name}/app", f"{two.name}/app", "v1")
    assert two.repositories == {}


def test_indexes_without_end(fakes: tuple[FakeRegistry, FakeRegistry]) -> None:
    one, two = fakes
    deep = index([(small(), "linux/amd64")])
    for _ in range(transfer.MAX_DEPTH + 1):
        deep = index([(deep, "linux/amd64")])
    one.add("app", deep, "v1")
    with pytest.raises(Invalid, match="more than 4 deep"):
        copied(f"{one.name}/app", f"{two.name}/app", "v1")
    assert two.repositories == {}


def test_an_entry_of_no_known_kind(fakes: tuple[FakeRegistry, FakeRegistry]) -> None:
    one, two = fakes
    one.add("app", index([(small(), "linux/amd64")]).changed(manifests=[small().descriptor() | {"mediaType": "text/plain"}]), "v1")
    with pytest.raises(Invalid, match="neither a manifest nor an index, but text/plain"):
        copied(f"{one.name}/app", f"{two.name}/app", "v1")


@pytest.mark.parametrize(
    ("wanted", "member"),
    [("linux/amd64", "amd"), ("linux/arm64", "arm"), ("linux/arm/v7", "v7"), ("linux/arm/v6", "v6"), ("linux/arm/v8", "v7"), ("linux/s390x", "")],
)
def test_the_image_for_a_platform(fakes: tuple[FakeRegistry, FakeRegistry], wanted: str, member: str) -> None:
    one, _ = fakes
    images = {"amd": "linux/amd64", "arm": "linux/arm64/v8", "v6": "linux/arm/v6", "v7": "linux/arm/v7"}
    one.add("app", index([(small(name, platform=text), text) for name, text in images.items()]), "v1")
    where = repository(registries(), f"{one.name}/app")
    if member:
        assert transfer.for_platform(where, "v1", platform.parse(wanted)) == small(member, platform=images[member]).digest
    else:
        with pytest.raises(NotFound, match=r"no image for linux/s390x; there are: linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64"):
            transfer.for_platform(where, "v1", platform.parse(wanted))


def test_a_platform_of_one_image_is_no_question(fakes: tuple[FakeRegistry, FakeRegistry]) -> None:
    one, _ = fakes
    one.add("app", small(), "v1")
    with pytest.raises(Invalid, match="it is one image, not an index of several"):
        transfer.for_platform(repository(registries(), f"{one.name}/app:v1"), "v1", platform.parse("linux/amd64"))


def test_attestations_are_no_images(fakes: tuple[FakeRegistry, FakeRegistry]) -> None:
    one, two = fakes
    app, statement = small(), image([b""], annotations={"x": "y"})
    entries = [
        app.descriptor(platform={"os": "linux", "architecture": "amd64"}),
        statement.descriptor(platform={"os": "unknown", "architecture": "unknown"}, annotations={"vnd.docker.reference.type": "attestation"}),
    ]
    one.add("app", statement)
    one.add("app", index([(app, "linux/amd64")]).changed(manifests=entries), "v1")
    where = repository(registries(), f"{one.name}/app")
    assert transfer.for_platform(where, "v1", platform.parse("linux/amd64")) == app.digest
    copied(f"{one.name}/app", f"{two.name}/app", "v1")
    assert statement.digest in two.repositories["app"].manifests, "it goes with the index"


def test_a_configuration_is_read_whole_and_verified(fakes: tuple[FakeRegistry, FakeRegistry]) -> None:
    one, _ = fakes
    app = small()
    one.add("app", app, "v1")
    where = repository(registries(), f"{one.name}/app")
    config = where.manifest("v1").document.config  # type: ignore[union-attr]
    assert transfer.small_blob(where, config) == app.blobs[0]
    one.fault(f"GET .*/blobs/{config.digest}", times=1, flip=3)
    with pytest.raises(PierError, match="the registry sent other bytes"):
        transfer.small_blob(where, config)


@needs_docker_registry
def test_between_the_real_ones(both: Document, tmp_path: Path) -> None:
    with DockerRegistry() as one, DockerRegistry(htpasswd=False) as two:
        one.push("team/app", both, "v1")
        digest, told = copied(f"{one.name}/team/app", f"{two.name}/app", "v1")
        assert digest == both.digest and two.manifest("app", "v1") == both.data and {state for _, state in told} == {"done"}
        assert {state for _, state in copied(f"{two.name}/app", f"{two.name}/other", "v1")[1]} == {"mounted"}


# What is about an image


def about(of: Document, kind: str) -> Document:
    """A signature or the like, that says what it is about."""
    made = small(kind)
    return made.changed(subject={"mediaType": of.media_type, "digest": of.digest, "size": len(of.data)}, artifactType=f"application/{kind}")


@pytest.mark.parametrize("api", [True, False])
def test_what_refers_to_an_image_comes_along(api: bool) -> None:
    amd, arm = small("amd"), small("arm", platform="linux/arm64/v8")
    both = index([(amd, "linux/amd64"), (arm, "linux/arm64/v8")])
    with FakeRegistry(options=Options(referrers=True)) as one, FakeRegistry(options=Options(referrers=api)) as two:
        one.add("app", both, "v1")
        of_index, of_amd = about(both, "signature"), about(amd, "sbom")
        of_sbom = about(of_amd, "signature-of-the-sbom")
        for document in (of_index, of_amd, of_sbom, small("unrelated")):
            one.add("app", document)
        one.add("app", small("cosign"), f"sha256-{arm.digest[7:]}.sig")
        client = registries()
        source, target = repository(client, f"{one.name}/app"), repository(client, f"{two.name}/copy", True)
        what = transfer.tree(source, "v1")
        found = transfer.referring(source, what)
        assert [name for name, _ in found] == [of_index.digest, f"sha256-{arm.digest[7:]}.sig", of_amd.digest, of_sbom.digest]
        for name, tree in (("v1", what), *found):
            transfer.copy(source, target, tree, name, Cancel(), lambda *_: None)
        assert [[entry.digest for entry in target.referrers(one_.digest).manifests] for one_ in (both, amd, of_amd)] == [
            [of_index.digest], [of_amd.digest], [of_sbom.digest]]  # fmt: skip
        assert two.manifest("copy", f"sha256-{arm.digest[7:]}.sig") == small("cosign").data


def test_a_registry_that_refuses_the_question_has_none(fakes: tuple[FakeRegistry, FakeRegistry]) -> None:
    one, _ = fakes
    one.add("app", small(), "v1")
    one.fault("/referrers/", status=400, times=None)
    source = repository(registries(), f"{one.name}/app")
    assert transfer.referring(source, transfer.tree(source, "v1")) == []
