"""Mounts added to and taken from a container, running or not.

An addition is recorded before it is made, and taken back where that fails: a volume that is made for it is never without its row. A removal is
recorded before it is carried out. What a kill leaves in between is what the record says, at the container's next start at the latest.
"""

import asyncio
import contextlib
import os
import posixpath
from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from pier import trace
from pier.api.models.containers import Mount, MountPoint
from pier.containers import errand, mounts, preparing, propagation, relabel, sources, volumes
from pier.containers.record import Container, Record
from pier.containers.spec import mount_of
from pier.containers.table import Containers, log
from pier.errors import Conflict, Invalid, NotImplementedByPier, PierError
from pier.linux import mounts as kernel
from pier.runtime import facts as features
from pier.runtime import plan_live
from pier.volumes.drafts import Drafts

PATIENCE_S = 10


async def change(ctx: Containers, name: str, add: Sequence[Mount], remove: Sequence[str]) -> None:
    """Take mounts away, then add others; all of it, or, where one cannot be, nothing of it.

    add: as `--mount` asks. remove: destinations. Raises NotFound, Invalid, NotImplementedByPier, Conflict, Internal.
    """
    container = ctx.find(name)
    leaving = [posixpath.normpath(path) for path in remove]
    async with container.lock:
        if container.removed or container.doomed:
            raise Conflict(f"container {container.name} is marked for removal: its mounts cannot change")
        _check_leaving(container.record, leaving)
        wishes = await sources.in_time(lambda: [_wish(mount) for mount in add], f"bind source {', '.join(mount.source or '' for mount in add)}")
        kept = [point for point in container.record.mounts if point.destination not in leaving]
        _check_places(container.record, kept, [wish.point.destination for wish in wishes])
        propagation.check([*kept, *(wish.point for wish in wishes)])
        if wishes:
            propagation.check_while_running(container)
        await preparing.drop_locked(ctx, container)
        before, new = container.record, []
        try:
            async with ctx.volumes.drafts() as drafts:
                points = await volumes.take(drafts, wishes)
                volumes.check_counted(ctx, container, points)
                new = [point.name for point in points if point.name and point.type == "volume" and not ctx.volumes.has(point.name)]
                record = _changed(before, kept, points, add, leaving)
                await _carry_out(ctx, container, record, drafts, points, [point for point in before.mounts if point.destination in leaving])
        except BaseException:
            for volume in new:
                with contextlib.suppress(PierError):
                    await ctx.volumes.remove(volume, ctx.users_of_volume, force=True)
            raise


def _wish(mount: Mount) -> mounts.Wish:
    if mount.type in ("cluster", "npipe", "image"):
        raise NotImplementedByPier(f"adding a mount of type {mount.type!r} to a container", "create the container with it")
    wish = mounts.of_mount(mount)
    if wish.point.propagation in propagation.SHARED:
        raise NotImplementedByPier(f"adding a bind with propagation {wish.point.propagation!r} to a container", "create the container with it")
    if wish.make_source and not os.path.lexists(wish.point.source):
        os.makedirs(wish.point.source)
    return wish


def _check_leaving(record: Record, leaving: Sequence[str]) -> None:
    there = {point.destination for point in record.mounts}
    for path in leaving:
        if path not in there:
            raise Invalid(f"container {record.name} has no mount at {path}: it has {', '.join(sorted(there)) or 'none'}")


def _check_places(record: Record, kept: Sequence[MountPoint], added: Sequence[str]) -> None:
    taken = {point.destination for point in kept} | {posixpath.normpath(path) for path in record.host.tmpfs or {}}
    for path in added:
        if path in taken:
            raise Invalid(f"Duplicate mount point: {path}")
        taken.add(path)


def _changed(record: Record, kept: Sequence[MountPoint], points: Sequence[MountPoint], add: Sequence[Mount], leaving: Sequence[str]) -> Record:
    """The record with these mounts; what asked for one that leaves does not ask any more. Pure."""
    host = record.host
    binds = [bind for bind in host.binds or [] if mounts.parse_bind(bind).point.destination not in leaving]
    asked = [mount for mount in (host.mounts if host.mounts is not UNSET else []) if mounts.target_of(mount) not in leaving]
    changed = msgspec.structs.replace(host, binds=binds if host.binds is not None else None, mounts=[*asked, *add])
    images = {path: image for path, image in record.mounted_images.items() if path not in leaving}
    return msgspec.structs.replace(record, host=changed, mounts=[*kept, *points], mounted_images=images)


async def _carry_out(
    ctx: Containers, container: Container, record: Record, drafts: Drafts, points: Sequence[MountPoint], gone: Sequence[MountPoint]
) -> None:
    before = container.record
    trace.point("mounts.record")
    await ctx.save_record(container, record, drafts.write)
    drafts.done()
    if not container.state.running:
        return
    trace.point("mounts.recorded")
    try:
        async with contextlib.AsyncExitStack() as undo:
            coming = {point.destination for point in points}
            replaced = [point for point in gone if point.destination in coming]
            if replaced:  # first: what is taken away is whatever is on top
                undo.push_async_callback(_put_back, ctx, container, before, replaced)
                await _take_away(ctx, container, replaced)
            await _attach(ctx, container, points, undo)
            await _take_away(ctx, container, [point for point in gone if point.destination not in coming])
            undo.pop_all()
    except BaseException:
        await ctx.save_record(container, before)
        raise
    for point in gone:
        if point.type == "volume" and point.name and not any(other.name == point.name for other in record.mounts):
            ctx.volumes.publish_unmount(point.name, container.id)
            await volumes.unmount(ctx, point.name, container.id)


async def _take_away(ctx: Containers, container: Container, points: Sequence[MountPoint]) -> None:
    if points:
        trace.point("mounts.detach")
        await errand.change_mounts(ctx, container, plan_live.detach([point.destination for point in points]), [])


async def _put_back(ctx: Containers, container: Container, before: Record, points: Sequence[MountPoint]) -> None:
    """What was to be replaced, and was not."""
    await ctx.save_record(container, before)
    try:
        await _attach(ctx, container, points, contextlib.AsyncExitStack())
    except (PierError, OSError, TimeoutError) as problem:
        where = ", ".join(point.destination for point in points)
        log.warning("container %s: what was mounted at %s is there again at its next start: %s", container.record.short_id, where, problem)


async def _attach(ctx: Containers, container: Container, points: Sequence[MountPoint], undo: contextlib.AsyncExitStack) -> None:
    """Put mounts into a running container; `undo` takes them away again."""
    if not points:
        return
    asked = {mounts.target_of(mount): mount for mount in container.record.host.mounts or []}
    made = [mount_of(point, asked.get(point.destination), ctx.facts.has(features.MOUNT_SETATTR)) for point in points]
    fds: dict[str, int] = {}
    try:
        for point in points:
            if point.type != "tmpfs":
                fds[point.destination] = await _open(ctx, container, point, asked.get(point.destination), undo)
        for mount in sorted(made, key=lambda mount: mount.destination.count("/")):  # one by one: what is there is known when one fails
            trace.point("mounts.attach")
            handed = [fds[mount.destination]] if mount.destination in fds else []
            steps = plan_live.attach(mount, ctx.facts, mounts.id_map(asked[mount.destination]), container.record.mount_label)
            await asyncio.wait_for(errand.change_mounts(ctx, container, steps, handed), PATIENCE_S)
            undo.push_async_callback(_detach, ctx, container, [mount.destination])
    finally:
        for fd in fds.values():
            os.close(fd)


async def _open(ctx: Containers, container: Container, point: MountPoint, request: Mount | None, undo: contextlib.AsyncExitStack) -> int:
    """A detached mount of what a point shows. Raises Internal, NotFound."""
    if point.type == "volume":
        use = next(use for use in volumes.uses(container.record) if use.destination == point.destination)
        path = await ctx.volumes.mount(use.name, container.id)
        undo.push_async_callback(volumes.unmount, ctx, use.name, container.id)
        if label := container.record.mount_label:
            await relabel.volume(path, use.mode, label)
        fd = await sources.in_time(lambda: volumes.open_use(path, use), f"volume {use.name}")
        ctx.volumes.publish_mount(use.name, container.id, use.destination, "", use.writable)
        return fd
    recursive = not (request is not None and request.bind_options is not UNSET and request.bind_options.non_recursive is True)
    return await sources.in_time(lambda: kernel.clone_tree(point.source, recursive=recursive), f"bind source {point.source}")


async def _detach(ctx: Containers, container: Container, targets: Sequence[str]) -> None:
    try:
        await errand.change_mounts(ctx, container, plan_live.detach(targets), [])
    except PierError as problem:
        log.warning("container %s: what was mounted at %s stays until it ends: %s", container.record.short_id, ", ".join(targets), problem)
