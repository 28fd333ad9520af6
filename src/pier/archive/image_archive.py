"""Taking an image archive in while it streams past: every blob hashed once, layers made readable on the way.

An archive's order is anybody's: Docker 28 writes its blobs before the documents that say what they are. So each entry is
judged by its first bytes. What is a tar, plain or compressed, is read as a layer at once; what is short is kept as a
document; the rest is only hashed. Which of them the image consists of is decided at the end (image_documents).

    <ingest>/layers/<n>/           layer.tar and layer.erofs, or fs/ and layer.skeleton
    <ingest>/blobs/sha256/<hex>    documents, and compressed layers as they came (the manifest names their digest)
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from pier.archive import compression
from pier.archive.chunks import READ_BYTES, Chunks, Piece
from pier.archive.layer import Budget, Intake, Layer, Sink, sync_files, sync_filesystem
from pier.archive.limits import DEFAULT, Limits
from pier.archive.refusal import BadArchive, shown
from pier.archive.tarnumbers import number
from pier.archive.tarstream import Entry, TarReader

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SNIFF_BYTES = 1024
ABSENT = -1  # number of a layer that was not read
_HEX = frozenset("0123456789abcdef")
Progress = Callable[[int, str], None]  # bytes of the archive read so far, the entry being read


@dataclass
class Blob:
    """One file of the archive. `layer` is set for what could be a layer, `stored` for a document that was kept."""

    entry: str
    digest: str
    size: int
    media: str  # "none", "gzip", "zstd": how it is compressed
    layer: "TakenLayer | None" = None
    stored: bool = False


@dataclass
class TakenLayer:
    """A tar that was read; whether it is a layer of an image shows at the end, so what is wrong with it is kept till then."""

    number: int
    diff_id: str
    layer: Layer | None
    refusal: BadArchive | None


@dataclass
class Contents:
    """All that the archive holds: blobs by digest and by name, and names that are links to others."""

    by_digest: dict[str, Blob] = field(default_factory=dict)
    by_name: dict[str, Blob] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Blob | None:
        """The blob of a name, through the archive's own links (old `docker save` links equal layers). Raises BadArchive."""
        seen = 0
        at = inside(name, name)
        while at in self.links:
            at, seen = self.links[at], seen + 1
            if seen > 40:
                raise BadArchive(name, "too many links in the archive")
        return self.by_name.get(at)


class ImageIntake:
    """Reads one image archive into the folder `ingest_fd`: `read`, decide what it means, then `sync`."""

    def __init__(self, ingest_fd: int, kind: str, limits: Limits = DEFAULT, keep_compressed: bool = True, progress: Progress | None = None) -> None:
        self._kind, self._limits, self._keep, self._progress = kind, limits, keep_compressed, progress
        self._budget = Budget(ingest_fd, limits)
        os.mkdir("blobs", 0o700, dir_fd=ingest_fd)
        os.mkdir("blobs/sha256", 0o700, dir_fd=ingest_fd)
        os.mkdir("layers", 0o700, dir_fd=ingest_fd)
        self._blobs_fd = os.open("blobs/sha256", _FOLDER_FLAGS, dir_fd=ingest_fd)
        self._layers_fd = os.open("layers", _FOLDER_FLAGS, dir_fd=ingest_fd)
        self.contents = Contents()
        self._layers = 0

    def read(self, pull: Callable[[], Piece]) -> Contents:
        """Read the archive, in whatever compression. Raises BadArchive naming the entry."""
        raw = Chunks(pull)
        head = raw.peek(_SNIFF_BYTES)
        if not head:
            raise BadArchive("", "it is empty")
        media, expanded = compression.expand(raw)
        reader = TarReader(Chunks(expanded), self._limits, self._limits.outer_entries)
        while entry := reader.next():
            name = inside(shown(entry.name), entry.name.decode("utf-8", "surrogateescape"))
            if self._progress:
                self._progress(raw.position, shown(entry.name))
            if entry.kind == "0":
                self._file(reader, entry, name)
            elif entry.kind in "12":
                if entry.kind == "2" and not entry.link.startswith(b"/"):
                    base = name.rpartition("/")[0]
                    target = _joined(shown(entry.name), base, entry.link.decode("utf-8", "surrogateescape"))
                else:
                    target = inside(shown(entry.name), entry.link.decode("utf-8", "surrogateescape"))
                self.contents.links[name] = target
            elif entry.kind != "5":
                raise BadArchive(shown(entry.name), "an image archive has files, folders and links only")
        # What stands behind the end of the tar belongs to nothing, but a damaged compressed stream must be seen.
        while expanded():
            pass
        if raw.position == 0 or not (self.contents.by_name or self.contents.links):
            raise BadArchive("", "it has no files" if media != "none" else "it is not an image archive: it has no files")
        return self.contents

    def document(self, blob: Blob) -> bytes:
        """The bytes of a document that was kept."""
        fd = os.open(blob.digest.removeprefix("sha256:"), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._blobs_fd)
        try:
            return os.read(fd, self._limits.document_bytes + 1)
        finally:
            os.close(fd)

    def sync(self) -> None:
        """Make all that was taken in durable. Raises OSError."""
        if self._kind == "unpacked":
            # One for all the files: an fsync for each takes three times as long as writing them.
            sync_filesystem(self._layers_fd)
            return
        for number_ in range(self._layers):
            folder = os.open(str(number_), _FOLDER_FLAGS, dir_fd=self._layers_fd)
            sync_files(folder)
            os.close(folder)
        sync_files(self._blobs_fd)
        os.fsync(self._layers_fd)

    def _file(self, reader: TarReader, entry: Entry, name: str) -> None:
        payload = Chunks(lambda: reader.some(READ_BYTES))
        head = payload.peek(_SNIFF_BYTES)
        promised = promised_digest(name)
        if promised and promised in self.contents.by_digest:
            blob = self._only_hash(payload, name)
        elif looks_like_layer(head):
            blob = self._layer(payload, name)
        elif entry.size <= self._limits.document_bytes:
            blob = self._document(payload, name)
        else:
            blob = self._only_hash(payload, name)
        if promised and blob.digest != promised:
            raise BadArchive(shown(entry.name), f"its content is {blob.digest}, not what its name says")
        known = self.contents.by_digest.setdefault(blob.digest, blob)
        self.contents.by_name[name] = known
        self.contents.links.pop(name, None)

    def _only_hash(self, payload: Chunks, name: str) -> Blob:
        digest = hashlib.sha256()
        while piece := payload.some(READ_BYTES):
            digest.update(piece)
        return Blob(name, "sha256:" + digest.hexdigest(), payload.position, "none")

    def _document(self, payload: Chunks, name: str) -> Blob:
        data = payload.take(self._limits.document_bytes + 1)
        digest = hashlib.sha256(data).hexdigest()
        self._budget.spend(len(data))
        if "sha256:" + digest not in self.contents.by_digest:
            fd = os.open(digest, _FILE_FLAGS, 0o600, dir_fd=self._blobs_fd)
            try:
                os.write(fd, data)
            finally:
                os.close(fd)
        return Blob(name, "sha256:" + digest, len(data), "none", stored=True)

    def _layer(self, payload: Chunks, name: str) -> Blob:
        if self._layers >= 4 * self._limits.layers:
            raise BadArchive(name, f"more than {4 * self._limits.layers} layers: the limit")
        number_, self._layers = self._layers, self._layers + 1
        os.mkdir(str(number_), 0o700, dir_fd=self._layers_fd)
        folder = os.open(str(number_), _FOLDER_FLAGS, dir_fd=self._layers_fd)
        intake = Intake(folder, self._budget, self._limits)
        try:
            media = compression.kind(payload.peek(8))
            if media == "none":
                intake.read(lambda: payload.some(READ_BYTES))
                blob = Blob(name, intake.diff_id, intake.tar_bytes, media)
            else:
                blob = self._compressed_layer(payload, name, intake, media)
            layer = None
            if not intake.refusal and blob.digest not in self.contents.by_digest:
                try:
                    layer = intake.finish(self._kind)
                except BadArchive as refusal:
                    intake.refusal = refusal
        finally:
            intake.close()
            os.close(folder)
        blob.layer = TakenLayer(number_, intake.diff_id, layer, intake.refusal and intake.refusal.within(name))
        return blob

    def _compressed_layer(self, payload: Chunks, name: str, intake: Intake, media: str) -> Blob:
        kept = os.open(f".{intake_name(name)}", _FILE_FLAGS, 0o600, dir_fd=self._blobs_fd) if self._keep else -1
        sink = Sink(kept, self._budget)

        def tee() -> Piece:
            piece = bytes(payload.some(READ_BYTES))
            if piece:
                sink.put(piece)
            return piece

        try:
            compressed = Chunks(tee)
            try:
                intake.read(compression.expand(compressed)[1])
            except BadArchive as refusal:
                intake.refusal = intake.refusal or refusal
            compressed.drain()
        finally:
            digest = sink.finish()
            if kept >= 0:
                os.close(kept)
        if kept >= 0:
            os.rename(f".{intake_name(name)}", digest.removeprefix("sha256:"), src_dir_fd=self._blobs_fd, dst_dir_fd=self._blobs_fd)
        return Blob(name, digest, sink.size, media, stored=kept >= 0)


def intake_name(name: str) -> str:
    """A file name of our own for a blob whose digest is not known yet."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def looks_like_layer(head: bytes) -> bool:
    """Whether a file that begins so can be a layer: compressed, a tar header, or the empty tar's zeros."""
    if head[:3] == b"\x1f\x8b\x08" or head[:4] == b"\x28\xb5\x2f\xfd":
        return True
    if len(head) < 512:
        return False
    if not head.strip(b"\0"):
        return True
    try:
        stated = number(head[148:156], "checksum")
    except ValueError:
        return False
    return stated == sum(head[:512]) - sum(head[148:156]) + 256


def inside(entry: str, name: str) -> str:
    """A name of the archive without `./` and empty parts; raises BadArchive for `..`, absolute names and NULs."""
    if name.startswith("/"):
        raise BadArchive(entry, f"{shown(name.encode('utf-8', 'surrogateescape'))} is an absolute name: it leads out of the archive")
    return _joined(entry, "", name)


def _joined(entry: str, base: str, name: str) -> str:
    parts = base.split("/") if base else []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise BadArchive(entry, "`..` leads out of the archive")
            parts.pop()
        elif "\0" in part:
            raise BadArchive(entry, "a NUL in the name")
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def promised_digest(name: str) -> str:
    """The digest that a name claims: `blobs/sha256/<hex>`, or `<hex>.json` of old archives; empty for other names. Raises BadArchive."""
    head, _, base = name.rpartition("/")
    if head.startswith("blobs/"):
        if head != "blobs/sha256" or len(base) != 64 or not _HEX.issuperset(base):
            raise BadArchive(name, "a blob's name is blobs/sha256/ and 64 hexadecimal digits; other algorithms are not supported")
        return "sha256:" + base
    if not head and base.endswith(".json") and len(base) == 69 and _HEX.issuperset(base[:64]):
        return "sha256:" + base[:64]
    return ""
