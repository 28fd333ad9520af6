"""One job of a worker on layers that are here: their tars, and a scratch folder to work in."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pier.archive.refusal import BadArchive
from pier.errors import Invalid
from pier.images.context import Context


@contextlib.asynccontextmanager
async def open_tars(ctx: Context, diff_ids: Sequence[str]) -> AsyncIterator[list[int]]:
    """Descriptors to read the layers' tars from, once each, while the block runs. Raises NotFound where one is lost."""
    fds: list[int] = []
    try:
        for diff_id in diff_ids:
            fds.append(await asyncio.to_thread(ctx.layers.open_tar, diff_id))
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


async def run(
    ctx: Context, op: str, fds: Sequence[int], folder: Path, on_progress: Callable[[Mapping[str, Any]], None] | None = None, **fields: Any
) -> Mapping[str, Any]:
    """An operation on these descriptors and then the folder's. Raises Invalid naming the entry that is wrong, Unavailable."""
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return await ctx.workers.run(op, [*fds, folder_fd], on_progress, **fields)
    except BadArchive as refusal:
        raise Invalid(f"{refusal.entry}: {refusal.reason}" if refusal.entry else refusal.reason) from None
    finally:
        os.close(folder_fd)
