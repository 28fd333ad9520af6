"""One job of a worker on a stream: a scratch folder, a pipe, the result; whatever happens, the folder is gone afterwards."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from pier.archive.feed import feed, open_pipe
from pier.errors import Invalid, PierError, Unavailable
from pier.images.context import Context
from pier.ipc import PeerGone, RemoteError

Progress = Callable[[Mapping[str, Any]], None]


@contextlib.asynccontextmanager
async def parsed(
    ctx: Context, op: str, stream: AsyncIterator[bytes], on_progress: Progress | None = None, **fields: str
) -> AsyncIterator[tuple[Mapping[str, Any], Path]]:
    """(the worker's answer, the folder with what it made); take what you want from there before the block ends.

    fields: further ones of the worker's operation.
    Raises Invalid for bad input, with the entry and the reason; Unavailable where the worker died; what `stream` raises.
    """
    scratch = ctx.content.scratch()
    try:
        yield await _run(ctx, op, stream, scratch, on_progress, fields), scratch
    finally:
        await asyncio.to_thread(ctx.content.remove_scratch, scratch)


async def _run(
    ctx: Context, op: str, stream: AsyncIterator[bytes], scratch: Path, on_progress: Progress | None, fields: Mapping[str, str]
) -> Mapping[str, Any]:
    folder_fd = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    read_fd, write_fd = open_pipe()
    feeding = asyncio.ensure_future(feed(stream, write_fd))
    try:
        answer = await ctx.workers.run(op, [read_fd, folder_fd], on_progress, kind=ctx.layers.kind, **fields)
        # Only now: where the client broke off, the worker saw a short archive, and the client's fault is the better reason.
        os.close(read_fd)
        read_fd = -1
        await feeding
    except (RemoteError, PeerGone, PierError) as error:
        await _raise_cause(feeding, error)
        raise _as_pier_error(error) from error
    finally:
        if read_fd >= 0:
            os.close(read_fd)
        os.close(folder_fd)
        feeding.cancel()
        with contextlib.suppress(BaseException):
            await feeding
    return answer


async def _raise_cause(feeding: asyncio.Future[None], error: BaseException) -> None:
    if feeding.done() and not feeding.cancelled() and (cause := feeding.exception()):
        raise cause from error


def _as_pier_error(error: Exception) -> PierError:
    if isinstance(error, PierError):
        return error
    if isinstance(error, RemoteError):
        entry = error.fields.get("entry")
        message = str(error)
        return Invalid(f"{entry}: {message}" if entry and entry not in message else message)
    return Unavailable(f"the worker that read the archive ended before it was done ({error}): try again")
