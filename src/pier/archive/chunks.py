"""Pulling bytes: every stage of reading (file, decompressor, tar, layer within an archive) is a `Chunks` over the one before.

A stage is a function that returns the next piece, b"" at the end. Pieces are large (some 100 kB), so that hashing and
writing release the interpreter, and payloads that are only passed over are never copied.
"""

import os
from collections.abc import Callable

Piece = bytes | memoryview
Pull = Callable[[], Piece]

READ_BYTES = 512 << 10
ZEROS = bytes(READ_BYTES)
"""A hole: whoever writes this very object to a file passes over its length instead."""


class Chunks:
    """A forward-only reader. `position` is the number of bytes consumed."""

    __slots__ = ("_at", "_current", "_end", "_pull", "position")

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._current: Piece = b""
        self._at = self._end = 0
        self.position = 0

    def _more(self) -> bool:
        self._current = self._pull()
        self._at, self._end = 0, len(self._current)
        return self._end > 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes, copied; fewer only at the end of the stream."""
        stop = self._at + count
        if stop <= self._end:
            got = bytes(self._current[self._at : stop])
            self._at = stop
            self.position += count
            return got
        out = bytearray(self._current[self._at : self._end])
        self._at = self._end
        while len(out) < count and self._more():
            self._at = min(count - len(out), self._end)
            out += self._current[: self._at]
        self.position += len(out)
        return bytes(out)

    def peek(self, count: int) -> bytes:
        """What `take(count)` would return, without consuming it; at most one piece ahead is copied."""
        if self._end - self._at < count:
            out = bytearray(self._current[self._at : self._end])
            while len(out) < count and self._more():
                out += self._current
            self._current, self._at, self._end = bytes(out), 0, len(out)
        return bytes(self._current[self._at : self._at + count])

    def some(self, limit: int) -> Piece:
        """Between 1 and `limit` bytes without copying; empty at the end (or for limit 0)."""
        if self._at >= self._end and (limit <= 0 or not self._more()):
            return b""
        stop = min(self._end, self._at + limit)
        got = memoryview(self._current)[self._at : stop]
        self._at = stop
        self.position += len(got)
        return got

    def skip(self, count: int) -> int:
        """Pass over `count` bytes; returns how many were there."""
        left = count
        while left > self._end - self._at:
            left -= self._end - self._at
            self._at = self._end
            if not self._more():
                self.position += count - left
                return count - left
        self._at += left
        self.position += count
        return count

    def drain(self) -> int:
        """Consume all that is left; returns how much it was."""
        total = 0
        while piece := self.some(READ_BYTES):
            total += len(piece)
        return total


class FileChunks(Chunks):
    """Of a file, from where it stands: what is passed over is not read."""

    __slots__ = ("_fd", "_size")

    def __init__(self, fd: int) -> None:
        super().__init__(from_fd(fd))
        self._fd, self._size = fd, os.fstat(fd).st_size

    def skip(self, count: int) -> int:
        """Pass over `count` bytes; returns how many were there."""
        held = self._end - self._at
        if count - held < READ_BYTES:
            return super().skip(count)
        here = os.lseek(self._fd, 0, os.SEEK_CUR)
        step = min(count - held, max(0, self._size - here))
        os.lseek(self._fd, step, os.SEEK_CUR)
        self._at = self._end
        self.position += held + step
        return held + step


def from_fd(fd: int, waiting: Callable[[], None] | None = None) -> Pull:
    """Pull from a file or the reading end of a pipe; `waiting` is called before a read that may block for long."""

    def pull() -> bytes:
        if waiting:
            waiting()
        return os.read(fd, READ_BYTES)

    return pull


def write_all(fd: int, data: Piece) -> None:
    """Write every byte, whatever write(2) takes at a time. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
