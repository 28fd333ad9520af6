"""A compressed form that is sent while it is made: who reads it waits, hears of its end, of its failure and of its own cancellation."""

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pier.errors import Internal, Unavailable
from pier.images.push_compress import Compressions, Growing, Reader
from pier.oci import digest as digests
from pier.registry.cancel import Cancel, Cancelled

from . import fakes
from .fakes import World, diff_id

DATA = os.urandom(300_000)


class Ingest:
    """What Growing needs of one; `full`: the disk is, after so many bytes."""

    def __init__(self, folder: Path, full: int = 1 << 40) -> None:
        self.path, self.full, self.size = folder / "data", full, 0
        self.path.touch()

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        with self.path.open("ab") as file:
            file.write(data)

    def reader(self) -> int:
        return os.open(self.path, os.O_RDONLY)


@pytest.fixture
def growing(tmp_path: Path) -> Iterator[Growing]:
    made = Growing(Ingest(tmp_path), 600_000)  # type: ignore[arg-type]
    yield made
    made.close()


def filled(growing: Growing, data: bytes) -> None:
    read_fd, write_fd = os.pipe()
    filler = threading.Thread(target=growing.fill, args=(read_fd,))
    filler.start()
    with open(write_fd, "wb") as pipe:
        pipe.write(data)
    filler.join()


def later(work: Callable[[], object], seconds: float = 0.1) -> threading.Thread:
    thread = threading.Thread(target=lambda: (time.sleep(seconds), work()))
    thread.start()
    return thread


def test_who_reads_beyond_what_is_there_waits_for_it(growing: Growing) -> None:
    source = Reader(growing, Cancel())
    thread = later(lambda: (filled(growing, DATA), growing.finish(digests.of(DATA))))
    assert source.read(len(DATA) - 1, 1) == DATA[-1:]  # a registry's chunk: is it whole?
    assert source.read(0, 100) == DATA[:100] and source.read(len(DATA) - 5, 100) == DATA[-5:]
    thread.join()
    assert source.read(len(DATA), 10) == b"" and source.digest == digests.of(DATA)


def test_a_failure_reaches_who_waits_and_who_comes_later(growing: Growing) -> None:
    thread = later(lambda: growing.fail(Unavailable("the worker died")))
    for _ in range(2):
        with pytest.raises(Unavailable, match="the worker died"):
            growing.read(0, 1, Cancel())
    thread.join()


def test_one_reader_s_cancellation_is_its_own(growing: Growing) -> None:
    cancel = Cancel()
    thread = later(cancel.cancel)
    with cancel.waking(growing.wake), pytest.raises(Cancelled):
        growing.read(0, 1, cancel)
    thread.join()
    filled(growing, b"x")
    assert growing.read(0, 1, Cancel()) == b"x"


def test_how_far_the_tar_is(growing: Growing) -> None:
    assert growing.position(0) == 0
    filled(growing, bytes(1000))
    growing.compressed_bytes = 300_000
    assert growing.position(500) == 150_000
    growing.finish("sha256:x")
    assert growing.position(500) == 300_000 and growing.position(1000) == 600_000 == growing.position(5000)


# -- with a worker that a test writes


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with fakes.world(tmp_path) as made:
        yield made


class Worker:
    """Answers "compress": writes `data` into the pipe, then answers what it is told to, or raises."""

    def __init__(self, data: bytes, **answer: Any) -> None:
        self.data, self.answer = data, {"diff_id": diff_id("base"), "size": len(data)} | answer
        self.error: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def run(self, op: str, fds: Sequence[int], on_progress: object = None, **fields: Any) -> Mapping[str, Any]:
        assert op == "compress" and fields["threads"] >= 1 and os.listdir(f"/proc/self/fd/{fds[2]}") == []
        await self.go.wait()
        try:
            await asyncio.to_thread(os.write, fds[1], self.data)
        except BrokenPipeError:
            raise Unavailable("compress: Broken pipe") from None
        if self.error:
            raise self.error
        return self.answer


def story(w: World, worker: Worker, tell: Callable[[Compressions], Any]) -> None:
    async def main() -> None:
        (w.layers.root / diff_id("base")[7:]).mkdir()
        ctx = w.images._ctx
        ctx.workers = worker  # type: ignore[assignment]
        ctx.layers.tar_bytes = lambda name: 600_000  # type: ignore[method-assign]
        ctx.layers.open_tar = lambda name: os.open("/dev/null", os.O_RDONLY)  # type: ignore[method-assign]
        before = set(os.listdir("/proc/self/fd"))
        made = Compressions(ctx)
        await tell(made)
        await made.settled(diff_id("base"))
        assert os.listdir(w.content.root / "ingests") == [] and not made._running
        assert {fd for fd in set(os.listdir("/proc/self/fd")) - before if os.path.lexists(f"/proc/self/fd/{fd}")} == set()

    asyncio.run(main())


async def read(growing: Growing) -> bytes:
    def work() -> bytes:
        data = b""
        while more := growing.read(len(data), 1 << 16, Cancel()):
            data += more
        return data

    return await asyncio.to_thread(work)


def test_several_share_one_and_nothing_is_left(world: World) -> None:
    async def tell(made: Compressions) -> None:
        async with made.joined(diff_id("base")) as one, made.joined(diff_id("base")) as two:
            assert one is two and await read(one) == DATA == await read(two)
        # No image has the layer: its form has no place.
        await made.settled(diff_id("base"))
        assert list(world.content.digests()) == []

    story(world, Worker(DATA), tell)


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [({"diff_id": digests.of(b"other")}, Internal, "is damaged on the disk"), ({"size": 5}, Unavailable, "and says 5")],
)
def test_a_form_that_is_not_the_layer_s_fails(world: World, answer: dict[str, Any], kind: type[Exception], said: str) -> None:
    async def tell(made: Compressions) -> None:
        async with made.joined(diff_id("base")) as growing:
            with pytest.raises(kind, match=said):
                await read(growing)

    story(world, Worker(DATA, **answer), tell)


@pytest.mark.parametrize("error", [Unavailable("the worker died"), ValueError("a bug")])
def test_a_worker_s_failure_reaches_the_reader(world: World, error: Exception) -> None:
    async def tell(made: Compressions) -> None:
        worker.error = error
        async with made.joined(diff_id("base")) as growing:
            with pytest.raises(type(error)):
                await read(growing)

    worker = Worker(DATA)
    story(world, worker, tell)


def test_a_full_disk_is_what_is_told_not_the_broken_pipe(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(made: Compressions) -> None:
        def full(self: object, data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("pier.content.ingest.Ingest.write", full)
        async with made.joined(diff_id("base")) as growing:
            with pytest.raises(Unavailable, match="no space left"):
                await read(growing)

    story(world, Worker(os.urandom(4 << 20)), tell)


def test_who_leaves_last_ends_it(world: World) -> None:
    async def tell(made: Compressions) -> None:
        worker.go.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2), made.joined(diff_id("base")), made.joined(diff_id("base")):
                await asyncio.sleep(60)
        worker.go.set()
        async with made.joined(diff_id("base")) as growing:
            assert await read(growing) == DATA

    worker = Worker(DATA)
    story(world, worker, tell)
