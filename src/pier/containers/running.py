"""What a next daemon and a next keeper need to find running processes again, in volatile.db: written together, and soon.

Nobody waits for it: the keeper has the same facts, and should both be lost within that moment, there is the note beside the FIFOs
(logs/fifos.py). What began and ended in the meantime is never written.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine

from pier.store import Store

DELAY_S = 0.05
Row = tuple[str, str, int, int, int]


class RunningNotes:
    """Use from the loop's thread only."""

    def __init__(self, store: Store, boot_id: str, spawn: Callable[[Coroutine[object, object, None], str], object]) -> None:
        """store: volatile.db. spawn: does something in the background and logs its failure."""
        self._store, self._boot_id, self._spawn = store, boot_id, spawn
        self._pending: dict[str, Row | None] = {}  # None: to be deleted
        self._health: dict[str, bytes] = {}
        self._written: set[str] | None = None  # read when it is needed first
        self._due: asyncio.TimerHandle | None = None

    def remember(self, key: str, pid: int, start_time: int, started_ns: int) -> None:
        """A process runs."""
        self._pending[key] = (key, self._boot_id, pid, start_time, started_ns)
        self._soon()

    def remember_health(self, key: str, health: bytes) -> None:
        """What is known of the checks of a process that runs; gone with the note of it."""
        self._health[key] = health
        self._soon()

    def forget(self, key: str) -> None:
        """It does not any more."""
        self._pending.pop(key, None)
        self._health.pop(key, None)
        if key in self._in_the_database():
            self._pending[key] = None
            self._soon()

    def _in_the_database(self) -> set[str]:
        if self._written is None:
            self._written = {row["key"] for row in self._store.read("SELECT key FROM running")}
        return self._written

    def _soon(self) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(DELAY_S, lambda: self._spawn(self.flush(), "notes of what runs"))

    async def flush(self) -> None:
        """Write what is pending."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        pending, self._pending = self._pending, {}
        health, self._health = self._health, {}
        gone = [(key,) for key, row in pending.items() if row is None]
        rows = [row for row in pending.values() if row is not None]
        written = self._in_the_database()
        written.difference_update(key for (key,) in gone)
        written.update(row[0] for row in rows)

        def write(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM running WHERE key=?", gone)
            db.executemany("INSERT OR REPLACE INTO running (key, boot_id, pid, start_time, started_ns) VALUES (?,?,?,?,?)", rows)
            db.executemany("UPDATE running SET health=? WHERE key=?", [(blob, key) for key, blob in health.items()])

        if pending or health:
            await self._store.write(write, durable=False)
