"""What an index has about its images (provenance, SBOM): it comes with a pull, is shown, goes with a push, and goes away with its image."""

import contextlib
import http.client
import json
from typing import Any

import pytest

from tests.harness import images
from tests.harness.commands import Done, eventually
from tests.harness.engine import Engine
from tests.harness.registry import Document, FakeRegistry, attestation, digest_of, image, index
from tests.harness.registry_images import Tree

from .conftest import pull, push

HERE = "amd64" if images.busybox_is_amd64() else "arm64"
PROVENANCE = b'{"predicateType":"https://slsa.dev/provenance/v0.2"}'
SBOM = b'{"predicateType":"https://spdx.dev/Document","x":"%s"}' % (b"x" * 200_000)
own = image([images.layer({"mark": b"attested"})])
foreign = image([images.layer({"mark": b"attested, too"})], platform="linux/s390x")
said, said_too = attestation(PROVENANCE, SBOM), attestation(b'{"about":"s390x"}')
alone = index([(own, f"linux/{HERE}")], about=[(said, own)])
several = index([(own, f"linux/{HERE}"), (foreign, "linux/s390x")], about=[(said, own), (said_too, foreign)])
ALL = {said.digest, *map(digest_of, said.blobs)}


def blobs(engine: Engine) -> set[str]:
    return {f"sha256:{path.name}" for path in (engine.data_root / "content/blobs/sha256").iterdir()}


def shown(engine: Engine, name: str) -> dict[str, dict[str, Any]]:
    """Of each manifest behind a name what is shown, by its digest."""
    (summary,) = [one for one in engine.api.get("/images/json", manifests=True) if name in one["RepoTags"]]
    return {one["ID"]: one for one in summary["Manifests"]}


def oci_archive(document: Document, name: str, without: str) -> bytes:
    """An OCI layout, as BuildKit writes it, without one of its documents."""
    tree = Tree.of(document)
    files = {f"blobs/sha256/{digest[7:]}": data for digest, data in tree.blobs.items()}
    files |= {f"blobs/sha256/{digest[7:]}": one.data for digest, one in tree.documents.items() if digest != without}
    entry = document.descriptor(annotations={"io.containerd.image.name": name})
    files |= {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()}
    return images.layer(files)


def check(engine: Engine, *words: str) -> Done:
    return engine.pier("image", "check", *words)


def test_it_comes_with_the_image_and_goes_with_it(engine: Engine, registry: FakeRegistry) -> None:
    before = blobs(engine)
    name = registry.add("made/app", alone, "1")
    assert "Downloaded newer image" in pull(engine, name)[-1]["status"]
    assert blobs(engine) >= ALL
    entry = shown(engine, name)[said.digest]
    assert (entry["Kind"], entry["Available"], entry["AttestationData"]) == ("attestation", True, {"For": own.digest})
    assert entry["Size"]["Content"] == entry["Size"]["Total"] == len(said.data) + sum(map(len, said.blobs))
    registry.forget()
    assert "up to date" in pull(engine, name)[-1]["status"] and not registry.asked("GET .*")
    # The same digest at another place, with all that belongs to it.
    engine.api("POST", f"/images/{name}/tag", repo=f"{registry.name}/other/app", tag="2").ok(201)
    assert push(engine, f"{registry.name}/other/app:2").digest == alone.digest == digest_of(registry.manifest("other/app", "2"))
    assert registry.manifest("other/app", said.digest) == said.data
    assert not registry.asked("PATCH .*"), "the registry has every blob: mounted"
    # The engine finds it again, and it goes with the last name of that index.
    engine.stop()
    engine.start()
    assert shown(engine, name)[said.digest]["Available"]
    engine.api("DELETE", f"/images/{registry.name}/other/app:2").ok()
    assert blobs(engine) >= ALL
    engine.api("DELETE", f"/images/{name}").ok()
    assert blobs(engine) == before


def test_it_is_sent_to_a_registry_that_has_nothing_of_it(engine: Engine, registry: FakeRegistry) -> None:
    name = registry.add("made/app", alone, "1")
    pull(engine, name)
    with FakeRegistry(inside=engine.namespaces) as elsewhere:
        engine.api("POST", f"/images/{name}/tag", repo=f"{elsewhere.name}/app", tag="1").ok(201)
        assert push(engine, f"{elsewhere.name}/app:1").digest == alone.digest
        assert ALL - {said.digest} <= elsewhere.blobs.keys() and elsewhere.manifest("app", said.digest) == said.data
        elsewhere.forget()
        push(engine, f"{elsewhere.name}/app:1").ok()
        assert [request.line for request in elsewhere.asked("(GET|POST|PUT) .*")] == []
        engine.api("DELETE", f"/images/{elsewhere.name}/app:1").ok()
    engine.api("DELETE", f"/images/{name}").ok()


def test_each_platform_has_its_own(engine: Engine, registry: FakeRegistry) -> None:
    before = blobs(engine)
    name = registry.add("made/app", several, "1")
    pull(engine, name)
    assert not blobs(engine) & {said_too.digest} and not shown(engine, name)[said_too.digest]["Available"]
    engine.api("POST", f"/images/{name}/tag", repo=f"{registry.name}/part/app", tag="1").ok(201)
    told = push(engine, f"{registry.name}/part/app:1")
    assert [line["aux"]["manifestPushedInsteadOfIndex"] for line in told.lines if "manifestPushedInsteadOfIndex" in line.get("aux", {})] == [True]
    assert told.digest == own.digest
    pull(engine, name, platform="linux/s390x")
    assert {digest for digest, one in shown(engine, name).items() if one["Available"]} == {d.digest for d in (own, foreign, said, said_too)}
    engine.api("POST", f"/images/{name}/tag", repo=f"{registry.name}/whole/app", tag="1").ok(201)
    assert push(engine, f"{registry.name}/whole/app:1").digest == several.digest
    engine.api("DELETE", f"/images/{own.image_id}", force=True).ok()
    assert not blobs(engine) & {said.digest, digest_of(PROVENANCE)} and said_too.digest in blobs(engine)
    engine.api("DELETE", f"/images/{foreign.image_id}", force=True).ok()
    assert blobs(engine) == before


@pytest.mark.parametrize("wrong", ["missing", "other bytes", "an index"])
def test_one_that_cannot_be_had_is_told_and_the_image_comes(engine: Engine, registry: FakeRegistry, wrong: str) -> None:
    before = blobs(engine)
    bad = attestation(b'{"n":1}') if wrong != "an index" else Document(index([]).data, said.media_type)
    name = registry.add("made/app", index([(own, f"linux/{HERE}")], about=[(said, own), (bad, own)]), "1")
    if wrong == "missing":
        registry.fault(f"GET .*/blobs/{digest_of(bad.blobs[1])}", status=404, times=100)
    elif wrong == "other bytes":
        registry.blobs[digest_of(bad.blobs[1])] = b'{"n":2}'
    lines = pull(engine, name)
    (told,) = [line["status"] for line in lines if "is not kept: " in line.get("status", "")]
    assert told.startswith(f"Attestation {bad.digest} is not kept: ") and "Downloaded newer image" in lines[-1]["status"]
    assert blobs(engine) >= ALL and not blobs(engine) & {bad.digest, *map(digest_of, bad.blobs[1:])}
    assert "is not kept" in json.dumps(pull(engine, name)), "it is tried again by the next pull"
    engine.api("DELETE", f"/images/{name}").ok()
    assert blobs(engine) == before


def test_check_finds_and_mends_it(engine: Engine, registry: FakeRegistry) -> None:
    name = registry.add("made/app", alone, "1")
    pull(engine, name)
    folder = engine.data_root / "content/blobs/sha256"
    (folder / digest_of(SBOM)[7:]).unlink()
    check(engine, name).fails(1, f"statement {digest_of(SBOM)}")
    check(engine, "--repair", name).ok()
    assert (folder / digest_of(SBOM)[7:]).read_bytes() == SBOM
    # A manifest that the disk has spoiled: the daemon does not know its parts, and they go at its start.
    (folder / said.digest[7:]).chmod(0o600)
    (folder / said.digest[7:]).write_bytes(b"spoiled")
    engine.stop()
    engine.start()
    assert said.digest in blobs(engine) and digest_of(SBOM) not in blobs(engine)
    check(engine, "--repair", name).ok()
    assert blobs(engine) >= ALL and (folder / said.digest[7:]).read_bytes() == said.data
    check(engine, name).ok()
    engine.api("DELETE", f"/images/{name}").ok()
    assert not blobs(engine) & ALL


def test_a_kill_leaves_all_of_it_or_nothing(own: Engine) -> None:
    with FakeRegistry(inside=own.namespaces) as registry:
        name = registry.add("made/app", alone, "1")
        before = blobs(own)
        for point in ("pull.attestations", "content.commit@2", "images.files", "images.rows"):
            own.stop()
            own.start(PIER_FAIL=f"{point.partition('@')[0]}:kill" + ("@2" if "@" in point else ""))
            with contextlib.suppress(OSError, http.client.HTTPException):
                pull(own, name)
            eventually(lambda: own.namespaces.exit_code(own.pid) is not None, 15.0, f"the daemon dies at {point}")
            own.start()
            there = blobs(own)
            assert there >= ALL if point == "images.rows" else not ALL & there, point
        assert shown(own, name)[said.digest]["Available"]
        own.api("DELETE", f"/images/{name}").ok()
        assert blobs(own) == before


def test_it_comes_with_an_archive_that_has_it(engine: Engine, registry: FakeRegistry) -> None:
    before = blobs(engine)
    loaded = engine.api("POST", "/images/load", data=oci_archive(several, "docker.io/library/attested:1", without=said_too.digest)).ok()
    assert b"Loaded image: attested:1" in loaded.body, loaded.body
    assert {digest for digest, one in shown(engine, "attested:1").items() if one["Available"]} == {own.digest, foreign.digest, said.digest}
    engine.api("DELETE", "/images/attested:1").ok()
    assert blobs(engine) == before
