"""Layers on their way out that have no compressed form here: made once, whoever sends them, and sent while they are made.

A worker reads the tar and writes the form into a pipe; a thread here takes it from there into a file of the content store and hashes it, so that
what is sent and kept is what was hashed, whatever the worker does afterwards.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from pier.content import Ingest
from pier.errors import Internal, PierError, Unavailable
from pier.images.context import Context, uninterrupted
from pier.images.image import Blob
from pier.images.push_record import keep_blob
from pier.oci import digest as digests
from pier.oci.descriptor import DOCKER_LAYER_GZIP, OCI_LAYER_ZSTD
from pier.registry.cancel import Cancel
from pier.trace import point

_log = logging.getLogger("pier.images")
_PIPE_BYTES = 1 << 20
_THREADS = 8  # of one worker at most: beyond that reading is what takes time
_PUMPS = 64
SMALL_BYTES = 256 << 10
"""The largest tar that is compressed here, in the thread that sends it."""
_MEDIA = {"gzip": DOCKER_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}


class Tar(Protocol):
    """A layer's tar, read from any place."""

    def read(self, offset: int, size: int) -> bytes: ...


def small_form(tar: Tar, size: int, diff_id: str, form: str) -> tuple[bytes, str]:
    """(the compressed form of a tar of `size` bytes, at most SMALL_BYTES, and its media type): the bytes that a worker would make.

    The tar was made here, by a worker, and nothing looks into it. Raises Internal for a damaged one.
    """
    from pier.archive.compress import form_of, whole  # not before somebody pushes

    pieces, at = [], 0
    while at <= size and (piece := tar.read(at, size + 1 - at)):
        pieces.append(piece)
        at += len(piece)
    data = b"".join(pieces)
    if digests.of(data) != diff_id:
        raise Internal(_damaged(diff_id, digests.of(data)))
    return whole(data, form_of(form)), _MEDIA[form]


def _damaged(diff_id: str, found: object) -> str:
    return f"layer {diff_id} is damaged on the disk: its tar has the digest {found}: pull or load its images again"


class Growing:
    """A compressed form while it is made: bytes that are there can be read, whoever reads beyond waits. Thread-safe."""

    def __init__(self, ingest: Ingest, tar_bytes: int, form: str = "gzip") -> None:
        """tar_bytes: what is to be compressed; form: gzip or zstd."""
        self.tar_bytes, self.compressed_bytes, self.form = tar_bytes, 0, form
        self.size = 0
        """Bytes so far."""
        self._ingest, self._fd = ingest, ingest.reader()
        self._news = threading.Condition()
        self._digest = ""
        self._error: Exception | None = None

    def fill(self, pipe_fd: int) -> None:
        """Take what comes through the pipe, and close it. Raises OSError of the disk."""
        try:
            while data := os.read(pipe_fd, _PIPE_BYTES):
                self._ingest.write(data)
                with self._news:
                    self.size += len(data)
                    self._news.notify_all()
        finally:
            os.close(pipe_fd)

    def finish(self, digest: str) -> None:
        """It is whole, and this is its digest."""
        with self._news:
            self._digest = digest
            self._news.notify_all()

    def fail(self, error: Exception) -> None:
        """It will not become whole: every reader hears of it."""
        with self._news:
            self._error = error
            self._news.notify_all()

    def wake(self) -> None:
        """Let whoever waits look at their Cancel."""
        with self._news:
            self._news.notify_all()

    def read(self, offset: int, size: int, cancel: Cancel) -> bytes:
        """Up to `size` bytes from `offset` on, b"" at the end. Raises what it failed of, Cancelled."""
        with self._news:
            while self.size <= offset and not self._digest:
                cancel.check()
                if self._error:
                    raise self._error
                self._news.wait()
            there = self.size
        return os.pread(self._fd, max(0, min(size, there - offset)), offset)

    @property
    def digest(self) -> str:
        """The digest; "" before it is whole."""
        return self._digest

    @property
    def media_type(self) -> str:
        """What it is: Docker's where Docker has a word for it."""
        return _MEDIA[self.form]

    def position(self, sent_bytes: int) -> int:
        """How much of the tar has been sent, when that much of the compressed form has."""
        done = self.tar_bytes if self._digest else min(self.compressed_bytes, self.tar_bytes)
        return done * min(sent_bytes, self.size) // self.size if self.size else 0

    def close(self) -> None:
        """Nobody reads any more."""
        os.close(self._fd)


class Reader:
    """A growing form as the source of one upload."""

    def __init__(self, growing: Growing, cancel: Cancel) -> None:
        self._growing, self._cancel = growing, cancel

    def read(self, offset: int, size: int) -> bytes:
        """See Growing.read."""
        return self._growing.read(offset, size, self._cancel)

    @property
    def digest(self) -> str:
        """The digest, once it is whole."""
        return self._growing.digest


class _Running:
    def __init__(self) -> None:
        self.users = 0
        self.ready: asyncio.Future[Growing] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()


class Compressions:
    """All that are under way in this daemon. Use from the loop's thread."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._running: dict[str, _Running] = {}
        self._kept: dict[str, asyncio.Task[None]] = {}  # by diff ID: what is whole and goes to its place
        self._pumps = ThreadPoolExecutor(_PUMPS, thread_name_prefix="compress")

    @contextlib.asynccontextmanager
    async def joined(self, diff_id: str) -> AsyncIterator[Growing]:
        """The compressed form of a layer, begun if nobody has; when the last leaves before it is whole, it ends and nothing is left.

        What becomes whole is kept with the layer, where `keep_compressed` says so; nobody waits for that. Keep the layer
        (garbage.keeping) meanwhile.
        Raises Internal for a layer that is damaged, Unavailable, OSError.
        """
        running = await self._found(diff_id)
        running.users += 1
        try:
            yield await asyncio.shield(running.ready)
        finally:
            running.users -= 1
            if not running.users:
                await uninterrupted(self._end(diff_id, running))

    async def settled(self, diff_id: str) -> None:
        """Wait until a form of the layer that is whole already is at its place, so that it is found there."""
        if task := self._kept.get(diff_id):
            await asyncio.wait({task})

    async def _found(self, diff_id: str) -> _Running:
        while (there := self._running.get(diff_id)) is not None:
            if there.users:
                return there
            await there.ended.wait()
        made = self._running[diff_id] = _Running()
        made.task = asyncio.ensure_future(self._run(diff_id, made.ready))
        return made

    async def _end(self, diff_id: str, running: _Running) -> None:
        assert running.task
        running.task.cancel()
        await asyncio.wait({running.task})
        if not running.ready.done():
            running.ready.cancel()
        elif not running.ready.exception():
            running.ready.result().close()
        del self._running[diff_id]
        running.ended.set()

    async def _run(self, diff_id: str, ready: "asyncio.Future[Growing]") -> None:
        """Make it, and have it kept. What goes wrong is told to who reads."""
        ctx = self._ctx
        ingest = empty = None
        try:
            # Not in threads: a cancellation would lose what they made, and it is a matter of microseconds.
            tar_bytes = ctx.layers.tar_bytes(diff_id)
            # In the name of a scratch folder: what a daemon that dies leaves of it goes at the next start.
            ingest, empty = ctx.content.ingest(f"scratch-{secrets.token_hex(8)}"), ctx.content.scratch()
            growing = Growing(ingest, tar_bytes, ctx.remote.config.push_compression)
            ready.set_result(growing)
            await self._make(diff_id, growing, empty)
            point("push.compressed")
            growing.finish(ingest.digest)
            if ctx.remote.config.keep_compressed:
                self._kept[diff_id] = asyncio.ensure_future(uninterrupted(self._keep(diff_id, ingest, growing.media_type)))
                ingest = None
        except Exception as failure:
            error = failure
            if isinstance(failure, OSError):
                room = ctx.content.root
                error = Unavailable(f"layer {diff_id} cannot be compressed in {room}: {(failure.strerror or str(failure)).lower()}")
            elif not isinstance(failure, PierError):
                _log.exception("the compression of layer %s failed", diff_id)
            if ready.done():
                ready.result().fail(error)
            else:
                ready.set_exception(error)
                ready.exception()  # heard, should nobody wait any more
        finally:
            await uninterrupted(asyncio.to_thread(_clear, ctx, ingest, empty))

    async def _keep(self, diff_id: str, ingest: Ingest, media_type: str) -> None:
        """A form that cannot be kept has been sent all the same: the next push makes it again."""
        try:
            await keep_blob(self._ctx, diff_id, Blob(ingest.digest, media_type), ingest)
        except (PierError, OSError) as error:
            _log.warning("the compressed form of layer %s is not kept: %s", diff_id, error)
        finally:
            await asyncio.to_thread(ingest.abort)
            del self._kept[diff_id]

    async def _make(self, diff_id: str, growing: Growing, empty: Path) -> None:
        """The worker's job, and the thread that takes what it makes. Raises OSError of the disk, Internal, Unavailable."""
        with contextlib.ExitStack() as files:
            fds = [self._ctx.layers.open_tar(diff_id)]
            files.callback(os.close, fds[0])
            read_fd, write_fd = _pipe()
            pump = asyncio.get_running_loop().run_in_executor(self._pumps, growing.fill, read_fd)
            try:
                with contextlib.ExitStack() as writing:
                    writing.callback(os.close, write_fd)
                    fds += [write_fd, os.open(empty, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
                    files.callback(os.close, fds[2])
                    answer = await self._compress(fds, growing)
                await pump
            except PierError:
                await pump  # where the disk was full, the worker saw a broken pipe only
                raise
            finally:
                await uninterrupted(_over(pump))
        if answer.get("diff_id") != diff_id:
            raise Internal(_damaged(diff_id, answer.get("diff_id")))
        if answer.get("size") != growing.size:
            raise Unavailable(f"layer {diff_id}: the worker that compressed it wrote {growing.size} bytes, and says {answer.get('size')}: try again")

    async def _compress(self, fds: Sequence[int], growing: Growing) -> Mapping[str, Any]:
        def heard(event: Mapping[str, Any]) -> None:
            growing.compressed_bytes = int(event.get("bytes", 0))

        return await self._ctx.workers.run("compress", fds, heard, form=growing.form, threads=min(os.cpu_count() or 1, _THREADS))


def _clear(ctx: Context, ingest: Ingest | None, empty: Path | None) -> None:
    if ingest:
        ingest.abort()
    if empty:
        ctx.content.remove_scratch(empty)


def _pipe() -> tuple[int, int]:
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return read_fd, write_fd


async def _over(pump: "asyncio.Future[None]") -> None:
    """The end of the thread, whatever it is; raised elsewhere."""
    await asyncio.wait({pump})
    if not pump.cancelled():
        pump.exception()
