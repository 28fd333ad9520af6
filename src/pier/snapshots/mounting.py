"""Mounting one layer: its index with its tar, from the files themselves, or over loop devices where the kernel cannot (before 6.12)."""

import os
from pathlib import Path

from pier.archive.layer import INDEX, TAR
from pier.errors import Unavailable
from pier.linux import mounts
from pier.linux.loops import attach as attach_loop

_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def mount_layer(folder: Path, loops: bool = False, label: str = "") -> int:
    """A detached mount of the layer in `folder`; loops: through block devices. label: of SELinux. Raises Unavailable naming the cause."""
    index = os.open(folder / INDEX, _FILE_FLAGS)
    opened = [index, os.open(folder / TAR, _FILE_FLAGS)]
    try:
        # By descriptor: the kernel takes at most 255 bytes of path. Direct I/O, else the data sits in the page cache twice.
        paths = [f"/proc/self/fd/{fd}" for fd in opened]
        if loops:
            devices = [attach_loop(fd, f"{folder.name[:12]}/{name}") for fd, name in zip(tuple(opened), (INDEX, TAR), strict=True)]
            opened += [fd for fd, _ in devices]
            paths = [path for _, path in devices]
        return mounts.mount_erofs(paths[0], paths[1:], directio=not loops, label=label)
    except OSError as error:
        raise Unavailable(f"layer {folder.name} cannot be mounted: {error.strerror} ({error.filename})") from error
    finally:
        for fd in opened:
            os.close(fd)
