"""Looking at paths that a user named: a mount that hangs (a dead NFS server, a FUSE that does not answer) must hold up nobody else."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from pier.errors import Internal

PATIENCE_S = 10.0
T = TypeVar("T")


async def in_time(look: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """What `look` returns or raises, in a thread of its own. Raises Internal, which names `what`, after `patience_s`.

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
        return await asyncio.wait_for(future, patience_s)
    except TimeoutError:
        raise Internal(f"{what} does not answer within {patience_s:g} s: is it on a mount that hangs?") from None


def make_folder(path: str) -> list[str]:
    """Make a folder and those above it that are missing; returns what was made, the topmost first. Raises OSError: nothing was made then."""
    missing = []
    above = os.path.normpath(path)
    while not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above)
    made: list[str] = []
    try:
        for each in reversed(missing):
            with contextlib.suppress(FileExistsError):  # somebody else makes it, too
                os.mkdir(each)
                made.append(each)
    except OSError:
        remove_folders(made)
        raise
    return made


def remove_folders(made: Sequence[str]) -> None:
    """Take folders of `make_folder` away again, as far as nobody has put anything into them."""
    for path in reversed(made):
        with contextlib.suppress(OSError):
            os.rmdir(path)
