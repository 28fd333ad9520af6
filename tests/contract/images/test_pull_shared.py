"""Several pulls at once, what else goes on meanwhile, and what is left of pulls that nobody goes on with."""

import asyncio
import contextlib
import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pier.errors import PierError
from pier.images.pull_plan import asked
from pier.oci.reference import parse
from pier.registry.config import RegistryConfig
from tests.contract.images.pulling import FAST, statuses
from tests.contract.images.world import World
from tests.harness.images import docker_archive, layer
from tests.harness.registry import FakeRegistry, image, small

# -- several at once


def test_what_several_want_is_fetched_once(over_kinds: Callable[..., None], registry: FakeRegistry) -> None:
    shared = layer({"base": os.urandom(600_000)})
    documents = [image([shared, layer({f"own{n}": b"x"})]) for n in range(4)]
    names = [registry.add(f"app{n}", document, "1") for n, document in enumerate(documents)]
    registry.fault(f"GET .*/blobs/{documents[0].layers[0]}", times=None, rate=2_000_000)

    async def story(w: World) -> None:
        all_lines = await asyncio.gather(*(w.pull(name) for name in [*names, names[0]]))
        assert len(registry.asked(f"GET .*/blobs/{documents[0].layers[0]}")) == 1
        assert len(registry.asked(f"GET .*/blobs/{documents[0].layers[1]}")) == 1
        for lines in all_lines:
            assert lines[-1]["status"].startswith("Status: Downloaded newer image")
            assert statuses(lines, documents[0].layers[0])[-1] == "Pull complete"
        assert {w.images.resolve(name).id for name in names} == {document.image_id for document in documents} and w.ingests() == []

    over_kinds(story)


def test_if_one_client_goes_the_others_go_on(over_kinds: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(size=2_000_000)
    name = registry.add("app", made, "1")
    registry.fault(f"GET .*/blobs/{made.layers[0]}", times=None, rate=2_000_000)

    async def story(w: World) -> None:
        first = w.images.pull(asked(name, ""))
        async for line in first:
            if line.get("status") == "Downloading":
                break
        second = asyncio.ensure_future(w.pull(name))
        while len(w.images._transfers._running) < 1 or next(iter(w.images._transfers._running.values())).users < 2:
            await asyncio.sleep(0.005)
        await first.aclose()
        assert (await second)[-1]["status"].startswith("Status: Downloaded")
        assert len(registry.asked(f"blobs/{made.layers[0]}")) == 1 and w.ingests() == []

    over_kinds(story)


def test_when_one_source_fails_the_other_is_asked(once: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(size=500_000)
    with FakeRegistry() as other:
        names = [registry.add("app", made, "1"), other.add("app", made, "1")]
        registry.fault(f"GET .*/blobs/{made.layers[0]}", times=None, delay_s=0.3, status=500)

        async def story(w: World) -> None:
            first, second = await asyncio.gather(w.pull(names[0]), w.pull(names[1]))
            assert first[-1]["status"] == f"Status: Downloaded newer image for {names[0]}"
            assert second[-1]["status"] == f"Status: Downloaded newer image for {names[1]}"
            assert len(other.asked(f"blobs/{made.layers[0]}")) == 1

        once(story, FAST)


def test_pulls_and_a_removal_of_the_same_image_converge(over_kinds: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(layers=3, size=200_000)
    name = registry.add("app", made, "1")

    async def remove(w: World) -> None:
        for _ in range(40):
            with contextlib.suppress(PierError):
                await w.images.remove(name, True, False, lambda identity: [])
            await asyncio.sleep(0.01)

    async def story(w: World) -> None:
        async def pulls() -> None:
            for _ in range(5):
                assert "error" not in (await w.pull(name))[-1]

        await asyncio.gather(pulls(), pulls(), remove(w))
        await w.pull(name)
        found = w.images.resolve(name)
        assert found.id == made.image_id and all(map(w.layers.has, found.diff_ids)) and w.ingests() == []
        await w.images.remove(name, False, False, lambda identity: [])
        assert w.left() == []

    over_kinds(story)


def test_no_more_downloads_at_once_than_allowed(once: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(layers=5, size=100_000)
    name = registry.add("app", made, "1")
    registry.fault("GET .*/blobs/", times=None, delay_s=0.2)

    async def story(w: World) -> None:
        lines = await w.pull(name)
        times = sorted(request.at for request in registry.asked("blobs/") if made.image_id not in request.path)
        assert times[2] - times[0] >= 0.2 <= times[4] - times[2]
        assert [line["id"] for line in lines if line["status"] == "Waiting"] == [digest[7:19] for digest in made.layers[2:]]

    once(story, RegistryConfig(max_downloads=2))


def test_the_loop_is_never_blocked(once: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(layers=4, size=3_000_000)
    name = registry.add("app", made, "1")

    async def story(w: World) -> None:
        late: list[float] = []

        async def watch() -> None:
            while True:
                before = time.thread_time()
                await asyncio.sleep(0.001)
                late.append(time.thread_time() - before)

        watching = asyncio.ensure_future(watch())
        await w.pull(name)
        watching.cancel()
        late.sort()
        assert late[int(len(late) * 0.99) - 1] < 0.02, late[-10:]  # of this thread's own time: others work on this machine, too

    once(story)


# -- what is left


def test_left_overs_expire_and_are_pruned(once: Callable[..., None], registry: FakeRegistry, tmp_path: Path) -> None:
    made = small(layers=2, size=400_000)
    name = registry.add("app", made, "1")
    for digest in made.layers:
        registry.fault(f"GET .*/blobs/{digest}", times=None, cut=100_000)

    async def leave(w: World) -> None:
        while len(w.ingests()) < 2:
            await w.pull(name)

    async def later(w: World) -> None:
        old = w.root / "content" / "ingests" / w.ingests()[0] / "data"
        os.utime(old, (time.time() - 8 * 86400,) * 2)
        lines = await w.images.repair(lambda identity: [])
        assert [line for line in lines if line.startswith("removed 1 blobs of unfinished pulls")] and len(w.ingests()) == 1
        report = await w.images.prune({}, lambda identity: [])
        assert report.space_reclaimed >= 100_000 and w.ingests() == []

    once(leave, FAST)
    once(later)


def test_a_prune_leaves_what_is_being_pulled(once: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(size=1_000_000)
    name = registry.add("app", made, "1")
    registry.fault(f"GET .*/blobs/{made.layers[0]}", times=None, rate=1_000_000)

    async def story(w: World) -> None:
        pulling = asyncio.ensure_future(w.pull(name))
        while not w.ingests():
            await asyncio.sleep(0.005)
        await w.images.prune({}, lambda identity: [])
        assert (await pulling)[-1]["status"].startswith("Status: Downloaded")
        assert len(registry.asked(f"blobs/{made.layers[0]}")) == 1

    once(story)


def test_a_name_of_the_default_registry() -> None:
    assert str(parse("ubuntu").with_default_tag()) == "ubuntu:latest" and parse("ubuntu").path == "library/ubuntu"


def test_a_registry_that_hangs_holds_no_slot(once: Callable[..., None], registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pier.images.pull_blob.PATIENCE_S", 0.1)
    slow, quick = small("slow", size=300_000), small("quick", size=300_000)
    name = registry.add("quick", quick, "1")

    async def story(w: World) -> None:
        with FakeRegistry() as bad:
            stuck = asyncio.ensure_future(w.pull(bad.add("slow", slow, "1")))
            bad.fault(f"GET .*/blobs/{slow.layers[0]}", times=None, hang=True, cut=1000)
            while not bad.asked(f"blobs/{slow.layers[0]}"):
                await asyncio.sleep(0.01)
            lines = await w.pull(name)
            assert lines[-1]["status"].startswith("Status: Downloaded") and "Waiting" in statuses(lines, quick.layers[0])
            stuck.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stuck

    once(story, RegistryConfig(max_downloads=1))


def test_a_layer_that_was_loaded_is_fetched_for_its_blob(over_kinds: Callable[..., None], registry: FakeRegistry, tmp_path: Path) -> None:
    made = small(layers=2, size=50_000)
    name = registry.add("app", made, "1")

    async def story(w: World) -> None:
        tars = [gzip.decompress(blob) for blob in made.blobs[1:]]
        docker_archive(tmp_path / "image.tar", "loaded:1", tars)
        await w.load((tmp_path / "image.tar").read_bytes())
        lines = await w.pull(name)
        assert {statuses(lines, digest)[-1] for digest in made.layers} == {"Pull complete"}
        assert all(w.content.has(digest) for digest in made.layers) and w.ingests() == []
        found = w.images.resolve(name)
        assert [blob.digest for stored in found.layers for blob in stored.blobs] == made.layers
        again = await w.pull(name)
        assert again[-1]["status"].startswith("Status: Image is up to date")

    over_kinds(story)
