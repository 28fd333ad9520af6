"""Creating a container: everything is checked before anything is touched; the row is the last thing to come."""

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import partial

import msgspec
from msgspec import UNSET

from pier import trace
from pier.api.models.containers import ContainerConfig, CreateRequest, CreateResponse, HostConfig
from pier.api.models.networks import EndpointSettings
from pier.containers import (
    egress,
    endpoint_options,
    health,
    image_mounts,
    joining,
    labels,
    links,
    merge,
    mounts,
    names,
    preparing,
    propagation,
    relabel,
    security,
    sources,
    typos,
    unsupported,
    validate,
    volumes,
)
from pier.containers.degrade import degrade
from pier.containers.record import Container, MountedImage, Record, State, encode
from pier.containers.shapes import is_pooled
from pier.containers.table import Containers
from pier.errors import Internal, Invalid, NotFound
from pier.networks.model import PREDEFINED, Network
from pier.oci import platform as platforms
from pier.runtime import defaults
from pier.runtime.supervisor import Child, PeerGone
from pier.volumes.drafts import Drafts

KEEP_CHILD_S = 10


async def create(ctx: Containers, request: CreateRequest, name: str | None, platform: str | None) -> CreateResponse:
    """Make a container that can be started.

    Raises Invalid and NotImplementedByPier (the request), NotFound (the image or a container that it names),
    Conflict (the name) with Docker's texts; nothing is left behind.
    """
    if name:
        validate.check_name(name)
        name = name.removeprefix("/")
    if not request.image:
        raise Invalid("no image specified: Config.Image is empty")
    host = request.host_config or HostConfig()
    unsupported.refuse(request, host)
    health.check(request.healthcheck)
    validate.check_conflicts(request, host)
    image = ctx.images.resolve(request.image, platforms.parse(platform) if platform else None)
    config = merge.merge(request, image.config.config)
    warnings = unsupported.image_warnings(config) + validate.check(config, host, ctx.machine)
    validate.check_log(host, ctx.defaults.log_driver)
    warnings += degrade(host, ctx.machine)
    options = security.parse(host.security_opt or [], host.privileged)
    warnings += ctx.profiles.warnings(options)
    if ctx.labelling is None:
        warnings += labels.not_carried_out(options.labels, host.binds or [], ctx.machine.selinux)
    wishes, folders, said = await _mount_points(ctx, config, host)
    propagation.check([wish.point for wish in wishes], list(host.tmpfs if host.tmpfs is not UNSET else ()))
    warnings += said
    _resolve_modes(ctx, host)
    _fill_defaults(ctx, config, host)
    if ctx.labelling is not None:
        relabel.check([wish.point for wish in wishes], _labels(ctx, host))
    endpoint_options.refuse_interface_sysctls(host.sysctls or {})
    endpoints = _endpoints(ctx, request, host)
    links.settle(ctx, host, endpoints)
    egress.check(host, [(name, _network(ctx, name)) for name in endpoints])
    path, args = merge.command(config)
    draft = Record(
        id="",
        name="",
        created_ns=time.time_ns(),
        image_id=image.id,
        image_name=request.image,
        diff_ids=list(image.diff_ids),
        platform="linux",
        path=path,
        args=args,
        config=config,
        host=host,
        mounts=[],
        endpoints=endpoints,
    )
    with ctx.images.hold(image.id), ExitStack() as held:
        shown = image_mounts.choose(ctx, host, wishes, _images_of(ctx, host.volumes_from or []), held)
        draft = msgspec.structs.replace(draft, mounted_images=shown)
        async with ctx.volumes.drafts() as drafts:
            points = await volumes.take(drafts, wishes) if wishes else []
            container = await _make(ctx, msgspec.structs.replace(draft, mounts=points), name, drafts, folders)
    trace.point("create.done")
    if container.child is not None:
        _keep_for_a_while(ctx, container, container.child)
    ctx.publish(container, "create")
    return CreateResponse(id=container.id, warnings=warnings)


async def _mount_points(ctx: Containers, config: ContainerConfig, host: HostConfig) -> tuple[list[mounts.Wish], list[str], list[str]]:
    """The mount points asked for, the folders of the host that are to be made for them, and warnings about these.

    Raises Invalid, Internal; waits for no mount that hangs.
    """
    others = volumes.of_others(ctx, host.volumes_from or [])
    declared = sorted(config.volumes or {})
    if not host.binds and not (host.mounts if host.mounts is not UNSET else []):
        return mounts.wishes(declared, host, others), [], []
    volumes_now = ctx.volumes.own()

    def look() -> tuple[list[mounts.Wish], list[str], list[str]]:
        wishes = mounts.wishes(declared, host, others)
        missing = [wish.point.source for wish in wishes if wish.make_source and not os.path.lexists(wish.point.source)]
        return wishes, missing, [text for text in (typos.warning(path, volumes_now) for path in missing) if text]

    wanted = [bind.partition(":")[0] for bind in host.binds or []] + [mount.source or "" for mount in host.mounts or []]
    return await sources.in_time(look, f"bind source {', '.join(wanted)}")


def _images_of(ctx: Containers, specs: Sequence[str]) -> dict[str, MountedImage]:
    """The images that containers of `--volumes-from` mount."""
    return {place: image for spec in specs for place, image in ctx.find(spec.partition(":")[0]).record.mounted_images.items()}


async def _reserve(ctx: Containers) -> Child | None:
    try:
        return await ctx.supervisor.reserve()
    except PeerGone:
        return None  # the launcher is being started again: the start makes a child


async def _make(ctx: Containers, draft: Record, name: str | None, drafts: Drafts, folders: Sequence[str] = ()) -> Container:
    """Give a draft its ID and name, and make what belongs to it, with the `folders` of the host that its binds want; with a child that
    waits for its start, where the pool had one."""
    host, config = draft.host, draft.config
    async with AsyncExitStack() as undo:
        child = await _reserve(ctx) if is_pooled(host, ctx.facts) else None
        if child is not None:
            undo.callback(child.discard)
        container_id = child.id if child else secrets.token_hex(32)
        chosen = name or names.generate(ctx.names)
        ctx.take_name(chosen, container_id)
        undo.callback(ctx.names.pop, chosen, None)
        for path in folders:
            try:
                made = await sources.in_time(partial(sources.make_folder, path), f"bind source {path}")
            except OSError as problem:
                text = f"error while creating mount source path '{path}': mkdir {problem.filename}: {str(problem.strerror).lower()}"
                raise Internal(text) from None
            undo.callback(sources.remove_folders, made)
        if not config.hostname and host.uts_mode != "host" and not host.network_mode.startswith("container:"):
            config.hostname = container_id[:12] if host.network_mode != "host" else os.uname().nodename
        label = _labels(ctx, host)  # nothing waits from here until the container is in `ctx.making`: no other takes its categories
        record = msgspec.structs.replace(draft, id=container_id, name=chosen, process_label=label.process, mount_label=label.mount)
        container = Container(record, State(), child=child)
        if child is not None and host.network_mode == "bridge" and len(record.endpoints) == 1:
            ctx.networks.prepare(container_id, child.netns_fd)
            undo.callback(ctx.networks.forget, container_id)
        trace.point("create.snapshot")
        undo.callback(ctx.snapshots.remove, container_id)
        ctx.snapshots.create(container_id, record.diff_ids)
        trace.point("create.folder")
        folder = ctx.folder(container_id)
        os.mkdir(folder, 0o710)
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        with open(os.open(folder / "config.json", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(encode(record))  # with the environment and its secrets
        trace.point("create.record")
        ctx.making[container_id] = container
        undo.callback(ctx.making.pop, container_id, None)
        undo.push_async_callback(preparing.drop, ctx, container)
        preparing.begin(ctx, container)  # goes on while the disk takes the row
        await ctx.insert(container, drafts.write)
        drafts.done()
        undo.pop_all()
    ctx.table[container_id] = container
    links.remember(ctx, record)
    del ctx.making[container_id]
    return container


def _labels(ctx: Containers, host: HostConfig) -> labels.Labels:
    """The SELinux labels that a new container gets now. Raises Internal, Conflict."""
    if ctx.labelling is None:
        return labels.Labels()
    return ctx.labelling.choose(security.parse(host.security_opt or [], host.privileged).labels, ctx.levels())


def _keep_for_a_while(ctx: Containers, container: Container, child: Child) -> None:
    """A start that follows at once takes the blank child, and what it has prepared; later it costs memory for nothing."""

    async def let_go() -> None:
        async with container.lock:  # maybe of a start that is under way
            if container.child is child and container.state.status == "created":
                await preparing.drop_locked(ctx, container)
                ctx.networks.forget(container.id)
                container.let_go_of_child()

    def expire() -> None:
        if container.child is child and container.state.status == "created":
            ctx.spawn(let_go(), f"let go of the child of {container.record.short_id}")

    asyncio.get_running_loop().call_later(KEEP_CHILD_S, expire)


def _resolve_modes(ctx: Containers, host: HostConfig) -> None:
    """`container:NAME` of modes becomes `container:<ID>`, as inspect shows it. Raises NotFound (Invalid for IPC and PID, as Docker)."""
    for attribute in ("ipc_mode", "pid_mode"):
        mode = getattr(host, attribute)
        if mode.startswith("container:"):
            try:
                setattr(host, attribute, f"container:{ctx.find(mode.partition(':')[2]).id}")
            except NotFound as problem:
                raise Invalid(str(problem)) from None
    if host.network_mode.startswith("container:"):
        try:
            host.network_mode = f"container:{ctx.find(host.network_mode.partition(':')[2]).id}"
        except NotFound:
            pass  # Docker finds out at start


def _fill_defaults(ctx: Containers, config: ContainerConfig, host: HostConfig) -> None:
    host.network_mode = host.network_mode if host.network_mode not in ("", "default") else "bridge"
    host.ipc_mode = host.ipc_mode or "private"
    host.cgroupns_mode = host.cgroupns_mode or ("private" if ctx.facts.cgroups.mode == "v2" else "host")
    host.shm_size = host.shm_size or ctx.defaults.shm_size_bytes
    host.restart_policy.name = host.restart_policy.name or "no"
    host.runtime = host.runtime or "pier"
    if not host.log_config.type:
        host.log_config.type = ctx.defaults.log_driver
        host.log_config.config = {**ctx.defaults.log_options, **(host.log_config.config or {})}
    host.log_config.config = host.log_config.config or {}
    if host.oom_kill_disable is None and not ctx.machine.unified:
        host.oom_kill_disable = False
    if host.pids_limit is not None and host.pids_limit <= 0:
        host.pids_limit = None
    if len(host.console_size) != 2:
        host.console_size = [0, 0]
    if host.memory and not host.memory_swap:
        host.memory_swap = host.memory * 2
    if host.masked_paths is None:
        host.masked_paths = [] if host.privileged else list(defaults.masked_paths(ctx.facts.cpus))
    if host.readonly_paths is None:
        host.readonly_paths = [] if host.privileged else list(defaults.READONLY_PATHS)
    labelled = any(option.startswith(("label=", "label:")) for option in host.security_opt or [])
    if not labelled and (host.privileged or "host" in (host.ipc_mode, host.pid_mode)):
        host.security_opt = [*(host.security_opt or []), "label=disable"]  # inspect shows it, as in Docker
    elif not labelled and host.ipc_mode.startswith("container:"):
        donor = ctx.find(host.ipc_mode.partition(":")[2]).record
        host.security_opt = [*(host.security_opt or []), *labels.same_as(donor.process_label)] or host.security_opt
    if host.init is UNSET or host.init is None:
        host.init = True if ctx.defaults.init else UNSET


def _endpoints(ctx: Containers, request: CreateRequest, host: HostConfig) -> dict[str, EndpointSettings]:
    """The networks that the container will be in, by name, with what it asks of each. Raises Invalid, NotImplementedByPier, with Docker's texts."""
    mode = host.network_mode
    if mode.startswith("container:"):
        return {}
    given = dict((request.networking_config.endpoints_config if request.networking_config else None) or {})
    if mode == "bridge" and "default" in given:
        given.setdefault("bridge", given.pop("default"))
    mac = request.mac_address if request.mac_address is not UNSET else ""
    if mode not in PREDEFINED or len(given) > 1:
        # The mode may be an ID, and an entry may go by it: both are named by their names.
        given = {_network_name(ctx, name): settings for name, settings in given.items()}
        mode = mode if mode in PREDEFINED else _network_name(ctx, mode)
    found = {}
    for name in [mode, *sorted(given.keys() - {mode})]:
        settings = given.get(name) or EndpointSettings()
        if name == mode and mac and not settings.mac_address:
            settings = msgspec.structs.replace(settings, mac_address=mac)
        if name in ("host", "none") and len(given.keys() | {mode}) > 1:
            kind = "host network mode" if name == "host" else "no network"
            raise Invalid(f"conflicting options: cannot attach both {name} and other networks to one container ({kind})")
        found[name] = joining.checked(_network(ctx, name), name, settings)
    return found


def _network(ctx: Containers, name: str) -> Network | None:
    """A network that is not there is found out at the start, as in Docker."""
    try:
        return ctx.networks.find(name).network
    except NotFound:
        return None


def _network_name(ctx: Containers, name: str) -> str:
    network = _network(ctx, name)
    return network.name if network else name
