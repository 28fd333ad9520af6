"""The store on a file system that is really full, and on one that turns read-only."""

import asyncio
import ctypes
import os
import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from pier.errors import PierError, Unavailable
from pier.store import Store

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a small file system in a mount namespace")
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _MS_PRIVATE_REC, _MS_REMOUNT_RDONLY = 0x20000, 0x44000, 0x21


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None) -> None:
    arguments = [text.encode() if text is not None else None for text in (source, target, kind)]
    if _LIBC.mount(*arguments, ctypes.c_ulong(flags), data.encode() if data else None):
        raise OSError(ctypes.get_errno(), f"mount {target}: {os.strerror(ctypes.get_errno())}")


def in_a_small_file_system(folder: Path, test: Callable[[Path], None]) -> None:
    """Run `test` in a child with 512 KiB of tmpfs on `folder`."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            if _LIBC.unshare(_CLONE_NEWNS):
                raise OSError(ctypes.get_errno(), "unshare")
            _mount("none", "/", None, _MS_PRIVATE_REC, None)
            _mount("none", str(folder), "tmpfs", 0, "size=512k")
            test(folder)
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-60000:])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        failure = pipe.read().decode()
    os.waitpid(pid, 0)
    assert not failure, failure


def add(text: str) -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO note VALUES (?)", (text,))

    return work


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"x" * 4096)


def count(store: Store) -> int:
    return int(store.read("SELECT count(*) FROM note")[0][0])


def test_a_full_disk_refuses_writes_keeps_what_was_acknowledged_and_takes_them_again(tmp_path: Path) -> None:
    def test(folder: Path) -> None:
        store = Store.open(folder / "state.db", ["CREATE TABLE note(text)"])
        filler = folder / "filler"

        async def main() -> None:
            await store.write(add("kept"))
            fill(filler)
            refused = 0
            for _ in range(3):
                try:
                    await store.write(add("y" * 50_000))
                except Unavailable as error:
                    refused += 1
                    assert "disk full" in str(error) and "free space" in str(error)
            assert refused == 3
            assert count(store) == 1
            filler.unlink()
            await store.write(add("later"))

        asyncio.run(main())
        assert count(store) == 2
        store.close()
        again = Store.open(folder / "state.db", ["CREATE TABLE note(text)"])
        assert count(again) == 2
        again.close()

    in_a_small_file_system(tmp_path, test)


def test_no_room_for_the_database_at_all(tmp_path: Path) -> None:
    def test(folder: Path) -> None:
        fill(folder / "filler")
        with pytest.raises(PierError, match=r"state\.db.*(full|cannot be)"):
            Store.open(folder / "state.db", ["CREATE TABLE note(text)"])

    in_a_small_file_system(tmp_path, test)


def test_a_read_only_root_is_named(tmp_path: Path) -> None:
    def test(folder: Path) -> None:
        Store.open(folder / "state.db", ["CREATE TABLE note(text)"]).close()
        _mount("none", str(folder), None, _MS_REMOUNT_RDONLY, None)
        with pytest.raises(Unavailable, match=r"state\.db: cannot be opened: Read-only file system"):
            Store.open(folder / "state.db", ["CREATE TABLE note(text)"])

    in_a_small_file_system(tmp_path, test)
