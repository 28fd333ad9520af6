"""Pausing: no process of a container runs until it is let go on. What the record says holds, also for the next daemon.

The record is written before the kernel is told; a daemon that finds the container makes the kernel follow its record (restore.py).
"""

import asyncio

from pier import trace
from pier.containers import monitor
from pier.containers.freeze import freeze
from pier.containers.record import Container
from pier.containers.table import Containers
from pier.errors import Conflict, Internal


async def pause(ctx: Containers, name: str) -> None:
    """Let every process of a container stand still; returns when they do.

    Raises NotFound, Conflict with Docker's texts, Internal (a process does not stop: the container runs on).
    """
    container = ctx.find(name)
    async with container.reading, container.lock:  # a commit holds it still as well, and lets it go on
        if container.state.restarting:
            raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
        if not container.state.running:
            raise Conflict(f"container {container.id} is not running")
        if container.state.paused:
            raise Conflict(f"Container {container.id} is already paused")
        monitor.halt(ctx, container)
        ctx.set_state(container, status="paused")
        try:
            await ctx.save_state(container)
            trace.point("pause.recorded")
            await asyncio.to_thread(freeze, ctx.facts.cgroups, container)
        except BaseException:
            await asyncio.shield(ctx.spawn(_run_on(ctx, container), f"let {container.record.short_id} run on"))
            raise
        trace.point("pause.frozen")
        ctx.publish(container, "pause")


async def unpause(ctx: Containers, name: str) -> None:
    """Let a paused container go on. Raises NotFound, Internal (it is not paused) with Docker's text."""
    container = ctx.find(name)
    async with container.reading, container.lock:
        if not container.state.paused:
            raise Internal(f"Container {container.id} is not paused")
        await _run_on(ctx, container)
        ctx.publish(container, "unpause")


def wake(ctx: Containers, container: Container) -> None:
    """A paused container gets a signal that it is to act on: it goes on, and its record follows."""
    if container.state.paused:
        ctx.set_state(container, status="running")
        ctx.facts.cgroups.thaw(container.id)
        ctx.publish(container, "unpause")
        monitor.again(ctx, container)
        ctx.spawn(ctx.save_state(container), f"save {container.record.short_id}")


async def _run_on(ctx: Containers, container: Container) -> None:
    ctx.set_state(container, status="running")
    await ctx.save_state(container)
    trace.point("unpause.recorded")
    await asyncio.to_thread(ctx.facts.cgroups.thaw, container.id)
    monitor.again(ctx, container)
