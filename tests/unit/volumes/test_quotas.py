"""Limits on a file system that has none."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from pier.errors import Conflict, Invalid, NotFound
from pier.events import Journal
from pier.store import Store
from pier.volumes import Volumes, schema
from pier.volumes.quotas import Project
from pier.volumes.resizing import resize


@pytest.fixture
def volumes() -> Iterator[Volumes]:
    """On a tmpfs."""
    root = Path(mkdtemp(dir="/dev/shm"))
    store = Store.open(root / "state.db", (schema.SCHEMA, schema.MOUNTS, schema.BEYOND, schema.TRASH, schema.PROJECTS))
    made = Volumes(store, root / "volumes", Journal())
    yield made
    made.close()
    store.close()
    shutil.rmtree(root)


def test_a_limit_is_refused_with_cause_and_way_out_and_nothing_is_touched(volumes: Volumes) -> None:
    with pytest.raises(Invalid) as told:
        asyncio.run(volumes.create("one", options={"size": "10M"}))
    root = volumes.local.root
    assert str(told.value) == (
        f"create one: quota size requested but no quota support: {root}: the file system tmpfs has no project quotas: ext4 and xfs have; "
        "or take a file system of a fixed size: --opt type=tmpfs --opt device=tmpfs --opt o=size=SIZE"
    )
    assert volumes.local.names() == [] and not volumes.has("one")


def test_a_limit_is_not_given_to_files_that_are_there_and_not_taken_away(volumes: Volumes) -> None:
    asyncio.run(volumes.create("plain"))
    with pytest.raises(Conflict, match="update plain: the volume has no limit, and none can be given to files that are there: create"):
        asyncio.run(resize(volumes, "plain", "1g"))
    with pytest.raises(Invalid, match="invalid size: 'much'"):
        asyncio.run(resize(volumes, "plain", "much"))
    with pytest.raises(NotFound):
        asyncio.run(resize(volumes, "none", "1g"))
    volumes.quotas._projects["plain"] = Project(1, 1 << 20)
    with pytest.raises(Invalid, match="cannot be taken away"):
        asyncio.run(resize(volumes, "plain", "0"))
    assert volumes.get("plain").options is None


def test_no_limit_needs_no_quotas(volumes: Volumes) -> None:
    for options in (None, {}, {"size": "0"}):
        record = asyncio.run(volumes.create("", options=options))
        assert volumes.quotas.limit(record.name) == 0
