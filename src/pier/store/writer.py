"""The writer thread: whatever waits when it comes by is one transaction and one fsync (group commit)."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pier.store.faults import explain
from pier.trace import point

_MOST_IN_A_BATCH = 256


@dataclass(slots=True)
class Job:
    """One write: a function of the connection, and who waits for it."""

    work: Callable[[sqlite3.Connection], Any]
    durable: bool
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        """Tell the waiter, on its own loop; a waiter that was cancelled hears nothing, its write stands."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer:
    """Owns the only connection that writes. `submit` from the loop, `stop` from anywhere."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, *, volatile: bool, backup: Callable[[], None] | None, backup_every_s: float
    ) -> None:
        """connection: in autocommit mode, opened with check_same_thread=False. backup: called in a thread of its own when due."""
        self._connection = connection
        self._path = path
        self._volatile = volatile
        self._backup = backup
        self._backup_every_s = backup_every_s
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._level = ""
        self._thread = threading.Thread(target=self._run, name=f"store-{path.name}", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Hand over a write; never blocks."""
        self._jobs.put(job)

    def stop(self) -> None:
        """Finish what was submitted, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        backup_due_s: float | None = None
        while True:
            job: Job | None
            try:
                job = self._jobs.get(timeout=None if backup_due_s is None else max(0.0, backup_due_s - time.monotonic()))
            except queue.Empty:
                backup_due_s = None
                assert self._backup is not None
                threading.Thread(target=self._backup, name="store-backup", daemon=True).start()
                continue
            batch, last = self._gather(job)
            if batch:
                self._commit(batch)
                if self._backup is not None and backup_due_s is None:
                    backup_due_s = time.monotonic() + self._backup_every_s
            if last:
                return

    def _gather(self, first: Job | None) -> tuple[list[Job], bool]:
        batch: list[Job] = []
        job = first
        while job is not None and len(batch) < _MOST_IN_A_BATCH:
            batch.append(job)
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False
        if job is not None:
            self._jobs.put(job)
            return batch, False
        return batch, True

    def _commit(self, batch: list[Job]) -> None:
        level = "OFF" if self._volatile else "FULL" if any(job.durable for job in batch) else "NORMAL"
        try:
            if level != self._level:
                self._connection.execute(f"PRAGMA synchronous={level}")
                self._level = level
            self._connection.execute("BEGIN IMMEDIATE")
            if len(batch) > 1:
                for job in batch:
                    self._apply(job)
            else:
                self._apply_alone(batch[0])
            if self._connection.in_transaction:
                point("store.commit")
                self._connection.execute("COMMIT")
                point("store.committed")
        except Exception as error:
            self._rollback()
            known = explain(error, self._path) if isinstance(error, sqlite3.Error) else None
            for job in batch:
                # Each waiter gets an error of its own: raising one instance from several tasks would mix their tracebacks.
                job.error = job.error or (type(known)(str(known)) if known else RuntimeError(f"{self._path}: {error!r}"))
        by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        for job in batch:
            by_loop.setdefault(job.loop, []).append(job)
        for loop, jobs in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                loop.call_soon_threadsafe(_settle, jobs)

    def _apply_alone(self, job: Job) -> None:
        """Run the only job of a transaction; its failure undoes that, two statements less than a savepoint."""
        try:
            job.result = job.work(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK")
            job.error = (explain(error, self._path) if isinstance(error, sqlite3.Error) else None) or error

    def _apply(self, job: Job) -> None:
        """Run one job so that its failure undoes its own statements only. A failure of the disk ends the whole batch."""
        self._connection.execute("SAVEPOINT job")
        try:
            job.result = job.work(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:  # the disk was full: SQLite has rolled everything back
                raise
            self._connection.execute("ROLLBACK TO job")
            known = explain(error, self._path) if isinstance(error, sqlite3.Error) else None
            job.error = known or error
        self._connection.execute("RELEASE job")

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


def _settle(jobs: list[Job]) -> None:
    for job in jobs:
        job.settle()
