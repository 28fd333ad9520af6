"""Reading a container's log back on the daemon's loop: all of it, its tail, a span of time, and what still comes.

Files are read where they are, block by block, with the loop let in between; nothing is held open for a reader but the
descriptor it reads from. Compressed files are unpacked into a nameless file in a thread.
"""

import asyncio
import contextlib
import os
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

from pier.logs import files
from pier.logs.changes import Changes
from pier.logs.reading import FORMATS, Entry, Format, Lines


def path(directory: str, driver: str) -> str:
    """The file that a container's log is in (inspect's LogPath); "" for the driver `none`."""
    return files.path_of(driver, directory) or ""


async def read(
    directory: str, driver: str, *, stdout: bool, stderr: bool, since_ns: int = 0, until_ns: int = 0, tail: int | None = None,
    follow: Changes | None = None, running: Callable[[], bool] = lambda: False, lines: bool = True,
) -> AsyncIterator[Entry]:  # fmt: skip
    """The entries of a log in order, 0 meaning no bound of time, `tail` lines at most of what is there.

    With `follow` it goes on, over rotations, until `running()` is false (of which `follow.tell` lets it know) and all was read, or
    `until_ns` is past. With `lines`
    each entry is a line (or 16 KiB of one) with the time of its beginning; without, `local` gives what was written as it was
    written, which is many times faster; a `tail` is always in lines. Raises OSError.
    """
    newest = files.path_of(driver, directory)
    if newest is None or (until_ns and since_ns > until_ns):
        return
    streams = frozenset(number for number, wanted in ((1, stdout), (2, stderr)) if wanted)
    form = FORMATS[driver]
    cursor = _Cursor(newest, form)
    joined = Lines() if driver == "local" and (lines or tail is not None) else None

    def wanted(records: Iterable[Entry]) -> Iterator[Entry]:
        for record in records:
            if record.stream in streams:
                yield from joined.feed(record) if joined else (record,)

    with follow.follow(directory) if follow is not None else contextlib.nullcontext() as changed, contextlib.closing(cursor):
        skip = await cursor.begin(tail, streams, since_ns, driver)
        while True:
            if changed is not None:
                changed.clear()
            alive = changed is not None and running()
            while (records := await cursor.block()) is not None:
                for entry in wanted(records):
                    if skip:
                        skip -= 1
                    elif until_ns and entry.time_ns > until_ns:
                        return
                    elif entry.time_ns >= since_ns:
                        yield entry
                await asyncio.sleep(0)
            if changed is None or not alive or (until_ns and time.time_ns() > until_ns):
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), (until_ns - time.time_ns()) / 1e9 + 0.001 if until_ns else None)
        for entry in joined.rest() if joined else ():
            if skip:
                skip -= 1
            elif since_ns <= entry.time_ns and not (until_ns and entry.time_ns > until_ns):
                yield entry


class _Cursor:
    """A place in the files of a log, that moves to the next newer file at the end of an older one."""

    def __init__(self, newest: str, form: Format) -> None:
        self._newest, self._form = newest, form
        self._fd, self._offset, self._mtime, self._inode, self._packed = -1, 0, -1, -1, False

    async def begin(self, tail: int | None, streams: frozenset[int], since_ns: int, driver: str) -> int:
        """Go to where reading begins; returns how many lines from there are to be skipped."""
        names = [*files.older(self._newest), self._newest]
        if tail is None:
            for name in names:
                try:
                    if os.stat(name).st_mtime_ns >= since_ns:
                        await self._enter(name)
                        return 0
                except FileNotFoundError:
                    continue
            return 0
        missing, found = tail, 0
        for name in reversed(names):
            try:
                await self._enter(name)
            except FileNotFoundError:
                continue
            end = os.fstat(self._fd).st_size
            if tail == 0:
                self._offset = end
                return 0
            self._offset, count = self._form.tail(self._fd, end, missing, streams)
            found += count
            missing = tail - found
            if self._offset or missing + (len(streams) if driver == "local" else 0) <= 0:
                break
        return max(0, found - tail) if driver != "local" else await self._surplus(tail, streams)

    async def _surplus(self, tail: int, streams: frozenset[int]) -> int:
        """How many more lines than `tail` begin at the cursor, read once through."""
        scout = _Cursor(self._newest, self._form)
        scout._fd = os.dup(self._fd) if self._fd >= 0 else -1
        scout._offset, scout._mtime, scout._inode, scout._packed = self._offset, self._mtime, self._inode, self._packed
        joined, count = Lines(), 0
        try:
            while (records := await scout.block()) is not None:
                for record in records:
                    if record.stream in streams:
                        count += sum(1 for _ in joined.feed(record))
                await asyncio.sleep(0)
            return max(0, count + sum(1 for _ in joined.rest()) - tail)
        finally:
            scout.close()

    async def block(self) -> list[Entry] | None:
        """The next records, maybe none; None where there is no more at this moment."""
        while True:
            if self._fd >= 0:
                step = self._form.forward(self._fd, self._offset, os.fstat(self._fd).st_size)
                if step.offset > self._offset:
                    self._offset = step.offset
                    return step.records
            following = self._following()
            if following is None:
                return None
            if self._fd >= 0:
                step = self._form.forward(self._fd, self._offset, os.fstat(self._fd).st_size)
                if step.offset > self._offset:  # written between our last look and the rotation
                    self._offset = step.offset
                    return step.records
            try:
                await self._enter(*following)
            except FileNotFoundError:
                continue  # renamed meanwhile

    def _following(self) -> tuple[str, int] | None:
        """The name and inode of the file after ours, of the oldest before the first; None where ours is the newest.

        Ours is known by its inode; where it was compressed or removed since, the next one is the oldest without an earlier change
        but for its own compressed copy, which keeps the time.
        """
        if self._fd >= 0 and not self._packed:
            self._mtime = os.fstat(self._fd).st_mtime_ns
        there = []
        for name in [*files.older(self._newest), self._newest]:
            try:
                status = os.stat(name)
            except FileNotFoundError:
                continue  # renamed this moment; found under its new name the next time
            there.append((name, status.st_ino, status.st_mtime_ns))
        for number, (_, inode, _) in enumerate(there):
            if inode == self._inode:
                return there[number + 1][:2] if number + 1 < len(there) else None
        later = [(name, inode) for name, inode, mtime in there if mtime >= self._mtime]
        if later and later[0][0].endswith(".gz") and any(name == later[0][0] and mtime == self._mtime for name, _, mtime in there):
            del later[0]  # ours itself, compressed; what follows it may have been written within the same tick of the clock
        return later[0] if later else None

    async def _enter(self, name: str, inode: int = -1) -> None:
        """Go to the beginning of a file. Raises FileNotFoundError, also where the name means another file than `inode` by now."""
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        status = os.fstat(fd)
        if inode not in (-1, status.st_ino):
            os.close(fd)
            raise FileNotFoundError(name)
        self._packed = name.endswith(".gz")
        if self._packed:
            try:
                fd = await asyncio.to_thread(_unpack, fd)
            except BaseException:
                os.close(fd)
                raise
        self.close()
        self._fd, self._offset, self._mtime, self._inode = fd, 0, status.st_mtime_ns, status.st_ino

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _unpack(packed: int) -> int:
    """The content of a gzip file in a nameless one; closes the packed descriptor when it succeeds. Raises OSError."""
    engine = zlib.decompressobj(wbits=31)
    with tempfile.TemporaryFile() as file:
        try:
            while block := os.read(packed, 1 << 20):
                file.write(engine.decompress(block))
        except zlib.error:
            pass  # damaged: what was read up to here is still good
        file.flush()
        os.close(packed)
        return os.dup(file.fileno())


__all__ = ["Entry", "path", "read"]
