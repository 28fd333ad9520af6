"""The store itself: opening, reading, writing, copies."""

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pier.errors import Conflict, Internal, Unavailable
from pier.store.faults import explain
from pier.store.lock import RootLock
from pier.store.schema import Step, copy, migrate
from pier.store.writer import Job, Writer

T = TypeVar("T")
_log = logging.getLogger("pier.store")
_BUSY_TIMEOUT_S = 5.0


class Store:
    """One SQLite file. `read` on the event loop's thread, `write` through the writer thread."""

    def __init__(self, path: Path, lock: RootLock, reader: sqlite3.Connection, writer_connection: sqlite3.Connection,
                 *, volatile: bool, backup_every_s: float) -> None:  # fmt: skip
        """Use `Store.open`."""
        self.path = path
        self._lock = lock
        self._reader = reader
        self._writer_connection = writer_connection
        self._closed = False
        self._copying = threading.Lock()
        self._writer = Writer(
            writer_connection, path, volatile=volatile, backup=None if volatile else self._timed_backup, backup_every_s=backup_every_s
        )

    @classmethod
    def open(cls, path: Path, steps: Sequence[Step], *, volatile: bool = False, backup_every_s: float = 600.0) -> "Store":
        """Open or create a database; blocks for some milliseconds.

        path: the file; its folder must exist. steps: the schema's steps, in order, never changed once released.
        volatile: for what a reboot may forget: no fsync, no copies, and a damaged file is replaced by an empty one.
        backup_every_s: how long a change may be older than the copy `<path>.backup`.
        Raises Conflict where another daemon uses it or a newer one wrote it, Internal where it is damaged, Unavailable where the disk refuses.
        """
        try:
            lock = RootLock(path.with_name(path.name + ".lock"))
        except OSError as error:
            raise Unavailable(f"{path}: cannot be opened: {error.strerror}: does {path.parent} exist, and can it be written?") from error
        opened: list[sqlite3.Connection] = []
        try:
            writer = _open_checked(path, volatile)
            opened.append(writer)
            migrate(writer, path, steps, keep_copies=not volatile)
            reader = _connect(path)
            opened.append(reader)
            reader.execute("PRAGMA query_only=1")
        except BaseException as error:
            for connection in opened:
                connection.close()
            lock.release()
            if isinstance(error, sqlite3.Error) and (known := explain(error, path)):
                raise known from error
            raise
        return cls(path, lock, reader, writer, volatile=volatile, backup_every_s=backup_every_s)

    def read(self, sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        """The rows of a SELECT, as of the last commit; for the loop's thread only, microseconds for what has an index."""
        try:
            return self._reader.execute(sql, params).fetchall()
        except sqlite3.Error as error:
            if known := explain(error, self.path):
                raise known from error
            raise

    async def write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = True) -> T:
        """Run `work(connection)` in the writer thread, in a transaction; return its result once it is committed.

        work: only database work, no BEGIN, COMMIT or executescript; when it raises, its changes are undone and the caller gets the exception.
        Being cancelled does not take a write back. durable=False: a power cut may lose it (a kill does not), so no fsync is waited for.
        Raises Unavailable for a full or failing disk: then nothing of it was changed.
        """
        if self._closed:
            raise Unavailable(f"{self.path}: the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._writer.submit(Job(work, durable, loop, future))
        return await future

    def backup(self) -> None:
        """Write `<path>.backup` now; blocks. May be called in any thread."""
        with self._copying:
            connection = _connect(self.path)
            try:
                copy(connection, self.path.with_name(self.path.name + ".backup"))
            except sqlite3.Error as error:
                if known := explain(error, self.path):
                    raise known from error
                raise
            finally:
                connection.close()

    def _timed_backup(self) -> None:
        try:
            self.backup()
        except Exception as error:
            _log.warning("the copy of %s could not be written: %s; the next try follows the next change", self.path, error)

    def close(self) -> None:
        """Finish the writes that were asked for, then give everything back. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._writer.stop()
        with self._copying:
            self._reader.close()
            self._writer_connection.close()
        self._lock.release()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys=1")
    return connection


def _open_checked(path: Path, volatile: bool) -> sqlite3.Connection:
    try:
        return _check(path, volatile)
    except (Internal, sqlite3.DatabaseError) as error:
        damaged = isinstance(error, Internal) or isinstance(explain(error, path), Internal)
        if not (volatile and damaged):
            raise
        _log.warning("%s is damaged and holds nothing that must survive: replaced by an empty one", path)
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}{suffix}")
        return _check(path, volatile)


def _check(path: Path, volatile: bool) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise Unavailable(f"{path}: cannot be opened: {error.strerror}") from error
    connection = _connect(path)
    try:
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            raise Internal(f"{path}: the database is damaged ({answer}): stop the daemon and put {path.name}.backup in its place")
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise Conflict(f"{path}: its file system does not support SQLite's WAL (journal mode {mode!r}): put the root on a local file system")
        connection.execute("PRAGMA journal_size_limit=67108864")
        connection.execute(f"PRAGMA synchronous={'OFF' if volatile else 'FULL'}")
    except BaseException:
        connection.close()
        raise
    return connection
