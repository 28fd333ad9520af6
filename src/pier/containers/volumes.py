"""The volumes of containers: made with them, mounted and filled when they start, let go when they end."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from msgspec import UNSET

from pier import trace
from pier.api.models.containers import MountPoint
from pier.containers import mounts, relabel
from pier.containers.record import Container, Record
from pier.containers.sources import in_time
from pier.containers.table import Containers, log
from pier.errors import Conflict, Internal, Invalid, NotFound, PierError
from pier.linux import mounts as kernel
from pier.linux.paths import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2
from pier.volumes import ANONYMOUS_LABEL
from pier.volumes.drafts import Drafts


@dataclass(frozen=True)
class Use:
    """A container's use of a volume. copy: an empty volume is filled with what the image has at its place."""

    name: str
    destination: str
    writable: bool
    copy: bool
    subpath: str = ""
    mode: str = ""


@dataclass
class Ready:
    """What a start hands to the child: descriptors, which destination each stands for, and where the image's files are copied."""

    fds: list[int] = field(default_factory=list)
    sources: dict[str, int] = field(default_factory=dict)  # destination -> index into `fds`
    copy_up: set[str] = field(default_factory=set)

    def moved(self, by: int) -> "Ready":
        """The same with its descriptors behind `by` others."""
        return Ready(self.fds, {destination: index + by for destination, index in self.sources.items()}, self.copy_up)


def uses(record: Record) -> list[Use]:
    """The volumes of a container. Pure: a volume of `--volumes-from` and one with `nocopy` is never filled."""
    host, found = record.host, []
    asked = {os.path.normpath(m.target): m for m in (host.mounts if host.mounts is not UNSET else []) if m.target is not UNSET}
    binds = {wish.point.destination for wish in map(mounts.parse_bind, host.binds or [])}
    declared = {os.path.normpath(f"/{path}").replace("//", "/") for path in record.config.volumes or {}}
    for point in record.mounts:
        if point.type != "volume" or point.name is UNSET:
            continue
        mount = asked.get(point.destination)
        options = mount.volume_options if mount is not None and mount.volume_options is not UNSET else None
        subpath = options.subpath if options is not None and options.subpath is not UNSET else ""
        own = point.destination in binds or mount is not None or point.destination in declared
        nocopy = (options is not None and options.no_copy is True) or "nocopy" in point.mode.split(",")
        found.append(Use(point.name, point.destination, point.rw, own and not nocopy and not subpath, subpath, point.mode))
    return found


def counted(ctx: Containers, record: Record) -> bool:
    """Whether a container has a volume with a limit: its processes may not change how files are counted (runtime/seccomp_counted.py)."""
    return any(point.type == "volume" and point.name and ctx.volumes.quotas.limit(point.name) for point in record.mounts)


def check_counted(ctx: Containers, container: Container, points: Sequence[MountPoint]) -> None:
    """Raises Conflict where a volume with a limit is to be added to a container whose processes run without that filter: they began without one."""
    if not container.state.running or container.record.host.privileged or counted(ctx, container.record):
        return
    for point in points:
        if point.type == "volume" and point.name and ctx.volumes.quotas.limit(point.name):
            raise Conflict(
                f"volume {point.name} has a limit, which processes that run already could evade: "
                f"stop container {container.name}, add the mount, and start it again"
            )


async def take(drafts: Drafts, wishes: Sequence[mounts.Wish]) -> list[MountPoint]:
    """The mount points of a container that is being made, its volumes taken or drafted. Raises Invalid, NotFound."""
    points = []
    for wish in wishes:
        point = wish.point
        if wish.is_volume:
            record = await drafts.take(point.name or "", wish.driver, wish.options, wish.labels)
            point.name, point.driver, point.source = record.name, record.driver, drafts.path(record)
        points.append(point)
    return points


def of_others(ctx: Containers, specs: Sequence[str]) -> list[MountPoint]:
    """The mount points of `--volumes-from`. Raises Invalid with Docker's text."""

    def points(name: str) -> Sequence[MountPoint]:
        try:
            return ctx.find(name).record.mounts
        except NotFound as problem:
            raise Invalid(str(problem)) from None

    return [point for spec in specs for point in mounts.volumes_from(spec, points)]


async def prepare(ctx: Containers, container: Container, undo: AsyncExitStack, filling: AsyncExitStack) -> Ready:
    """Mount and open the volumes of a container that starts. Raises Internal, NotFound.

    undo: of the start. filling: to be closed once the child runs, in whatever way: it has what it needs then, and has copied what there was to copy,
    unless there was an error.
    """
    ready = Ready()
    wanted = sorted(uses(container.record), key=lambda use: use.name)  # everyone's order: two that fill two volumes wait in turn
    paths: dict[str, str] = {}
    filled: set[str] = set()
    undo.push_async_callback(let_go, ctx, container)
    filling.callback(_close, ready.fds)
    for use in wanted:
        trace.point("start.volume")
        path = paths.get(use.name) or await ctx.volumes.mount(use.name, container.id)
        paths[use.name] = path
        if label := container.record.mount_label:
            await relabel.volume(path, use.mode, label)
        if use.copy and not container.state.ever_started and use.name not in filled:  # at its second place it has files already
            filled.add(use.name)
            if await filling.enter_async_context(ctx.volumes.populating(use.name, path)):
                ready.copy_up.add(use.destination)
        # A descriptor, not the path: what is mounted there may be unknown to the mount namespace that the child is born in.
        fd = await in_time(lambda path=path, use=use: open_use(path, use), f"volume {use.name}")  # type: ignore[misc]
        ready.sources[use.destination] = len(ready.fds)
        ready.fds.append(fd)
        ctx.volumes.publish_mount(use.name, container.id, use.destination, "", use.writable)
    return ready


def open_use(path: str, use: Use) -> int:
    """A detached bind of a volume, or of a folder in it, whose path is looked up inside the volume."""
    if not use.subpath:
        return kernel.clone_tree(path, recursive=True)
    folder_fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        inner_fd = openat2(folder_fd, use.subpath, os.O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        words = "a link in it leads out of the volume" if error.errno == errno.EXDEV else error.strerror
        raise Internal(f"cannot access path {path}/{use.subpath}: {words}") from None
    finally:
        os.close(folder_fd)
    try:
        return kernel.clone_tree("", inner_fd, recursive=True)
    finally:
        os.close(inner_fd)


def _close(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())


async def let_go(ctx: Containers, container: Container) -> None:
    """After a container has ended, or could not be started: what no running container has is unmounted."""
    for use in uses(container.record):
        ctx.volumes.publish_unmount(use.name, container.id)
        if ctx.volumes.is_remote(use.name):
            ctx.spawn(unmount(ctx, use.name, container.id), f"unmount {use.name}")  # nobody waits for a plugin that hangs
        else:
            await unmount(ctx, use.name, container.id)


async def unmount(ctx: Containers, name: str, container_id: str) -> None:
    """A container has ended that had a volume; a failure is logged."""
    try:
        await ctx.volumes.unmount(name, container_id, ctx.running_users_of_volume)
    except (OSError, PierError) as problem:
        log.warning("volume %s cannot be unmounted: %s; the daemon's next start tries again", name, problem)


def anonymous(ctx: Containers, container: Container) -> Iterator[str]:
    """The anonymous volumes of a container: what goes with `rm -v` and `--rm`, where no other container has it."""
    for use in uses(container.record):
        if ctx.volumes.has(use.name) and ANONYMOUS_LABEL in (ctx.volumes.get(use.name).labels or {}):
            yield use.name
