"""Where layers are known to be: the latest of each, as long as the layer is here."""

import asyncio
from pathlib import Path

from pier.images.sources import LayerSource, known, remember
from tests.unit.images.fakes import World, diff_id, parsed, world

BASE = diff_id("base")


def source(repository: str, blob: str = "blob") -> LayerSource:
    return LayerSource(BASE, diff_id(blob), 10, "tar+gzip", repository)


async def see(w: World, now_ns: int, *sources: LayerSource) -> None:
    await w.store.write(lambda connection: remember(connection, sources, now_ns))


def test_the_latest_are_remembered_as_long_as_the_layer_is_here(tmp_path: Path) -> None:
    async def story() -> None:
        with world(tmp_path) as w:
            await see(w, 1, source("/library/x"))
            assert known(w.store, BASE) == [], "a layer that is not here has no sources"
            await w.load(parsed("one", ["base"], ["one:1"]))
            await see(w, 2, source("/library/x"), source("a/b"), source("a/b", "other"))
            await see(w, 3, source("/library/x"))
            in_order = sorted([source("a/b"), source("a/b", "other")], key=lambda found: found.digest)
            assert known(w.store, BASE) == [source("/library/x"), *in_order]
            for number in range(60):
                await see(w, 10 + number, source(f"r/{number}"))
            assert [found.repository for found in known(w.store, BASE)] == [f"r/{number}" for number in range(59, 9, -1)]
            await w.images.remove("one:1", False, False, w.users)
            assert w.store.read("SELECT * FROM layer_sources") == []

    asyncio.run(story())
