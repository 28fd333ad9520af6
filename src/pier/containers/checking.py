"""What the checks of all containers share: one schedule with one timer, and the checks that are under way."""

import asyncio
from collections.abc import Callable

from pier.containers.schedule import Schedule

MOST_STARTING = 8
"""So many checks at once make their process; the others wait for their turn. Those that run are not counted."""


class Checking:
    """Use from the loop's thread only. A container at rest costs an entry in the schedule."""

    def __init__(self) -> None:
        self._due: Callable[[str], None] | None = None
        self._schedule = Schedule()
        self._timer: asyncio.TimerHandle | None = None
        self.starting = asyncio.Semaphore(MOST_STARTING)
        self.under_way: dict[str, asyncio.Task[None]] = {}

    def go(self, due: Callable[[str], None]) -> None:
        """Everything is restored: `due` is called from now on with the ID of each container whose check is due."""
        self._due = due
        self._arm()

    def plan(self, key: str, in_s: float) -> None:
        """The next check of a container is due after that time."""
        self._schedule.set(key, asyncio.get_running_loop().time() + in_s)
        self._arm()

    def forget(self, key: str) -> "asyncio.Task[None] | None":
        """No check of a container is due any more; the one that is under way, where there is one, is the caller's to cancel."""
        self._schedule.drop(key)
        return self.under_way.pop(key, None)

    def close(self) -> None:
        """Nothing is due any more."""
        self._due = None
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        """One timer, for the earliest: a later one that is set already is put off when it fires."""
        when = self._schedule.next()
        if self._due is None or when is None or (self._timer is not None and self._timer.when() <= when):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._fire)

    def _fire(self) -> None:
        self._timer = None
        due = self._due
        if due is not None:
            for key in self._schedule.take(asyncio.get_running_loop().time()):
                due(key)
        self._arm()
