"""Limits on a file system that has none."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from pier.errors import Invalid
from pier.events import Journal
from pier.store import Store
from pier.volumes import Volumes, schema


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


def test_no_limit_needs_no_quotas(volumes: Volumes) -> None:
    for options in (None, {}, {"size": "0"}):
        record = asyncio.run(volumes.create("", options=options))
        assert volumes.quotas.limit(record.name) == 0
