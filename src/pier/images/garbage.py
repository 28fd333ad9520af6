"""What may go: layers and blobs that no image, no name and nobody at work needs. The one place that removes them while the daemon runs.

Layers are known by their diff IDs and blobs by theirs, in one set: a digest that is needed is needed as either.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterable

from pier.images.context import Context, uninterrupted

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


async def collect(ctx: Context, candidates: Iterable[str]) -> None:
    """Remove those of the candidates, layers and blobs, that nothing needs; under the lock, after the rows are gone.

    A file that cannot be removed stays until the next start, with a line in the log: what was asked for is done without it.
    """
    gone = {digest for digest in candidates if not ctx.catalog.needs(digest) and not ctx.kept[digest]}
    if gone:
        await asyncio.to_thread(_remove_files, ctx, sorted(gone))


def _remove_files(ctx: Context, digests: Iterable[str]) -> None:
    for digest in digests:
        try:
            if ctx.layers.has(digest):
                ctx.layers.remove(digest)
        except OSError as error:
            _log.warning("layer %s stays on the disk until the next start: %s", digest, error)
        try:
            ctx.content.delete(digest)
        except OSError as error:
            _log.warning("blob %s stays on the disk until the next start: %s", digest, error)
