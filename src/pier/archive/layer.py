"""Taking one layer in, while it streams past: the tar is hashed, written and parsed in one pass, then made readable.

    <folder>/layer.tar     the layer as it came (its sha256 is the diff ID); kind "erofs"
    <folder>/layer.erofs   its index
    <folder>/fs/           kind "unpacked": the files; layer.skeleton: what turns them into the same tar again; layer.json: sizes

Until `finish` returns nothing in the folder may be used; a folder that was left half-way is simply removed.
"""

import ctypes
import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from pier.archive import erofs, skeleton, unpack
from pier.archive.chunks import ZEROS, Chunks, Piece, write_all
from pier.archive.limits import DEFAULT, Limits
from pier.archive.refusal import BadArchive
from pier.archive.tarstream import TarReader
from pier.archive.tree import Tree

TAR, INDEX, FILES, SKELETON, SIZES = "layer.tar", "layer.erofs", "fs", "layer.skeleton", "layer.json"
KINDS = ("erofs", "unpacked")
_QUEUED = 4  # pieces between reading and writing: bounds memory
_WRITE_BACK_BYTES = 16 << 20
_SYNC_FILE_RANGE_WRITE = 2
_FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


@dataclass(frozen=True)
class Layer:
    """A layer that was taken in. `dropped` says which attributes were left out, and how often each."""

    diff_id: str
    tar_bytes: int
    dropped: dict[str, int]
    files_bytes: int = 0


class Budget:
    """What may still be written while one archive is read: the limit of the caller and the free space of the disk."""

    def __init__(self, fd: int, limits: Limits) -> None:
        self._fd, self._limits = fd, limits
        self.used_bytes = self._checked = 0

    def spend(self, count: int) -> None:
        """Account for `count` bytes. Raises BadArchive at the limit, OSError(ENOSPC) where less than the reserve would be left on the disk."""
        self.used_bytes += count
        if self.used_bytes > self._limits.total_bytes:
            raise BadArchive("", f"its content is larger than {self._limits.total_bytes} bytes: the limit")
        if self.used_bytes - self._checked >= 32 << 20 or not self._checked:
            self._checked = self.used_bytes
            space = os.fstatvfs(self._fd)
            if space.f_bavail * space.f_frsize < self._limits.reserve_bytes:
                raise OSError(errno.ENOSPC, f"no space left on the disk after {self.used_bytes} bytes")


class Sink:
    """Hashes and writes pieces in a thread of its own; both release the interpreter, so parsing goes on beside them.

    `fd` -1 only hashes. Errors of the thread are raised by the next `put` or by `finish`.
    """

    def __init__(self, fd: int, budget: Budget) -> None:
        self._fd, self._budget = fd, budget
        self._queue: SimpleQueue[Piece | None] = SimpleQueue()
        self._free = threading.Semaphore(_QUEUED)
        self._hash = hashlib.sha256()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self.size = 0

    def put(self, piece: Piece) -> None:
        """Add bytes; `piece` must not change afterwards."""
        if self._error:
            raise self._error
        self.size += len(piece)
        if self._fd >= 0:
            self._budget.spend(len(piece))
        if not self._thread:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._free.acquire()
        self._queue.put(piece)

    def finish(self) -> str:
        """Wait until all is written; returns the digest, `sha256:...`."""
        if self._thread:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if self._error:
            raise self._error
        return "sha256:" + self._hash.hexdigest()

    def _run(self) -> None:
        written = started = 0
        while (piece := self._queue.get()) is not None:
            try:
                if self._fd >= 0 and not self._error:
                    if piece is ZEROS:
                        # The hole counts once the file is that long: a tar ends with other bytes, but what ends here may be none.
                        os.ftruncate(self._fd, os.lseek(self._fd, len(piece), os.SEEK_CUR))
                    else:
                        write_all(self._fd, piece)
                    written += len(piece)
                    if written - started >= _WRITE_BACK_BYTES:
                        # Writing to the disk begins now, so that the one fsync at the end has little left to do.
                        _libc.sync_file_range(self._fd, started, written - started, _SYNC_FILE_RANGE_WRITE)
                        started = written
                self._hash.update(piece)
            except OSError as error:
                self._error = error
            self._free.release()


class Intake:
    """One layer on its way into the folder `dir_fd`.

    `read` takes the tar in, `finish` makes it usable, `close` is always due.
    """

    def __init__(self, dir_fd: int, budget: Budget, limits: Limits = DEFAULT) -> None:
        self._dir_fd, self._limits = dir_fd, limits
        self._tar_fd = os.open(TAR, _FILE_FLAGS, 0o600, dir_fd=dir_fd)
        self._sink = Sink(self._tar_fd, budget)
        self.tree = Tree(limits)
        self.diff_id = ""
        self.refusal: BadArchive | None = None

    def read(self, source: Callable[[], Piece]) -> None:
        """Read the whole tar from `source` (expanded); sets `diff_id`.

        What the entries are refused for is kept in `refusal`, so that a blob which nobody uses as a layer does no harm;
        errors of `source` itself and of the disk are raised.
        """

        def tee() -> Piece:
            piece = source()
            if piece:
                self._sink.put(piece)
            return piece

        chunks = Chunks(tee)
        reader = TarReader(chunks, self._limits)
        try:
            try:
                while entry := reader.next():
                    self.tree.add(entry)
            except BadArchive as refusal:
                self.refusal = refusal
            chunks.drain()
        finally:
            self.diff_id = self._sink.finish()

    @property
    def tar_bytes(self) -> int:
        return self._sink.size

    def finish(self, kind: str) -> Layer:
        """Make the layer usable as `kind`; durable it is after `sync_files` or `sync_filesystem`. Raises the kept refusal, OSError."""
        if self.refusal:
            raise self.refusal
        if kind == "erofs":
            self._make_index()
        else:
            self._unpack()
        dropped = {name.decode(errors="backslashreplace"): count for name, count in self.tree.dropped.items()}
        return Layer(self.diff_id, self.tar_bytes, dropped, self.tree.files_bytes)

    def close(self) -> None:
        if self._tar_fd >= 0:
            os.close(self._tar_fd)
            self._tar_fd = -1

    def _make_index(self) -> None:
        fd = os.open(INDEX, _FILE_FLAGS, 0o600, dir_fd=self._dir_fd)
        try:
            try:
                erofs.write_index(self.tree, fd, self._tar_fd, self.tar_bytes, erofs.uuid_of(self.diff_id))
            except erofs.IndexTooLarge as error:
                raise BadArchive("", str(error)) from None
        finally:
            os.close(fd)

    def _unpack(self) -> None:
        os.mkdir(FILES, 0o700, dir_fd=self._dir_fd)
        files_fd = os.open(FILES, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._dir_fd)
        skeleton_fd = os.open(SKELETON, _FILE_FLAGS, 0o600, dir_fd=self._dir_fd)
        try:
            files_bytes = unpack.write_files(self.tree, self._tar_fd, files_fd)
            skeleton.write_skeleton(self.tree, self._tar_fd, self.tar_bytes, skeleton_fd)
            os.unlink(TAR, dir_fd=self._dir_fd)
            self._write_sizes(files_bytes + os.fstat(skeleton_fd).st_blocks * 512)
        finally:
            os.close(files_fd)
            os.close(skeleton_fd)


    def _write_sizes(self, disk_bytes: int) -> None:
        """So that nobody has to walk the files to know what they take."""
        fd = os.open(SIZES, _FILE_FLAGS, 0o600, dir_fd=self._dir_fd)
        try:
            os.write(fd, json.dumps({"tar_bytes": self.tar_bytes, "disk_bytes": disk_bytes}).encode())
        finally:
            os.close(fd)


def sync_files(dir_fd: int) -> None:
    """fsync every file of a folder, and the folder. Raises OSError."""
    for name in os.listdir(dir_fd):
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    os.fsync(dir_fd)


def sync_filesystem(fd: int) -> None:
    """syncfs(2): everything on the file system of `fd`. Raises OSError."""
    if _libc.syncfs(fd) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "syncfs")
