"""One name for several platforms: what a name stands for, who loses it, what is kept for it and for how long."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from pier.errors import Conflict, Invalid, NotFound
from pier.images import push_plan
from pier.images.garbage import keeping
from pier.images.names import Meaning
from pier.oci import digest as digests
from pier.oci import platform as platforms
from pier.oci.reference import parse
from tests.unit.images.fakes import HOST, World, diff_id, manifest_of, parsed, stream, world

Story = Callable[[World], Coroutine[Any, Any, None]]
OTHER = {"architecture": "s390x", "os": "linux"}
THIRD = {"architecture": "riscv64", "os": "linux"}
INDEX, NEXT = b'{"schemaVersion":2,"manifests":[]}', b'{"schemaVersion":2,"manifests":[],"annotations":{"a":"b"}}'
here, there, third = parsed("here", ["base", "a"]), parsed("there", ["b"], platform=OTHER), parsed("third", ["c"], platform=THIRD)
HERE, THERE, ELSEWHERE = here["config_digest"], there["config_digest"], third["config_digest"]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Story], None]:
    def go(story: Story) -> None:
        with world(tmp_path) as everything:
            asyncio.run(story(everything))

    return go


def blobs(*identities: str, index: bytes | None = None) -> list[str]:
    documents = [manifest_of(identity) for identity in identities] + ([index] if index else [])
    return sorted([*identities, *(digests.of(data) for data in documents)])


def test_images_of_one_index_share_its_names(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        digest = f"app@{digests.of(INDEX)}"
        await w.pull(["app", digest], INDEX, here)
        await w.pull(["app", digest], INDEX, there)
        for images in (w.images, w.again()):
            assert images.resolve("app").id == HERE == images.resolve(digest).id
            assert images.resolve("app", platforms.parse("linux/s390x")).id == THERE == images.resolve(digest, platforms.parse("linux/s390x")).id
            assert images.resolve(THERE).references == images.resolve(HERE).references == (parse("app:latest"), parse(digest))
            assert images.carries("app", THERE) and not images.carries("app", ELSEWHERE) and not images.carries("nope", THERE)
            with pytest.raises(NotFound) as caught:
                images.resolve("app", platforms.parse("linux/riscv64"))
            assert str(caught.value).startswith("image with reference app was found but its platform (linux/")
            assert str(caught.value).endswith("does not match the specified platform (linux/riscv64)")
        assert w.files() == (sorted(map(diff_id, ("base", "a", "b"))), blobs(HERE, THERE, index=INDEX), [])
        meaning = w.ctx.catalog.meaning(parse("app:latest"))
        assert meaning == Meaning(digests.of(INDEX), {HERE: digests.of(manifest_of(HERE)), THERE: digests.of(manifest_of(THERE))})

    run(story)


def test_each_name_keeps_the_manifest_that_it_came_with(run: Callable[[Story], None]) -> None:
    """A configuration can be had with other blobs: by another manifest, which is not that of other names, nor of the image itself."""
    first, second = digests.of(manifest_of(HERE)), digests.of(manifest_of(HERE, "other"))

    async def story(w: World) -> None:
        await w.load({**here, "tags": ["made:here"]})
        await w.pull(["other.example/app"], None, here, note="other")
        assert w.images.resolve("made:here").manifest is None, "nobody has seen that its blobs are the layers"
        await w.images.tag(HERE, "by", "id")
        await w.pull(["app"], None, here, proven=True)
        for images in (w.images, w.again()):
            meant = {name: images._ctx.catalog.meaning(parse(name)) for name in ("made:here", "by:id", "other.example/app:latest", "app:latest")}
            assert [m and m.images[HERE] for m in meant.values()] == [None, None, second, first]
            assert images.resolve("made:here").manifest == first
        await w.pull(["app"], None, here, note="other", proven=True)
        assert w.images.resolve("app").manifest == first, "the first stays the image's own"
        parts = push_plan.target(w.ctx.catalog, parse("made:here"), None, None).parts
        assert [part.manifest for part in parts] == [None], "it is not pushed with what a registry said of the same image"
        await w.images.remove("other.example/app", False, False, w.users)
        await w.images.remove("app", False, False, w.users)
        assert w.files()[1] == sorted([HERE, first]), "a manifest goes with its last name, the image's own with the image"

    run(story)


def test_without_an_image_for_this_machine_a_name_means_the_newest(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        await w.pull(["app"], INDEX, there)
        await w.pull(["app"], INDEX, third)
        assert w.images.resolve("app").id == ELSEWHERE
        assert w.ctx.catalog.named(parse("app:latest"), platforms.host()) is None
        assert w.ctx.catalog.named(parse("app:latest"), platforms.parse("s390x")) is not None

    run(story)


@pytest.mark.parametrize("index", [NEXT, None])
def test_a_new_meaning_takes_the_name_from_all_images_of_the_old(run: Callable[[Story], None], index: bytes | None) -> None:
    async def story(w: World) -> None:
        await w.pull(["app"], INDEX, here, there)
        await w.pull(["app"], index, third)
        for images in (w.images, w.again()):
            assert [images.resolve(identity).tags for identity in (HERE, THERE, ELSEWHERE)] == [(), (), ("app:latest",)]
        assert w.files()[1] == blobs(HERE, THERE, ELSEWHERE, index=index), "the old index went with its last name, the manifests are the images'"
        # A name that a single image gets leaves nothing of an index.
        assert await w.images.tag(THERE, "app")
        assert w.ctx.catalog.meaning(parse("app:latest")) == Meaning(None, {THERE: digests.of(manifest_of(THERE))})
        assert w.files()[1] == blobs(HERE, THERE, ELSEWHERE)

    run(story)


def test_a_load_moves_a_name_and_tells_of_the_first_that_lost_it(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        await w.pull(["app"], INDEX, here, there)
        w.worker.images = [parsed("new", ["n"], ["app:latest"])]
        lines = [line async for line in w.images.load(stream(b""), True)]
        assert f"renaming the old one with ID {HERE} to empty string" in lines[0]["stream"]
        assert w.images.resolve(THERE).tags == ()

    run(story)


def test_a_load_of_several_platforms_is_one_of_their_index(run: Callable[[Story], None]) -> None:
    def item(image: dict[str, Any], index: str | None, *tags: str) -> dict[str, Any]:
        return {**image, "manifest": manifest_of(image["config_digest"]).decode(), "index": index, "tags": list(tags)}

    async def story(w: World) -> None:
        lines = await w.load(item(here, INDEX.decode(), "app:1"), item(there, INDEX.decode(), "app:1"), item(here, None, "alone:1"))
        assert [line["stream"] for line in lines] == ["Loaded image: app:1\n", "Loaded image: alone:1\n"]
        meaning = w.ctx.catalog.meaning(parse("app:1"))
        assert meaning and (meaning.index, sorted(meaning.images)) == (digests.of(INDEX), sorted([HERE, THERE]))
        assert w.images.resolve(HERE).tags == ("alone:1", "app:1") and w.events() == [("load", HERE), ("load", THERE)]
        (line,) = await w.load(item(third, manifest_of(ELSEWHERE).decode(), "bad:1"))
        assert line["error"] == f"image {ELSEWHERE}: its index is none"

    run(story)


def test_a_tag_of_a_name_is_one_for_all_its_platforms(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        await w.pull(["app"], INDEX, here, there)
        await w.images.tag("app", "mine", "1")
        await w.images.tag(HERE[7:19], "alone")
        for images in (w.images, w.again()):
            assert images.resolve("mine:1", platforms.parse("s390x")).id == THERE
            assert images.resolve(HERE).tags == ("alone:latest", "app:latest", "mine:1")
            with pytest.raises(NotFound):
                images.resolve("alone", platforms.parse("s390x"))
        # One more platform under one of the names joins that one only.
        await w.pull(["app"], INDEX, third)
        assert w.images.resolve(ELSEWHERE).tags == ("app:latest",)

    run(story)


def test_a_removal_by_name_is_one_of_all_platforms(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        await w.pull(["app", f"app@{digests.of(INDEX)}"], INDEX, here, there)
        await w.images.tag("app", "mine", "1")
        items = await w.images.remove("app", False, False, w.users)
        assert [item.untagged for item in items] == ["app:latest", f"app@{digests.of(INDEX)}"]
        assert w.files()[1] == blobs(HERE, THERE, index=INDEX)
        w.containers[THERE] = [("c" * 64, False)]
        with pytest.raises(Conflict, match=r'unable to remove repository reference "mine:1" \(must force\) - container cccccccccccc is using'):
            await w.images.remove("mine:1", False, False, w.users)
        w.containers.clear()
        items = await w.images.remove("mine:1", False, False, w.users)
        assert [item.untagged for item in items if item.untagged] == ["mine:1"]
        assert {item.deleted for item in items} >= {HERE, THERE}
        assert w.files() == ([], [], []) and w.again().count() == 0

    run(story)


def test_an_id_takes_one_platform_away(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        await w.pull(["app"], INDEX, here, there)
        items = await w.images.remove(HERE, False, False, w.users)
        assert items[0].deleted == HERE and not any(item.untagged for item in items), "the name is still there, for the others"
        assert w.images.resolve("app").id == THERE == w.again().resolve("app").id
        assert w.files() == ([diff_id("b")], blobs(THERE, index=INDEX), [])

    run(story)


def test_a_platform_is_taken_away(run: Callable[[Story], None]) -> None:
    s390x, riscv = platforms.parse("s390x"), platforms.parse("riscv64")

    async def story(w: World) -> None:
        await w.pull(["app", f"app@{digests.of(INDEX)}"], INDEX, here, there, third)
        for wanted in ([platforms.parse("ppc64le")], [s390x, platforms.parse("ppc64le")]):
            with pytest.raises(NotFound) as caught:
                await w.images.remove("app", False, False, w.users, wanted)
            assert str(caught.value) == "image with reference app was found but does not provide the specified platform (linux/ppc64le)"
        items = await w.images.remove("app", False, False, w.users, [s390x, s390x])
        assert items[0].deleted == THERE and not any(item.untagged for item in items)
        await w.images.tag("app", "other")
        with pytest.raises(Conflict, match=r"\(must be forced\) - image is referenced in multiple repositories"):
            await w.images.remove("app", False, False, w.users, [riscv])
        assert ELSEWHERE in [item.deleted for item in await w.images.remove("app", True, False, w.users, [riscv])]
        w.containers[HERE] = [("c" * 64, True)]
        with pytest.raises(Conflict, match=r"\(cannot be forced\) - image is being used by running container"):
            await w.images.remove("app", True, False, w.users, [platforms.host()])
        w.containers.clear()
        items = await w.images.remove("app", True, False, w.users, [platforms.host()])
        assert [item.untagged for item in items if item.untagged] == ["app:latest", f"app@{digests.of(INDEX)}", "other:latest"]
        assert w.files() == ([], [], [])

    run(story)


def test_a_prune_takes_the_platforms_that_nobody_uses(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        await w.pull(["app", "twice"], INDEX, here, there)
        await w.pull(["used", "used:too"], None, third)
        w.containers[HERE] = w.containers[ELSEWHERE] = [("c" * 64, False)]
        report = await w.images.prune({"dangling": ["false"]}, w.users)
        assert [(item.untagged, item.deleted) for item in report.images_deleted or []] == [("", THERE), ("", diff_id("b"))]
        assert report.space_reclaimed == 3 * 4096, "configuration, manifest and layer"
        # What a container uses keeps every one of its names, though a plain rmi could take all but the last.
        assert w.images.resolve(ELSEWHERE).tags == ("used:latest", "used:too")
        w.containers.clear()
        report = await w.images.prune({"dangling": ["false"]}, w.users)
        assert sorted(item.untagged for item in report.images_deleted or [] if item.untagged) == [
            "app:latest", "twice:latest", "used:latest", "used:too",
        ]  # fmt: skip
        assert w.files() == ([], [], []) and (await w.images.prune({}, w.users)).space_reclaimed == 0

    run(story)


def test_a_prune_takes_what_interrupted_pulls_have_left(run: Callable[[Story], None]) -> None:
    def left(w: World, name: bytes) -> str:
        partial = w.content.partial(digests.of(name), 10_000)
        part = partial.claim()
        assert part
        partial.write(part, b"x" * 5000)
        partial.close()
        return digests.of(name)

    async def story(w: World) -> None:
        one = left(w, b"one")
        for filters in ({"label": ["a"]}, {"label!": ["a"]}, {"until": ["1h"]}):
            assert (await w.images.prune(filters, w.users)).space_reclaimed == 0
        w.ctx.fetching.add(one)
        assert (await w.images.prune({}, w.users)).space_reclaimed == 0
        w.ctx.fetching.clear()
        assert len(w.files()[2]) == 1
        assert (await w.images.prune({}, w.users)).space_reclaimed == 8192 and w.files()[2] == []
        left(w, b"two")
        assert (await w.images.prune({"until": ["0s"]}, w.users)).space_reclaimed == 8192

    run(story)


def test_a_manifest_is_a_name_for_its_image(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        await w.pull(["app"], INDEX, here, there)
        manifest = digests.of(manifest_of(THERE))
        for text in (manifest, manifest[7:], manifest[7:19]):
            assert w.images.resolve(text).id == THERE
        for text in (manifest[7:18], digests.of(b"none"), "sha256:", "z" * 12):
            with pytest.raises((NotFound, Invalid)):
                w.images.resolve(text)
        assert (await w.images.remove(manifest[7:19], False, False, w.users))[0].deleted == THERE

    run(story)


def test_each_compressed_form_of_a_layer_is_kept_as_long_as_the_layer(run: Callable[[Story], None]) -> None:
    def compressed(image: dict[str, Any], form: str) -> dict[str, Any]:
        layers = [{**layer, "blob_digest": digests.of(f"{form} {layer['diff_id']}".encode()), "media_type": form} for layer in image["layers"]]
        return {**image, "layers": layers}

    async def story(w: World) -> None:
        one, two = compressed(parsed("one", ["base"]), "gzip"), compressed(parsed("two", ["base"]), "zstd")
        for image in (one, two):
            for layer in image["layers"]:
                w.content.write(f"{layer['media_type']} {layer['diff_id']}".encode())
        forms = sorted(layer["blob_digest"] for image in (one, two) for layer in image["layers"])
        await w.pull(["one"], None, one)
        await w.pull(["two"], None, two)
        for images in (w.images, w.again()):
            assert images.resolve("one").layers == images.resolve("two").layers
            assert sorted(blob.digest for blob in images.resolve("two").layers[0].blobs) == forms
            assert {blob.media_type for blob in images.resolve("two").layers[0].blobs} == {"gzip", "zstd"}
        await w.images.remove("two", False, False, w.users)
        assert set(forms) < set(w.files()[1])
        await w.images.remove("one", False, False, w.users)
        assert w.files() == ([], [], [])

    run(story)


def test_what_somebody_at_work_counts_on_stays_until_its_end(run: Callable[[Story], None]) -> None:
    async def story(w: World) -> None:
        await w.pull(["app"], INDEX, here)
        layers, kept, _ = w.files()
        counted_on = [*layers, *kept, digests.of(b"not here")]
        with pytest.raises(ZeroDivisionError):
            async with keeping(w.ctx, counted_on):
                async with keeping(w.ctx, counted_on):
                    await w.images.remove("app", False, False, w.users)
                assert w.images.count() == 0 and w.files() == (layers, kept, [])
                raise ZeroDivisionError
        assert w.files() == ([], [], []) and not w.ctx.kept
        async with keeping(w.ctx, counted_on):
            await w.pull(["app"], INDEX, here)
        assert w.files() == (layers, kept, [])

    run(story)


def test_the_closest_variant_is_taken() -> None:
    arm = platforms.parse("linux/arm/v7")
    assert [arm.closeness(platforms.parse(f"linux/arm/{variant}")) for variant in ("v5", "v6", "v7", "v8")] == [5, 6, 7, -1]
    assert platforms.parse("linux/amd64").closeness(platforms.parse("linux/arm64")) == -1
    assert platforms.host().closeness(platforms.parse("linux/" + HOST["architecture"])) == 0
