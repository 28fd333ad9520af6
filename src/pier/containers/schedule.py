"""When something is due next, for thousands of keys: a heap, and no timer of its own. Pure; the unit of time is the caller's."""

import heapq


class Schedule:
    """At most one time for each key."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # with entries that no longer hold, which are passed over

    def __len__(self) -> int:
        return len(self._due)

    def set(self, key: str, when: float) -> None:
        """A key is due then, and not when it was."""
        self._due[key] = when
        heapq.heappush(self._heap, (when, key))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(when, key) for key, when in self._due.items()]
            heapq.heapify(self._heap)

    def drop(self, key: str) -> None:
        """A key is due no more; harmless where it was not."""
        self._due.pop(key, None)

    def next(self) -> float | None:
        """The earliest time; None where nothing is due ever."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> list[str]:
        """The keys that are due, the one that waits longest first; they are not in the schedule any more."""
        found = []
        while (when := self.next()) is not None and when <= now:
            key = heapq.heappop(self._heap)[1]
            del self._due[key]
            found.append(key)
        return found
