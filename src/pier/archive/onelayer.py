"""The end of every operation that makes one layer: into `layers/0` of the ingest folder, and what is answered about it."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from pier import trace
from pier.archive.chunks import Piece
from pier.archive.layer import Budget, Intake, Layer, sync_files, sync_filesystem
from pier.archive.limits import DEFAULT, Limits
from pier.archive.pace import Pace

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PLACE = "layers/0"


def take_one(
    ingest_fd: int, kind: str, source: Callable[[], Piece], pace: Pace, limits: Limits = DEFAULT, *, durable: bool = True
) -> dict[str, Any]:
    """Take in the layer whose tar `source` gives: {"diff_id", "size", "tar_bytes", "dir", "warnings"}.

    durable: all of it is on the disk when this returns. The event "read" comes when `source` is not needed any more.
    Raises BadArchive, OSError, and what `source` raises.
    """
    os.mkdir("layers", 0o700, dir_fd=ingest_fd)
    os.mkdir(PLACE, 0o700, dir_fd=ingest_fd)
    folder = os.open(PLACE, _FOLDER_FLAGS, dir_fd=ingest_fd)
    intake = Intake(folder, Budget(ingest_fd, limits), limits)
    try:
        intake.read(source)
        pace.state("read")
        trace.point("layer.read")
        layer = intake.finish(kind)
        trace.point("layer.made")
        if durable:
            pace.state("syncing")
            (sync_filesystem if kind == "unpacked" else sync_files)(folder)
    finally:
        intake.close()
        os.close(folder)
    warnings = dropped_lines([layer])
    return {"diff_id": layer.diff_id, "size": layer.files_bytes, "tar_bytes": layer.tar_bytes, "dir": PLACE, "warnings": warnings}


def dropped_lines(layers: Iterable[Layer]) -> list[str]:
    """What is said of attributes that layers cannot carry."""
    dropped: Counter[str] = Counter()
    for layer in layers:
        dropped.update(layer.dropped)
    return [f"attribute {name} of {count} files was left out: a layer cannot carry it" for name, count in sorted(dropped.items())[:20]]
