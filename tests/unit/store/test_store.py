"""The store keeps what it acknowledged, refuses what it cannot hold, and says why."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pier.errors import Conflict, Internal, Unavailable
from pier.store import Store

NOTES = "CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT UNIQUE NOT NULL) STRICT;"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store.open(path, [NOTES])
    yield opened
    opened.close()


def add(text: str):  # type: ignore[no-untyped-def]
    return lambda c: c.execute("INSERT INTO note(text) VALUES (?)", (text,)).lastrowid


def texts(store: Store) -> list[str]:
    return [row["text"] for row in store.read("SELECT text FROM note ORDER BY id")]


def test_a_write_is_seen_by_the_next_read_and_after_opening_again(store: Store, path: Path) -> None:
    assert asyncio.run(store.write(add("a"))) == 1
    assert texts(store) == ["a"]
    store.close()
    again = Store.open(path, [NOTES])
    assert texts(again) == ["a"]
    again.close()


def test_writes_that_wait_together_are_one_transaction_and_a_failing_one_undoes_itself_only(store: Store) -> None:
    commits: list[str] = []

    async def main() -> list[object]:
        hold = threading.Event()
        first = asyncio.ensure_future(store.write(lambda c: (c.set_trace_callback(commits.append), hold.wait())[0]))
        rest = [asyncio.ensure_future(store.write(add(text))) for text in ("a", "b", "a", "c")]
        await asyncio.sleep(0)
        hold.set()
        await first
        return await asyncio.gather(*rest, return_exceptions=True)

    a, b, again, c = asyncio.run(main())
    assert (a, b, c) == (1, 2, 3)
    assert isinstance(again, sqlite3.IntegrityError)
    assert texts(store) == ["a", "b", "c"]
    assert commits.count("COMMIT") <= 2


def test_a_cancelled_writer_does_not_stop_the_thread_and_its_write_stands(store: Store) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(store.write(add("a")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.write(add("b"))

    asyncio.run(main())
    assert texts(store) == ["a", "b"]


def test_synchronous_is_full_for_durable_writes_and_normal_otherwise(store: Store) -> None:
    def level(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA synchronous").fetchone()[0])

    assert asyncio.run(store.write(level)) == 2
    assert asyncio.run(store.write(level, durable=False)) == 1
    assert asyncio.run(store.write(level)) == 2


def test_the_reading_connection_cannot_write(store: Store) -> None:
    with pytest.raises(Unavailable, match="cannot be written"):
        store.read("INSERT INTO note(text) VALUES ('x')")


def test_a_second_daemon_is_refused_with_the_pid_of_the_first(store: Store, path: Path) -> None:
    with pytest.raises(Conflict, match=rf"in use by another pierd \(pid {os.getpid()}"):
        Store.open(path, [NOTES])


def test_the_lock_of_a_killed_daemon_is_free(path: Path) -> None:
    code = f"""
        import os, signal, asyncio
        from pathlib import Path
        from pier.store import Store
        store = Store.open(Path({str(path)!r}), [{NOTES!r}])
        asyncio.run(store.write(lambda c: c.execute("INSERT INTO note(text) VALUES ('kept')")and None))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)]).returncode == -9
    store = Store.open(path, [NOTES])
    assert texts(store) == ["kept"]
    store.close()


def test_a_kill_before_the_commit_loses_the_unacknowledged_write_whole(path: Path) -> None:
    code = f"""
        import asyncio
        from pathlib import Path
        from pier.store import Store
        store = Store.open(Path({str(path)!r}), [{NOTES!r}])
        asyncio.run(store.write(lambda c: c.execute("INSERT INTO note(text) VALUES ('gone')")and None))
    """
    env = dict(os.environ, PIER_FAIL="store.commit:kill")
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=env).returncode == -9
    store = Store.open(path, [NOTES])
    assert texts(store) == []
    store.close()


def test_a_newer_schema_is_refused_by_name_and_left_alone(path: Path) -> None:
    Store.open(path, [NOTES, "CREATE TABLE more(x)"]).close()
    before = path.read_bytes()
    with pytest.raises(Conflict, match=r"newer Pier \(schema 2, this one knows up to 1\).*state\.db\.v1"):
        Store.open(path, [NOTES])
    assert path.read_bytes() == before


def test_each_step_leaves_a_copy_of_what_was_before(path: Path) -> None:
    first = Store.open(path, [NOTES])
    asyncio.run(first.write(add("a")))
    first.close()
    Store.open(path, [NOTES, lambda c: c.execute("UPDATE note SET text='b'") and None]).close()
    old = sqlite3.connect(path.with_name("state.db.v1"))
    assert old.execute("SELECT text FROM note").fetchall() == [("a",)]
    assert old.execute("PRAGMA user_version").fetchone() == (1,)
    old.close()


def test_a_failing_step_changes_nothing(path: Path) -> None:
    Store.open(path, [NOTES]).close()
    with pytest.raises(sqlite3.OperationalError):
        Store.open(path, [NOTES, "CREATE TABLE good(x); CREATE TABLE note(x);"])
    store = Store.open(path, [NOTES])
    assert store.read("SELECT name FROM sqlite_master WHERE name='good'") == []
    store.close()


def test_a_damaged_file_is_refused_and_names_the_copy(path: Path) -> None:
    store = Store.open(path, [NOTES])
    asyncio.run(store.write(lambda c: c.executemany("INSERT INTO note(text) VALUES (?)", [("x" * 900 + str(i),) for i in range(99)]) and None))
    store.close()
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    with pytest.raises(Internal, match=r"state\.db\.backup"):
        Store.open(path, [NOTES])


def test_no_database_at_all(path: Path) -> None:
    path.write_bytes(b"this is not a database, it is a text of some length" * 40)
    with pytest.raises(Internal, match="damaged"):
        Store.open(path, [NOTES])


def test_a_damaged_volatile_file_is_replaced(path: Path) -> None:
    path.write_bytes(b"this is not a database, it is a text of some length" * 40)
    store = Store.open(path, [NOTES], volatile=True)
    assert texts(store) == []
    store.close()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"nope/state\.db"):
        Store.open(tmp_path / "nope" / "state.db", [NOTES])


def test_a_full_disk_is_an_error_with_a_way_out_and_the_next_write_works(store: Store) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count={connection.execute('PRAGMA page_count').fetchone()[0]}")
        connection.execute("INSERT INTO note(text) VALUES (?)", ("x" * 100_000,))

    with pytest.raises(Unavailable, match=r"disk full.*free space"):
        asyncio.run(store.write(fill))
    assert texts(store) == []
    asyncio.run(store.write(add("small")))
    assert texts(store) == ["small"]


def test_the_files_are_for_the_owner_only(store: Store, path: Path) -> None:
    asyncio.run(store.write(add("a")))
    store.backup()
    for name in ("state.db", "state.db-wal", "state.db.lock", "state.db.backup"):
        assert (path.with_name(name).stat().st_mode & 0o777) == 0o600, name


def test_a_change_is_copied_when_the_time_comes(path: Path) -> None:
    store = Store.open(path, [NOTES], backup_every_s=0.0)
    backup = path.with_name("state.db.backup")
    done = threading.Event()
    original = store.backup
    store._writer._backup = lambda: (original(), done.set())[0]
    asyncio.run(store.write(add("a")))
    assert done.wait(30)
    store.close()
    copy = sqlite3.connect(backup)
    assert copy.execute("SELECT text FROM note").fetchall() == [("a",)]
    copy.close()


def test_closing_finishes_what_was_asked_for_and_refuses_more(path: Path) -> None:
    store = Store.open(path, [NOTES])

    async def main() -> None:
        waiting = [asyncio.ensure_future(store.write(add(str(i)))) for i in range(20)]
        await asyncio.sleep(0)
        store.close()
        await asyncio.gather(*waiting)
        with pytest.raises(Unavailable, match="closed"):
            await store.write(add("late"))

    asyncio.run(main())
    again = Store.open(path, [NOTES])
    assert len(texts(again)) == 20
    again.close()
