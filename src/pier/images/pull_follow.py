"""A blob becomes a layer in a worker while it still comes, as long as it comes fast enough that the worker is not kept waiting.

There is one worker a core, for everybody: a slow download does not hold one. Its layer is made when the blob is whole, or from the moment on
when bytes come quickly; if they stop coming the worker is given back, and the layer is begun again when all is there.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pier.archive.feed import open_pipe
from pier.archive.refusal import BadArchive
from pier.archive.workers import WorkerDied
from pier.errors import Invalid, Unavailable
from pier.images.context import Context

_FAST_BYTES_S, _SLOW_BYTES_S = 8e6, 2e6
_WINDOW_S, _PATIENCE_S = 1.0, 5.0
_FIRST_BYTES = 1 << 20  # what is smaller is there before it is worth a look
_PAUSES_S = (0.1, 0.5, 2.0)
_COUNT_BYTES = 8


@dataclass(frozen=True)
class Taken:
    """A layer that a worker made of a blob: in `folder` of `scratch`, which is its receiver's to remove. size_bytes: of its files."""

    diff_id: str
    size_bytes: int
    scratch: Path
    folder: str


class Speed:
    """How fast something grows."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, count: int) -> None:
        """It has `count` bytes now."""
        now = self._clock()
        self._seen.append((now, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _WINDOW_S:
            self._seen.popleft()

    @property
    def bytes_s(self) -> float:
        """Over the last second, or since the first note where that is less; 0 before the second."""
        (began, first), (_, last) = self._seen[0], self._seen[-1]
        return (last - first) / max(self._clock() - began, 1e-3) if len(self._seen) > 1 else 0.0


class Follower:
    """Makes the layer of a blob of `size_bytes` that is readable through `open_blob`, up to `readable` bytes so far. what: for errors."""

    def __init__(self, ctx: Context, what: str, size_bytes: int, open_blob: Callable[[], int], readable: Callable[[], int]) -> None:
        self._ctx, self._what, self._size_bytes, self._open_blob, self._readable = ctx, what, size_bytes, open_blob, readable
        self._speed = Speed()
        self._speed.note(readable())
        self._whole, self._worth_it = asyncio.Event(), asyncio.Event()
        self._growth: _Growth | None = None
        self.read_bytes = 0
        """How much of the blob the worker has read."""
        self.grown()

    def grown(self) -> None:
        """There may be more to read now."""
        there = self._readable()
        self._speed.note(there)
        if there >= self._size_bytes:
            self._whole.set()
        if self._whole.is_set() or (there >= _FIRST_BYTES and self._speed.bytes_s >= _FAST_BYTES_S):
            self._worth_it.set()
        if self._growth:
            self._growth.tell(there)

    async def run(self) -> Taken:
        """The layer. Raises Invalid for what the blob is not, Unavailable where the disk refuses, WorkerDied the last time."""
        await self._worth_it.wait()
        pauses = iter(_PAUSES_S)
        while True:
            try:
                return await self._job()
            except _TooSlow:
                await self._whole.wait()
            except WorkerDied:
                # Killed by somebody, or the keeper is: another one is there soon.
                if (pause_s := next(pauses, None)) is None:
                    raise
                await asyncio.sleep(pause_s)

    async def _job(self) -> Taken:
        ctx = self._ctx
        scratch = ctx.content.scratch()
        blob_fd, folder_fd = self._open_blob(), os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        read_fd, write_fd = open_pipe()
        self._growth = _Growth(write_fd)
        self.read_bytes = 0
        job = asyncio.ensure_future(
            ctx.workers.run("layer", [blob_fd, read_fd, folder_fd], self._heard, kind=ctx.layers.kind, size=self._size_bytes)
        )
        taken = None
        try:
            self._growth.tell(self._readable())
            await self._watch(job)
            answer = self._answer(job)
            taken = Taken(str(answer["diff_id"]), int(answer["size"]), scratch, str(answer["dir"]))
            return taken
        finally:
            job.cancel()
            await asyncio.wait({job})
            self._growth.close()
            self._growth = None
            for fd in (blob_fd, read_fd, folder_fd):
                os.close(fd)
            if taken is None:
                await asyncio.to_thread(ctx.content.remove_scratch, scratch)

    def _answer(self, job: "asyncio.Future[Mapping[str, Any]]") -> Mapping[str, Any]:
        try:
            return job.result()
        except BadArchive as error:
            raise Invalid(f"failed to register layer: {self._what}: {error}") from error
        except WorkerDied:
            raise
        except Unavailable as error:
            raise Unavailable(f"{self._what}: {error}") from error

    async def _watch(self, job: "asyncio.Future[Mapping[str, Any]]") -> None:
        """Until the job is done. Raises _TooSlow where it waits for bytes that do not come."""
        while not job.done():
            before = self._readable()
            await asyncio.wait({job}, timeout=_PATIENCE_S)
            came = self._readable() - before
            if not job.done() and not self._whole.is_set() and came < _SLOW_BYTES_S * _PATIENCE_S:
                raise _TooSlow

    def _heard(self, event: Mapping[str, Any]) -> None:
        self.read_bytes = max(self.read_bytes, int(event.get("bytes", 0)))


class _TooSlow(Exception):
    """The worker is of more use to others."""


class _Growth:
    """Tells the worker through a pipe how far it may read; never blocks, and drops what a later count makes needless."""

    def __init__(self, fd: int) -> None:
        self._fd, self._loop = fd, asyncio.get_running_loop()
        self._told = 0
        self._latest = 0

    def tell(self, count: int) -> None:
        """There are `count` bytes now."""
        self._latest = count
        if self._fd < 0 or self._told >= count:
            return
        try:
            os.write(self._fd, count.to_bytes(_COUNT_BYTES, "little"))
        except BlockingIOError:
            self._loop.add_writer(self._fd, self._again)
        except BrokenPipeError:
            pass  # the job is over: its answer says how
        else:
            self._told = count

    def _again(self) -> None:
        self._loop.remove_writer(self._fd)
        self.tell(self._latest)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1
