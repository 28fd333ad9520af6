"""The ID of a daemon, as `info` shows it."""

import contextlib
import os
import uuid
from pathlib import Path


def daemon_id(data_root: Path) -> str:
    """The ID of this daemon: made once, kept in the data root."""
    path = data_root / "engine-id"
    with contextlib.suppress(OSError, ValueError):
        return str(uuid.UUID(path.read_text().strip()))
    made = str(uuid.uuid4())
    draft = path.with_suffix(".new")
    draft.write_text(f"{made}\n")
    os.replace(draft, path)
    return made
