"""Layers made one, and stacks of layers compared, by the real worker: what a container sees decides. Needs root."""

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pier.archive.refusal import BadArchive
from pier.archive.workers import Workers
from pier.snapshots import probe
from tests.unit.archive import tars

from .test_changes import Stage, everything, seen
from .test_equal_layers import CAPABILITY, sparse, sparse_tree, xattrs
from .test_worker import Provider

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="overlays need root")


@pytest.fixture(params=["erofs", "unpacked"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    here = os.getcwd()
    if request.param == "erofs" and (fault := probe.try_erofs(tmp_path)):
        pytest.skip(fault)
    found = Stage(str(request.param), tmp_path)
    yield found
    found.snapshots.close()
    os.chdir(here)


def worker(op: str, fds: list[int], **fields: Any) -> dict[str, Any]:
    async def go() -> dict[str, Any]:
        provider = Provider()
        answer = await Workers(provider).run(op, fds, **fields)
        await provider.ended()
        return dict(answer)

    return asyncio.run(asyncio.wait_for(go(), 120))


def squashed(stage: Stage, first: int) -> str:
    """The layers from `first` on as one, in their place; its diff ID."""
    folder = stage.folder / f"squash-{len(os.listdir(stage.folder))}"
    folder.mkdir()
    fds = [stage.layers.open_tar(diff_id) for diff_id in stage.stack[first:]]
    fds.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    try:
        answer = worker("squash", fds, kind=stage.kind, whole=first == 0)
    finally:
        for fd in fds:
            os.close(fd)
    assert os.listdir(folder) == ["layers"]
    stage.layers.adopt(answer["diff_id"], folder / answer["dir"])
    stage.stack[first:] = [answer["diff_id"]]
    return str(answer["diff_id"])


def view(stage: Stage) -> dict[str, Any]:
    """What a container over the stage's layers shows, but for link counts: overlayfs does not know those of merged folders, and counts
    names of files that are hidden."""

    def names(value: Any) -> Any:
        return value if len(value) > 1 else ""

    return {path: (*values[:6], *values[7:-1], names(values[-1])) for path, values in seen(stage.container()).items()}


MIDDLE = tars.tar(
    tars.file(b"etc/name", b"middle"),
    tars.file(b"folder/.wh.x"),
    tars.file(b"folder/y", b"1"),
    tars.file(b".wh.full"),
    tars.file(b"swap/.wh..wh..opq"),
    xattrs((b"user.a", b"1"), (b"security.capability", CAPABILITY)) + tars.file(b"linked", b"66"),
    sparse(b"holes", [(0, b"a" * 10), (70_000, b"b" * 600)], 1 << 20),
)
REBORN = tars.tar(tars.file(b"full/new", b"1"), tars.file(b"same/.wh.kept"), tars.file(b"same", b"now a file"), tars.symlink(b"folder", b"etc"))
AGAIN = tars.tar(tars.folder(b"same", 0o700), tars.file(b"same/other", b"2"), tars.folder(b"folder"), tars.file(b"folder/z", b"3"))
OPAQUE_ROOT = tars.tar(tars.file(b".wh..wh..opq"), tars.file(b"only", b"1"), tars.file(b"etc/.wh.name"))


@pytest.mark.parametrize("first", range(6))
def test_a_container_sees_the_same(stage: Stage, first: int) -> None:
    for data in (MIDDLE, REBORN, AGAIN, OPAQUE_ROOT):
        stage.adopt(data)
    before = view(stage)
    squashed(stage, first)
    after = view(stage)
    assert after.keys() == before.keys() and len(stage.stack) == first + 1
    for path, values in before.items():
        assert after[path] == values, path


def test_what_a_container_wrote_is_squashed_as_well(stage: Stage) -> None:
    stage.container().did(everything).committed()
    before = view(stage)
    assert before["new/hole"][3] == 3_000_001
    squashed(stage, 0)
    assert view(stage) == before


def test_the_same_layers_make_the_same_one(stage: Stage) -> None:
    for data in (MIDDLE, REBORN):
        stage.adopt(data)
    before = list(stage.stack)
    one = squashed(stage, 0)
    stage.stack[:] = before
    assert squashed(stage, 0) == one
    assert squashed(stage, 0) == one  # of itself


def test_sparse_entries_are_written_out(stage: Stage, tmp_path: Path) -> None:
    stage.adopt(sparse_tree(tmp_path, "1.0"))
    before = view(stage)
    squashed(stage, 2)
    assert view(stage) == before


def test_a_layer_that_is_damaged_is_refused(stage: Stage) -> None:
    (stage.folder / "bad").write_bytes(tars.tar(tars.file(b"a", b"1" * 2000))[:1600])
    fds = [os.open(stage.folder / "bad", os.O_RDONLY), os.open(stage.folder, os.O_RDONLY | os.O_DIRECTORY)]
    with pytest.raises(BadArchive, match="the archive ends in the middle of its content"):
        worker("squash", fds, kind=stage.kind, whole=True)
    for fd in fds:
        os.close(fd)


def compared(stage: Stage, before: list[str], after: list[str]) -> list[dict[str, Any]]:
    """What the worker says of two stacks."""
    known = list(dict.fromkeys([*before, *after]))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryDirectory(dir=stage.folder) as folder:
        fds = [out.fileno(), *(stage.layers.open_tar(diff_id) for diff_id in known), os.open(folder, os.O_RDONLY | os.O_DIRECTORY)]
        numbers = {"from": [known.index(diff_id) for diff_id in before], "to": [known.index(diff_id) for diff_id in after]}
        answer = worker("compare", fds, **numbers)
        for fd in fds[1:]:
            os.close(fd)
        out.seek(0)
        found = json.loads(b"[" + out.read() + b"]")
    counts = [sum(item["Kind"] == kind for item in found) for kind in range(3)]
    assert [answer["changed"], answer["added"], answer["removed"]] == counts
    return found


def test_stacks_are_compared_by_what_they_show(stage: Stage) -> None:
    before = list(stage.stack)
    for data in (MIDDLE, REBORN):
        stage.adopt(data)
    found = compared(stage, before, stage.stack)
    assert found == [
        {"Path": "/etc/name", "Kind": 0, "From": 4, "To": 6, "What": ["content"]},
        {"Path": "/folder", "Kind": 0, "From": None, "To": None, "What": ["type"]},
        {"Path": "/folder/x", "Kind": 2, "From": 1, "To": None},
        {"Path": "/full/c", "Kind": 2, "From": 1, "To": None},
        {"Path": "/full/new", "Kind": 1, "From": None, "To": 1},
        {"Path": "/holes", "Kind": 1, "From": None, "To": 1 << 20},
        {"Path": "/linked", "Kind": 0, "From": 1, "To": 2, "What": ["content", "attributes"]},
        {"Path": "/same", "Kind": 0, "From": None, "To": 10, "What": ["type"]},
        {"Path": "/same/kept", "Kind": 2, "From": 1, "To": None},
        {"Path": "/swap", "Kind": 0, "From": 1, "To": None, "What": ["type"]},
    ]
    back = compared(stage, stage.stack, before)
    assert [item["Path"] for item in back] == [item["Path"] for item in found]
    assert [item["Kind"] for item in back] == [{0: 0, 1: 2, 2: 1}[item["Kind"]] for item in found]


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        (tars.file(b"f", b"1", mtime=5), tars.file(b"f", b"1", mtime=6), None),
        (tars.file(b"f", b"1"), tars.file(b"f", b"2"), ["content"]),
        (tars.file(b"f", b"1"), tars.file(b"f", b"1", mode=0o600), ["mode"]),
        (tars.file(b"f", b"1"), tars.file(b"f", b"1", uid=5), ["owner"]),
        (tars.file(b"f", b"1"), xattrs((b"user.a", b"1")) + tars.file(b"f", b"1"), ["attributes"]),
        (tars.symlink(b"f", b"a"), tars.symlink(b"f", b"b"), ["content"]),
        (tars.header(b"f", b"3", device=(1, 3)), tars.header(b"f", b"3", device=(1, 5)), ["device"]),
        (sparse(b"f", [(600_000, b"1")], 2_000_000), tars.file(b"f", bytes(600_000) + b"1" + bytes(1_399_999)), None),
        (sparse(b"f", [(600_000, b"1")], 2_000_000), tars.file(b"f", bytes(600_000) + b"2" + bytes(1_399_999)), ["content"]),
        (tars.folder(b"f", 0o700), tars.folder(b"f", 0o755), ["mode"]),
    ],
)
def test_in_what_a_file_differs(stage: Stage, one: bytes, other: bytes, what: list[str] | None) -> None:
    stage.adopt(tars.tar(one))
    stage.adopt(tars.tar(tars.file(b"pad", b"x" * 100), other, tars.file(b".wh.pad")))
    found = compared(stage, stage.stack[2:3], stage.stack[3:])
    assert [item.get("What") for item in found if item["Path"] == "/f"] == ([what] if what else [])


def test_equal_stacks_do_not_differ(stage: Stage) -> None:
    before = list(stage.stack)
    squashed(stage, 0)
    assert compared(stage, before, stage.stack) == [] == compared(stage, before, before)
