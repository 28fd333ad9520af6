"""Removing a container and everything that it has."""

import asyncio
import shutil

from pier import trace
from pier.containers import links, preparing, published, stop, streams, wait
from pier.containers.record import Container
from pier.containers.table import Containers, log
from pier.containers.volumes import anonymous
from pier.errors import Conflict, PierError
from pier.volumes.records import delete_all

_TRIES, _PAUSE_S, _UNHURRIED_S = 2, 0.2, 0.05


async def remove(ctx: Containers, name: str, force: bool = False, volumes: bool = False, link: bool = False) -> None:
    """Remove a container; `force` kills it first, `volumes` takes its anonymous volumes away. `link`: not a container, a link (links.py).

    Raises NotFound, Conflict with Docker's texts.
    """
    if link:
        await links.remove(ctx, name)
        return
    container = ctx.find(name)
    state = container.state
    if state.status == "removing":
        raise Conflict(f"removal of container {name} is already in progress")
    if (state.running or state.restarting) and not force:
        if state.paused:
            raise Conflict(f'cannot remove container "{name}": container is paused and must be unpaused first')
        kind = "running" if state.running else "restarting"
        raise Conflict(f'cannot remove container "{name}": container is {kind}: stop the container before removing or force remove')
    if container.doomed:
        raise Conflict(f"removal of container {name} is already in progress")
    container.doomed = True
    container.keep += 1
    try:
        await _down_and_out(ctx, container, force, name, volumes)
    finally:
        container.doomed = False
        container.keep -= 1


async def _down_and_out(ctx: Containers, container: Container, force: bool, name: str, volumes: bool) -> None:
    """KILL what runs, wait until its exit is recorded, and erase it; a start that is under way is waited for, no other one begins."""
    if force:
        container.end_copy()
    while True:
        async with container.lock:
            if container.removed:
                return
            if not (container.state.running or container.state.restarting):
                await erase(ctx, container, volumes)
                return
        if not force:
            raise Conflict(f'cannot remove container "{name}": container is running: stop the container before removing or force remove')
        await stop.halt(ctx, container, "SIGKILL", 0)


async def erase(ctx: Containers, container: Container, volumes: bool = True) -> None:
    """Take away a container that does not run, with its anonymous volumes unless told otherwise; its lock is held.

    The row goes first: from then on start-up repair takes away whatever a crash leaves of the rest.
    """
    before = container.state.status
    ctx.set_state(container, status="removing")
    try:
        trace.point("remove.row")
        if volumes and container.record.has_volumes:
            async with ctx.volumes.removing(list(anonymous(ctx, container)), ctx.users_of_volume, container.id) as going:
                await ctx.delete(container.id, lambda db: delete_all(db, [volume.name for volume in going]))
        else:
            await ctx.delete(container.id)
    except BaseException:
        ctx.set_state(container, status=before)
        raise
    container.removed = True
    ctx.table.pop(container.id, None)
    ctx.linked.pop(container.id, None)
    if ctx.names.get(container.name) == container.id:
        del ctx.names[container.name]
    for exec_id in container.execs:
        ctx.execs.pop(exec_id, None)
    ctx.publish(container, "destroy")
    wait.tell_removed(container)
    ctx.spawn(_clear(ctx, container), f"remove {container.record.short_id}")


async def _clear(ctx: Containers, container: Container) -> None:
    """What a container leaves; a step that fails is tried again, and does not keep the others from being done.

    Not at once: who removed it, and who is about to start another, comes first.
    """
    await asyncio.sleep(_UNHURRIED_S)

    async def files() -> None:
        trace.point("remove.files")
        await preparing.drop(ctx, container)
        ctx.networks.forget(container.id)
        if published.wants(container.record):
            await ctx.networks.records.forget_published(container.id)
        container.let_go_of_child()
        if container.streams:
            await streams.close(ctx, container.id)

    async def snapshot() -> None:
        trace.point("remove.snapshot")
        ctx.snapshots.remove(container.id)

    async def folder() -> None:
        await asyncio.to_thread(shutil.rmtree, ctx.folder(container.id), ignore_errors=True)

    async def image() -> None:
        # An image that was removed by force stays for its containers: this may have been the last.
        for identity in container.record.image_ids:
            await ctx.images.release(identity, ctx.users_of)

    for step in (files, snapshot, folder, image):
        for tries in range(_TRIES, -1, -1):
            try:
                await step()
                break
            except (OSError, RuntimeError, PierError) as problem:
                if not tries:
                    log.error("container %s is removed, but: %s (the daemon's next start repairs that)", container.record.short_id, problem)
                else:
                    await asyncio.sleep(_PAUSE_S)
