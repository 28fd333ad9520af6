"""Pushes to a registry of our own: what goes over the wire and what does not, what is told, what is remembered."""

import base64
import gzip
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.harness import images, registry
from tests.harness.commands import eventually
from tests.harness.engine import Engine
from tests.harness.registry import Basic, FakeRegistry

from .conftest import load, pull, push

MARK = images.layer({"mark": os.urandom(300_000)})
NAME = "app"


def named(engine: Engine, folder: Path, registry: FakeRegistry, *layers: bytes, to: str = "app:1") -> str:
    """An image of the test's own, called as it is at the registry; its name."""
    load(engine, folder, f"{registry.name}/{to}", *(layers or (MARK,)))
    return f"{registry.name}/{to}"


def diff_ids(engine: Engine, name: str) -> list[str]:
    return list(engine.api.get(f"/images/{name}/json")["RootFS"]["Layers"])


def manifest(registry: FakeRegistry, repository: str = NAME, reference: str = "1") -> Any:
    return json.loads(registry.manifest(repository, reference))


def test_an_image_of_our_own_is_compressed_and_is_docker_s(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    name = named(own, tmp_path, own_registry, MARK, images.layer({}))
    told = push(own, name)
    base, mark, empty = diff_ids(own, name)
    assert [line["status"] for line in told.lines[:4]] == [f"The push refers to repository [{own_registry.name}/app]"] + ["Preparing"] * 3
    assert [line["id"] for line in told.lines[1:4]] == [diff_id[7:19] for diff_id in (empty, mark, base)]  # the top one first
    assert [told.statuses(diff_id)[-1] for diff_id in (base, mark, empty)] == ["Pushed"] * 3
    data = own_registry.manifest(NAME, "1")
    found = json.loads(data)
    assert told.lines[-2] == {"status": f"1: digest: {told.digest} size: {len(data)}"}
    assert told.lines[-1] == {"progressDetail": {}, "aux": {"Tag": "1", "Digest": registry.digest_of(data), "Size": len(data)}}
    assert (found["mediaType"], found["config"]["mediaType"]) == (
        "application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.container.image.v1+json",
    )  # fmt: skip
    assert {layer["mediaType"] for layer in found["layers"]} == {"application/vnd.docker.image.rootfs.diff.tar.gzip"}
    assert data.startswith(b'{\n   "schemaVersion": 2,\n')
    blobs = own_registry.blobs
    assert [registry.digest_of(gzip.decompress(blobs[layer["digest"]])) for layer in found["layers"]] == [base, mark, empty]
    assert [layer["size"] for layer in found["layers"]] == [len(blobs[layer["digest"]]) for layer in found["layers"]]
    assert registry.digest_of(blobs[found["config"]["digest"]]) == own.api.get(f"/images/{name}/json")["Id"]
    assert own.api.get(f"/images/{name}/json")["RepoDigests"] == [f"{own_registry.name}/app@{told.digest}"]


def test_the_second_push_sends_nothing_and_is_the_same(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    name = named(own, tmp_path, own_registry)
    first = push(own, name)
    own_registry.requests.clear()
    again = push(own, name)
    assert again.digest == first.digest and again.ends() == {"Layer already exists"}
    assert [request.line for request in own_registry.asked()] == ["HEAD /v2/app/manifests/1"], "the manifest is there, and so all that it names"
    own_registry.repositories["app"].tags["1"] = "sha256:" + "0" * 64  # somebody else has moved the tag
    own.restart()
    own_registry.requests.clear()
    assert push(own, name).digest == first.digest and own_registry.asked("POST|PATCH") == [] and len(own_registry.asked("PUT")) == 1
    assert len(own_registry.asked("HEAD .*/blobs/")) == 3  # two layers and the configuration


def test_another_registry_gets_what_was_compressed(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    first = push(own, named(own, tmp_path, own_registry))
    with FakeRegistry(inside=own.namespaces) as other:
        own.api("POST", f"/images/{own_registry.name}/app:1/tag", repo=f"{other.name}/elsewhere", tag="2").ok()
        (own.data_root / "layers" / diff_ids(own, f"{other.name}/elsewhere:2")[1][7:] / "layer.tar").unlink()  # nothing to compress again
        told = push(own, f"{other.name}/elsewhere:2")
        assert told.digest == first.digest and told.ends() == {"Pushed"}
        assert other.manifest("elsewhere", "2") == own_registry.manifest(NAME, "1")


def test_another_repository_of_the_registry_mounts(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    name = named(own, tmp_path, own_registry)
    first = push(own, name)
    own.api("POST", f"/images/{name}/tag", repo=f"{own_registry.name}/team/copy", tag="1").ok()
    own_registry.requests.clear()
    told = push(own, f"{own_registry.name}/team/copy:1")
    assert told.digest == first.digest and told.ends() == {"Mounted from app"}
    assert {request.query.get("from", "") for request in own_registry.asked("POST .*uploads")} == {"app", ""}  # "": the configuration
    assert own_registry.asked("PATCH") == []


def test_a_registry_that_does_not_mount_gets_the_blobs(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    name = named(own, tmp_path, own_registry)
    first = push(own, name)
    own_registry.options.mounts = False
    own.api("POST", f"/images/{name}/tag", repo=f"{own_registry.name}/team/copy", tag="1").ok()
    told = push(own, f"{own_registry.name}/team/copy:1")
    assert told.digest == first.digest and told.ends() == {"Pushed"} and not own_registry.uploads


def test_all_tags(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    named(own, tmp_path, own_registry, to="app:b")
    named(own, tmp_path, own_registry, images.layer({"other": b"x"}), to="app:a")
    own.api("POST", f"/images/{own_registry.name}/app:b/tag", repo=f"{own_registry.name}/app", tag="c").ok()
    told = push(own, f"{own_registry.name}/app").ok()
    assert [line["aux"]["Tag"] for line in told.lines if "aux" in line] == ["a", "b", "c"]
    assert set(own_registry.repositories[NAME].tags) == {"a", "b", "c"} and len(own_registry.blobs) == 3 + 2
    event = events(own, told)[-1]
    assert event["Actor"] == {"ID": f"{own_registry.name}/app", "Attributes": {"name": f"{own_registry.name}/app"}}


def events(engine: Engine, told: object) -> list[Any]:
    answer = engine.api("GET", "/events", since=1, until=int(time.time()) + 1, filters={"event": ["push"]}).ok()
    return [json.loads(line) for line in answer.body.splitlines()]


def test_the_event(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    name = named(own, tmp_path, own_registry)
    assert [event["Actor"] for event in events(own, push(own, name))] == [{"ID": name, "Attributes": {"name": f"{own_registry.name}/app"}}]


# -- what was pulled


@pytest.mark.parametrize("kind", ["oci gzip", "oci zstd", "docker", "uncompressed"])
def test_what_was_pulled_is_pushed_with_the_same_digest(own: Engine, own_registry: FakeRegistry, kind: str) -> None:
    layers = [images.layer({"a": b"1"}), MARK]
    compression = {"oci zstd": "zstd", "uncompressed": "none"}.get(kind, "gzip")
    made = registry.image(layers, compression=compression, docker=kind == "docker")
    with FakeRegistry(inside=own.namespaces) as source:
        pull(own, source.add("team/app", made, "1"))
        own.api("POST", f"/images/{source.name}/team/app:1/tag", repo=f"{own_registry.name}/copy", tag="x").ok()
    told = push(own, f"{own_registry.name}/copy:x")
    assert told.digest == made.digest and own_registry.manifest("copy", "x") == made.data
    assert own_registry.repositories["copy"].manifests[made.digest][1] == made.media_type
    assert own_registry.blobs == {registry.digest_of(blob): blob for blob in made.blobs}


def test_what_an_image_says_of_a_layer_that_is_here_is_not_believed(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    """It claims that its blob, here an other image's layer, is the layer that we have: nothing of ours may be pushed, or mounted, as that blob."""
    secret = registry.image([images.layer({"secret": os.urandom(1000)})])
    pull(own, own_registry.add("secret", secret, "1"))
    name = named(own, tmp_path, own_registry)
    right = registry.image([images.busybox_layer(), MARK], {"Labels": {"another": "image"}})
    layers = right.json["layers"]
    claims = right.changed(layers=[layers[0], secret.json["layers"][0]])
    evil = registry.Document(claims.data, claims.media_type, (*right.blobs, *secret.blobs), image_id=right.image_id)
    lines = own.api("POST", "/images/create", fromImage=own_registry.add("evil", evil, "1")).ok().body.splitlines()
    assert "layers from manifest don't match image configuration" in json.loads(lines[-1])["error"]
    told = push(own, name).ok()
    assert told.ends() == {"Pushed"}
    there = [own_registry.blobs[layer["digest"]] for layer in manifest(own_registry)["layers"]]
    assert [registry.digest_of(gzip.decompress(data)) for data in there] == diff_ids(own, name)


def test_unpacked_layers_are_pushed_too(tmp_path: Path) -> None:
    """Compressed, and as the tar that they came as."""
    plain = registry.image([images.layer({"a": b"1"}), MARK], compression="none")
    with Engine(env={"PIER_FEATURES": "-erofs"}) as engine, FakeRegistry(inside=engine.namespaces) as there:
        name = named(engine, tmp_path, there)
        push(engine, name).ok()
        assert [
            registry.digest_of(gzip.decompress(there.blobs[layer])) for layer in [one["digest"] for one in manifest(there)["layers"]]
        ] == diff_ids(engine, name)
        with FakeRegistry(inside=engine.namespaces) as source:
            pull(engine, source.add("team/app", plain, "1"))
            engine.api("POST", f"/images/{source.name}/team/app:1/tag", repo=f"{there.name}/copy", tag="x").ok()
        there.fault("PUT .*/blobs/uploads/", drop=True, times=1)  # what was sent has to be read once more
        assert push(engine, f"{there.name}/copy:x").digest == plain.digest


def test_without_its_blobs_a_pulled_image_is_mounted_or_made_anew(own_registry: FakeRegistry, own: Engine) -> None:
    own.stop()
    (own.roots / "daemon.json").write_text(json.dumps({"keep-compressed": False}))
    own.start()
    made = registry.image([images.layer({"a": b"1"}), MARK])
    pull(own, own_registry.add("team/app", made, "1"))
    name = f"{own_registry.name}/team/app:1"
    own.api("POST", f"/images/{name}/tag", repo=f"{own_registry.name}/copy", tag="x").ok()
    told = push(own, f"{own_registry.name}/copy:x")
    assert told.digest == made.digest and told.ends() == {"Mounted from team/app"}
    with FakeRegistry(inside=own.namespaces) as other:
        own.api("POST", f"/images/{name}/tag", repo=f"{other.name}/copy", tag="x").ok()
        told = push(own, f"{other.name}/copy:x").ok()
        found = manifest(other, "copy", "x")
        assert found["config"]["digest"] == made.image_id and found["mediaType"] == made.media_type
        assert [registry.digest_of(gzip.decompress(other.blobs[layer["digest"]])) for layer in found["layers"]] == diff_ids(own, name)
        assert [path for path in (own.data_root / "content/blobs/sha256").iterdir() if path.stat().st_size > 100_000] == []
        # What was made is remembered: the next push finds it there.
        other.requests.clear()
        assert push(own, f"{other.name}/copy:x").digest == told.digest and other.asked("PATCH") == []


def test_zstd_where_the_daemon_is_told_so(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    own.stop()
    (own.roots / "daemon.json").write_text(json.dumps({"push-compression": "zstd"}))
    own.start()
    name = named(own, tmp_path, own_registry)
    told = push(own, name).ok()
    found = manifest(own_registry)
    assert {layer["mediaType"] for layer in found["layers"]} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    assert (found["mediaType"], found["config"]["mediaType"]) == (
        "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json",
    )  # fmt: skip
    assert push(own, name).digest == told.digest
    own.api("DELETE", f"/images/{name}").ok()
    pull(own, name)
    assert own.api.get(f"/images/{name}/json")["RepoDigests"] == [f"{own_registry.name}/app@{told.digest}"]


def both() -> tuple[registry.Document, registry.Document, registry.Document]:
    """An index of an image for this machine and of one for another."""
    here = "linux/amd64" if images.busybox_is_amd64() else "linux/arm64"
    one = registry.image([images.layer({"a": b"1"})], platform=here)
    two = registry.image([images.layer({"a": b"2"})], platform="linux/s390x")
    return registry.index([(one, here), (two, "linux/s390x")]), one, two


def test_an_index_goes_whole_when_all_of_it_is_here(own: Engine, own_registry: FakeRegistry) -> None:
    index, one, two = both()
    with FakeRegistry(inside=own.namespaces) as source:
        name = source.add("app", index, "all")
        pull(own, name)
        own.api("POST", f"/images/{name}/tag", repo=f"{own_registry.name}/app", tag="all").ok()
        told = push(own, f"{own_registry.name}/app:all").ok()
        # Only one of its platforms is here: that one goes, and it is said.
        assert told.digest == one.digest and set(own_registry.repositories["app"].manifests) == {one.digest}
        (instead,) = [line["aux"] for line in told.lines if "manifestPushedInsteadOfIndex" in line.get("aux", {})]
        assert instead["originalIndex"] == {"mediaType": index.media_type, "digest": index.digest, "size": len(index.data)}
        assert instead["selectedManifest"]["digest"] == one.digest and instead["selectedManifest"]["platform"]["os"] == "linux"
        pull(own, name, platform="linux/s390x")
        own.api("POST", f"/images/{name}/tag", repo=f"{own_registry.name}/app", tag="all").ok()
    told = push(own, f"{own_registry.name}/app:all").ok()
    assert told.digest == index.digest and own_registry.manifest("app", "all") == index.data
    assert set(own_registry.repositories["app"].manifests) == {one.digest, two.digest, index.digest}
    assert f"{own_registry.name}/app@{index.digest}" in own.api.get(f"/images/{own_registry.name}/app:all/json")["RepoDigests"]
    assert push(own, f"{own_registry.name}/app:all").digest == index.digest


def test_one_platform_of_an_index(own: Engine, own_registry: FakeRegistry) -> None:
    index, _, two = both()
    with FakeRegistry(inside=own.namespaces) as source:
        name = source.add("app", index, "all")
        pull(own, name)
        pull(own, name, platform="linux/s390x")
        own.api("POST", f"/images/{name}/tag", repo=f"{own_registry.name}/app", tag="all").ok()
    other = {"os": "linux", "architecture": "s390x"}
    assert push(own, f"{own_registry.name}/app:all", platform=other).digest == two.digest
    refused = own.api("POST", f"/images/{own_registry.name}/app/push", tag="all", platform={"os": "linux", "architecture": "riscv64"})
    refused.refused(404, "does not match the specified platform (linux/riscv64)")
    own.api("POST", f"/images/{own_registry.name}/app/push", tag="all", platform="linux/arm64").refused(400, "failed to parse platform")
    own.api.version = "1.45"  # knew no platforms
    assert push(own, f"{own_registry.name}/app:all", platform=other).digest == index.digest


def test_foreign_layers_stay_where_they_are(own: Engine, own_registry: FakeRegistry) -> None:
    made = registry.image([images.layer({"a": b"1"}), MARK], docker=True)
    blob = (
        made.blobs[-1]
        if registry.digest_of(made.blobs[-1]) in made.layers
        else next(b for b in made.blobs if registry.digest_of(b) == made.layers[1])
    )
    with FakeRegistry(inside=own.namespaces) as source, registry.BlobHost({registry.digest_of(blob): blob}, inside=own.namespaces) as host:
        layers = made.json["layers"]
        layers[1] |= {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "urls": [f"{host.url}/{layers[1]['digest']}"]}
        foreign = made.changed(layers=layers)
        pull(own, source.add("app", foreign, "1"))
        own.api("POST", f"/images/{source.name}/app:1/tag", repo=f"{own_registry.name}/app", tag="1").ok()
        told = push(own, f"{own_registry.name}/app:1")
    assert told.digest == foreign.digest and told.statuses(diff_ids(own, f"{own_registry.name}/app:1")[1]) == ["Preparing", "Skipped foreign layer"]
    assert layers[1]["digest"] not in own_registry.blobs


# -- what is refused


def test_what_is_said_of_names_that_are_not_there(engine: Engine, registry: FakeRegistry) -> None:
    here = registry.name
    for name, said in (
        (f"{here}/nope:1", f"An image does not exist locally with the tag: {here}/nope"),
        (f"{here}/nope", f"An image does not exist locally with the tag: {here}/nope"),
        ("nope:1", "An image does not exist locally with the tag: nope"),
        ("busybox:nope", "tag does not exist: busybox:nope"),
    ):
        told = push(engine, name)
        assert told.error == said and told.lines[-1]["errorDetail"] == {"message": said} and len(told.lines) == 2
    assert push(engine, "nope:1").lines[0] == {"status": "The push refers to repository [docker.io/library/nope]"}
    digest = "sha256:" + "0" * 64
    assert push(engine, f"busybox@{digest}").error == "cannot push a digest reference"
    engine.api("POST", "/images/busybox/push", tag=digest).refused(400, "invalid tag format")
    engine.api("POST", "/images/BAD/push").refused(400, "must be lowercase")
    assert registry.requests == []


def header(password: str) -> str:
    """X-Registry-Auth of alice with that password."""
    return base64.urlsafe_b64encode(json.dumps({"username": "alice", "password": password}).encode()).decode()


def test_credentials(own: Engine, tmp_path: Path) -> None:
    with FakeRegistry(inside=own.namespaces, auth=Basic({"alice": "secret"})) as locked:
        name = named(own, tmp_path, locked)
        assert "no basic auth credentials" in push(own, name).error
        assert push(own, name, auth=header("wrong")).error == "unauthorized: authentication required"
        assert "no basic auth credentials" in push(own, name, auth="rubbish").error  # nobody, as in Docker
        assert locked.blobs == {}
        push(own, name, auth=header("secret")).ok()


def test_who_may_not_push_hears_it_as_from_docker(own: Engine, tmp_path: Path) -> None:
    def access(user: str, repository: str, action: str) -> bool:
        return user == "alice" and action == "pull"

    with (
        registry.TokenServer({"alice": "secret"}, access=access, inside=own.namespaces) as tokens,
        FakeRegistry(inside=own.namespaces, auth=tokens) as locked,
    ):
        name = named(own, tmp_path, locked)
        assert push(own, name, auth=header("secret")).error == "denied: requested access to the resource is denied"
        assert locked.blobs == {}


def test_credentials_are_in_no_log(own: Engine, tmp_path: Path) -> None:
    with FakeRegistry(inside=own.namespaces, auth=Basic({"alice": "secret"})) as locked:
        push(own, named(own, tmp_path, locked), auth=header("sesame-open"))
    assert "sesame-open" not in own.log_text()


def test_an_image_that_is_removed_while_it_goes(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    name = named(own, tmp_path, own_registry)
    own_registry.fault("PUT .*/manifests/", delay_s=1.5)
    told: list[Any] = []
    thread = threading.Thread(target=lambda: told.append(push(own, name)))
    thread.start()
    eventually(lambda: own_registry.asked("PUT .*/manifests/"), says="the manifest is on its way")
    own.api("DELETE", f"/images/{name}").ok()
    thread.join(30)
    assert told[0].ok().digest == registry.digest_of(own_registry.manifest(NAME, "1"))
    assert own.api.get("/images/json") == []
    eventually(lambda: list((own.data_root / "content/blobs/sha256").iterdir()) == [], says="its blobs go")
    assert [path for path in (own.data_root / "layers").iterdir() if path.name != ".trash"] == []


def test_small_layers_are_made_anew_and_the_same(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    """Of a layer that is compressed in no time nothing is kept: each push makes the same of it, for any registry."""
    name = f"{own_registry.name}/many:1"
    load(own, tmp_path, name, *(images.layer({f"f{n}": os.urandom(3000)}) for n in range(30)))
    first = push(own, name).ok()
    made = [layer["digest"] for layer in json.loads(own_registry.manifest("many", "1"))["layers"]]
    assert [registry.digest_of(gzip.decompress(own_registry.blobs[digest])) for digest in made] == diff_ids(own, name)
    kept = set(os.listdir(own.data_root / "content/blobs/sha256"))
    assert len({digest[7:] for digest in made} & kept) <= 1, "busybox's at most, which is larger"
    with FakeRegistry(inside=own.namespaces) as other:
        own.api("POST", f"/images/{name}/tag", repo=f"{other.name}/many", tag="1").ok()
        assert push(own, f"{other.name}/many:1").digest == first.digest
