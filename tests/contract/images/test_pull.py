"""Pulls, from a registry on loopback to what is on the disk, with the real worker and both kinds of layers."""

from collections.abc import Callable
from typing import Any

import pytest

from pier.errors import Invalid, NotFound
from pier.images.sources import known
from pier.registry.config import RegistryConfig
from tests.contract.images.pulling import HERE, statuses
from tests.contract.images.world import World
from tests.harness.images import layer
from tests.harness.registry import FakeRegistry, image, index, small

# -- what a pull leaves


def test_an_image_comes(over_kinds: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(layers=3, size=300_000)
    name = registry.add("team/app", made, "1")

    async def story(w: World) -> None:
        lines = await w.pull(name)
        assert lines[0] == {"status": "Pulling from team/app", "id": "1"}
        assert lines[-2:] == [{"status": f"Digest: {made.digest}"}, {"status": f"Status: Downloaded newer image for {name}"}]
        assert [line["id"] for line in lines if line["status"] == "Pulling fs layer"] == [digest[7:19] for digest in made.layers]
        for digest in made.layers:
            assert statuses(lines, digest) == [
                "Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete", "Extracting", "Pull complete"]  # fmt: skip
        done = next(line for line in lines[::-1] if line["status"] == "Downloading")
        size = next(entry["size"] for entry in made.json["layers"] if entry["digest"][7:19] == done["id"])
        assert done["progressDetail"] == {"current": size, "total": size} and done["progress"].startswith("[====")
        found = w.images.resolve(name)
        assert found.id == made.image_id and found.tags == (name,) and found.digests == (f"{registry.name}/team/app@{made.digest}",)
        assert found.manifest == made.digest and w.content.read(made.digest) == made.data
        assert [blob.digest for stored in found.layers for blob in stored.blobs] == made.layers
        assert found.size == 900_000 and w.ingests() == []
        for step, digest in zip(found.diff_ids, made.layers, strict=True):
            assert w.content.path(digest).stat().st_nlink == 1
            source, = known(w.store, step)  # fmt: skip
            assert (source.digest, source.repository) == (digest, f"{registry.name}/team/app")
        assert [(event.action, event.actor.id, event.actor.attributes) for event in w.journal._kept] == [
            ("pull", name, {"name": f"{registry.name}/team/app"})]  # fmt: skip
        await w.images.remove(name, False, False, lambda identity: [])
        assert w.left() == [] and w.ingests() == []

    over_kinds(story)


def test_what_is_here_takes_one_question(once: Callable[..., None], registry: FakeRegistry) -> None:
    made = small()
    name = registry.add("app", made, "1", "2")

    async def story(w: World) -> None:
        await w.pull(name)
        registry.forget()
        lines = await w.pull(name)
        assert lines == [
            {"status": "Pulling from app", "id": "1"}, {"status": f"Digest: {made.digest}"}, {"status": f"Status: Image is up to date for {name}"}
        ]  # fmt: skip
        assert [request.line for request in registry.asked()] == ["HEAD /v2/app/manifests/1"]
        other = name.replace(":1", ":2")
        if ":2" in other:  # a second name of the same image: no layer is fetched, and it is news
            lines = await w.pull(other)
            assert statuses(lines, made.layers[0]) == ["Already exists"] and lines[-1]["status"].startswith("Status: Downloaded newer image")
        by_digest = f"{registry.name}/app@{made.digest}"
        lines = await w.pull(by_digest)
        assert lines == [
            {"status": "Pulling from app", "id": by_digest}, {"status": f"Digest: {made.digest}"},
            {"status": f"Status: Image is up to date for {by_digest}"},
        ]  # fmt: skip
        assert not registry.asked("blobs/" + made.layers[0])

    once(story)


def test_a_tag_moves(once: Callable[..., None], registry: FakeRegistry) -> None:
    old, new = small("old"), image([layer({"a": b"a"}), layer({"b": b"b"})])
    name = registry.add("app", old, "1")

    async def story(w: World) -> None:
        await w.pull(name)
        registry.add("app", new, "1")
        lines = await w.pull(name)
        assert lines[-1]["status"] == f"Status: Downloaded newer image for {name}"
        assert w.images.resolve(name).id == new.image_id
        before = w.images.resolve(f"{registry.name}/app@{old.digest}")
        assert before.id == old.image_id and before.tags == ()

    once(story)


@pytest.mark.parametrize("options", [{"compression": "zstd"}, {"compression": "none"}, {"docker": True}, {"docker": True, "compression": "none"}])
def test_every_form_of_layers(over_kinds: Callable[..., None], registry: FakeRegistry, options: dict[str, Any]) -> None:
    made = small(layers=2, size=50_000, **options)
    name = registry.add("app", made, "1")

    async def story(w: World) -> None:
        await w.pull(name)
        found = w.images.resolve(name)
        kept = [blob.digest for stored in found.layers for blob in stored.blobs]
        assert kept == ([] if options.get("compression") == "none" else made.layers)
        assert all(map(w.layers.has, found.diff_ids)) and w.ingests() == []

    over_kinds(story)


def test_equal_layers_are_fetched_once(once: Callable[..., None], registry: FakeRegistry) -> None:
    one, two = layer({"a": b"1"}), layer({"b": b"2"})
    made, other = image([one, two, one, one]), image([two, layer({"c": b"3"})])
    name, second = registry.add("app", made, "1"), registry.add("other", other, "1")

    async def story(w: World) -> None:
        await w.pull(name)
        assert len(registry.asked(f"blobs/{made.layers[0]}")) == 1 and len(w.images.resolve(name).layers) == 4
        lines = await w.pull(second)
        assert statuses(lines, other.layers[0]) == ["Already exists"] and len(registry.asked(f"blobs/{made.layers[1]}")) == 1
        assert len(known(w.store, w.images.resolve(second).diff_ids[0])) == 2

    once(story)


def test_without_compressed_blobs_digests_are_remembered(over_kinds: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(layers=2, size=50_000)
    name = registry.add("app", made, "1")

    async def story(w: World) -> None:
        await w.pull(name)
        found = w.images.resolve(name)
        assert [stored.blobs for stored in found.layers] == [(), ()] and w.ingests() == []
        assert [known(w.store, diff_id)[0].digest for diff_id in found.diff_ids] == made.layers
        assert not any(w.content.has(digest) for digest in made.layers)
        assert (await w.pull(name))[-1]["status"].startswith("Status: Image is up to date")

    over_kinds(story, RegistryConfig(keep_compressed=False))


def test_a_foreign_layer_comes_from_where_it_is(once: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(size=50_000)
    with FakeRegistry() as elsewhere:
        elsewhere.add("there", made)
        layers = [made.json["layers"][0] | {
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "urls": [f"{elsewhere.url}/v2/there/blobs/{made.layers[0]}"]
        }]  # fmt: skip
        name = registry.add("app", made.changed(layers=layers), "1")
        registry.repositories["app"].blobs.discard(made.layers[0])

        async def story(w: World) -> None:
            await w.pull(name)
            assert w.images.resolve(name).id == made.image_id and elsewhere.asked("blobs")

        once(story)


# -- platforms


def test_the_image_for_a_platform(once: Callable[..., None], registry: FakeRegistry) -> None:
    here, v6, v7 = small("here"), small("v6", platform="linux/arm/v6"), small("v7", platform="linux/arm/v7")
    both = index([(here, HERE), (v6, "linux/arm/v6"), (v7, "linux/arm/v7")])
    name = registry.add("app", both, "1")

    async def story(w: World) -> None:
        lines = await w.pull(name)
        assert f"Digest: {both.digest}" in statuses(lines) and w.images.resolve(name).id == here.image_id
        assert w.images.resolve(name).digests == (f"{registry.name}/app@{both.digest}",)
        assert w.content.read(both.digest) == both.data and w.content.read(here.digest) == here.data
        assert (await w.pull(name, platform="linux/arm/v6"))[-1]["status"].startswith("Status: Downloaded")
        assert (await w.pull(name, platform="linux/arm/v7"))[-1]["status"].startswith("Status: Downloaded")  # v6 would run, v7 is better
        registry.forget()
        for platform, wanted in (("", here), ("linux/arm/v6", v6), ("linux/arm", v7)):
            assert (await w.pull(name, platform=platform))[-1]["status"].startswith("Status: Image is up to date")
            found = w.images.resolve(name) if not platform else next(i for i in w.images._ctx.catalog if i.id == wanted.image_id)
            assert found.id == wanted.image_id and name in found.tags
        assert {request.method for request in registry.asked()} == {"HEAD"}
        with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list entries"):
            await w.pull(name, platform="linux/s390x")
        assert (await w.pull(f"{registry.name}/app@{v6.digest}"))[-1]["status"].startswith("Status: Downloaded newer image")

    once(story)


def test_a_single_image_for_another_platform_comes_with_a_warning(once: Callable[..., None], registry: FakeRegistry) -> None:
    name = registry.add("app", small(platform="linux/riscv64"), "1")

    async def story(w: World) -> None:
        lines = await w.pull(name, platform="linux/s390x")
        assert lines[-1]["status"] == (
            f"WARNING: image with reference {name} was found but its platform (linux/riscv64) does not match the specified platform (linux/s390x)"
        )
        assert w.images.resolve(name).config.architecture == "riscv64"

    once(story)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_indexes_within_indexes(once: Callable[..., None], registry: FakeRegistry, depth: int) -> None:
    made = small()
    document, platform = made, HERE
    for _ in range(depth):
        document = index([(document, platform)])
        platform = f"{HERE}" if depth % 2 else ""
        if not platform:
            document = document.changed(manifests=[{k: v for k, v in entry.items() if k != "platform"} for entry in document.json["manifests"]])
            platform = HERE
    name = registry.add("app", document, "1")

    async def story(w: World) -> None:
        await w.pull(name)
        assert w.images.resolve(name).id == made.image_id
        assert (await w.pull(name))[-1]["status"].startswith("Status: Image is up to date")

    once(story)


def test_indexes_too_deep_or_too_many(once: Callable[..., None], registry: FakeRegistry) -> None:
    deep = small()
    for _ in range(5):
        deep = index([(deep, HERE)])
    names = [registry.add("deep", deep, "1")]
    many = index([(index([(small(str(n), platform="linux/s390x"), "linux/s390x")]), HERE) for n in range(40)])
    names.append(registry.add("many", many, "1"))

    async def story(w: World) -> None:
        for name in names:
            with pytest.raises(Invalid, match="too many indexes within each other: the limit is indexes 4 deep, 32 in all"):
                await w.pull(name)
        assert w.left() == [] and w.ingests() == []

    once(story)


def test_every_tag(once: Callable[..., None], registry: FakeRegistry) -> None:
    one, two = small("one"), small("two")
    registry.add("app", one, "1", "latest")
    registry.add("app", two, "2")

    async def story(w: World) -> None:
        name = f"{registry.name}/app"
        lines = await w.pull(name)
        assert [line["id"] for line in lines if line["status"] == "Pulling from app"] == ["1", "2", "latest"]
        assert lines[-1] == {"status": f"Status: Downloaded newer image for {name}"}
        assert w.images.resolve(f"{name}:1").id == w.images.resolve(f"{name}:latest").id == one.image_id
        assert (await w.pull(name))[-1] == {"status": f"Status: Image is up to date for {name}"}
        assert [event.actor.id for event in w.journal._kept] == [name, name]

    once(story)
