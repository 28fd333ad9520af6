"""Pulls that stop half-way, for whatever reason, and go on at the byte."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pier.images.pull_plan import asked
from pier.registry.config import RegistryConfig
from tests.contract.images.pulling import FAST, fetched, statuses
from tests.contract.images.world import World
from tests.harness.registry import FakeRegistry, small

# -- interruptions


def test_an_interrupted_pull_goes_on_at_the_byte(over_kinds: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(layers=3, size=400_000)
    name = registry.add("app", made, "1")
    cut = made.layers[1]
    registry.fault(f"GET .*/blobs/{cut}", times=None, cut=123_456)

    async def story(w: World) -> None:
        lines = await w.pull(name)
        assert "unexpected EOF" in lines[-1]["error"] and w.images.count() == 0
        assert f"blob-{cut[7:]}" in w.ingests()
        registry.forget()
        lines = await w.pull(name)
        assert lines[-1]["status"].startswith("Status: Downloaded newer image")
        assert fetched(registry, cut) == [(123_456, None)]
        assert w.ingests() == [] and w.images.resolve(name).id == made.image_id

    over_kinds(story, FAST)


def test_whole_blobs_of_an_unfinished_pull_are_not_fetched_again(over_kinds: Callable[..., None], registry: FakeRegistry, tmp_path: Path) -> None:
    made = small(layers=3, size=400_000)
    name = registry.add("app", made, "1")
    registry.fault(f"GET .*/blobs/{made.layers[2]}", times=None, cut=1000)

    async def story(w: World) -> None:
        while len(w.ingests()) < 3:
            await w.pull(name)

    over_kinds(story, RegistryConfig(max_attempts=1, max_downloads=1))
    registry.forget()

    async def again(w: World) -> None:
        await w.pull(name)
        assert [fetched(registry, digest) for digest in made.layers] == [[], [], [(1000, None)]]
        assert w.images.resolve(name).id == made.image_id and w.ingests() == []

    over_kinds(again)


def test_connections_that_break_are_made_again(once: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(size=400_000)
    name = registry.add("app", made, "1")
    registry.fault(f"GET .*/blobs/{made.layers[0]}", times=3, cut=50_000)

    async def story(w: World) -> None:
        lines = await w.pull(name)
        assert lines[-1]["status"].startswith("Status: Downloaded")
        assert [low for low, _ in fetched(registry, made.layers[0])] == [0, 50_000, 100_000, 150_000]
        told = statuses(lines, made.layers[0])
        assert any(status.startswith("Retrying") and "unexpected EOF" in status for status in told), told

    once(story)


def test_a_client_that_goes_away_leaves_what_can_be_gone_on_with(over_kinds: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(layers=2, size=2_000_000)
    name = registry.add("app", made, "1")
    registry.fault("GET .*/blobs/", times=None, rate=500_000, skip=1)

    async def story(w: World) -> None:
        lines = w.images.pull(asked(name, ""))
        async for line in lines:
            if line.get("status") == "Downloading" and line["progressDetail"]["current"] > 200_000:
                break
        await lines.aclose()
        kept = w.ingests()
        assert kept and set(kept) <= {f"blob-{digest[7:]}" for digest in made.layers} and w.images.count() == 0
        there = {f"sha256:{key[5:]}": os.stat(w.root / "content/ingests" / key / "data").st_size for key in kept}
        registry.forget()
        await w.pull(name)
        for digest, size in there.items():
            assert fetched(registry, digest) == [(size, None)] or size == len(registry.blobs[digest])
        assert w.ingests() == [] and w.images.resolve(name).id == made.image_id

    over_kinds(story)


@pytest.mark.parametrize("damage", ["zeros", "first", "longer", "other"])
def test_a_damaged_ingest_is_fetched_once_more(over_kinds: Callable[..., None], registry: FakeRegistry, damage: str) -> None:
    made = small(size=400_000)
    name, digest = registry.add("app", made, "1"), made.layers[0]
    registry.fault(f"GET .*/blobs/{digest}", times=None, cut=200_000)

    async def story(w: World) -> None:
        await w.pull(name)
        path = w.root / f"content/ingests/blob-{digest[7:]}/data"
        data = path.read_bytes()
        assert len(data) == 200_000
        path.write_bytes({
            "zeros": data[:100_000] + bytes(100_000), "first": b"\0" + data[1:], "longer": bytes(1_000_000),
            "other": bytes(len(registry.blobs[digest])),
        }[damage])  # fmt: skip
        registry.forget()
        lines = await w.pull(name)
        assert lines[-1]["status"].startswith("Status: Downloaded"), lines[-1]
        assert fetched(registry, digest)[-1] == (0, None) and len(fetched(registry, digest)) <= 2
        assert w.images.resolve(name).id == made.image_id and w.ingests() == []

    over_kinds(story, FAST)


def test_a_worker_that_is_killed_begins_again(over_kinds: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(size=3_000_000)
    name = registry.add("app", made, "1")

    async def story(w: World) -> None:
        pulling = asyncio.ensure_future(w.pull(name))
        while not w.provider.processes:
            await asyncio.sleep(0.005)
        os.kill(w.provider.processes[0].pid, signal.SIGKILL)
        lines = await pulling
        assert lines[-1]["status"].startswith("Status: Downloaded"), lines[-1]
        assert len(registry.asked(f"blobs/{made.layers[0]}")) == 1 and w.images.resolve(name).id == made.image_id
        assert len(w.provider.processes) == 2

    over_kinds(story)


@pytest.mark.parametrize("point", ["worker.layer", "layer.read", "layer.made"])
def test_a_worker_that_dies_each_time_is_told_of(over_kinds: Callable[..., None], registry: FakeRegistry, point: str) -> None:
    made = small(size=50_000)
    name = registry.add("app", made, "1")

    async def story(w: World) -> None:
        error = (await w.pull(name))[-1]["error"]
        assert "layer was killed by SIGKILL" in error and w.images.count() == 0
        assert w.ingests() == [f"blob-{made.layers[0][7:]}"]

    over_kinds(story, worker_environment={"PIER_FAIL": f"{point}:kill"})
    registry.forget()

    async def again(w: World) -> None:
        await w.pull(name)
        assert not registry.asked(f"blobs/{made.layers[0]}") and w.ingests() == []

    over_kinds(again)


# -- ranges


@pytest.mark.parametrize("ranges", [True, False])
def test_a_large_layer_comes_in_ranges(over_kinds: Callable[..., None], registry: FakeRegistry, ranges: bool) -> None:
    made = small(size=5_300_000)
    name, digest = registry.add("app", made, "1"), made.layers[0]
    registry.options.ranges = ranges

    async def story(w: World) -> None:
        await w.pull(name)
        assert w.images.resolve(name).id == made.image_id and w.ingests() == []
        size, part = len(registry.blobs[digest]), 1 << 20
        if ranges:
            assert sorted(fetched(registry, digest)) == [(low, min(low + part, size) - 1) for low in range(0, size, part)]
        else:
            assert len(fetched(registry, digest)) == 1

    over_kinds(story, RegistryConfig(range_bytes=1 << 20))


@pytest.mark.parametrize("ranges", [True, False])
def test_ranges_are_gone_on_with(over_kinds: Callable[..., None], registry: FakeRegistry, ranges: bool) -> None:
    """Whatever was there of each part is not fetched again, unless the server cannot otherwise."""
    made = small(size=5_300_000)
    name, digest, part = registry.add("app", made, "1"), made.layers[0], 1 << 20
    registry.fault(f"GET .*/blobs/{digest}", times=None, skip=2, rate=800_000)

    async def story(w: World) -> None:
        lines = w.images.pull(asked(name, ""))
        async for line in lines:
            if line.get("status") == "Downloading" and line["progressDetail"]["current"] > 3_000_000:
                break
        await lines.aclose()
        record = (w.root / f"content/ingests/blob-{digest[7:]}/parts").read_bytes()
        counts = [int.from_bytes(record[at : at + 8], "little") for at in range(8, len(record), 8)]
        assert int.from_bytes(record[:8], "little") == part and 3_000_000 < sum(counts) < 5_300_000
        registry.forget()
        registry.options.ranges = ranges
        await w.pull(name)
        size = len(registry.blobs[digest])
        wanted = [(n * part + count, min((n + 1) * part, size) - 1) for n, count in enumerate(counts) if n * part + count < min((n + 1) * part, size)]
        if ranges:
            assert sorted(fetched(registry, digest)) == wanted
        else:
            assert len(fetched(registry, digest)) <= 2
        assert w.images.resolve(name).id == made.image_id and w.ingests() == []

    over_kinds(story, RegistryConfig(range_bytes=part))


def test_a_range_that_fails_is_asked_for_again(once: Callable[..., None], registry: FakeRegistry) -> None:
    made = small(size=5_300_000)
    name, digest = registry.add("app", made, "1"), made.layers[0]
    registry.fault(f"GET .*/blobs/{digest}", skip=2, times=1, cut=1000)

    async def story(w: World) -> None:
        assert (await w.pull(name))[-1]["status"].startswith("Status: Downloaded")
        assert w.images.resolve(name).id == made.image_id

    once(story, RegistryConfig(range_bytes=1 << 20))
