"""Who follows a directory is woken by what happens in it, by what is told of it, and without the kernel's help too."""

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from pier.linux import inotify
from pier.logs.changes import Changes


def run(act: Callable[[Changes], Coroutine[None, None, None]]) -> None:
    async def go() -> None:
        changes = Changes()
        await asyncio.wait_for(act(changes), 10)
        assert not changes

    before = os.listdir("/proc/self/fd")
    asyncio.run(go())
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_each_directory_wakes_its_own(tmp_path: Path) -> None:
    async def act(changes: Changes) -> None:
        for name in "ab":
            (tmp_path / name).mkdir()
        one, two = str(tmp_path / "a"), str(tmp_path / "b")
        with changes.follow(one) as first, changes.follow(one) as second, changes.follow(two) as other:
            (tmp_path / "a/log").write_bytes(b"1")
            await asyncio.gather(first.wait(), second.wait())
            assert not other.is_set()
            changes.tell(two)
            await other.wait()

    run(act)


def test_who_leaves_takes_nobody_with_him(tmp_path: Path) -> None:
    async def act(changes: Changes) -> None:
        with changes.follow(str(tmp_path)) as stays:
            with changes.follow(str(tmp_path)):
                pass
            (tmp_path / "log").write_bytes(b"1")
            await stays.wait()
            stays.clear()
            await asyncio.sleep(0.05)  # the queue rests after what it heard
            os.rename(tmp_path / "log", tmp_path / "log.1")
            await stays.wait()

    run(act)


def test_a_directory_that_is_removed_and_made_again(tmp_path: Path) -> None:
    async def act(changes: Changes) -> None:
        (tmp_path / "c").mkdir()
        with changes.follow(str(tmp_path / "c")):
            (tmp_path / "c").rmdir()
        (tmp_path / "c").mkdir()
        with changes.follow(str(tmp_path / "c")) as again:
            (tmp_path / "c/log").write_bytes(b"1")
            await again.wait()

    run(act)


@pytest.mark.parametrize("where", ["open_queue", "watch"])
def test_without_a_queue_or_a_watch_it_polls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EMFILE if where == "open_queue" else errno.ENOSPC, "as many as may be")

    monkeypatch.setattr(inotify, where, refused)

    async def act(changes: Changes) -> None:
        with changes.follow(str(tmp_path)) as changed:
            for _ in range(2):
                await changed.wait()
                changed.clear()

    run(act)


def test_events_that_were_lost_wake_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inotify, "events", lambda queue: (os.read(queue, 1 << 16), iter([(-1, inotify.OVERFLOW)]))[1])

    async def act(changes: Changes) -> None:
        for name in "ab":
            (tmp_path / name).mkdir()
        with changes.follow(str(tmp_path / "a")) as first, changes.follow(str(tmp_path / "b")) as second:
            (tmp_path / "a/log").write_bytes(b"1")
            await asyncio.gather(first.wait(), second.wait())

    run(act)
