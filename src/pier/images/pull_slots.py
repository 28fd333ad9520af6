"""How many downloads there are at once (`max-concurrent-downloads`), over all pulls of this daemon. Use from the loop's thread."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Callable


class Slot:
    """One that was given. Whoever gets no bytes for a while lends it to others; with bytes again it counts again, even over the limit."""

    def __init__(self, slots: "Slots") -> None:
        self._slots, self._lent = slots, False

    def lend(self) -> None:
        """Let others have it; nothing where they do."""
        if not self._lent:
            self._lent = True
            self._slots.add(-1)

    def reclaim(self) -> None:
        """Use it again."""
        if self._lent:
            self._lent = False
            self._slots.add(1)


class Slots:
    """Slots for downloads, given in the order of asking; a *spare* one, for one more connection of the same blob, only when nobody else waits."""

    def __init__(self, limit: Callable[[], int]) -> None:
        """limit: how many there are now; fewer than before takes effect as they come back."""
        self.limit = limit
        self._used = 0
        self._numbers = itertools.count()
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []

    @contextlib.asynccontextmanager
    async def taken(self, *, spare: bool = False, waits: Callable[[], None] = lambda: None) -> AsyncIterator["Slot"]:
        """A slot for the time of the block; `waits` is called where there is none at once."""
        if self._used < self.limit() and not self._next():
            self._used += 1
        else:
            waits()
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (spare, next(self._numbers), turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.add(-1)  # it had been given just now
                raise
        slot = Slot(self)
        try:
            yield slot
        finally:
            slot.lend()

    def _next(self) -> bool:
        """Whether somebody waits; who has gone meanwhile is forgotten."""
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)
        return bool(self._waiting)

    def add(self, count: int) -> None:
        """A slot that was given comes back for a while (-1), or is used again whether or not there is one (1)."""
        self._used += count
        self._next_turns()

    def _next_turns(self) -> None:
        while self._used < self.limit() and self._next():
            self._used += 1
            heapq.heappop(self._waiting)[2].set_result(None)
