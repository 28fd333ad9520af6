"""Layers on their way to this daemon: each is fetched and made once, whoever wants it, as long as somebody wants it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from pier.content import Partial
from pier.errors import Invalid, Unavailable
from pier.images.context import Context, uninterrupted
from pier.images.pull_blob import PART_BYTES, Download, Source
from pier.images.pull_follow import Follower, Taken
from pier.images.pull_slots import Slots
from pier.oci.descriptor import Descriptor
from pier.registry.errors import Untrue

WAITING, VERIFYING, DOWNLOADED, COMPLETE = "Waiting", "Verifying Checksum", "Download complete", "Pull complete"


class Transfers:
    """Use from the loop's thread."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._slots = Slots(lambda: ctx.remote.config.max_downloads)
        self._running: dict[str, Transfer] = {}

    @contextlib.asynccontextmanager
    async def joined(self, blob: Descriptor, source: Source) -> AsyncIterator["Transfer"]:
        """The transfer of a blob, begun if nobody has; when the last leaves, it ends, and only what can be resumed is left of it.

        Keep the blob (garbage.keeping) meanwhile. Raises Unavailable where the same blob is under way with another size.
        """
        transfer = await self._find(blob, source)
        transfer.users += 1
        try:
            yield transfer
        finally:
            transfer.users -= 1
            if not transfer.users:
                await uninterrupted(self._end(transfer))

    async def _find(self, blob: Descriptor, source: Source) -> "Transfer":
        while (there := self._running.get(blob.digest)) is not None:
            if there.users and not there.failed:
                if there.blob.size != blob.size:
                    raise Unavailable(
                        f"{source.reference.bare()}: layer {blob.digest}: it has {blob.size} bytes here, and {there.blob.size} in"
                        f" {there.sources[0].reference.bare()}, which is being pulled: one of them is wrong"
                    )
                there.sources.append(source)
                return there
            await there.ended.wait()
        self._ctx.fetching.add(blob.digest)
        made = self._running[blob.digest] = Transfer(self._ctx, self._slots, blob, source)
        return made

    async def _end(self, transfer: "Transfer") -> None:
        try:
            await transfer.end()
        finally:
            del self._running[transfer.blob.digest]
            self._ctx.fetching.discard(transfer.blob.digest)
            transfer.ended.set()


class Transfer:
    """One layer: its blob on the way here, and what a worker makes of it. Made by Transfers."""

    def __init__(self, ctx: Context, slots: Slots, blob: Descriptor, source: Source) -> None:
        self._ctx, self._remote, self._slots = ctx, ctx.remote, slots
        self.blob, self.sources = blob, [source]
        self.users = 0
        self.ended = asyncio.Event()
        self.statuses: list[str] = []
        """What there is to tell of it so far, in order."""
        self.watchers: set[Callable[[], None]] = set()
        """Called when there is another status."""
        self.needless = False
        """What was fetched is of no use to a later pull: it is ours already, or of an image that cannot be."""
        self.partial: Partial | None = None
        self._follower: Follower | None = None
        self._growing, self._loop = False, asyncio.get_running_loop()
        self._task = asyncio.ensure_future(self._work())

    @property
    def failed(self) -> bool:
        """Whether it ended without a layer."""
        return self._task.done() and (self._task.cancelled() or self._task.exception() is not None)

    @property
    def there_bytes(self) -> int:
        """How much of the blob is here."""
        return self.partial.there_bytes if self.partial else 0

    @property
    def read_bytes(self) -> int:
        """How much of the blob is in the layer."""
        return self._follower.read_bytes if self._follower else 0

    async def taken(self) -> Taken:
        """The layer, with its blob verified. Raises what went wrong: the registry's errors, Untrue, Invalid, Unavailable."""
        return await asyncio.shield(self._task)

    async def end(self) -> None:
        """Stop; what can be resumed stays, all else is removed."""
        self._task.cancel()
        await asyncio.wait({self._task})
        taken = None if self.failed else self._task.result()
        await asyncio.to_thread(self._clean, taken)

    def _clean(self, taken: Taken | None) -> None:
        if taken:
            self._ctx.content.remove_scratch(taken.scratch)
        if self.partial is None:
            return
        if self.needless or not self.partial.there_bytes or self._ctx.content.has(self.blob.digest):
            self.partial.discard()
        else:
            self.partial.close()

    def tell(self, status: str) -> None:
        """One more status."""
        self.statuses.append(status)
        for watcher in tuple(self.watchers):
            watcher()

    async def _work(self) -> Taken:
        taken = await self._taken()
        self.tell(COMPLETE)
        return taken

    async def _taken(self) -> Taken:
        content, digest, size = self._ctx.content, self.blob.digest, self.blob.size
        if content.has(digest):
            if content.size(digest) != size:
                raise Invalid(f"{self._what()}: it has {content.size(digest)} bytes, its manifest says {size}")
            self._follower = Follower(self._ctx, self._what(), size, lambda: content.open(digest), lambda: size)
            self.tell(DOWNLOADED)
            return await self._follower.run()
        range_bytes = self._remote.config.range_bytes
        part_bytes = min(PART_BYTES, range_bytes) if 0 < range_bytes < size else 0
        try:
            self.partial = content.partial(digest, size, part_bytes)
        except OSError as error:
            raise Unavailable(f"{self._what()}: {error.strerror or error}") from error
        try:
            return await self._fetched(self.partial)
        except _Damaged as damage:
            # What an earlier pull left has suffered since (a power cut): once more, from the beginning.
            self.tell(f"Download begins again: {damage}")
            self.partial.restart()
            return await self._fetched(self.partial)

    async def _fetched(self, partial: Partial) -> Taken:
        follower = self._follower = Follower(self._ctx, self._what(), self.blob.size, partial.reader, lambda: partial.readable_bytes)
        partial.on_growth = self._grew
        download, making = asyncio.ensure_future(self._download(partial)), asyncio.ensure_future(follower.run())
        whole = False
        try:
            await asyncio.wait({download, making}, return_when=asyncio.FIRST_EXCEPTION)
            if making.done() and not isinstance(making.exception(), Invalid | None):
                making.result()
            await download  # other bytes than the digest's are the reason why the worker could not read them
            taken = await making
            whole = True
            return taken
        finally:
            for task in (download, making):
                task.cancel()
            await asyncio.wait({download, making})
            if not whole and not making.cancelled() and making.exception() is None:
                await asyncio.to_thread(self._ctx.content.remove_scratch, making.result().scratch)

    async def _download(self, partial: Partial) -> None:
        download = Download(self._remote, self._slots, partial, self.sources)
        download.on_notice = lambda text: self.tell(text[:1].upper() + text[1:])
        download.on_wait = lambda: self.tell(WAITING)
        await download.run()
        self.tell(VERIFYING)
        keeps = self._remote.config.keep_compressed

        def check() -> None:
            partial.verify()
            if keeps:
                partial.sync()

        try:
            await self._remote.aside(check)
        except Invalid as error:
            if partial.resumed_bytes:
                raise _Damaged(str(error)) from None
            raise Untrue(f"{self._what()}: {error}") from None
        except OSError as error:
            raise Unavailable(f"{self._what()}: {error.strerror or error}") from error
        self.tell(DOWNLOADED)

    def _what(self) -> str:
        return f"{self.sources[0].reference.bare()}: layer {self.blob.digest}"

    def _grew(self, _: int) -> None:
        """In the thread that wrote: the loop is told once, however much comes till it looks."""
        if not self._growing:
            self._growing = True
            self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        self._growing = False
        if self._follower:
            self._follower.grown()


class _Damaged(Exception):
    """The bytes are not those of the digest, and not all of them came just now."""
