"""What a container changed in its files, as the API lists it."""

import os
import tempfile

from pier.containers.commit import ENGINE_MADE
from pier.containers.table import Containers
from pier.errors import Conflict
from pier.snapshots.reading import reading


async def changes(ctx: Containers, name: str) -> tuple[int, int]:
    """(a file with the list as JSON, its size in bytes); the file has no name, and is the caller's to close.

    Each item is {"Path", "Kind"}: 0 modified, 1 added, 2 deleted; the text is `null` where nothing is. A container that runs changes its
    files meanwhile. Raises NotFound, Conflict (it is removed meanwhile), Invalid, Unavailable.
    """
    container = ctx.find(name)
    with tempfile.TemporaryFile(dir=ctx.data_root) as file:
        async with reading(ctx.snapshots, container.id) as (upper, *layers):
            await ctx.workers.run("differences", [file.fileno(), *layers, upper], engine_made=ENGINE_MADE)
        if container.removed:
            raise Conflict(f"container {container.id} was removed while it was read")
        return os.dup(file.fileno()), os.fstat(file.fileno()).st_size
