"""Steps forward only: PRAGMA user_version counts the steps that a file has taken."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pier.errors import Conflict
from pier.trace import point

# A step is SQL text (several statements) or a function that gets the connection, inside a transaction.
Step = str | Callable[[sqlite3.Connection], None]


def statements(script: str) -> Iterator[str]:
    """The statements of an SQL script, one after another; triggers with inner semicolons stay whole."""
    pending = ""
    for piece in script.split(";"):
        pending += piece + ";"
        if sqlite3.complete_statement(pending):
            if pending.strip(" \t\r\n;"):
                yield pending.strip()
            pending = ""
    if pending.strip(" \t\r\n;"):
        yield pending.strip()


def version_of(connection: sqlite3.Connection) -> int:
    """How many steps the file has taken."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def copy(connection: sqlite3.Connection, target: Path) -> None:
    """A whole, consistent copy of the database at `target`, durable before it carries that name."""
    scratch = target.with_name(target.name + ".new")
    scratch.unlink(missing_ok=True)
    os.close(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        copied = sqlite3.connect(scratch)
        try:
            connection.backup(copied)
            copied.execute("PRAGMA journal_mode=DELETE")  # one file, no -wal beside it
        finally:
            copied.close()
        sync(scratch)
        point("store.copy")
        os.replace(scratch, target)
        sync(target.parent)
    finally:
        scratch.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """fsync of a file or folder."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Step], *, keep_copies: bool) -> None:
    """Bring a file to the schema of this program, each step whole or not at all, with a copy before it.

    connection: in autocommit mode. keep_copies: make `<name>.v<N>` before the step from N to N+1 (not for a file that began empty).
    Raises Conflict for a file that a newer program wrote, and what a step raises.
    """
    version = version_of(connection)
    if version > len(steps):
        raise Conflict(
            f"{path} was written by a newer Pier (schema {version}, this one knows up to {len(steps)}): "
            f"install that version again, or go back to the copy {path.name}.v{len(steps)} if it is there"
        )
    for number in range(version, len(steps)):
        if keep_copies and version:
            copy(connection, path.with_name(f"{path.name}.v{number}"))
        step = steps[number]
        connection.execute("BEGIN IMMEDIATE")
        try:
            if callable(step):
                step(connection)
            else:
                for statement in statements(step):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={number + 1}")
            point("store.migrate")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
