"""One name for several platforms: from a registry to a container and out again, with the commands that people type."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import images
from tests.harness.engine import Engine
from tests.harness.registry import FakeRegistry, image, index

HERE = "amd64" if images.busybox_is_amd64() else "arm64"
S390X = {"os": "linux", "architecture": "s390x"}
# Not the layer of the harness' own image: that one is here already, without its compressed form.
base = images.layer({"bin": 0o755, "bin/busybox": (images.busybox().read_bytes(), 0o755), "bin/sh": "busybox", "bin/echo": "busybox"})
own = image([base, images.layer({"mark": b"own"})])
foreign = image([base, images.layer({"mark": b"s390x"})], platform="linux/s390x", config={"Labels": {"for": "another"}})
third = image([images.layer({"mark": b"riscv64"})], platform="linux/riscv64")
both = index([(own, f"linux/{HERE}"), (foreign, "linux/s390x"), (third, "linux/riscv64")])


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    """A name that stands for `both`, of which two images are here."""
    with FakeRegistry(inside=engine.namespaces) as registry:
        registry.add("team/app", both, "v1")
        name = f"{registry.name}/team/app:v1"
        engine.pier("pull", "-q", name).ok()
        engine.pier("pull", "-q", "--platform", "linux/s390x", name).ok()
        yield name
    engine.pier("image", "prune", "-af")


def inspected(engine: Engine, name: str, **query: Any) -> dict[str, Any]:
    found: dict[str, Any] = engine.api.get(f"/images/{name}/json", **query)
    return found


@pytest.mark.no_leak_check
def test_each_command_finds_the_platform_that_is_meant(engine: Engine, name: str) -> None:
    assert inspected(engine, name)["Id"] == own.image_id and inspected(engine, name, platform=S390X)["Id"] == foreign.image_id
    assert engine.pier("run", "--rm", name, "echo", "here").ok().out == "here\n"
    assert engine.pier("image", "inspect", "--platform", "s390x", "-f", "{{.Architecture}} {{.Descriptor.digest}}", name).ok().out == (
        f"s390x {foreign.digest}\n"
    )
    assert len(engine.pier("history", "-q", "--platform", "linux/s390x", name).ok().out.split()) == 2
    made = engine.pier("create", "--platform", "linux/s390x", name, "x").ok().out.strip()
    (container,) = engine.api.get("/containers/json", all=True, filters={"id": [made]})
    assert (container["Image"], container["ImageID"]) == (name, foreign.image_id), "the name, though it means another image here first"
    missing = engine.api("GET", f"/images/{name}/json", platform={"os": "linux", "architecture": "riscv64"})
    why = f"its platform (linux/{HERE}) does not match the specified platform (linux/riscv64)"
    missing.refused(404, f"image with reference {name} was found but {why}")
    refused = engine.pier("create", "--pull", "never", "--platform", "linux/riscv64", name)
    refused.fails(1, "does not match the specified platform (linux/riscv64)")
    engine.api("DELETE", f"/containers/{made}").ok(204)


@pytest.mark.no_leak_check
def test_the_list_has_every_image_and_the_tree_every_platform(engine: Engine, name: str) -> None:
    made = engine.pier("create", "--platform", "linux/s390x", name, "x").ok().out.strip()
    listed = {one["Id"]: one["RepoTags"] for one in engine.api.get("/images/json", filters={"reference": [name]})}
    assert listed == {own.image_id: [name], foreign.image_id: [name]}
    (whole,) = engine.api.get("/images/json", manifests=True, filters={"reference": [name]})
    assert whole["Id"] == own.image_id and whole["Descriptor"]["digest"] == both.digest
    assert [(one["ID"], one["Available"], len(one["ImageData"]["Containers"])) for one in whole["Manifests"]] == [
        (own.digest, True, 0), (foreign.digest, True, 1), (third.digest, False, 0),
    ]  # fmt: skip
    first, second, _ = (one["Size"] for one in whole["Manifests"])
    for size, document in ((first, own), (second, foreign)):
        assert size["Content"] == len(document.data) + sum(map(len, document.blobs)) and size["Total"] > size["Content"] + 1_000_000
    assert whole["Size"] < first["Total"] + second["Total"], "the layer that both have is counted once"
    drawn = engine.pier("images", "--tree", name).ok().out.splitlines()
    assert drawn[3].split() == ["IMAGE", "ID", "DISK", "USAGE", "CONTENT", "SIZE", "EXTRA"] and drawn[4].split()[-1] == "U"
    assert [line.split()[1:3] for line in drawn[5:8]] == [
        [f"linux/{HERE}", own.digest[7:19]], ["linux/s390x", foreign.digest[7:19]], ["linux/riscv64", third.digest[7:19]],
    ]  # fmt: skip
    assert engine.pier("inspect", "-f", "{{.Id}}", foreign.digest[7:19]).ok().out == f"{foreign.image_id}\n", "what the tree shows is a name, too"
    engine.api("DELETE", f"/containers/{made}").ok(204)


@pytest.mark.no_leak_check
def test_a_platform_goes_alone_and_the_name_with_the_last(engine: Engine, name: str) -> None:
    engine.pier("rmi", "--platform", "linux/ppc64le", name).fails(1, "was found but does not provide the specified platform (linux/ppc64le)")
    gone = engine.pier("rmi", "--platform", "linux/s390x", name).ok().out.splitlines()
    assert gone[0] == f"Deleted: {foreign.image_id}" and not any("Untagged" in line for line in gone)
    assert inspected(engine, name)["Id"] == own.image_id
    engine.pier("tag", name, "mine").ok()
    engine.pier("rmi", "--platform", f"linux/{HERE}", name).fails(1, "(must be forced) - image is referenced in multiple repositories")
    gone = engine.pier("rmi", "-f", "--platform", f"linux/{HERE}", name).ok().out.splitlines()
    assert sorted(line for line in gone if "Untagged" in line)[-1] == "Untagged: mine:latest"
    engine.api("GET", f"/images/{name}/json").refused(404, "No such image")


@pytest.mark.no_leak_check
def test_names_survive_a_kill_and_a_new_meaning_takes_them(engine: Engine) -> None:
    with FakeRegistry(inside=engine.namespaces) as registry:
        registry.add("app", both, "v1")
        name = f"{registry.name}/app:v1"
        for platform in (f"linux/{HERE}", "linux/s390x"):
            engine.pier("pull", "-q", "--platform", platform, name).ok()
        engine.pier("tag", name, "kept").ok()
        engine.kill("daemon")
        engine.start()
        for text in (name, "kept"):
            assert inspected(engine, text)["Id"] == own.image_id and inspected(engine, text, platform=S390X)["Id"] == foreign.image_id
        registry.add("app", index([(third, "linux/riscv64")]), "v1")
        engine.pier("pull", "-q", "--platform", "linux/riscv64", name).ok()
        assert [one["Id"] for one in engine.api.get("/images/json", filters={"reference": [name]})] == [third.image_id]
        kept = engine.api.get("/images/json", filters={"reference": ["kept"]})
        assert sorted(one["Id"] for one in kept) == sorted([own.image_id, foreign.image_id])
        pruned = json.loads(engine.api("POST", "/images/prune", filters={"dangling": ["false"]}).ok().body)
        untagged = [item["Untagged"] for item in pruned["ImagesDeleted"] if "Untagged" in item]
        assert sorted(text for text in untagged if "@" not in text) == sorted([name, "kept:latest"])
