"""Handing the body of a request to a worker through a pipe, without ever blocking the loop."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator

_PIPE_BYTES = 1 << 20


def open_pipe() -> tuple[int, int]:
    """(read end, write end), as large as this user may have; the write end does not block."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(write_fd, False)
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return read_fd, write_fd


async def feed(chunks: AsyncIterator[bytes], write_fd: int) -> None:
    """Write all chunks and close the pipe; returns early when the reader has gone (it read what it wanted, or gave up).

    Raises what `chunks` raises; the pipe is closed then too, so the reader sees the end.
    """
    try:
        async for chunk in chunks:
            view = memoryview(chunk)
            while view:
                try:
                    view = view[os.write(write_fd, view) :]
                except BlockingIOError:
                    await _writable(write_fd)
                except BrokenPipeError:
                    return
    finally:
        os.close(write_fd)


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(fd, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
