"""What a worker does: the operations of the contract, each on descriptors only, each in one pass.

load     [input, ingest folder], kind, platform?, keep_compressed?, limits?  -> images, warnings
import   [input, ingest folder], kind, limits?                               -> diff_id, size, tar_bytes, dir, warnings
layer    [blob, growth pipe, ingest folder], kind, size, limits?             -> the same
compress [tar, output, an empty folder], form?, level?, threads?             -> diff_id, tar_bytes, size
changes, compare, differences, squash, verify: see the files of these names; volume_*: volume_files.py
"""

import json
import select
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pier import trace
from pier.archive import compress, compression
from pier.archive.changes import make_layer
from pier.archive.chunks import Chunks, Piece, from_fd
from pier.archive.compare import compare
from pier.archive.differences import list_differences
from pier.archive.growing import Abandoned, follow
from pier.archive.image_archive import ABSENT, ImageIntake
from pier.archive.image_documents import Documents, FoundImage
from pier.archive.layer import KINDS, Layer
from pier.archive.limits import DEFAULT, Limits
from pier.archive.onelayer import dropped_lines, take_one
from pier.archive.pace import Pace, Say
from pier.archive.refusal import BadArchive
from pier.archive.squash import squash
from pier.archive.verify import verify
from pier.archive.volume_files import copy_files, export_files, import_files
from pier.oci import platform

Fields = dict[str, Any]
_WAIT_MS = 5000
_MAX_THREADS = 64


class Heartbeat(Pace):
    """Progress of reading a stream: beside the usual, one event in five seconds while the input has nothing."""

    def __init__(self, fd: int, say: Say) -> None:
        super().__init__(say)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def waiting(self) -> None:
        """Called before each read of the input."""
        while not self._poll.poll(_WAIT_MS):
            self.state("waiting")

    def name(self, _position: int, entry: str) -> None:
        """The entry that is read now."""
        self._entry = entry


def run(op: str, fields: Fields, fds: list[int], say: Say) -> Fields:
    """Carry out one operation and return its answer's fields. Raises BadArchive, OSError, ValueError for a wrong request."""
    operation = OPERATIONS.get(op)
    if operation is None:
        raise ValueError(f"the worker does not know {op!r}")
    if fields.get("kind", "erofs") not in KINDS:
        raise ValueError(f"there are no layers of kind {fields['kind']!r}")
    trace.point(f"worker.{op}")
    return operation(fields, fds, say)


def _reading(fields: Fields, fds: list[int], say: Say) -> tuple[Callable[[], Piece], int, str, Limits, Heartbeat]:
    """What load and import work with: (their input, the ingest folder, the kind of layers, limits, progress)."""
    input_fd, ingest_fd = fds
    beat = Heartbeat(input_fd, say)
    inner = from_fd(input_fd, beat.waiting)

    def pull() -> Piece:
        piece = inner()
        beat.read(len(piece))
        return piece

    return pull, ingest_fd, fields.get("kind", "erofs"), replace(DEFAULT, **fields.get("limits") or {}), beat


def _load(fields: Fields, fds: list[int], say: Say) -> Fields:
    pull, ingest_fd, kind, limits, beat = _reading(fields, fds, say)
    intake = ImageIntake(ingest_fd, kind, limits, bool(fields.get("keep_compressed", True)), beat.name)
    contents = intake.read(pull)
    wanted = platform.parse(fields["platform"]) if fields.get("platform") else None
    images = Documents(contents, intake.document, wanted, limits).images()
    trace.point("worker.load.read")
    beat.state("syncing")
    intake.sync()
    sizes = {blob.layer.number: blob.layer.layer for blob in contents.by_digest.values() if blob.layer and blob.layer.layer}
    return {"images": [_image(image, sizes) for image in images], "warnings": dropped_lines(sizes.values())}


def _image(image: FoundImage, sizes: Mapping[int, Layer]) -> Fields:
    layers = [
        {
            "diff_id": layer.diff_id,
            "blob_digest": layer.blob_digest,
            "blob_size": layer.blob_size,
            "media_type": layer.media_type,
            "dir": f"layers/{layer.number}" if layer.number != ABSENT else "",
            "tar_bytes": sizes[layer.number].tar_bytes if layer.number != ABSENT else -1,
            "size": sizes[layer.number].files_bytes if layer.number != ABSENT else -1,
        }
        for layer in image.layers
    ]
    return {"config_digest": image.config_digest, "config": image.config, "manifest": image.manifest, "index": image.index, "tags": list(image.tags),
            "layers": layers, "attestations": list(image.attestations)}  # fmt: skip


def _import(fields: Fields, fds: list[int], say: Say) -> Fields:
    pull, ingest_fd, kind, limits, beat = _reading(fields, fds, say)
    return _one_layer(pull, ingest_fd, kind, limits, beat, durable=True)


def _volume_import(fields: Fields, fds: list[int], say: Say) -> Fields:
    pull, folder_fd, _, limits, beat = _reading(fields, fds, say)
    raw = Chunks(pull)
    if not raw.peek(1):
        raise BadArchive("", "it is empty")
    return import_files(compression.expand(raw)[1], folder_fd, limits, beat)


def _layer(fields: Fields, fds: list[int], say: Say) -> Fields:
    """A blob that may still be on its way. Unpacked layers are not durable yet: one syncfs for all layers of an image is the daemon's."""
    blob_fd, growth_fd, ingest_fd = fds
    kind = fields.get("kind", "erofs")
    beat = Heartbeat(growth_fd, say)
    inner = follow(blob_fd, growth_fd, int(fields["size"]), beat.waiting)

    def pull() -> Piece:
        piece = inner()
        beat.read(len(piece))
        return piece

    limits = replace(DEFAULT, **fields.get("limits") or {})
    return _one_layer(pull, ingest_fd, kind, limits, beat, durable=kind != "unpacked")


def _one_layer(pull: Callable[[], Piece], ingest_fd: int, kind: str, limits: Limits, beat: Heartbeat, *, durable: bool) -> Fields:
    raw = Chunks(pull)
    if not raw.peek(1):
        raise BadArchive("", "it is empty")
    return take_one(ingest_fd, kind, compression.expand(raw)[1], beat, limits, durable=durable)


def _compress(fields: Fields, fds: list[int], say: Say) -> Fields:
    """Whether the tar is the one that it should be, and the blob what was made here, is for the daemon to see: it hashes what comes out."""
    tar_fd, out_fd, _ = fds
    form = compress.form_of(fields.get("form", "gzip"), fields.get("level"))
    threads = fields.get("threads", 1)
    if not 1 <= threads <= _MAX_THREADS:
        raise ValueError(f"{threads} threads")
    beat = Heartbeat(tar_fd, say)
    made = compress.compress(tar_fd, out_fd, form, threads, beat.read)
    return {"diff_id": made.diff_id, "tar_bytes": made.tar_bytes, "size": made.size}


OPERATIONS: dict[str, Callable[[Fields, list[int], Say], Fields]] = {
    "changes": make_layer, "compare": compare, "compress": _compress, "differences": list_differences,
    "import": _import, "layer": _layer, "load": _load, "squash": squash, "verify": verify,
    "volume_copy": copy_files, "volume_export": export_files, "volume_import": _volume_import,
}  # fmt: skip
"""Every operation, by its name in a request: fields of the request, its descriptors, where progress goes -> fields of the answer."""


def error_fields(error: BaseException) -> Fields:
    """The `error` object of an answer."""
    if isinstance(error, BadArchive):
        return {"message": str(error), "entry": error.entry, "reason": error.reason, "kind": "archive"}
    if isinstance(error, Abandoned):
        return {"message": str(error), "kind": "abandoned"}
    if isinstance(error, OSError):
        return {"message": f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), "errno": error.errno, "kind": "os"}
    return {"message": f"{type(error).__name__}: {error}", "kind": "request" if isinstance(error, ValueError) else "bug"}


def rough_size(answer: Fields) -> int:
    """Bytes of an answer as JSON, to be compared with what a message can carry."""
    return len(json.dumps(answer))
