"""How a job tells how far it is: often enough that nobody takes it for dead, seldom enough that it costs nothing."""

import time
from collections.abc import Callable
from typing import Any

Say = Callable[[dict[str, Any]], None]  # sends a progress event
_EVENT_S = 0.25


class Pace:
    """Progress events {"bytes", "entry", "state"}: at most four a second while bytes or entries come."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._last = time.monotonic()
        self._bytes = 0
        self._entry = ""

    def read(self, count: int) -> None:
        """`count` more bytes of the input were read."""
        self._bytes += count
        self._tell()

    def at(self, entry: str) -> None:
        """The entry that is looked at now."""
        self._entry = entry
        self._tell()

    def state(self, state: str) -> None:
        """An event at once: "reading", "read" (nothing more is read), "syncing", "waiting"."""
        self._say({"bytes": self._bytes, "entry": self._entry, "state": state})

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._last >= _EVENT_S:
            self._last = now
            self.state("reading")
