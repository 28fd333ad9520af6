"""The store of blobs. Blocking calls that take microseconds for small blobs; hand big ones to a thread."""

import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path

from pier.content.ingest import Ingest, hash_fd, sync_folder
from pier.content.partial import Partial
from pier.errors import Internal, Invalid, NotFound
from pier.linux.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from pier.oci import digest as digests
from pier.trace import point

_log = logging.getLogger("pier.content")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SCRATCH, _PARTIAL = "scratch-", "blob-"
_COPY_BYTES = 1 << 20


class ContentStore:
    """Blobs by digest under one folder; one daemon at a time uses it."""

    def __init__(self, root: Path) -> None:
        """Open `<data-root>/content`, creating what is missing. Scratch folders of a daemon that died are removed."""
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._ingests = root / "ingests"
        for folder in (root, root / "blobs", self._blobs, self._ingests):
            folder.mkdir(mode=0o700, exist_ok=True)
        for left in self._ingests.glob(_SCRATCH + "*"):
            _log.warning("removed %s: the job that it belonged to was not finished", left)
            self.remove_scratch(left)

    def path(self, digest: str) -> Path:
        """Where the blob is or would be. Raises Invalid for what is no sha256 digest."""
        if not digests.is_sha256(digest):
            raise Invalid(f"{digest!r} is not a sha256 digest")
        return self._blobs / digests.hex_part(digest)

    def has(self, digest: str) -> bool:
        """Whether the blob is here."""
        return self.path(digest).exists()

    def size(self, digest: str) -> int:
        """Bytes of a blob. Raises NotFound."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is not in {self._blobs}") from None

    def open(self, digest: str) -> int:
        """A descriptor for reading, owned by the caller. Raises NotFound."""
        try:
            return os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is not in {self._blobs}") from None

    def read(self, digest: str, limit_bytes: int = 16 << 20) -> bytes:
        """A small blob, verified again as it is read. Raises NotFound, Internal where the disk changed it."""
        fd = self.open(digest)
        with open(fd, "rb") as file:
            data = file.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise Internal(f"blob {digest} is larger than the {limit_bytes} bytes that such a document may have")
        if digests.of(data) != digest:
            raise Internal(f"{self.path(digest)} is damaged: its bytes have the digest {digests.of(data)}: remove the image and load it again")
        return data

    def write(self, data: bytes) -> str:
        """Store a small blob durably; returns its digest."""
        digest = digests.of(data)
        if not self.has(digest):
            ingest = self.ingest(f"{_SCRATCH}{secrets.token_hex(8)}")
            try:
                ingest.write(data)
                ingest.commit(digest, len(data))
            finally:
                ingest.abort()
        return digest

    def ingest(self, key: str) -> Ingest:
        """Start or resume the ingest `key` (letters, digits, `_.-`). Raises Invalid for another key."""
        if not _KEY.fullmatch(key):
            raise Invalid(f"{key!r} is not a key of an ingest")
        return Ingest(self._ingests / key, self.path)

    def partial(self, digest: str, size_bytes: int, part_bytes: int = 0) -> Partial:
        """Start or resume the blob `digest` in parts of `part_bytes` (0: as one); one at a time for a blob. Raises Invalid, OSError."""
        return Partial(self._ingests / (_PARTIAL + self.path(digest).name), digest, size_bytes, part_bytes)

    def publish(self, partial: Partial) -> bool:
        """Make a verified one a blob, durably, without copying it; whether the blob is new here. Raises OSError."""
        target = self.path(partial.digest)
        if target.exists():
            return False
        partial.publish(target)
        return True

    def expire(self, age_s: float, kept: Container[str] = ()) -> tuple[list[Path], int]:
        """Take away blobs that are still coming and got nothing for `age_s` seconds, and those that have arrived.

        kept: digests of those in use. Returns (folders that are scratch now, for `remove_scratch`, which may take a while; the bytes that the
        disk gets back by that).
        """
        folders, size = [], 0
        for folder in self._ingests.glob(_PARTIAL + "*"):
            digest = "sha256:" + folder.name.removeprefix(_PARTIAL)
            if digest in kept:
                continue
            try:
                data = os.lstat(folder / "data")
            except FileNotFoundError:
                data = os.lstat(folder)
            if time.time() - data.st_mtime < age_s and not (digests.is_sha256(digest) and self.has(digest)):
                continue
            folders.append(folder.rename(self._ingests / f"{_SCRATCH}{secrets.token_hex(8)}"))
            size += data.st_blocks * 512 if data.st_nlink == 1 else 0
        return folders, size

    def ingests(self) -> list[str]:
        """The keys of what is unfinished, scratch folders left out."""
        return sorted(entry.name for entry in self._ingests.iterdir() if not entry.name.startswith(_SCRATCH))

    def scratch(self) -> Path:
        """A new empty folder on the same file system, for one job of a worker; give it back with `remove_scratch`."""
        folder = self._ingests / f"{_SCRATCH}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        return folder

    def remove_scratch(self, folder: Path) -> None:
        """Remove a scratch folder and all in it, never following a link; what is gone already is no error."""
        shutil.rmtree(folder, ignore_errors=False, onerror=_missing_is_fine)

    def adopt(self, folder_fd: int, name: str, digest: str) -> bool:
        """Make a file that a worker left in its folder a blob; the bytes are hashed here, not believed.

        folder_fd: the scratch folder. name: a path below it; links and `..` are refused. Returns whether the blob is new here.
        Raises Invalid where it is no regular file or has another digest, OSError.
        """
        target = self.path(digest)
        if target.exists():
            return False
        fd = openat2(folder_fd, name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        ingest = self.ingest(f"{_SCRATCH}{secrets.token_hex(8)}")
        try:
            # A copy, not a rename: nobody who still holds the worker's file open can change the blob afterwards.
            found, size = hash_fd(fd)
            if found != digest:
                raise Invalid(f"{name}: its bytes have the digest {found}, not {digest}")
            offset = 0
            while chunk := os.pread(fd, _COPY_BYTES, offset):
                ingest.write(chunk)
                offset += len(chunk)
            point("content.adopt")
            ingest.commit(digest, size)
        finally:
            ingest.abort()
            os.close(fd)
        return True

    def delete(self, digest: str) -> int:
        """Remove a blob; returns the bytes it had, 0 where it was not here."""
        path = self.path(digest)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def digests(self) -> Iterator[str]:
        """The digests of all blobs; a file of another name is none."""
        for entry in os.scandir(self._blobs):
            if digests.is_sha256("sha256:" + entry.name):
                yield "sha256:" + entry.name

    def gc(self, roots: Iterable[str], children: Callable[[str], Iterable[str]] = lambda digest: ()) -> tuple[int, int]:
        """Remove every blob that no root reaches. Call it only while nothing is being committed.

        roots: digests that must stay. children: what a blob that stays names in turn. Returns (blobs, bytes) removed.
        """
        reached: set[str] = set()
        pending = list(roots)
        while pending:
            digest = pending.pop()
            if digest not in reached:
                reached.add(digest)
                pending.extend(children(digest))
        count = size = 0
        for digest in tuple(self.digests()):
            if digest not in reached:
                size += self.delete(digest)
                count += 1
        if count:
            sync_folder(self._blobs)
        return count, size


def _missing_is_fine(function: Callable[..., object], path: str, info: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(info[1], FileNotFoundError):
        raise info[1]
