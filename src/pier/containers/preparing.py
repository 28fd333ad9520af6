"""What a start needs, and its undo; where nothing can change until then it is made while the client is still on its way to ask for it.

Between the answer to a create and the start that follows lie two or three round trips of the client. In that time the child of a
plain container carries out its plan up to the program, and the start is no more than the word to go. Who changes a container's
record in between needs to do nothing; who changes its files or limits calls `drop` first. The start then makes everything anew.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from pier import trace
from pier.containers import egress, files, image_mounts, joining, labels, links, propagation, published, relabel, streams, volumes
from pier.containers.joins import open_joins
from pier.containers.record import Container, Record
from pier.containers.shapes import shape
from pier.containers.spec import build, recursive_binds
from pier.containers.table import Containers, log
from pier.errors import Internal, PierError
from pier.logs import fifos
from pier.runtime.limits import apply, limits
from pier.runtime.plan import RootMount, plan
from pier.runtime.supervisor import Child

MOST_AHEAD = 16
"""So many containers at once have their start prepared ahead; each holds a process of 2 MB and an address."""
TASK_PREFIX = "failed to create task for container: "


@dataclass(eq=False)
class Prepared:
    """Everything that a start needs is there; `undo` takes it away again, `filling` is closed once the program runs or will not run."""

    child: Child
    record: Record
    bound: files.Bound
    undo: AsyncExitStack
    filling: AsyncExitStack
    plan: dict[str, Any]
    """What the child has not been told yet."""
    fds: list[int]
    copies: set[str]
    """Destinations of volumes into which the child copies the image's files."""
    keeper_pid: int
    """Whose pump serves its streams. Where that keeper died, what the container writes would be lost."""

    async def drop(self) -> None:
        """Take everything away again."""
        async with self.undo, self.filling:
            pass


def can_be_ahead(record: Record) -> bool:
    """Whether a start an instant later would make the very same thing of a record. Pure.

    Mounts and devices are the host's, which may change; a terminal and an input belong to the client; a filter of the user's might
    refuse the call that the child waits in.
    """
    host = record.host
    theirs = record.mounts or record.terminal or record.config.open_stdin or host.privileged or host.devices or host.init is True
    others = bool(host.links) or egress.is_held(record)
    filtered = any(option.startswith("seccomp") for option in host.security_opt or [])
    if theirs or others or filtered or published.wants(record):
        return False
    return host.network_mode in ("bridge", "none") and list(record.endpoints) == [host.network_mode]


def begin(ctx: Containers, container: Container) -> None:
    """Prepare the start of a container that has a blank child, in the background, where that can be done ahead. What fails is left to the start.

    Not while others are made or started: nobody waits less when all processors are at work, and two halves of a plan cost more than one.
    """
    if container.child is None or not can_be_ahead(container.record):
        return
    if len(ctx.ahead) >= MOST_AHEAD or len(ctx.making) > 1 or ctx.starting:
        return
    child = container.child
    try:
        attaching = _attach(ctx, container, child)  # before the row, so that its lease is in the same transaction
    except PierError:
        return
    ctx.ahead.add(container.id)

    async def work() -> None:
        async with container.lock:
            try:
                with under_way(ctx, container):
                    if container.child is child and not container.removed and not ctx.stopping:
                        container.prepared = await prepare(ctx, container, attaching)
                    else:
                        await _detach(ctx, container, attaching)
            except Exception as problem:
                log.debug("container %s: its start could not be prepared: %s", container.record.short_id, problem)
            finally:
                if container.prepared is None:
                    ctx.ahead.discard(container.id)

    ctx.spawn(work(), f"prepare {container.record.short_id}")


@contextlib.contextmanager
def under_way(ctx: Containers, container: Container) -> Iterator[None]:
    """While this container's start is being made, or prepared."""
    ctx.starting.add(container.id)
    try:
        yield
    finally:
        ctx.starting.discard(container.id)


async def take(ctx: Containers, container: Container) -> Prepared:
    """What `begin` has prepared, where that still is good, else the same made now; the container's lock is held. Raises what `prepare` raises."""
    prepared = _taken(ctx, container)
    if prepared is not None:
        if not prepared.child.gone and prepared.record is container.record and prepared.keeper_pid == ctx.supervisor.living_keeper():
            files.refresh(ctx, container, prepared.bound)
            return prepared
        await prepared.drop()  # somebody killed the child or the keeper while it waited, or changed the container
    return await prepare(ctx, container)


async def drop(ctx: Containers, container: Container) -> None:
    """Forget what was prepared for a start that does not come, or that has to look at the container as it is by then."""
    async with container.lock:
        await drop_locked(ctx, container)


async def drop_locked(ctx: Containers, container: Container) -> None:
    """`drop`, by who holds the container's lock."""
    prepared = _taken(ctx, container)
    if prepared is not None:
        await prepared.drop()


def _taken(ctx: Containers, container: Container) -> Prepared | None:
    prepared, container.prepared = container.prepared, None
    ctx.ahead.discard(container.id)
    return prepared


async def prepare(ctx: Containers, container: Container, attaching: "asyncio.Future[None] | None" = None) -> Prepared:
    """Make what a start needs; the container's lock is held.

    attaching: of `_attach`, where the start is prepared ahead: the child begins with its plan at once, up to the program.
    Raises NotFound, Invalid, Internal, OSError: nothing is left then.
    """
    record, host, ahead = container.record, container.record.host, attaching is not None
    keeper_pid = ctx.supervisor.keeper_pid
    labels.check_start(record.mount_label, ctx.machine.selinux)
    async with AsyncExitStack() as undo, AsyncExitStack() as filling:
        if attaching is not None:
            undo.push_async_callback(_detach, ctx, container, attaching)
        undo.callback(container.let_go_of_child)  # also of one that waits: it may have an interface already
        trace.point("start.child")
        child = await _take_child(ctx, container)
        joins = open_joins(ctx, host)
        filling.callback(joins.close)
        trace.point("start.network")
        if host.links:
            links.check(ctx, record)
        if host.network_mode.startswith("container:"):
            donor = ctx.find(host.network_mode.partition(":")[2]).record.config
            record.config.hostname, record.config.domainname = donor.hostname, donor.domainname
        if attaching is None:
            attaching = _attach(ctx, container, child)  # the kernel's part of it goes on beside the next steps
            undo.push_async_callback(_detach, ctx, container, attaching)
        trace.point("start.streams")
        io = fifos.make(ctx.exec_root, container.id, stdin=record.config.open_stdin, terminal=record.terminal, label=record.mount_label)
        undo.callback(io.remove)
        trace.point("start.root")
        root = await ctx.snapshots.rootfs(container.id)
        undo.callback(ctx.snapshots.release, container.id)
        fds = [lower for lower in root.lowers if isinstance(lower, int)]
        lowers = tuple(fds.index(lower) if isinstance(lower, int) else lower for lower in root.lowers)
        space = len(fds) if root.space >= 0 else None
        fds += [root.space] if root.space >= 0 else []
        mount = RootMount(lowers=lowers, upper=root.upper, work=root.work, readonly=host.readonly_rootfs, space=space)
        images = await image_mounts.compose(ctx, container, fds) if record.mounted_images else {}
        opening = asyncio.ensure_future(_open_streams(ctx, container, io))
        undo.push_async_callback(_close_streams, ctx, container, opening)
        if record.mount_label and record.mounts:
            await relabel.binds(record)
        ready = await volumes.prepare(ctx, container, undo, filling) if record.has_volumes else volumes.Ready()
        if any(point.propagation in propagation.SHARED + propagation.SLAVE for point in record.mounts):
            ready = await propagation.prepare(container, ready, filling, recursive_binds(record))
        if not ahead:
            await asyncio.shield(attaching)
            await egress.hold(ctx, container)
            if published.wants(record):
                undo.push_async_callback(published.withdraw, ctx, container.id)
                await published.publish(ctx, container)
        bound = files.write(ctx, container)
        if record.mount_label:
            relabel.files(bound, record.mount_label)
        handed = [*fds, *joins.fds, *ready.fds]
        indexes = {kind: len(fds) + index for kind, index in joins.indexes.items()}
        spec, extras = build(ctx, container, mount, bound, io, indexes, ready.moved(len(fds) + len(joins.fds)), images)
        steps = plan(spec, extras, ctx.facts)
        trace.point("start.limits")
        apply(container.id, limits(spec.linux.resources, ctx.facts.cgroups), ctx.facts.cgroups)
        if ahead:
            first, second, steps = steps.split()
            child.begin(first.encode(), handed)
            await asyncio.shield(attaching)
            child.begin(second.encode())
            handed = []
        await opening
        return Prepared(child, record, bound, undo.pop_all(), filling.pop_all(), steps.encode(), handed, ready.copy_up, keeper_pid)


async def _take_child(ctx: Containers, container: Container) -> Child:
    child, container.child = container.child, None
    if child is None:
        try:
            await container.discarded.over(ctx.supervisor, container.id)
        except Internal as problem:
            raise Internal(TASK_PREFIX + str(problem)) from None
        child = await ctx.supervisor.spawn(container.id, shape(container.record.host))
    container.child = child
    return child


async def _open_streams(ctx: Containers, container: Container, io: fifos.Fifos) -> None:
    """Let the pump serve the output; a terminal's comes with the child."""
    container.streams = True
    if not container.record.terminal:
        await streams.open_fifos(ctx, container.id, io, streams.log_config(ctx, container), container.record.config.stdin_once)


async def _close_streams(ctx: Containers, container: Container, opening: "asyncio.Future[None]") -> None:
    """Take `_open_streams` back, once it is through."""
    await asyncio.wait([opening])
    if not opening.cancelled() and opening.exception() is None:
        await ctx.pump.close(container.id)


def _attach(ctx: Containers, container: Container, child: Child) -> "asyncio.Future[None]":
    """Give a container its places in its networks, the one of its network mode first; what it will have is there at once where it is one of ours.

    Nobody hears of it before the start. Raises NotFound, Invalid, Unavailable.
    """
    record = container.record
    if list(record.endpoints) in (["bridge"], ["none"]):
        endpoint, attaching = joining.begin(ctx, container, *joining.in_order(record)[0], child.netns_fd, 0)
        container.places = (endpoint,)
        return attaching
    return asyncio.ensure_future(_attach_all(ctx, container, child))


async def _attach_all(ctx: Containers, container: Container, child: Child) -> None:
    if container.record.host.network_mode.startswith("container:"):
        return
    for number, (name, given) in enumerate(joining.in_order(container.record)):
        await joining.vacated(ctx, name, given)
        endpoint, attaching = joining.begin(ctx, container, name, given, child.netns_fd, number)
        container.places = (*container.places, endpoint)
        await attaching


async def _detach(ctx: Containers, container: Container, attaching: "asyncio.Future[None]") -> None:
    """Take `_attach` back, once it is through."""
    await asyncio.wait([attaching])
    if not attaching.cancelled():
        attaching.exception()
    container.places = ()
    await ctx.networks.detach(container.id)
