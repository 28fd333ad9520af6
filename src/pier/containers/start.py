"""Starting a container, step by step; each step pushes its undo, so that a failure leaves what was there before.

The order: a blank child, its files and FIFOs, the root, the address, the output, the limits; then the child gets its plan
and becomes the container.
"""

import asyncio
import contextlib
import time

from pier import trace
from pier.containers import files, monitor, names_service, patience, preparing, streams, wait
from pier.containers.record import Container
from pier.containers.table import Containers, log
from pier.errors import Conflict, Internal, Invalid, NotModified, PierError
from pier.logs import fifos
from pier.runtime.supervisor import StartFailed

LAZY_SAVE_S = 0.5
_BEFORE_THE_TASK = ("find_user", "make_workdir")  # Docker's daemon does these itself


async def start(ctx: Containers, name: str, detach_keys: str = "") -> None:
    """Start a container; returns when its process runs.

    Raises NotFound, NotModified (it runs), Conflict (it is being removed), Invalid (its command cannot be executed:
    what `docker run` turns into 126 and 127), Internal.
    """
    container = ctx.find(name)
    async with container.lock:
        if container.removed or container.doomed or container.state.status in ("removing", "dead"):
            raise Conflict("container is marked for removal and cannot be started")
        if container.state.paused:
            raise Conflict("cannot start a paused container, try unpause instead")
        if container.state.running:
            raise NotModified("container is already running")
        if container.restart_task:
            container.restart_task.cancel()
            container.restart_task = None
            ctx.set_state(container, status="exited")  # the restart that will not be has nothing more to say
        ctx.set_state(container, restart_count=0, stopped_by_user=False, backoff_s=0.0)
        await run(ctx, container)


async def run(ctx: Containers, container: Container) -> None:
    """Bring a container up; its lock is held. A failure is recorded in its state, told to its waiters and raised."""
    try:
        with preparing.under_way(ctx, container):
            await _run(ctx, container)
    except StartFailed as failure:
        text = failure.message if failure.step in _BEFORE_THE_TASK else preparing.TASK_PREFIX + failure.message
        await _failed(ctx, container, failure.exit_code, text)
        raise (Invalid if failure.exit_code in (126, 127) else Internal)(text) from None
    except PierError as problem:
        await _failed(ctx, container, 128, str(problem))
        raise
    except OSError as problem:
        where = f" {problem.filename}" if problem.filename else ""
        text = f"{preparing.TASK_PREFIX}{problem.strerror or problem}{where}"
        await _failed(ctx, container, 128, text)
        raise Internal(text) from problem


async def _failed(ctx: Containers, container: Container, code: int, text: str) -> None:
    status = "created" if not container.state.ever_started else "exited"
    ctx.set_state(container, status=status, exit_code=code, error=text, pid=0)
    wait.tell_failed_start(container)
    await streams.close(ctx, container.id)  # who attached before the start is waiting for its end
    ctx.publish(container, "die", exitCode=str(code), execDuration="0")
    await ctx.save_state(container)
    if container.record.host.auto_remove:
        from pier.containers.remove import erase

        await erase(ctx, container)


async def _run(ctx: Containers, container: Container) -> None:
    record, host = container.record, container.record.host
    loop = asyncio.get_running_loop()
    prepared = await preparing.take(ctx, container)
    child = prepared.child
    async with prepared.undo as undo, prepared.filling:
        trace.point("start.run")
        begun_ns = time.time_ns()
        await ctx.networks.announce(container.id)
        container.copying = bool(prepared.copies)
        if container.copying and (container.doomed or ctx.stopping):  # who wanted that could not end what had not begun
            raise Conflict("container is marked for removal and cannot be started")
        try:
            await patience.while_it_runs(child.run(prepared.plan, prepared.fds), child.pid)
        except TimeoutError:
            late = f"the container did not start, its process stood still for {patience.REST_S:g} s: a mount that hangs? It was ended."
            raise Internal(f"{preparing.TASK_PREFIX}{late}") from None
        finally:
            container.copying = False
        if missing := sorted(prepared.copies - child.copied):
            cut = f"its process was killed while it copied the image's files into the volume at {missing[0]}: the next start begins anew"
            raise Internal(f"{preparing.TASK_PREFIX}{cut}")
        if record.terminal:
            await streams.open_console(ctx, container.id, child.console_fd, streams.log_config(ctx, container), record.config.stdin_once)
            if any(host.console_size):
                await ctx.pump.resize(container.id, *host.console_size)
        ctx.supervisor.started(container.id)
        for warning in child.warnings:
            log.warning("container %s: %s", record.short_id, warning)
        trace.point("start.record")
        undo.pop_all()
    container.exited = asyncio.Event()
    container.run_number += 1
    ctx.set_state(
        container,
        status="running",
        pid=child.pid,
        exit_code=0,
        error="",
        oom_killed=False,
        started_ns=begun_ns,
        ever_started=True,
    )
    with contextlib.suppress(OSError):  # without it a daemon and a keeper that die in this moment take the start with them
        fifos.note_run(ctx.exec_root, container.id, child.pid, child.start_time, begun_ns)
    ctx.running.remember(container.id, child.pid, child.start_time, begun_ns)
    monitor.begin(ctx, container)
    if host.restart_policy.name != "no":
        await ctx.save_state(container)
    elif not host.auto_remove:
        loop.call_later(LAZY_SAVE_S, _save_later, ctx, container, container.run_number)
    if any(endpoint.host_interface for endpoint in container.places):
        ctx.spawn(ctx.networks.settle(container.id), f"settle {record.short_id}")
    if container.id in ctx.linked:
        files.linked_moved(ctx, container)
    ctx.publish(container, "start")
    if sockets := child.take_sockets():
        await names_service.started(ctx, container, sockets)


def _save_later(ctx: Containers, container: Container, run_number: int) -> None:
    if not container.removed and container.run_number == run_number and container.state.running and not ctx.stopping:
        ctx.spawn(ctx.save_state(container), f"save {container.record.short_id}")
