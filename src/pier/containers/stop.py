"""Stopping: the stop signal, a grace period, then KILL."""

import asyncio
import signal

from msgspec import UNSET

from pier.containers import kill, pause, wait
from pier.containers.record import Container
from pier.containers.table import Containers
from pier.errors import Internal, NotModified
from pier.runtime import signals

DEFAULT_TIMEOUT_S = 10
KILL_PATIENCE_S = 10


async def stop(ctx: Containers, name: str, signal_name: str | None, timeout_s: int | None) -> None:
    """Stop a container; returns when it is down and its exit is recorded.

    `timeout_s` None takes the container's own, else 10; -1 waits for ever. Raises NotFound, NotModified (it is not
    running), Invalid (signal), Internal (it survived KILL: named).
    """
    container = ctx.find(name)
    if signal_name:
        signals.parse_signal(signal_name)
    if not container.state.restarting and not await container.is_running():
        raise NotModified("container is already stopped")
    await halt(ctx, container, signal_name, timeout_s)
    ctx.publish(container, "stop")


async def halt(ctx: Containers, container: Container, signal_name: str | None = None, timeout_s: int | None = None) -> None:
    """Bring a container down, whatever it takes, and keep its restart policy from starting it again."""
    if not ctx.stopping:  # a daemon that ends is no user: `unless-stopped` starts again with the next one
        ctx.set_state(container, stopped_by_user=True)
    if container.restart_task:
        container.restart_task.cancel()
        await asyncio.gather(container.restart_task, return_exceptions=True)
    async with container.lock:  # a start of the restart policy may be under way
        if container.state.restarting and not ctx.stopping:
            container.restart_task = None
            ctx.set_state(container, status="exited")
            wait.tell_exit(container)
            await ctx.save_state(container)
        elif container.state.running and container.record.host.restart_policy.name != "no" and not ctx.stopping:
            await ctx.save_state(container)  # who kills the daemon now does not undo what the user wanted
    config = container.record.config
    if not container.state.running:
        return
    number = signals.parse_signal(signal_name or (config.stop_signal if config.stop_signal is not UNSET else "") or "SIGTERM")
    if timeout_s is None:
        timeout_s = config.stop_timeout if config.stop_timeout is not UNSET else DEFAULT_TIMEOUT_S
    exited = container.exited
    kill.send(ctx, container, number)
    ctx.publish(container, "kill", signal=str(number))
    pause.wake(ctx, container)
    try:
        await asyncio.wait_for(exited.wait(), None if timeout_s < 0 else max(timeout_s, 0.01))
        return
    except TimeoutError:
        pass
    kill.send(ctx, container, signal.SIGKILL)
    ctx.publish(container, "kill", signal=str(int(signal.SIGKILL)))
    try:
        await asyncio.wait_for(exited.wait(), KILL_PATIENCE_S)
    except TimeoutError:
        pid = container.state.pid
        raise Internal(
            f"container {container.id} did not end within {KILL_PATIENCE_S} s of SIGKILL: process {pid} is stuck in the kernel "
            f"(see /proc/{pid}/stack); it ends as soon as what it waits for answers"
        ) from None
