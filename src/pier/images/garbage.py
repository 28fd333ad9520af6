"""What may go: layers and blobs that no image, no name and nobody at work needs. The one place that removes them while the daemon runs.

Layers are known by their diff IDs and blobs by theirs, in one set: a digest that is needed is needed as either.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterable

from pier.images.context import Context, uninterrupted
from pier.images.usage import Disk

_log = logging.getLogger("pier.images")


@contextlib.asynccontextmanager
async def keeping(ctx: Context, digests: Collection[str]) -> AsyncIterator[None]:
    """While the block runs, these layers (diff IDs) and blobs are not removed: what is found to be here in the block stays.

    For whoever reads or counts on content without a row of its own: a push, a save, a pull before its commit. A digest that is not here
    yet may be named, too. What nothing needs at the end of the block is removed then.
    """
    # Under the lock: a removal that was decided before is over, so that whoever looks in the block sees its result.
    async with ctx.lock:
        ctx.kept.update(digests)
    try:
        yield
    finally:
        ctx.kept.subtract(digests)
        await uninterrupted(_collect_later(ctx, digests))


async def _collect_later(ctx: Context, digests: Collection[str]) -> None:
    async with ctx.lock:
        for digest in digests:
            if not ctx.kept[digest]:
                del ctx.kept[digest]
        await collect(ctx, digests)


async def collect(ctx: Context, candidates: Iterable[str]) -> int:
    """Remove those of the candidates, layers and blobs, that nothing needs; under the lock, after the rows are gone.

    A file that cannot be removed stays until the next start, with a line in the log: what was asked for is done without it. Returns the
    bytes of disk that are free now.
    """
    gone = {digest for digest in candidates if not ctx.catalog.needs(digest) and not ctx.kept[digest]}
    return await asyncio.to_thread(_remove_files, ctx, sorted(gone)) if gone else 0


async def expire(ctx: Context, age_s: float) -> tuple[int, int]:
    """Remove what pulls left unfinished `age_s` seconds ago and before, but for what is being pulled now; (how many blobs, bytes)."""
    folders, size = ctx.content.expire(age_s, ctx.fetching)
    for folder in folders:
        await asyncio.to_thread(ctx.content.remove_scratch, folder)
    return len(folders), size


def _remove_files(ctx: Context, digests: Iterable[str]) -> int:
    disk, freed_bytes = Disk(ctx.content, ctx.layers), 0
    for digest in digests:
        try:
            if ctx.layers.has(digest):
                size_bytes = disk.layer(digest)
                ctx.layers.remove(digest)
                freed_bytes += size_bytes
        except OSError as error:
            _log.warning("layer %s stays on the disk until the next start: %s", digest, error)
        try:
            size_bytes = disk.blob_on_disk(digest)
            ctx.content.delete(digest)
            freed_bytes += size_bytes
        except OSError as error:
            _log.warning("blob %s stays on the disk until the next start: %s", digest, error)
    return freed_bytes
