"""Starting a container, step by step; each step pushes its undo, so that a failure leaves what was there before.

The order: a blank child, its files and FIFOs, the root, the address, the output, the limits; then the child gets its plan
and becomes the container.
"""

import asyncio
import time
from contextlib import AsyncExitStack

from pier import trace
from pier.containers import files, joining, names_service, streams, volumes, wait
from pier.containers.joins import open_joins
from pier.containers.record import Container
from pier.containers.shapes import shape
from pier.containers.spec import build
from pier.containers.table import Containers, log
from pier.errors import Conflict, Internal, Invalid, NotModified, PierError
from pier.logs import fifos
from pier.networks import Endpoint
from pier.runtime.limits import apply, limits
from pier.runtime.plan import RootMount, plan
from pier.runtime.supervisor import Child, StartFailed

START_PATIENCE_S = 10
LAZY_SAVE_S = 0.5
_PREFIX = "failed to create task for container: "
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
        await _run(ctx, container)
    except StartFailed as failure:
        text = failure.message if failure.step in _BEFORE_THE_TASK else _PREFIX + failure.message
        await _failed(ctx, container, failure.exit_code, text)
        raise (Invalid if failure.exit_code in (126, 127) else Internal)(text) from None
    except PierError as problem:
        await _failed(ctx, container, 128, str(problem))
        raise
    except OSError as problem:
        where = f" {problem.filename}" if problem.filename else ""
        text = f"{_PREFIX}{problem.strerror or problem}{where}"
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
    async with AsyncExitStack() as undo, AsyncExitStack() as filling:
        trace.point("start.child")
        child = await _take_child(ctx, container)
        undo.callback(container.let_go, child)
        joins = open_joins(ctx, host)
        undo.callback(joins.close)
        trace.point("start.network")
        if host.network_mode.startswith("container:"):
            donor = ctx.find(host.network_mode.partition(":")[2]).record.config
            record.config.hostname, record.config.domainname = donor.hostname, donor.domainname
        attaching = asyncio.ensure_future(_attach(ctx, container, child))  # the kernel's part of it goes on beside the next steps
        undo.push_async_callback(_detach, ctx, container, attaching)
        trace.point("start.streams")
        io = fifos.make(ctx.exec_root, container.id, stdin=record.config.open_stdin, terminal=record.terminal)
        undo.callback(io.remove)
        trace.point("start.root")
        root = await ctx.snapshots.rootfs(container.id)
        undo.callback(ctx.snapshots.release, container.id)
        fds = [lower for lower in root.lowers if isinstance(lower, int)]
        lowers = tuple(fds.index(lower) if isinstance(lower, int) else lower for lower in root.lowers)
        space = len(fds) if root.space >= 0 else None
        fds += [root.space] if root.space >= 0 else []
        mount = RootMount(lowers=lowers, upper=root.upper, work=root.work, readonly=host.readonly_rootfs, space=space)
        if not record.terminal:
            await streams.open_fifos(ctx, container.id, io, streams.log_config(ctx, container), record.config.stdin_once)
            undo.push_async_callback(ctx.pump.close, container.id)
        ready = await volumes.prepare(ctx, container, undo, filling) if record.has_volumes else volumes.Ready()
        await attaching
        bound = files.write(ctx, container)
        handed = [*fds, *joins.fds, *ready.fds]
        indexes = {kind: len(fds) + index for kind, index in joins.indexes.items()}
        spec, extras = build(ctx, container, mount, bound, io, indexes, ready.moved(len(fds) + len(joins.fds)))
        steps = plan(spec, extras, ctx.facts)
        trace.point("start.limits")
        apply(container.id, limits(spec.linux.resources, ctx.facts.cgroups), ctx.facts.cgroups)
        trace.point("start.run")
        begun_ns = time.time_ns()
        try:
            await asyncio.wait_for(child.run(steps.encode(), handed), START_PATIENCE_S)
        except TimeoutError:
            raise Internal(f"{_PREFIX}the container did not start within {START_PATIENCE_S} s: a mount that hangs? It was ended.") from None
        if record.terminal:
            await streams.open_console(ctx, container.id, child.console_fd, streams.log_config(ctx, container), record.config.stdin_once)
            if any(host.console_size):
                await ctx.pump.resize(container.id, *host.console_size)
        ctx.supervisor.started(container.id)
        for warning in child.warnings:
            log.warning("container %s: %s", record.short_id, warning)
        trace.point("start.record")
        undo.pop_all()
        joins.close()
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
    ctx.remember_running(container.id, child.pid, child.start_time, begun_ns)
    if host.restart_policy.name != "no":
        await ctx.save_state(container)
    elif not host.auto_remove:
        loop.call_later(LAZY_SAVE_S, _save_later, ctx, container, container.run_number)
    if any(endpoint.host_interface for endpoint in container.places):
        ctx.spawn(ctx.networks.settle(container.id), f"settle {record.short_id}")
    ctx.publish(container, "start")
    if sockets := child.take_sockets():
        await names_service.started(ctx, container, sockets)


def _save_later(ctx: Containers, container: Container, run_number: int) -> None:
    if not container.removed and container.run_number == run_number and container.state.running and not ctx.stopping:
        ctx.spawn(ctx.save_state(container), f"save {container.record.short_id}")


async def _take_child(ctx: Containers, container: Container) -> Child:
    child, container.child = container.child, None
    if child is None:
        for gone in list(container.discarded.values()):  # the keeper knows one child of a key at a time
            try:
                await asyncio.wait_for(gone.wait(), START_PATIENCE_S)
            except TimeoutError:
                raise Internal(f"{_PREFIX}the process of its last start does not end: it is stuck in the kernel") from None
        child = await ctx.supervisor.spawn(container.id, shape(container.record.host))
    container.child = child
    return child


async def _attach(ctx: Containers, container: Container, child: Child) -> None:
    """Give a container its places in its networks, the one of its network mode first."""
    record = container.record
    if record.host.network_mode.startswith("container:"):
        return
    places: list[Endpoint] = []
    try:
        for number, (name, given) in enumerate(joining.in_order(record)):
            places.append(await joining.attach(ctx, container, name, given, child.netns_fd, number))
    except BaseException:
        for endpoint in places:
            await ctx.networks.detach(container.id, endpoint.network_id)
        raise
    container.places = tuple(places)


async def _detach(ctx: Containers, container: Container, attaching: "asyncio.Future[None]") -> None:
    """Take `_attach` back, once it is through."""
    await asyncio.wait([attaching])
    if attaching.cancelled() or attaching.exception() is not None or not container.places:
        return
    container.places = ()
    await ctx.networks.detach(container.id)
