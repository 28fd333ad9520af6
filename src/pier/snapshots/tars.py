"""The tar of an unpacked layer, made again from its files while it is read."""

import os
import threading
from pathlib import Path

from pier.archive import skeleton
from pier.archive.chunks import write_all
from pier.archive.layer import FILES, SKELETON
from pier.archive.refusal import BadArchive

_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def stream_tar(folder: Path) -> int:
    """The reading end of a pipe that a thread writes the tar to; a reader that stops early ends the thread."""
    skeleton_fd = os.open(folder / SKELETON, _FILE_FLAGS)
    files_fd = os.open(folder / FILES, _FILE_FLAGS | os.O_DIRECTORY)
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)

    def write() -> None:
        try:
            for data in skeleton.read_tar(skeleton_fd, files_fd):
                write_all(write_fd, data)
        except (OSError, BadArchive):
            pass  # the reader has gone, or sees a tar that is cut short: its digest tells
        finally:
            for fd in (write_fd, skeleton_fd, files_fd):
                os.close(fd)

    threading.Thread(target=write, name="tar", daemon=True).start()
    return read_fd
