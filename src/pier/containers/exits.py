"""What follows the end of a container's process: output drained, exit recorded, waiters told, restarted or removed.

The exit is in state.db before a waiter hears of it, and acknowledged to the keeper after that: whoever is killed in
between, the next daemon hears of it again. A container with --rm has no exit to record: its removal is the record.
"""

import asyncio
import time

from pier import trace
from pier.containers import execs, monitor, names_service, policy, preparing, published, start, streams, volumes, wait
from pier.containers.naming import serves
from pier.containers.record import Container
from pier.containers.remove import erase
from pier.containers.table import Containers, log
from pier.errors import PierError
from pier.runtime.supervisor import Exit

_TRIES, _PAUSE_S, _LATE_S = 3, 0.1, 5.0


def on_exit(ctx: Containers, exit: Exit) -> None:
    """The supervisor's callback, for containers and execs."""
    if exit.key in ctx.execs:
        ctx.spawn(execs.ended(ctx, exit), f"exec {exit.key[:12]} ended")
    else:
        ctx.spawn(ended(ctx, exit), f"container {exit.key[:12]} ended")


async def ended(ctx: Containers, exit: Exit) -> None:
    """Record the end of a container's run and do what follows from it."""
    container = ctx.table.get(exit.key) or ctx.making.get(exit.key)
    if container is None:  # an exec of an earlier daemon, or a blank child of a create that was never acknowledged
        await streams.close(ctx, exit.key)
        await ctx.supervisor.acknowledge(exit.key, exit.pid)
        return
    if await container.discarded.took(ctx.supervisor, exit):
        return
    container.discarded.ended.add(exit.pid)
    async with container.lock:
        if container.prepared is not None and container.prepared.child.pid == exit.pid:
            await preparing.drop_locked(ctx, container)  # it failed, or somebody killed it, before its start
        state = container.state
        if container.child is not None and container.child.pid == exit.pid and not state.running:
            container.let_go_of_child()  # somebody killed it while it was blank
        container.discarded.ended.discard(exit.pid)
        if await container.discarded.took(ctx.supervisor, exit):
            return
        if not state.running or (exit.pid and state.pid != exit.pid):
            if not state.running:
                await ctx.supervisor.acknowledge(exit.key, exit.pid)
            return
        await streams.finish(ctx, container.id)
        container.streams = False
        oom = exit.oom or ctx.facts.cgroups.oom_kills(container.id) > 0
        record = container.record
        monitor.halt(ctx, container)
        again = not ctx.stopping and not container.keep and policy.wants_restart(record.host.restart_policy, state, exit.code)
        ctx.set_state(
            container,
            status="restarting" if again else "exited",
            pid=0,
            exit_code=exit.code,
            oom_killed=oom,
            error="" if exit.known else "the exit code is lost: the keeper was killed and this kernel does not tell it",
            finished_ns=exit.finished_ns or time.time_ns(),
        )
        places, container.places, child, container.child = container.places, (), container.child, None
        remove = record.host.auto_remove and not container.keep and not ctx.stopping
        recorded = True
        if not remove or any(condition != "removed" for condition, _ in container.waiters):
            recorded = await _record(ctx, container)
        if oom:
            ctx.publish(container, "oom")
        lived_s = max(0, container.state.finished_ns - state.started_ns) // 1_000_000_000
        ctx.publish(container, "die", exitCode=str(exit.code), execDuration=str(lived_s))
        container.exited.set()
        ctx.snapshots.release(container.id)
        if published.wants(record):
            await published.withdraw(ctx, container.id)
        if places:
            await ctx.networks.detach(container.id)
        if serves(record):
            await names_service.ended(ctx, container, [place.network_id for place in places])
        if record.has_volumes:
            await volumes.let_go(ctx, container)
        wait.tell_exit(container)
        if remove:
            recorded = await _erase(ctx, container)
        await asyncio.sleep(0)  # who was told goes first
        streams.remove_fifos(ctx, container.id)
        if recorded:
            await ctx.supervisor.acknowledge(exit.key, exit.pid, wait=not container.removed)
            ctx.running.forget(container.id)
        else:
            ctx.spawn(_record_late(ctx, container, exit), f"record the exit of {record.short_id}")
        if child is not None:
            child.close()
        if again:
            container.restart_task = asyncio.create_task(_restart(ctx, container, (container.state.finished_ns - state.started_ns) / 1e9))


async def _record(ctx: Containers, container: Container) -> bool:
    """Write an exit; False, with the reason in the log, where the disk refuses it again and again."""
    for tries in range(_TRIES, -1, -1):
        try:
            trace.point("exit.record")
            await ctx.save_state(container)
            trace.point("exit.acknowledge")
            return True
        except (OSError, RuntimeError, PierError) as problem:
            if not tries:
                log.error("container %s: its exit cannot be recorded yet: %s; the keeper keeps it", container.record.short_id, problem)
                return False
            await asyncio.sleep(_PAUSE_S)
    return False


async def _erase(ctx: Containers, container: Container) -> bool:
    """Remove a container with --rm; False, with the reason in the log, where that fails: the next daemon tries again."""
    try:
        trace.point("exit.record")
        await erase(ctx, container)
        trace.point("exit.acknowledge")
    except (OSError, RuntimeError, PierError) as problem:
        log.error("container %s has ended and cannot be removed yet: %s", container.record.short_id, problem)
        return container.removed
    return True


async def _record_late(ctx: Containers, container: Container, exit: Exit) -> None:
    """An exit that could not be recorded, a full disk for one: tried until it can, or somebody started or removed the container."""
    number = container.run_number
    while not ctx.stopping and not container.removed and container.run_number == number:
        await asyncio.sleep(_LATE_S)
        async with container.lock:
            if container.removed or container.state.running:
                break
            if container.record.host.auto_remove and not container.keep:
                recorded = await _erase(ctx, container)
            else:
                recorded = await _record(ctx, container)
            if recorded:
                ctx.running.forget(container.id)
                break
    if not ctx.stopping:
        await ctx.supervisor.acknowledge(exit.key, exit.pid)


def go_on(ctx: Containers, container: Container) -> None:
    """Go on with the restarts of a container that the last daemon was about to start again."""
    container.restart_task = asyncio.create_task(_restart(ctx, container, -1.0))


async def _restart(ctx: Containers, container: Container, up_s: float) -> None:
    """Start a container again after its pause. `up_s`: how long it ran; negative: the pause is the one that it had."""
    if up_s >= 0 or not container.state.backoff_s:
        ctx.set_state(container, backoff_s=policy.next_backoff_s(container.state.backoff_s, max(up_s, 0.0)))
    try:
        await asyncio.sleep(container.state.backoff_s)
        await ctx.ready.wait()
        async with container.lock:
            if container.removed or not container.state.restarting:
                return
            ctx.set_state(container, restart_count=container.state.restart_count + 1)
            container.restart_task = None
            try:
                await start.run(ctx, container)
            except PierError as problem:
                log.warning("container %s: restart failed: %s", container.record.short_id, problem)
                if policy.wants_restart(container.record.host.restart_policy, container.state, container.state.exit_code):
                    ctx.set_state(container, status="restarting")
                    await _record(ctx, container)
                    container.restart_task = asyncio.create_task(_restart(ctx, container, 0.0))
    except asyncio.CancelledError:
        if not ctx.stopping and container.state.restarting:
            ctx.set_state(container, status="exited")
            wait.tell_exit(container)
        raise
