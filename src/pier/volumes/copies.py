"""What can be made of local volumes: other names, clones, snapshots, archives.

Files are copied, written and read in the confined worker, in a folder of their own that takes its place when it is whole: who is killed on
the way leaves what was there before, and repair throws the rest away.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from pier.archive.feed import feed, open_pipe
from pier.archive.refusal import BadArchive
from pier.archive.volume_files import FILES
from pier.archive.workers import Workers
from pier.errors import Conflict, Invalid, NotFound, NotImplementedByPier
from pier.linux import mounts
from pier.trace import point
from pier.volumes import options as checks
from pier.volumes.driver import Options
from pier.volumes.local_driver import NAME
from pier.volumes.records import VolumeRecord
from pier.volumes.volumes import Users, Volumes

FORMS = ("", "gzip", "zstd")
_READ_BYTES = 256 << 10
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Copies:
    """Errors carry the names of what is asked for; nothing is touched by what is refused."""

    def __init__(self, volumes: Volumes, workers: Workers, users: Users, running: Users) -> None:
        """users: the containers that have a volume; running: those of them that run."""
        self._volumes, self._workers, self._users, self._running = volumes, workers, users, running

    async def rename(self, old: str, new: str) -> None:
        """Give a volume that no container has another name. Raises NotFound, Invalid, Conflict."""
        self._check_new(new)
        if old == new:
            raise Conflict(f"rename {old}: that is its name")
        with self._volumes.holding(old):
            async with self._volumes.lock(min(old, new)), self._volumes.lock(max(old, new)):
                if self._volumes.has(new):
                    raise Conflict(f"rename {old}: there is a volume {new} already")
                if self._volumes.is_shared(old):
                    raise Conflict(f"rename {old}: volume is in use - by a container that is being created, or by who copies it: try again")
                if using := self._users(old):
                    raise Conflict(f"rename {old}: volume is in use - [{', '.join(using)}]: containers know it by its name, remove them first")
                await self._volumes.records.begin_rename(old, new)
                point("volumes.rename")
                try:
                    await asyncio.to_thread(self._volumes.local.rename, old, new)
                except OSError:
                    await self._volumes.records.end_rename(old, new, done=False)
                    raise
                point("volumes.rename_folder")
                await self._volumes.records.end_rename(old, new, done=True)
                self._volumes.renamed(old, new)
        self._volumes.publish("rename", new, driver=NAME, oldName=old)

    async def clone(self, source: str, target: str, labels: Mapping[str, str] | None = None) -> VolumeRecord:
        """A new volume with the files of another, which may be in use: each file is as it was at some instant. labels: None for the source's.

        Raises NotFound, Invalid, Conflict, Unavailable (no space).
        """
        with self._volumes.holding(source) as record:
            options = record.options if checks.limit(record.options) else None
            async with self._new(target, record.labels if labels is None else labels, options) as work, self._files(source) as files_fd:
                await self._copy(files_fd, work)
        return self._volumes.get(target)

    async def import_(self, name: str, stream: AsyncIterator[bytes], labels: Mapping[str, str] | None = None) -> VolumeRecord:
        """A new volume with the files of a tar, plain or compressed. Raises Invalid naming the entry that is refused, Conflict, Unavailable."""
        async with self._new(name, labels) as work:
            await self._read(stream, work)
        return self._volumes.get(name)

    async def export(self, name: str, form: str = "") -> AsyncIterator[bytes]:
        """The files of a volume as a tar, `form`: "", "gzip" or "zstd". Raises NotFound, Invalid; once it is under way what is wrong ends it."""
        if form not in FORMS:
            raise Invalid(f"export {name}: there is no compression {form!r}: gzip and zstd are")
        with self._volumes.holding(name):
            async with self._files(name) as files_fd:
                read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
                empty_fd = mounts.new_filesystem("tmpfs", (("size", "4k"),), mounts.MOUNT_ATTR_RDONLY)
                job = asyncio.ensure_future(self._workers.run("volume_export", [files_fd, write_fd, empty_fd], kind="unpacked", form=form))
                job.add_done_callback(lambda _: os.close(write_fd))
                try:
                    async for piece in _pieces(read_fd):
                        yield piece
                    await job
                except BadArchive as refusal:
                    raise Invalid(f"export {name}: {refusal}") from None
                finally:
                    job.cancel()
                    with contextlib.suppress(BaseException):
                        await job
                    os.close(empty_fd)

    async def snapshot(self, name: str, snapshot: str = "") -> str:
        """Keep the files of a volume as they are; returns the snapshot's name (by default the time). Raises NotFound, Invalid, Conflict."""
        snapshot = snapshot or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        checks.check_name(snapshot, "snapshot")
        with self._volumes.holding(name) as record:
            self._check_plain(record)
            async with self._volumes.lock(name):
                if any(known == snapshot for known, _ in self._volumes.records.snapshots(name)):
                    raise Conflict(f"volume {name} has a snapshot {snapshot} already")
                async with self._work(name) as work, self._files(name) as files_fd:
                    await self._copy(files_fd, work)
                    local = self._volumes.local
                    await asyncio.to_thread(local.place, work / FILES, local.snapshot(name, snapshot))
                    point("volumes.snapshot")
                    await self._volumes.records.add_snapshot(name, snapshot, time.time_ns())
        self._volumes.publish("snapshot", name, driver=NAME, snapshot=snapshot)
        return snapshot

    def snapshots(self, name: str) -> list[tuple[str, int]]:
        """(name, time in ns) of each. Raises NotFound."""
        with self._volumes.holding(name):
            return self._volumes.records.snapshots(name)

    async def remove_snapshot(self, name: str, snapshot: str) -> None:
        """Raises NotFound."""
        with self._volumes.holding(name):
            async with self._volumes.lock(name):
                self._known(name, snapshot)
                await self._volumes.records.remove_snapshot(name, snapshot)
                point("volumes.snapshot_removed")
                local = self._volumes.local
                await asyncio.to_thread(local.discard, local.snapshot(name, snapshot))

    async def restore(self, name: str, snapshot: str) -> None:
        """Give a volume that no running container has the files of a snapshot, at one instant; the snapshot stays. Raises NotFound, Conflict."""
        with self._volumes.holding(name) as record:
            self._check_plain(record)
            async with self._volumes.lock(name):
                self._known(name, snapshot)
                self._check_idle(name)
                local = self._volumes.local
                async with self._volumes.quotas.doubled(name), self._work(name) as work:
                    await self._volumes.quotas.bind(name, work)
                    files_fd = await asyncio.to_thread(mounts.view, str(local.snapshot(name, snapshot)))
                    try:
                        await self._copy(files_fd, work)
                    finally:
                        os.close(files_fd)
                    point("volumes.restore")
                    self._check_idle(name)
                    local.swap(work / FILES, name)  # in the loop's thread: nobody starts between the look and this
                    point("volumes.restored")
        self._volumes.publish("restore", name, driver=NAME, snapshot=snapshot)

    # -- what they are made of

    def _check_new(self, name: str) -> None:
        checks.check_name(name)

    def _check_plain(self, record: VolumeRecord) -> None:
        if checks.filesystem(record.options) is not None:
            raise NotImplementedByPier(f"a snapshot of volume {record.name}, which is a file system of its own", "`pier volume clone` copies it")

    def _check_idle(self, name: str) -> None:
        if using := self._running(name):
            raise Conflict(f"restore {name}: volume is in use - [{', '.join(using)}]: stop them first")

    def _known(self, name: str, snapshot: str) -> None:
        if all(known != snapshot for known, _ in self._volumes.records.snapshots(name)):
            raise NotFound(f"volume {name} has no snapshot {snapshot}")

    @contextlib.asynccontextmanager
    async def _new(self, name: str, labels: Mapping[str, str] | None, options: Options = None) -> AsyncIterator[Path]:
        """Around the making of a volume's files in `fs` of a folder: there is one after it, or, where the block raises, nothing."""
        self._check_new(name)
        async with self._volumes.lock(name):
            if self._volumes.has(name):
                raise Conflict(f"there is a volume {name} already: take another name, or remove it")
            local = self._volumes.local
            try:
                work = await asyncio.to_thread(local.begin_work, name, new=True)
                await self._volumes.quotas.begin(name, options)
                await self._volumes.quotas.bind(name, work)
                point("volumes.copy")
                async with self._volumes.quotas.doubled(name):  # what is full to the brim takes a block more, or less, elsewhere
                    yield work
                await asyncio.to_thread(local.place, work / FILES, local.path(name))
                await asyncio.to_thread(local.end_work, name)
                point("volumes.copied")
                record = VolumeRecord(name, NAME, options, labels, time.time_ns())
                await self._volumes.records.add(record)
            except BaseException:
                await asyncio.shield(asyncio.to_thread(local.remove, name))
                await asyncio.shield(self._volumes.quotas.release(name))
                raise
            self._volumes.adopt(record)

    @contextlib.asynccontextmanager
    async def _work(self, name: str) -> AsyncIterator[Path]:
        work = await asyncio.to_thread(self._volumes.local.begin_work, name)
        try:
            yield work
        finally:
            await asyncio.shield(asyncio.to_thread(self._volumes.local.end_work, name))

    @contextlib.asynccontextmanager
    async def _files(self, name: str) -> AsyncIterator[int]:
        """A volume's files as a read-only mount of its own, mounted for it where they are a file system."""
        path = await self._volumes.mount(name, "")
        try:
            files_fd = await asyncio.to_thread(mounts.view, path)
            try:
                yield files_fd
            finally:
                os.close(files_fd)
        finally:
            await self._volumes.unmount(name, "", self._running)

    async def _copy(self, files_fd: int, work: Path) -> None:
        await self._job("volume_copy", files_fd, work)

    async def _job(self, op: str, given_fd: int, work: Path) -> None:
        folder_fd = os.open(work, _FOLDER_FLAGS)
        try:
            await self._workers.run(op, [given_fd, folder_fd], kind="unpacked")
        except BadArchive as refusal:
            raise Invalid(str(refusal)) from None
        finally:
            os.close(folder_fd)

    async def _read(self, stream: AsyncIterator[bytes], work: Path) -> None:
        read_fd, write_fd = open_pipe()
        feeding = asyncio.ensure_future(feed(stream, write_fd))
        try:
            try:
                await self._job("volume_import", read_fd, work)
            finally:
                os.close(read_fd)
            await feeding
        except BaseException as error:
            if feeding.done() and not feeding.cancelled() and (cause := feeding.exception()):
                raise cause from error  # the client broke off: the better reason
            raise
        finally:
            feeding.cancel()
            with contextlib.suppress(BaseException):
                await feeding


async def _pieces(fd: int) -> AsyncIterator[bytes]:
    """What comes out of a pipe, which is closed at the end."""
    reader = asyncio.StreamReader(limit=_READ_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0))
    try:
        while piece := await reader.read(_READ_BYTES):
            yield piece
    finally:
        transport.close()
