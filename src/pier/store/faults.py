"""What SQLite says, in words that name the file, the cause and the way out."""

import sqlite3
from pathlib import Path

from pier.errors import Internal, PierError, Unavailable


def explain(error: sqlite3.Error, path: Path) -> PierError | None:
    """The PierError that stands for a failure of the disk or the file; None for a bug in a statement.

    error: as raised by sqlite3. path: the database.
    """
    code = getattr(error, "sqlite_errorcode", 0) or 0
    match code & 0xFF:  # the primary result code is the low byte (sqlite.org/rescode.html)
        case sqlite3.SQLITE_FULL:
            return Unavailable(f"{path}: disk full: nothing was changed; free space on the file system of {path.parent} and try again")
        case sqlite3.SQLITE_IOERR:
            return Unavailable(f"{path}: the disk refused a read or a write ({error}): nothing was acknowledged; see the kernel's log")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN:
            return Unavailable(f"{path}: cannot be written ({error}): is {path.parent} read-only, or out of inodes?")
        case sqlite3.SQLITE_BUSY:
            return Unavailable(f"{path}: another process holds the database: end it and try again")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return Internal(f"{path}: the database is damaged ({error}): stop the daemon and put {path.name}.backup in its place")
    return None
