"""What a worker does: the operations of the contract, each on descriptors only, each in one pass.

load    [input, ingest folder], kind, platform?, keep_compressed?, limits?  -> images, bytes
import  [input, ingest folder], kind, limits?                              -> diff_id, size, dir, bytes
compress [tar, output, an empty folder], form?, level?, threads?           -> diff_id, tar_bytes, size
"""

import json
import os
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pier import trace
from pier.archive import compress, compression
from pier.archive.chunks import Chunks, Piece, from_fd
from pier.archive.image_archive import ImageIntake
from pier.archive.image_documents import Documents, FoundImage
from pier.archive.layer import KINDS, Budget, Intake, Layer, sync_files, sync_filesystem
from pier.archive.limits import DEFAULT, Limits
from pier.archive.refusal import BadArchive
from pier.oci import platform

Fields = dict[str, Any]
Say = Callable[[Fields], None]  # sends a progress event
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_EVENT_S, _WAIT_MS = 0.25, 5000
_MAX_THREADS = 64


class Heartbeat:
    """Progress events: at most four a second while bytes come, one in five seconds while the input has none."""

    def __init__(self, fd: int, say: Say) -> None:
        self._fd, self._say = fd, say
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._last = time.monotonic()
        self._bytes = 0
        self._entry = ""

    def waiting(self) -> None:
        """Called before each read of the input."""
        while not self._poll.poll(_WAIT_MS):
            self._say({"bytes": self._bytes, "entry": self._entry, "state": "waiting"})

    def read(self, count: int) -> None:
        """`count` more bytes of the input were read."""
        self._bytes += count
        now = time.monotonic()
        if now - self._last >= _EVENT_S:
            self._last = now
            self._say({"bytes": self._bytes, "entry": self._entry, "state": "reading"})

    def at(self, _position: int, entry: str) -> None:
        self._entry = entry

    def state(self, state: str) -> None:
        self._say({"bytes": self._bytes, "entry": self._entry, "state": state})


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
    intake = ImageIntake(ingest_fd, kind, limits, bool(fields.get("keep_compressed", True)), beat.at)
    contents = intake.read(pull)
    wanted = platform.parse(fields["platform"]) if fields.get("platform") else platform.host()
    images = Documents(contents, intake.document, wanted, limits).images()
    trace.point("worker.load.read")
    beat.state("syncing")
    intake.sync()
    sizes = {blob.layer.number: blob.layer.layer for blob in contents.by_digest.values() if blob.layer and blob.layer.layer}
    dropped: dict[str, int] = {}
    for layer in sizes.values():
        for name, count in layer.dropped.items():
            dropped[name] = dropped.get(name, 0) + count
    warnings = [f"attribute {name} of {count} files was left out: a layer cannot carry it" for name, count in sorted(dropped.items())[:20]]
    return {"images": [_image(image, sizes) for image in images], "warnings": warnings}


def _image(image: FoundImage, sizes: Mapping[int, Layer]) -> Fields:
    layers = [
        {
            "diff_id": layer.diff_id,
            "blob_digest": layer.blob_digest,
            "blob_size": layer.blob_size,
            "media_type": layer.media_type,
            "dir": f"layers/{layer.number}",
            "tar_bytes": sizes[layer.number].tar_bytes,
            "size": sizes[layer.number].files_bytes,
        }
        for layer in image.layers
    ]
    return {"config_digest": image.config_digest, "config": image.config, "manifest": image.manifest, "tags": list(image.tags), "layers": layers}


def _import(fields: Fields, fds: list[int], say: Say) -> Fields:
    pull, ingest_fd, kind, limits, beat = _reading(fields, fds, say)
    os.mkdir("layers", 0o700, dir_fd=ingest_fd)
    os.mkdir("layers/0", 0o700, dir_fd=ingest_fd)
    folder = os.open("layers/0", _FOLDER_FLAGS, dir_fd=ingest_fd)
    intake = Intake(folder, Budget(ingest_fd, limits), limits)
    try:
        raw = Chunks(pull)
        if not raw.peek(1):
            raise BadArchive("", "it is empty")
        intake.read(compression.expand(raw)[1])
        layer = intake.finish(kind)
        beat.state("syncing")
        if kind == "unpacked":
            sync_filesystem(folder)
        else:
            sync_files(folder)
    finally:
        intake.close()
        os.close(folder)
    return {"diff_id": layer.diff_id, "size": layer.files_bytes, "tar_bytes": layer.tar_bytes, "dir": "layers/0"}


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


OPERATIONS: dict[str, Callable[[Fields, list[int], Say], Fields]] = {"load": _load, "import": _import, "compress": _compress}
"""Every operation, by its name in a request: fields of the request, its descriptors, where progress goes -> fields of the answer."""


def error_fields(error: BaseException) -> Fields:
    """The `error` object of an answer."""
    if isinstance(error, BadArchive):
        return {"message": str(error), "entry": error.entry, "reason": error.reason, "kind": "archive"}
    if isinstance(error, OSError):
        return {"message": f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), "errno": error.errno, "kind": "os"}
    return {"message": f"{type(error).__name__}: {error}", "kind": "request" if isinstance(error, ValueError) else "bug"}


def rough_size(answer: Fields) -> int:
    """Bytes of an answer as JSON, to be compared with what a message can carry."""
    return len(json.dumps(answer))
