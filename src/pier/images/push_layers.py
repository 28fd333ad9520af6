"""Getting blobs to a repository: what is there stays, what the registry has elsewhere is mounted, what is kept is sent, the rest is made and sent."""

import asyncio
import contextlib
import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pier.images.context import Context
from pier.images.pull_slots import Slots
from pier.images.push_compress import SMALL_BYTES, Compressions, Reader, small_form
from pier.images.push_plan import Form, LayerTask, Placed, forms, is_foreign
from pier.images.push_report import EXISTS, FOREIGN, PUSHED, WAITING, Report, mounted
from pier.images.sources import known
from pier.oci import digest as digests
from pier.oci.reference import Reference
from pier.registry.cancel import Cancel
from pier.registry.credentials import Credentials
from pier.trace import point

if TYPE_CHECKING:
    from pier.registry.client import Registries
    from pier.registry.repository import Repository

T = TypeVar("T")
Pushing = Callable[[int, int], None]  # bytes so far, bytes in all; from a thread
_MOST_MOUNTS = 4  # repositories that are tried for a layer
_TELL_S = 0.1
_PASS_BYTES = 1 << 20


@dataclass(frozen=True)
class Destination:
    """The repository, who asks there, and where what is retried is told of (from any thread)."""

    reference: Reference
    credentials: Credentials | None
    notice: Callable[[str], None]

    def repository(self, registries: "Registries", cancel: Cancel) -> "Repository":
        """The client's side of it, to be written to."""
        return registries.repository(self.reference, self.credentials, cancel=cancel, notice=self.notice, push=True)


class Uploads:
    """All uploads of this daemon: at most `max-concurrent-uploads` at once. Use from the loop's thread."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._slots = Slots(lambda: ctx.remote.config.max_uploads)
        self._compressions = Compressions(ctx)
        self._turns: dict[tuple[str, str, str], _Turn] = {}

    async def place(self, to: Destination, task: LayerTask, report: Report) -> Placed:
        """Have a layer at the repository. Raises PierError, OSError."""
        if task.wanted and is_foreign(task.wanted):
            return _told(report, Placed(task.diff_id, task.wanted.digest, task.wanted.size, task.wanted.media_type, FOREIGN))
        async with self._turn(to.reference.repository, task) as turn, self._slots.taken(waits=lambda: report.layer(task.diff_id, WAITING)):
            point("push.layer")
            loop, totals = asyncio.get_running_loop(), [0]  # the latter grows by ten a second at most

            def pushing(current: int, total: int) -> None:
                totals.append(total)
                loop.call_soon_threadsafe(report.pushing, task.diff_id, current, total)

            await self._compressions.settled(task.diff_id)
            forms = turn.forms(self._ctx, task, to.reference)
            placed = await self._ctx.remote.call(
                lambda registries, cancel: self._known(to.repository(registries, cancel), task.diff_id, forms, pushing),
                host=to.reference.domain,
                bulk=True,
            )
            turn.placed = placed or await self._made(to, task.diff_id, pushing)
            if turn.placed.how == PUSHED and totals[-1]:
                report.pushing(task.diff_id, totals[-1], totals[-1])  # all of it, as Docker says before the last line of a layer
            return _told(report, turn.placed)

    async def place_bytes(self, to: Destination, data: bytes) -> None:
        """Have a small blob at the repository: a configuration. Raises PierError."""

        def work(registries: "Registries", cancel: Cancel) -> None:
            repository, digest = to.repository(registries, cancel), digests.of(data)
            if repository.blob_size(digest) is None:
                repository.upload(digest, len(data), _Bytes(data, digest))

        await self._ctx.remote.call(work, host=to.reference.domain)

    async def place_kept(self, to: Destination, digest: str, origins: Sequence[Reference]) -> None:
        """Have a blob of the content store at the repository, mounted from one of `origins` where that works. Raises PierError, OSError."""

        def work(registries: "Registries", cancel: Cancel) -> None:
            repository = to.repository(registries, cancel)
            if repository.blob_size(digest) is None and not any(repository.mount(digest, source) for source in origins[:_MOST_MOUNTS]):
                fd = self._ctx.content.open(digest)
                try:
                    repository.upload(digest, os.fstat(fd).st_size, _File(fd, digest))
                finally:
                    os.close(fd)

        async with self._slots.taken():
            await self._ctx.remote.call(work, host=to.reference.domain, bulk=True)

    @contextlib.asynccontextmanager
    async def _turn(self, repository: str, task: LayerTask) -> AsyncIterator["_Turn"]:
        """Two pushes of one layer to one repository at once: the second goes by what the first has placed."""
        key = (repository, *task.key)
        turn = self._turns.setdefault(key, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield turn
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[key]

    def _known(self, repository: "Repository", diff_id: str, forms: Sequence[Form], pushing: Pushing) -> Placed | None:
        """In a thread: by a form that is known, or made in no time; None where a worker has to make one."""
        for form in forms:
            size = repository.blob_size(form.digest)
            if size is not None:
                return Placed(diff_id, form.digest, form.size or size, form.media_type, EXISTS)
        tries = [(form, source) for form in forms for source in form.repositories if source.path != repository.reference.path]
        for form, source in tries[:_MOST_MOUNTS]:
            if form.size is not None and repository.mount(form.digest, source):
                return Placed(diff_id, form.digest, form.size, form.media_type, mounted(source))
        for form in forms:
            if form.digest == diff_id:
                return self._tar(repository, diff_id, form, pushing)
            if form.kept and (placed := self._kept(repository, diff_id, form, pushing)):
                return placed
        return self._small(repository, diff_id, pushing)

    def _small(self, repository: "Repository", diff_id: str, pushing: Pushing) -> Placed | None:
        """Compress and send a layer for which a worker's job would be most of the work; None for a larger one. Raises Internal for a damaged one.

        Its form is not kept: it is made again, the same, in a moment.
        """
        size = self._ctx.layers.tar_bytes(diff_id)
        if size > SMALL_BYTES:
            return None
        with _Tar(lambda: self._ctx.layers.open_tar(diff_id), diff_id) as tar:
            data, media_type = small_form(tar, size, diff_id, self._ctx.remote.config.push_compression)
        digest = digests.of(data)
        point("push.small")
        if repository.blob_size(digest) is None:
            repository.upload(digest, len(data), _Bytes(data, digest), _seldom(lambda sent: pushing(min(sent, size), size)))
            return Placed(diff_id, digest, len(data), media_type, PUSHED)
        return Placed(diff_id, digest, len(data), media_type, EXISTS)

    def _tar(self, repository: "Repository", diff_id: str, form: Form, pushing: Pushing) -> Placed:
        """Send a layer whose manifest has it uncompressed."""
        size = self._ctx.layers.tar_bytes(diff_id)
        with _Tar(lambda: self._ctx.layers.open_tar(diff_id), diff_id) as source:
            repository.upload(diff_id, size, source, _seldom(lambda sent: pushing(sent, size)))
        return Placed(diff_id, diff_id, size, form.media_type, PUSHED)

    def _kept(self, repository: "Repository", diff_id: str, form: Form, pushing: Pushing) -> Placed | None:
        """Send a form that is in the content store; None where somebody took it away."""
        if not self._ctx.content.has(form.digest):
            return None
        fd = self._ctx.content.open(form.digest)
        try:
            size = os.fstat(fd).st_size
            repository.upload(form.digest, size, _File(fd, form.digest), _seldom(lambda sent: pushing(sent, size)))
            return Placed(diff_id, form.digest, size, form.media_type, PUSHED)
        finally:
            os.close(fd)

    async def _made(self, to: Destination, diff_id: str, pushing: Pushing) -> Placed:
        """Compress the layer and send what comes, as it comes."""
        async with self._compressions.joined(diff_id) as growing:

            def work(registries: "Registries", cancel: Cancel) -> str:
                told = _seldom(lambda sent: pushing(growing.position(sent), growing.tar_bytes))
                with cancel.waking(growing.wake):
                    return to.repository(registries, cancel).upload(None, None, Reader(growing, cancel), told)

            digest = await self._ctx.remote.call(work, host=to.reference.domain, bulk=True)
            return Placed(diff_id, digest, growing.size, growing.media_type, PUSHED)


def _seldom(tell: Callable[[int], None]) -> Callable[[int], None]:
    """`tell` at most ten times a second."""
    last = 0.0

    def told(sent: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _TELL_S:
            last = now
            tell(sent)

    return told


class _Turn:
    """A layer on its way to a repository, for all that send it there."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        self.placed: Placed | None = None

    def forms(self, ctx: Context, task: LayerTask, to: Reference) -> tuple[Form, ...]:
        """What is known of the layer by now."""
        found = forms(ctx.catalog.layer(task.diff_id) or task.layer, task.wanted, known(ctx.store, task.diff_id), to, task.origins)
        if self.placed and not task.wanted:
            just = Form(self.placed.digest, self.placed.media_type, self.placed.size)
            return (just, *(form for form in found if form.digest != just.digest))
        return found


def _told(report: Report, placed: Placed) -> Placed:
    report.layer(placed.diff_id, placed.how)
    return placed


class _Bytes:
    """A blob in memory, as the source of an upload."""

    def __init__(self, data: bytes, digest: str) -> None:
        self._data, self.digest = data, digest

    def read(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]


class _File:
    """A blob in a file."""

    def __init__(self, fd: int, digest: str) -> None:
        self._fd, self.digest = fd, digest

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._fd, size, offset)


class _Tar:
    """A layer's tar, from a file or from a pipe: who goes back in a pipe gets another one."""

    def __init__(self, open_tar: Callable[[], int], digest: str) -> None:
        self._open, self.digest = open_tar, digest
        self._fd, self._at = open_tar(), 0

    def __enter__(self) -> "_Tar":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def read(self, offset: int, size: int) -> bytes:
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            return os.pread(self._fd, size, offset)
        if offset < self._at:
            os.close(self._fd)
            self._fd, self._at = self._open(), 0
        while self._at < offset:
            passed = os.read(self._fd, min(offset - self._at, _PASS_BYTES))
            if not passed:
                return b""
            self._at += len(passed)
        data = os.read(self._fd, size)
        self._at += len(data)
        return data


async def all_of(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them give, in their order; the first that fails ends the others, and is raised when they are over."""
    running = [asyncio.ensure_future(one) for one in work]
    try:
        if running:
            await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
            for one in sorted(running, key=lambda one: not one.done()):
                await one
    finally:
        for one in running:
            one.cancel()
        if running:
            await asyncio.wait(running)
    return [one.result() for one in running]
