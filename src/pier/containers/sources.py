"""Looking at paths that a user named: a mount that hangs (a dead NFS server, a FUSE that does not answer) must hold up nobody else."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from pier.errors import Internal

PATIENCE_S = 10.0
T = TypeVar("T")


async def in_time(look: Callable[[], T], what: str) -> T:
    """What `look` returns or raises, in a thread of its own. Raises Internal, which names `what`, after ten seconds.

    The thread then waits on by itself; it is a daemon, so that the end of the process does not wait for it.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, problem: BaseException | None) -> None:
        if future.done():
            return
        if problem is not None:
            future.set_exception(problem)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (look(), None)
        except Exception as problem:
            outcome = (None, problem)
        try:
            loop.call_soon_threadsafe(settle, *outcome)
        except RuntimeError:
            pass  # the loop has ended meanwhile

    threading.Thread(target=run, name="look", daemon=True).start()
    try:
        return await asyncio.wait_for(future, PATIENCE_S)
    except TimeoutError:
        raise Internal(f"{what} does not answer within {PATIENCE_S:g} s: is it on a mount that hangs?") from None
