"""The parts of a pull by themselves: slots, speed, the worker that follows a file, what a client is told."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pier.archive.workers import WorkerDied
from pier.content import ContentStore
from pier.errors import Unavailable
from pier.images import pull_follow
from pier.images.pull_follow import Follower, Speed
from pier.images.pull_layers import COMPLETE, DOWNLOADED, VERIFYING, WAITING
from pier.images.pull_report import Report
from pier.images.pull_slots import Slots
from pier.images.remote import Remote
from pier.oci.reference import parse
from pier.registry.cancel import Cancel


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await story()

    asyncio.run(main())


# -- slots


def test_slots_go_in_the_order_of_asking_and_to_spare_connections_last() -> None:
    async def story() -> None:
        slots, order, waited = Slots(lambda: 1), list[str](), list[str]()

        async def take(name: str, spare: bool = False) -> None:
            async with slots.taken(spare=spare, waits=lambda: waited.append(name)):
                order.append(name)
                await asyncio.sleep(0.01)

        first = asyncio.ensure_future(take("first"))
        await asyncio.sleep(0)
        await asyncio.gather(take("spare", spare=True), take("second"), take("third"), first)
        assert order == ["first", "second", "third", "spare"] and waited == ["spare", "second", "third"]

    run(story)


def test_who_goes_away_takes_no_slot() -> None:
    async def story() -> None:
        slots = Slots(lambda: 1)
        holding = asyncio.Event()

        async def take() -> None:
            async with slots.taken():
                await holding.wait()

        tasks = [asyncio.ensure_future(take()) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[0].cancel()
        await asyncio.sleep(0)
        tasks[2].cancel()  # it was given the slot just now
        await asyncio.sleep(0)
        holding.set()
        await asyncio.wait_for(tasks[3], 1)
        async with slots.taken(waits=lambda: pytest.fail("all slots are back")):
            pass

    run(story)


def test_fewer_slots_take_effect_as_they_come_back() -> None:
    async def story() -> None:
        limit, running, most = 3, 0, list[int]()
        slots = Slots(lambda: limit)

        async def take() -> None:
            nonlocal running
            async with slots.taken():
                running += 1
                most.append(running)
                await asyncio.sleep(0.005)
                running -= 1

        tasks = [asyncio.ensure_future(take()) for _ in range(9)]
        await asyncio.sleep(0)
        limit = 1
        await asyncio.gather(*tasks)
        assert max(most) == 3 and most[-4:] == [1, 1, 1, 1]

    run(story)


# -- following


def test_speed_is_that_of_the_last_second() -> None:
    now = 0.0
    speed = Speed(lambda: now)
    speed.note(1000)
    assert speed.bytes_s == 0
    now = 0.5
    speed.note(6000)
    assert speed.bytes_s == 10_000
    while now < 2.5:
        now += 0.5
        speed.note(6000)
    assert speed.bytes_s == 0


class Workers:
    """Answers as each of `what` says: "layer", an exception, or "hang". `counts` are what the pipes told."""

    def __init__(self, *what: Any) -> None:
        self.what, self.started = list(what), 0
        self.cancelled = 0

    async def run(self, op: str, fds: Sequence[int], on_progress: Any = None, **fields: Any) -> Mapping[str, Any]:
        self.started += 1
        step = self.what.pop(0)
        try:
            if isinstance(step, Exception):
                raise step
            if step == "hang":
                await asyncio.sleep(1000)
            while True:
                await asyncio.sleep(0.001)
                try:
                    data = os.read(fds[1], 4096)
                except BlockingIOError:
                    continue
                if int.from_bytes(data[-8:], "little") == fields["size"]:
                    return {"diff_id": "sha256:1", "size": 5, "dir": "layers/0"}
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Site:
    """A follower of a file of `size` bytes of which `there` are there."""

    def __init__(self, root: Path, workers: Workers, size: int = 10_000_000, there: int = 0) -> None:
        (root / "blob").write_bytes(b"")
        self.there, self.workers = there, workers
        self.content = ContentStore(root / "content")
        ctx: Any = SimpleNamespace(content=self.content, workers=workers, layers=SimpleNamespace(kind="erofs"))
        self.follower = Follower(ctx, "app: layer x", size, lambda: os.open(root / "blob", os.O_RDONLY), lambda: self.there)

    def grow(self, there: int) -> None:
        self.there = there
        self.follower.grown()

    def scratches(self) -> int:
        return len(os.listdir(self.content.root / "ingests"))


def test_a_slow_download_takes_no_worker_before_it_is_whole(tmp_path: Path) -> None:
    async def story() -> None:
        site = Site(tmp_path, Workers("layer"))
        running = asyncio.ensure_future(site.follower.run())
        for there in range(0, 10_000, 1000):
            site.grow(there)
            await asyncio.sleep(0.005)
        assert site.workers.started == 0
        site.grow(10_000_000)
        taken = await running
        assert (taken.diff_id, taken.folder, site.workers.started) == ("sha256:1", "layers/0", 1) and site.scratches() == 1

    run(story)


def test_a_quick_one_is_followed_and_given_up_when_it_gets_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_follow, "_PATIENCE_S", 0.1)

    async def story() -> None:
        site = Site(tmp_path, Workers("hang", "layer"))
        running = asyncio.ensure_future(site.follower.run())
        await asyncio.sleep(0.01)
        site.grow(5_000_000)
        await asyncio.sleep(0.02)
        assert site.workers.started == 1
        while not site.workers.cancelled:
            await asyncio.sleep(0.01)
        assert site.workers.started == 1
        site.grow(6_000_000)
        await asyncio.sleep(0.02)
        assert site.workers.started == 1, "it is begun again when all is there"
        site.grow(10_000_000)
        await running
        assert site.workers.started == 2 and site.scratches() == 1

    run(story)


def test_a_worker_that_dies_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_follow, "_PAUSES_S", (0.0, 0.0))

    async def story() -> None:
        site = Site(tmp_path, Workers(WorkerDied("1"), WorkerDied("2"), "layer"), there=10_000_000)
        assert (await site.follower.run()).diff_id == "sha256:1"
        again = Site(tmp_path, Workers(*[WorkerDied(str(n)) for n in range(3)]), there=10_000_000)
        with pytest.raises(WorkerDied, match="2"):
            await again.follower.run()
        full = Site(tmp_path, Workers(Unavailable("the disk is full")), there=10_000_000)
        with pytest.raises(Unavailable, match="the disk is full"):
            await full.follower.run()
        assert full.scratches() == 0, "each try has taken its folder along"

    run(story)


def test_a_pipe_that_is_full_gets_the_latest_count(tmp_path: Path) -> None:
    async def story() -> None:
        read_fd, write_fd = os.pipe2(os.O_NONBLOCK)
        growth = pull_follow._Growth(write_fd)
        for count in range(1, 20_000):
            growth.tell(count)
        told = 0
        while told < 19_999:
            await asyncio.sleep(0)
            try:
                told = int.from_bytes(os.read(read_fd, 4096)[-8:], "little")
            except BlockingIOError:
                continue
        os.close(read_fd)
        growth.tell(30_000)  # the worker has ended
        growth.close()
        growth.close()

    run(story)


# -- what is told


class Moving:
    """A transfer as a report sees it."""

    def __init__(self, size: int) -> None:
        self.blob, self.statuses, self.watchers = SimpleNamespace(size=size), list[str](), set[Callable[[], None]]()
        self.there_bytes = self.read_bytes = 0

    def tell(self, status: str) -> None:
        self.statuses.append(status)
        for watcher in self.watchers:
            watcher()


def test_a_layer_is_told_of_in_dockers_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        lines: list[dict[str, Any]] = []
        report, moving = Report(lines.append), Moving(1000)
        report.notice("retrying in 2 s: no answer")
        assert lines == [], "nothing is told before there is something to pull"
        report.pulling(parse("127.0.0.1:5000/a/b:1"))
        async with report.following({"sha256:" + "ab" * 32: moving}):  # type: ignore[dict-item]
            moving.tell(WAITING)
            await asyncio.sleep(0.01)
            begun = time.monotonic()
            for moving.there_bytes in range(0, 900, 10):
                await asyncio.sleep(0.002)
            moving.there_bytes = 1000
            moving.tell(VERIFYING)
            took_s = time.monotonic() - begun
            moving.tell(DOWNLOADED)
            await asyncio.sleep(0.01)
            moving.read_bytes = 500
            await asyncio.sleep(0.25)
            moving.tell(COMPLETE)
        assert lines[:2] == [{"status": "Pulling from a/b", "id": "1"}, {"status": "Retrying in 2 s: no answer"}]
        told = [(line["status"], line.get("progressDetail", {}).get("current")) for line in lines[2:]]
        downloading = [current for status, current in told if status == "Downloading"]
        assert downloading == sorted(downloading) and downloading[-1] == 1000 and len(downloading) < 4 + took_s / 0.1
        assert [status for status, _ in told if status != "Downloading"] == [
            "Waiting", "Verifying Checksum", "Download complete", "Extracting", "Extracting", "Pull complete"]  # fmt: skip
        assert [line for line in lines if line["status"] == "Extracting"][-1] == {
            "status": "Extracting", "progressDetail": {"current": 1000, "total": 1000},
            "progress": "[==================================================>]      1kB/1kB", "id": "abababababab"}  # fmt: skip
        assert not moving.watchers

    run(story)


# -- calls


def test_a_call_is_ended_when_nobody_waits_for_it() -> None:
    async def story() -> None:
        remote = Remote()
        seen: list[Cancel] = []

        def work(registries: object, cancel: Cancel) -> None:
            seen.append(cancel)
            cancel.wait(30)

        task = asyncio.ensure_future(remote.call(work, host="a.example"))
        while not seen:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen[0].thrown
        task = asyncio.ensure_future(remote.call(work, host="a.example", bulk=True))
        while len(seen) < 2:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(remote.close)
        with pytest.raises(Unavailable, match="the daemon ends"):
            await task

    run(story)


def test_one_registry_that_hangs_keeps_nobody_else_waiting() -> None:
    async def story() -> None:
        remote, hanging = Remote(), asyncio.Event()
        loop, begun = asyncio.get_running_loop(), list[Cancel]()

        def hang(registries: object, cancel: Cancel) -> None:
            begun.append(cancel)
            loop.call_soon_threadsafe(hanging.set)
            cancel.wait(30)

        stuck = [asyncio.ensure_future(remote.call(hang, host="bad.example")) for _ in range(40)]
        await hanging.wait()
        assert await remote.call(lambda registries, cancel: 7, host="good.example") == 7
        assert await remote.aside(lambda: 8) == 8
        assert len(begun) == 8, "a quarter of the threads"
        for task in stuck[:20]:
            task.cancel()
        await asyncio.wait(stuck[:20])
        await asyncio.to_thread(remote.close)
        assert {str(error) for error in await asyncio.gather(*stuck[20:], return_exceptions=True)} == {"the daemon ends: ask the next one again"}
        assert not remote._turns

    run(story)


def test_who_waits_for_a_registry_hears_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pier.images.pull_report._PATIENCE_S", 0.02)

    async def story() -> None:
        lines: list[dict[str, Any]] = []
        report = Report(lines.append)
        report.notice("retrying in 9 s: busy")
        assert lines == []
        await asyncio.sleep(0.05)
        report.notice("retrying in 19 s: busy")
        assert [line["status"] for line in lines] == ["Retrying in 9 s: busy", "Retrying in 19 s: busy"]
        report.pulling(parse("127.0.0.1:5000/a/b:1"))
        assert [line["status"] for line in lines[2:]] == ["Pulling from a/b"]
        over = Report(lines.append)
        over.notice("never told")
        over.close()
        await asyncio.sleep(0.05)
        assert len(lines) == 3

    run(story)


def test_a_slot_that_is_lent_counts_again_when_bytes_come() -> None:
    async def story() -> None:
        slots, order = Slots(lambda: 1), list[str]()

        async def take(name: str, end: asyncio.Event) -> None:
            async with slots.taken():
                order.append(name)
                await end.wait()

        ends = {name: asyncio.Event() for name in ("second", "third")}
        async with slots.taken() as slot:
            tasks = [asyncio.ensure_future(take(name, end)) for name, end in ends.items()]
            await asyncio.sleep(0.01)
            assert order == []
            slot.lend()
            slot.lend()
            await asyncio.sleep(0.01)
            assert order == ["second"]
            slot.reclaim()
            ends["second"].set()
            await asyncio.sleep(0.01)
            assert order == ["second"], "the one that was lent counts again"
        await asyncio.sleep(0.01)
        assert order == ["second", "third"]
        ends["third"].set()
        await asyncio.gather(*tasks)
        async with slots.taken(waits=lambda: pytest.fail("all slots are back")):
            pass

    run(story)
