"""Fetching one blob: from the byte where an earlier try stopped, in several ranges at once where it is large, verified at its end.

The bytes go from the registry's connection to the file in a thread, and are hashed there; the loop decides who fetches what.
"""

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pier.content import Part, Partial
from pier.errors import PierError, Unavailable
from pier.images.pull_slots import Slot, Slots
from pier.images.remote import Remote
from pier.oci.reference import Reference
from pier.registry.cancel import Cancel
from pier.registry.credentials import Credentials
from pier.registry.errors import Answered, Untrue
from pier.trace import point

if TYPE_CHECKING:
    from pier.registry.client import Registries

CONNECTIONS = 4  # for one blob, at most
PATIENCE_S, SLOW_BYTES_S = 3.0, 4096
PART_BYTES = 16 << 20  # of a blob that is fetched in ranges: the parts are begun in order, so that a reader from the start follows soon


@dataclass(frozen=True)
class Source:
    """A repository that has the blob, and who asks there. urls: other places (foreign layers)."""

    reference: Reference
    credentials: Credentials | None = None
    urls: tuple[str, ...] = ()


class Download:
    """Fills a Partial. `sources` may get more while it runs: they are asked when those before them fail."""

    def __init__(self, remote: Remote, slots: Slots, partial: Partial, sources: list[Source]) -> None:
        self._remote, self._slots, self._partial, self._sources = remote, slots, partial, sources
        self._loop = asyncio.get_running_loop()
        self._ranges: bool | None = None  # whether the server gives ranges; None: not known yet
        self._helpers: set[asyncio.Task[None]] = set()
        self.on_notice: Callable[[str], None] = lambda text: None
        """Called on the loop with what is retried, and why."""
        self.on_wait: Callable[[], None] = lambda: None
        """Called when it has to wait for a slot."""

    async def run(self) -> None:
        """Fetch what is missing; every byte is there when this returns, and not verified yet.

        Raises what the last of the sources said (Missing, Denied, Unreachable, Untrue, ...), Unavailable where the disk refuses. What has come stays.
        """
        tried = 0
        while not self._partial.whole:
            source = self._sources[tried]
            try:
                await self._fill(source)
            except PierError as error:
                tried += 1
                if tried < len(self._sources):
                    self.on_notice(f"{source.reference.bare()} is passed by: {error}")
                elif isinstance(error, Answered):
                    raise type(error)(error.answer, f"{self._what(source)}: {error}") from error
                else:
                    raise

    async def _fill(self, source: Source) -> None:
        self._ranges = None
        try:
            while not self._partial.whole:
                await self._connection(source, spare=False)
                if not self._partial.whole and self._helpers:
                    # Nothing is left to claim: somebody else is at the last parts. What they give up is claimed in the next turn.
                    await asyncio.wait(self._helpers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for helper in self._helpers:
                helper.cancel()
            if self._helpers:
                await asyncio.wait(self._helpers)

    async def _connection(self, source: Source, *, spare: bool) -> None:
        """Fetch one part after another till nothing is left; a spare one leaves its slot between two of them to whoever waits."""
        waits = (lambda: None) if spare else self.on_wait
        while True:
            async with self._slots.taken(spare=spare, waits=waits) as slot:
                while (part := self._next(spare)) is not None:
                    try:
                        await self._received(source, part, slot)
                    except OSError as error:
                        raise Unavailable(f"{self._what(source)}: {error.strerror or error}") from error
                    finally:
                        self._partial.release(part)
                    if spare:
                        break
                else:
                    return

    async def _received(self, source: Source, part: Part, slot: Slot) -> None:
        """One request and its bytes. While next to nothing comes (a server that hangs, or is not to be asked for a while) the slot is lent."""
        work = functools.partial(self._receive, source, part)
        call = asyncio.ensure_future(self._remote.call(work, host=source.reference.domain, bulk=True))
        try:
            while not call.done():
                before = self._there(part)
                await asyncio.wait({call}, timeout=PATIENCE_S)
                if self._there(part) - before < SLOW_BYTES_S * PATIENCE_S:
                    slot.lend()
                else:
                    slot.reclaim()
        finally:
            call.cancel()
            await asyncio.wait({call})
        slot.reclaim()
        call.result()

    def _there(self, part: Part) -> int:
        """What has come over the connection that fills the part."""
        return part.at if self._ranges else self._partial.there_bytes

    def _next(self, spare: bool) -> Part | None:
        """The next part to fetch; there is no use in a spare connection where the server gives no ranges."""
        return None if spare and not self._ranges else self._partial.claim()

    def _what(self, source: Source) -> str:
        return f"{source.reference.bare()}: layer {self._partial.digest}"

    def _receive(self, source: Source, part: Part, registries: "Registries", cancel: Cancel) -> None:
        """In a thread: one request and its bytes."""
        partial = self._partial
        repository = registries.repository(source.reference, source.credentials, cancel=cancel, notice=self._notice)
        several = part.start > 0 or part.stop < partial.size_bytes
        point("pull.request")
        with repository.blob(partial.digest, start=part.at, stop=part.stop if several else None, urls=source.urls) as blob:
            if blob.total not in (None, partial.size_bytes):
                raise Untrue(f"{self._what(source)}: it has {blob.total} bytes, its manifest says {partial.size_bytes}")
            if blob.ranged and several and self._ranges is None:
                self._loop.call_soon_threadsafe(self._help, source)
            if blob.ranged or not several:
                parts = deque([part])
            else:
                # The whole blob comes, whatever was asked for: this connection fills all that is missing, no other is of use.
                self._ranges = False
                parts = deque([part, *iter(partial.claim, None)])
            try:
                position = blob.start
                while parts and (data := blob.read()):
                    position = self._place(parts, position, memoryview(data))
                if parts:
                    raise Untrue(f"{self._what(source)}: it ends after {position} of {partial.size_bytes} bytes")
                if blob.total is None and position >= partial.size_bytes and blob.read():
                    raise Untrue(f"{self._what(source)}: it has more than its manifest's {partial.size_bytes} bytes")
            finally:
                for left in parts:
                    partial.release(left)

    def _place(self, parts: deque[Part], position: int, view: memoryview) -> int:
        """Write what of the bytes at `position` is missing; parts that are whole leave the queue. Returns the position behind them."""
        end = position + len(view)
        while parts and parts[0].start < end:
            part = parts[0]
            low, high = max(position, part.at), min(end, part.stop)
            if low == part.at and low < high:
                point("pull.bytes")
                self._partial.write(part, view[low - position : high - position])
            if not part.whole:
                break
            self._partial.release(parts.popleft())
        return end

    def _help(self, source: Source) -> None:
        """On the loop, once the server is known to give ranges: more connections, as slots are to spare."""
        if self._ranges is None:
            self._ranges = True
            missing = -(-(self._partial.size_bytes - self._partial.there_bytes) // PART_BYTES)
            for _ in range(min(self._slots.limit(), missing, CONNECTIONS) - 1):
                helper = asyncio.ensure_future(self._helper(source))
                self._helpers.add(helper)
                helper.add_done_callback(self._helpers.discard)

    async def _helper(self, source: Source) -> None:
        """What goes wrong here goes wrong again for who claims the part next, and is told there."""
        try:
            await self._connection(source, spare=True)
        except PierError as error:
            self.on_notice(f"a range of {self._partial.digest} is asked for again: {error}")

    def _notice(self, text: str) -> None:
        self._loop.call_soon_threadsafe(lambda: self.on_notice(text))
