"""Holding a container still for a while, so that its files are of one moment; and letting it go on, whatever happens."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable

from pier import trace
from pier.containers.record import Container
from pier.containers.table import Containers, log
from pier.errors import Internal
from pier.linux.cgroups import CgroupLayout

PATIENCE_S = 10
_POLL_S = 0.002


@contextlib.asynccontextmanager
async def frozen(ctx: Containers, container: Container) -> AsyncIterator[Callable[[], None]]:
    """While the block runs, no process of the container does; what the block gets lets it go on before its end.

    A note that survives this process is written first: the next daemon thaws what this one left (`thaw_forgotten`). Raises Internal
    where it cannot be frozen.
    """
    thawed = False

    def thaw() -> None:
        nonlocal thawed
        if not thawed:
            thawed = True
            ctx.facts.cgroups.thaw(container.id)
            ctx.spawn(_forget(ctx, container.id), f"thawed {container.record.short_id}")
            ctx.publish(container, "unpause")

    row = (container.id, ctx.boot_id)
    await ctx.volatile.write(lambda db: db.execute("INSERT OR REPLACE INTO frozen VALUES (?, ?)", row), durable=False)
    try:
        trace.point("freeze.noted")
        await asyncio.to_thread(freeze, ctx.facts.cgroups, container)
        ctx.publish(container, "pause")
        trace.point("freeze.frozen")
        yield thaw
    finally:
        thaw()


def freeze(cgroups: CgroupLayout, container: Container) -> None:
    """Let every process of a container stand still; blocking. Raises Internal where one does not."""
    until = time.monotonic() + PATIENCE_S
    try:
        cgroups.freeze(container.id)
        while not cgroups.is_frozen(container.id):
            if time.monotonic() > until:
                raise OSError(0, f"a process of it did not stop within {PATIENCE_S} s")
            time.sleep(_POLL_S)
            cgroups.freeze(container.id)  # v1: a freeze that waits for a process is tried again
    except OSError as error:
        raise Internal(f"container {container.id} cannot be paused: {error.strerror}; without a pause its files may change meanwhile") from None


async def _forget(ctx: Containers, container_id: str) -> None:
    def write(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM frozen WHERE key = ?", (container_id,))

    await ctx.volatile.write(write, durable=False)


async def thaw_forgotten(ctx: Containers) -> None:
    """At start: what the last daemon held still when it was killed goes on."""
    for row in ctx.volatile.read("SELECT key, boot_id FROM frozen"):
        if row["boot_id"] == ctx.boot_id and ctx.facts.cgroups.exists(row["key"]):
            log.warning("repair: container %s was held still by a daemon that died: it goes on", row["key"][:12])
            await asyncio.to_thread(ctx.facts.cgroups.thaw, row["key"])
        await _forget(ctx, row["key"])
