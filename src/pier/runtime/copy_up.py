"""Filling an empty volume with what the image has at its place.

Runs in the container's child while it still has every capability and before the volume covers the image's folder.
"""

from pier.linux import treecopy
from pier.runtime.child_state import StepFailed


def copy_folder(source_fd: int, target_fd: int, where: str) -> int:
    """Copy everything in a folder, and its own owner, mode and times, to an empty one; returns the number of entries.

    where: its name in the container, for errors. Raises StepFailed naming the entry.
    """
    try:
        return treecopy.copy_folder(source_fd, target_fd, where, labels=False)
    except OSError as error:
        raise StepFailed(f"copy the image's files into the volume: {error.filename}: {error.strerror}", error, path=str(error.filename)) from None
