"""A blob on its way in."""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from pier.errors import Invalid
from pier.trace import point

_READ_BYTES = 1 << 20


class Ingest:
    """An open ingest: append with `write`, then `commit` or `abort`; `close` keeps it to be resumed.

    Blocking; use from one thread at a time. Made by `ContentStore.ingest`.
    """

    def __init__(self, folder: Path, blob_path: Callable[[str], Path]) -> None:
        """Open or create the ingest in `folder`; what an earlier one left is read once, to hash it."""
        self.folder = folder
        self._blob_path = blob_path
        folder.mkdir(mode=0o700, exist_ok=True)
        self._file = folder / "data"
        self._fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._hash = hashlib.sha256()
        self.offset_bytes = 0
        while chunk := os.pread(self._fd, _READ_BYTES, self.offset_bytes):
            self._hash.update(chunk)
            self.offset_bytes += len(chunk)

    def write(self, data: bytes) -> None:
        """Append. Raises OSError; the ingest can then be resumed from `offset_bytes` of a new one, or aborted."""
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._hash.update(view[:written])
            self.offset_bytes += written
            view = view[written:]

    def reader(self) -> int:
        """A descriptor for reading what is written so far, the caller's."""
        return os.open(self._file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    @property
    def digest(self) -> str:
        """The digest of what is there so far."""
        return "sha256:" + self._hash.hexdigest()

    def commit(self, digest: str, size: int = -1) -> None:
        """Make it the blob `digest`, durably; the ingest is gone afterwards, whatever happens but a kill.

        size: bytes it must have, -1 for any. Raises Invalid where size or digest are not those promised, OSError.
        """
        try:
            if size >= 0 and self.offset_bytes != size:
                raise Invalid(f"{digest}: got {self.offset_bytes} bytes, {size} were announced")
            if self.digest != digest:
                raise Invalid(f"{digest}: the {self.offset_bytes} bytes received have the digest {self.digest}")
            os.fchmod(self._fd, 0o400)
            os.fsync(self._fd)
            point("content.commit")
            publish(self._file, self._blob_path(digest))
        finally:
            self.abort()

    def abort(self) -> None:
        """Throw it away. A second call does nothing."""
        self.close()
        self._file.unlink(missing_ok=True)
        if self.folder.exists():
            self.folder.rmdir()

    def close(self) -> None:
        """Let go of the file; what was written stays for the next ingest of that key."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def publish(source: Path, target: Path) -> None:
    """Rename a finished, fsynced file to its place and make the name durable; a blob that is there already stays."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        pass
    else:
        sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """fsync of a folder: the names in it are durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def hash_fd(fd: int) -> tuple[str, int]:
    """(digest, bytes) of a regular file. Raises Invalid for anything else."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise Invalid("a blob must be a regular file")
    found, offset = hashlib.sha256(), 0
    while chunk := os.pread(fd, _READ_BYTES, offset):
        found.update(chunk)
        offset += len(chunk)
    return "sha256:" + found.hexdigest(), offset
