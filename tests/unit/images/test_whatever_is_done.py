"""Long random sequences of verbs: what is in memory is what the tables say, and the disk has what they need, and nothing else."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from pier.errors import PierError
from pier.images.catalog import Catalog
from tests.unit.images.fakes import HOST, World, parsed, world

OTHER = {"architecture": "s390x", "os": "linux"}
NAMES = ("one", "two:1", "two:2", "reg.example.org:5000/three")
INDEXES = (None, b'{"schemaVersion":2,"manifests":[]}', b'{"schemaVersion":2,"manifests":[],"annotations":{}}')
IMAGES = [parsed(f"i{number}", layers, platform=platform) for number, (layers, platform) in enumerate(
    [(["base", "a"], HOST), (["base", "a"], OTHER), (["base", "b"], HOST), (["c"], OTHER), (["base"], HOST)])]  # fmt: skip


async def act(w: World, chance: random.Random) -> None:
    identity = chance.choice(IMAGES)["config_digest"]
    name = chance.choice(NAMES)
    match chance.choice(("pull", "pull", "load", "tag", "remove", "remove", "prune", "use", "release")):
        case "pull":
            names, images = chance.sample(NAMES, chance.randint(0, 2)), chance.sample(IMAGES, chance.randint(1, 2))
            await w.pull(names, chance.choice(INDEXES), *images, note=chance.choice(("", "", "other")), proven=chance.random() < 0.5)
        case "load":
            tags = [name if ":" in name.rpartition("/")[2] else f"{name}:latest"] * chance.randint(0, 1)
            await w.load({**chance.choice(IMAGES), "tags": tags})
        case "tag":
            await w.images.tag(chance.choice((name, identity)), chance.choice(NAMES).partition(":")[0] if chance.random() < 0.5 else "new")
        case "remove":
            await w.images.remove(chance.choice((name, identity)), chance.random() < 0.5, False, w.users)
        case "prune":
            await w.images.prune({"dangling": [chance.choice(("true", "false"))]}, w.users)
        case "use":
            w.containers[identity] = [("c" * 64, chance.random() < 0.5)]
        case "release":
            w.containers.pop(identity, None)
            await w.images.release(identity, w.users)


def check(w: World) -> None:
    catalog, again = w.ctx.catalog, w.again()._ctx.catalog
    assert {image.id: image for image in catalog.everything()} == {image.id: image for image in again.everything()}
    assert catalog._meanings == again._meanings
    uses = Counter(digest for image in catalog.everything() for digest in image.contents())
    uses.update(digest for meaning in catalog._meanings.values() for digest in meaning.documents())
    assert +catalog._uses == uses == +again._uses
    having = {layer.diff_id for image in catalog.everything() for layer in image.layers}
    layers, blobs, unfinished = w.files()
    assert (set(layers), set(blobs), unfinished) == (having, {digest for digest in uses if digest not in having}, [])
    names_of(catalog)


def names_of(catalog: Catalog) -> None:
    """Each image has the names that mean it; a name without an index means one image; hidden images have none."""
    for image in catalog.everything():
        for name in image.references:
            meaning = catalog.meaning(name)
            assert meaning and image.id in meaning.images and (meaning.index or len(meaning.images) == 1)
        assert not (image.hidden and image.references)
    assert sum(len(meaning.images) for meaning in catalog._meanings.values()) == sum(len(image.references) for image in catalog.everything())


@pytest.mark.parametrize("seed", range(12))
def test_memory_tables_and_disk_agree(tmp_path: Path, seed: int) -> None:
    async def story(w: World) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            try:
                await act(w, chance)
            except PierError:
                pass  # refused: then nothing has changed, which is looked at, too
            check(w)

    with world(tmp_path) as everything:
        asyncio.run(story(everything))
