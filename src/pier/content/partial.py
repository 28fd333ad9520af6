"""A blob of known digest and size that is still coming: resumed at any byte, filled at several places at once."""

import ctypes
import hashlib
import os
import shutil
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pier.content.ingest import publish
from pier.errors import Invalid
from pier.trace import point

_READ_BYTES = 1 << 20
_WRITE_BACK_BYTES, _WRITE_BACK_S = 16 << 20, 1.0
_SYNC_FILE_RANGE_WRITE = 2
_NUMBER = struct.Struct("<Q")
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


class Part:
    """A stretch of the blob, filled from `start` on by whoever claimed it; `at` is the next byte that it needs."""

    __slots__ = ("at", "claimed", "number", "start", "stop", "written_back", "written_back_s")

    def __init__(self, number: int, start: int, stop: int, at: int) -> None:
        self.number, self.start, self.stop, self.at = number, start, stop, at
        self.claimed, self.written_back, self.written_back_s = False, at, time.monotonic()

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return self.at >= self.stop


class Partial:
    """The ingest of one blob, in a folder of its own.

        <folder>/data    its bytes, each at its place
        <folder>/parts   where it comes in parts: the length of a part, then how much of each is there (8-byte little-endian numbers)

    Without `parts` it is one part, and the length of `data` says what is there. A count is written after its bytes, so a kill at any
    instant loses nothing that was counted. Bytes, then counts, begin their way to the disk every second, so that a power cut loses little more;
    where it left zeros below a count, `verify` finds out, and `restart` begins again.

    Blocking and thread-safe; one object for a folder at a time (`ContentStore.partial`).
    """

    def __init__(self, folder: Path, digest: str, size_bytes: int, part_bytes: int = 0) -> None:
        """Open or create it.

        part_bytes: how long parts are made, 0 for one part; what is there already keeps the parts it has. What is there for another size is
        thrown away. Raises OSError.
        """
        self.digest, self.size_bytes = digest, size_bytes
        self.there_bytes = 0
        """How much is there, wherever."""
        self.on_growth: Callable[[int], None] | None = None
        """Called with `readable_bytes` when it has grown, in the thread that wrote."""
        self._folder, self._part_bytes = folder, min(part_bytes or size_bytes, size_bytes)
        self._lock, self._hashing = threading.Lock(), threading.Lock()
        self._record_fd = -1
        folder.mkdir(mode=0o700, exist_ok=True)
        self._fd = os.open(folder / "data", _FLAGS, 0o600)
        if os.fstat(self._fd).st_nlink > 1:
            # It is a blob by now, and a blob is never written to: leave it alone and begin anew.
            os.close(self._fd)
            (folder / "data").unlink()
            self._fd = os.open(folder / "data", _FLAGS, 0o600)
        self._begin(self._read_record())
        self.resumed_bytes = self.there_bytes

    # what is there

    @property
    def readable_bytes(self) -> int:
        """How much is there from the beginning on without a gap."""
        return self._parts[self._first].at if self._first < len(self._parts) else self.size_bytes

    @property
    def whole(self) -> bool:
        """Whether every byte is there; whether they are the right ones `verify` says."""
        return self._first == len(self._parts)

    def claim(self) -> Part | None:
        """The first part that misses something and that nobody has claimed; None where there is none."""
        with self._lock:
            for part in self._parts[self._first :]:
                if not part.claimed and not part.whole:
                    part.claimed = True
                    return part
        return None

    def release(self, part: Part) -> None:
        """Whoever claimed it is done with it, or gave up."""
        part.claimed = False

    # filling

    def write(self, part: Part, data: bytes | bytearray | memoryview) -> None:
        """Append to a part that the caller has claimed; `data` must fit in it. Raises OSError; what was written before stays."""
        view = memoryview(data)
        if len(view) > part.stop - part.at:
            raise ValueError(f"{len(view)} bytes do not fit into what is missing of the part: {part.stop - part.at}")
        start = at = part.at
        left = view
        while left:
            written = os.pwrite(self._fd, left, at)
            left, at = left[written:], at + written
        if self._record_fd >= 0:
            os.pwrite(self._record_fd, _NUMBER.pack(at - part.start), _NUMBER.size * (1 + part.number))
        with self._lock:
            before = self.readable_bytes
            part.at = at
            self.there_bytes += at - start
            self._pass_whole_parts()
            readable = self.readable_bytes
        now = time.monotonic()
        if at - part.written_back >= _WRITE_BACK_BYTES or now - part.written_back_s >= _WRITE_BACK_S:
            # The disk begins now: the one fsync at the end finds little left to do, and a power cut takes little.
            _libc.sync_file_range(self._fd, part.written_back, at - part.written_back, _SYNC_FILE_RANGE_WRITE)
            if self._record_fd >= 0:
                _libc.sync_file_range(self._record_fd, 0, 0, _SYNC_FILE_RANGE_WRITE)
            part.written_back, part.written_back_s = at, now
        if readable > before:
            if self.on_growth:
                self.on_growth(readable)
            self._hash_on(view, start)

    def verify(self) -> None:
        """Compare the digest; every byte must be there. Raises Invalid where it is another, with what was found."""
        with self._hashing:  # the last of the writers may still be at it
            while self._hashed < self.size_bytes and self._hash_some():
                pass
        found = "sha256:" + self._hash.hexdigest()
        if self._hashed < self.size_bytes or found != self.digest:
            raise Invalid(f"the {self.size_bytes} bytes received have the digest {found}, not {self.digest}")

    def sync(self) -> None:
        """Make the bytes durable, ahead of `publish`. Raises OSError."""
        os.fsync(self._fd)

    def restart(self) -> None:
        """Throw away what is there and begin again; nobody may be writing. Raises OSError."""
        self._clear()
        if self._record_fd >= 0:
            os.close(self._record_fd)
            self._record_fd = -1
        self._begin([])
        self.resumed_bytes = 0

    # what becomes of it

    def reader(self) -> int:
        """A descriptor for reading the bytes as they come, the caller's."""
        return os.open(self._folder / "data", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def publish(self, path: Path) -> None:
        """Give the verified bytes their place among the blobs, durably; they stay here, too, until `discard`. Raises OSError."""
        os.fchmod(self._fd, 0o400)
        os.fsync(self._fd)
        point("content.partial")
        publish(self._folder / "data", path)

    def close(self) -> None:
        """Let go of it; what is there stays for the next that asks for the blob."""
        for fd in (self._fd, self._record_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._record_fd = -1

    def discard(self) -> None:
        """Let go of it, and remove it."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # inner

    def _read_record(self) -> list[int]:
        """How much of each part is there, with `_part_bytes` as it was; nothing where that cannot be."""
        length = os.fstat(self._fd).st_size
        try:
            record = (self._folder / "parts").read_bytes()
        except FileNotFoundError:
            if 0 < length <= self.size_bytes:
                self._part_bytes = self.size_bytes
                return [length]
        else:
            numbers = [number for (number,) in _NUMBER.iter_unpack(record[: len(record) // _NUMBER.size * _NUMBER.size])]
            step, counts = (numbers[0], numbers[1:]) if numbers else (0, [])
            if step > 0 and len(counts) == -(-self.size_bytes // step) and length <= self.size_bytes:
                ends = [n * step + count for n, count in enumerate(counts)]
                if all(count <= min(step, self.size_bytes - n * step) and (not count or ends[n] <= length) for n, count in enumerate(counts)):
                    self._part_bytes = step
                    return counts
        self._clear()
        return []

    def _clear(self) -> None:
        os.ftruncate(self._fd, 0)
        (self._folder / "parts").unlink(missing_ok=True)

    def _begin(self, counts: list[int]) -> None:
        step = self._part_bytes
        starts = range(0, self.size_bytes, step) if step else range(0)
        if len(starts) > 1 and not counts:
            (self._folder / "parts").write_bytes(_NUMBER.pack(step) + bytes(_NUMBER.size * len(starts)))
        if len(starts) > 1:
            self._record_fd = os.open(self._folder / "parts", os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        there = counts or [0] * len(starts)
        self._parts = [Part(n, start, min(start + step, self.size_bytes), start + there[n]) for n, start in enumerate(starts)]
        self.there_bytes = sum(there)
        self._first = 0
        self._pass_whole_parts()
        self._hash, self._hashed = hashlib.sha256(), 0

    def _pass_whole_parts(self) -> None:
        while self._first < len(self._parts) and self._parts[self._first].whole:
            self._first += 1

    def _hash_on(self, data: memoryview, start: int) -> None:
        """Hash what has become readable, `data` (which begins at `start`) from memory; a thread that finds another at it leaves it to that one."""
        while self._hashed < self.readable_bytes and self._hashing.acquire(blocking=False):
            try:
                if start == self._hashed:
                    self._hash.update(data)
                    self._hashed += len(data)
                elif not self._hash_some():
                    return
            finally:
                self._hashing.release()

    def _hash_some(self) -> bool:
        """Hash the next bytes, with the lock; False where somebody cut the file short."""
        chunk = os.pread(self._fd, min(_READ_BYTES, self.readable_bytes - self._hashed), self._hashed)
        self._hash.update(chunk)
        self._hashed += len(chunk)
        return bool(chunk)
