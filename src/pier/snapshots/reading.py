"""Reading what a container wrote, and what its layers show: descriptors that lead nowhere else."""

import contextlib
import itertools
import os
from collections.abc import AsyncIterator

from pier.linux import mounts
from pier.snapshots.snapshots import Snapshots

_numbers = itertools.count(1)


@contextlib.asynccontextmanager
async def reading(snapshots: Snapshots, id: str) -> AsyncIterator[list[int]]:
    """The writable folder of container `id`, then the roots of its layers, topmost first; closed when the block ends.

    Each is a mount of its own, read-only, from whose root `..` does not lead out: whoever gets the descriptors sees nothing else. What
    the container writes meanwhile shows. Raises NotFound, Unavailable, OSError.
    """
    user = f"reading:{id}:{next(_numbers)}"
    opened: list[int] = []
    try:
        opened.append(mounts.view(snapshots.upper(id)))
        fds = [opened[0]]
        for diff_id in dict.fromkeys(reversed(snapshots.diff_ids(id))):
            lower = await snapshots.layers.lower(diff_id, user)
            if isinstance(lower, str):
                opened.append(mounts.view(lower))
            fds.append(lower if isinstance(lower, int) else opened[-1])
        yield fds
    finally:
        snapshots.layers.let_go(user)
        for fd in opened:
            os.close(fd)
