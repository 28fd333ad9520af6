"""How many downloads there are at once (`max-concurrent-downloads`), over all pulls of this daemon. Use from the loop's thread."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Callable


class Slots:
    """Slots for downloads, given in the order of asking; a *spare* one, for one more connection of the same blob, only when nobody else waits."""

    def __init__(self, limit: Callable[[], int]) -> None:
        """limit: how many there are now; fewer than before takes effect as they come back."""
        self.limit = limit
        self._used = 0
        self._numbers = itertools.count()
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []

    @contextlib.asynccontextmanager
    async def taken(self, *, spare: bool = False, waits: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
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
                    self._give_back()  # it had been given just now
                raise
        try:
            yield
        finally:
            self._give_back()

    def _next(self) -> bool:
        """Whether somebody waits; who has gone meanwhile is forgotten."""
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)
        return bool(self._waiting)

    def _give_back(self) -> None:
        self._used -= 1
        while self._used < self.limit() and self._next():
            self._used += 1
            heapq.heappop(self._waiting)[2].set_result(None)
