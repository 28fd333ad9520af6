"""kill -9 at every durable step of load, tag and remove: afterwards each image is whole or gone, and nothing else is left."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.images.fakes import World, diff_id, parsed, world

REPOSITORY = Path(__file__).resolve().parents[3]
OLD, NEW = parsed("old", ["base", "x"], ["old:1"]), parsed("new", ["base", "y", "z"], ["new:1", "new:2"])
STEPS = {
    "load": ["images.layer", "images.layer@2", "images.document", "content.commit", "images.files", "images.rows"],
    "tag": ["images.tag"],
    "remove": ["images.remove", "images.removed", "images.collect"],
}


async def act(w: World, verb: str) -> None:
    """The verb that is to be killed."""
    match verb:
        case "load":
            await w.load(NEW)
        case "tag":
            await w.images.tag("old:1", "other")
        case "remove":
            await w.images.remove("old:1", False, False, w.users)


if __name__ == "__main__":
    with world(Path(sys.argv[1])) as killed:
        asyncio.run(act(killed, sys.argv[2]))
    sys.exit("not killed")


@pytest.mark.parametrize(("verb", "step"), [(verb, step) for verb, steps in STEPS.items() for step in steps])
def test_whole_or_gone(tmp_path: Path, verb: str, step: str) -> None:
    async def before() -> None:
        with world(tmp_path) as w:
            await w.load(OLD)

    asyncio.run(before())
    name, _, nth = step.partition("@")
    environment = {**os.environ, "PIER_FAIL": f"{name}:kill" + (f"@{nth}" if nth else ""), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.images.test_kills", tmp_path, verb], env=environment, cwd=REPOSITORY, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    async def after() -> None:
        with world(tmp_path) as w:
            await w.images.repair(w.users)
            there = {image.id: image for image in [w.images.resolve(one.id) for one in w.images.list({})]}
            wanted = {identity for image in there.values() for identity in image.diff_ids}
            assert w.files() == (sorted(wanted), sorted(there), [])
            if verb == "load":
                assert OLD["config_digest"] in there
                assert (NEW["config_digest"] in there) == (step == "images.rows")
                assert (await w.load(NEW))[-1] == {"stream": "Loaded image: new:2\n"}
            elif verb == "tag":
                assert w.images.resolve("old:1").tags == ("old:1",)
                assert await w.images.tag("old:1", "other")
            else:
                assert (OLD["config_digest"] in there) == (step == "images.remove")
                assert w.layers.has(diff_id("base")) == (step == "images.remove")

    asyncio.run(after())
