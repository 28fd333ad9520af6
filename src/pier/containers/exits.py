"""What follows the end of a container's process: output drained, exit recorded, waiters told, restarted or removed.

The exit is in state.db before a waiter hears of it, and acknowledged to the keeper after that: whoever is killed in
between, the next daemon hears of it again. A container with --rm has no exit to record: its removal is the record.
"""

import asyncio
import time

from pier import trace
from pier.containers import execs, policy, start, streams, wait
from pier.containers.record import Container
from pier.containers.remove import erase
from pier.containers.table import Containers, log
from pier.errors import PierError
from pier.runtime.supervisor import Exit


def on_exit(ctx: Containers, exit: Exit) -> None:
    """The supervisor's callback, for containers and execs."""
    if exit.key in ctx.execs:
        ctx.spawn(execs.ended(ctx, exit), f"exec {exit.key[:12]} ended")
    else:
        ctx.spawn(ended(ctx, exit), f"container {exit.key[:12]} ended")


async def ended(ctx: Containers, exit: Exit) -> None:
    """Record the end of a container's run and do what follows from it."""
    container = ctx.table.get(exit.key)
    if container is None:
        await ctx.supervisor.acknowledge(exit.key)
        return
    if exit.pid in container.discarded:
        await ctx.supervisor.acknowledge(exit.key)
        container.discarded.pop(exit.pid).set()
        return
    async with container.lock:
        state = container.state
        if not state.running or (exit.pid and state.pid != exit.pid):
            if not state.running:
                await ctx.supervisor.acknowledge(exit.key)
            return
        await streams.close(ctx, container.id)
        oom = exit.oom or ctx.facts.cgroups.oom_kills(container.id) > 0
        record = container.record
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
        endpoint, container.endpoint, child, container.child = container.endpoint, None, container.child, None
        remove = record.host.auto_remove and not container.keep and not ctx.stopping
        trace.point("exit.record")
        if not remove or any(condition != "removed" for condition, _ in container.waiters):
            await ctx.save_state(container)
        trace.point("exit.acknowledge")
        if oom:
            ctx.publish(container, "oom")
        lived_s = max(0, container.state.finished_ns - state.started_ns) // 1_000_000_000
        ctx.publish(container, "die", exitCode=str(exit.code), execDuration=str(lived_s))
        container.exited.set()
        ctx.snapshots.release(container.id)
        if endpoint is not None:
            await ctx.networks.detach(container.id)
        wait.tell_exit(container)
        if remove:
            await erase(ctx, container)
        await ctx.supervisor.acknowledge(exit.key)
        if child is not None:
            child.close()
        ctx.forget_running(container.id)
        if again:
            container.restart_task = asyncio.create_task(_restart(ctx, container, (container.state.finished_ns - state.started_ns) / 1e9))


async def _restart(ctx: Containers, container: Container, up_s: float) -> None:
    container.backoff_s = policy.next_backoff_s(container.backoff_s, up_s)
    try:
        await asyncio.sleep(container.backoff_s)
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
                    container.restart_task = asyncio.create_task(_restart(ctx, container, 0.0))
    except asyncio.CancelledError:
        if not ctx.stopping and container.state.restarting:
            ctx.set_state(container, status="exited")
            wait.tell_exit(container)
        raise
