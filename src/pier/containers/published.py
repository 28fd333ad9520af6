"""Published ports of containers: asked of networks (pier.networks.published), held by netd while they are open.

netd and its duplicates in the keeper outlive the daemon: nobody on the host takes a port in between, and the firewall's elements stay.
"""

import asyncio
import contextlib

from msgspec import UNSET

from pier import trace
from pier.containers.record import Container, Record
from pier.containers.table import Containers, log
from pier.errors import Internal, PierError
from pier.ipc import PeerGone, RemoteError
from pier.networks import ports
from pier.networks.endpoints import default_gateways
from pier.networks.ports import Asked
from pier.networks.published import Held, close

KEY = "ports:"
_FIRSTS = "firsts:"  # as netd calls it
_PREFIX = "failed to set up container networking: driver failed programming external connectivity on endpoint"
_PART = 128  # sockets in one message
_TRIES, _PAUSE_S = 10, 0.1


def wants(record: Record) -> bool:
    """Whether a container asks for published ports at all."""
    return bool(record.host.port_bindings or record.host.publish_all_ports)


def asked(record: Record) -> tuple[Asked, ...]:
    """What it asks for. Raises Invalid."""
    exposed = record.config.exposed_ports
    return ports.asked(record.host.port_bindings or {}, exposed if exposed is not UNSET else {}, record.host.publish_all_ports)


async def publish(ctx: Containers, container: Container) -> None:
    """Open a container's ports; its networks are attached. Raises Internal with Docker's texts and who has a port; `withdraw` is to follow then."""
    try:
        held = await ctx.networks.ports.reserve(container.id, asked(container.record), ctx.name_of)
    except PierError as problem:
        gateway = next(filter(None, default_gateways(container.places)), None)
        where = f"{container.name} ({gateway.endpoint_id if gateway else ''})"
        raise Internal(f"{_PREFIX} {where}: {problem}") from None
    await _hold(ctx, container.id, held)
    await ctx.networks.ports.open(container.id)


async def withdraw(ctx: Containers, container_id: str) -> None:
    """Close them: the firewall first, then the sockets. Nothing is open: nothing to do."""
    await ctx.networks.ports.close(container_id)
    if container_id in ctx.holding:
        ctx.holding.discard(container_id)
        trace.point("withdraw.sockets")
        await _call(ctx, "withdraw", key=container_id)
        with contextlib.suppress(PeerGone, RemoteError):
            # The keeper hears netd before us: once it answers, its duplicates are closed, too, and the ports are free.
            await ctx.supervisor.release(KEY + container_id)


async def moved(ctx: Containers, container: Container) -> None:
    """A running container was connected or disconnected: its ports follow its gateway. What cannot be had any more is a line in the log."""
    if not wants(container.record):
        return
    now = ctx.networks.ports.active.get(container.id)
    if ctx.networks.ports.targets(container.id) == ((now.address, now.address6) if now else ("", "")):
        return
    await ctx.networks.ports.suspend(container.id)
    await withdraw(ctx, container.id)
    try:
        await publish(ctx, container)
    except (PierError, OSError) as problem:
        log.warning("container %s: its ports are not published in its new network: %s", container.record.short_id, problem)
        await withdraw(ctx, container.id)


def _as_asked(ctx: Containers, container: Container) -> bool:
    """Whether what is open of a running container is what its record asks for."""
    if not ctx.networks.ports.has_gateway(container.id):
        return True
    there = {(binding.protocol, binding.port) for binding in ctx.networks.ports.bindings_of(container.id)}
    return there == {(one.protocol, one.port) for one in asked(container.record)}


async def _as_recorded(ctx: Containers) -> None:
    """What a daemon left that was killed while it changed the ports of a running container: they become what the record says."""
    for container in list(ctx.table.values()):
        if container.state.running and (wants(container.record) or container.id in ctx.networks.ports.active) and not _as_asked(ctx, container):
            log.warning("repair: the ports of container %s are not those of its record: opened anew", container.record.short_id)
            try:
                await withdraw(ctx, container.id)
                await publish(ctx, container)
            except (PierError, OSError) as problem:
                log.warning("container %s: its ports cannot be opened: %s", container.record.short_id, problem)


async def restored(ctx: Containers, held: set[str]) -> None:
    """The daemon, netd or the keeper is new. held: the keys that the keeper has for netd; what is not among them is held anew."""
    if ctx.networks.guard.log_group or _FIRSTS in held:
        await _call(ctx, "firsts", group=ctx.networks.guard.log_group)
    known = {key.removeprefix(KEY).partition("/")[0] for key in held if key.startswith(KEY)}
    active = ctx.networks.ports.active
    ctx.holding = known & active.keys()
    for container_id in known - active.keys():
        await _call(ctx, "withdraw", key=container_id)
    for container_id in sorted(active.keys() - known):
        await _hold_again(ctx, container_id)
    await _as_recorded(ctx)
    for container_id, _, _ in ctx.networks.records.published():
        if container_id not in ctx.table and container_id not in ctx.making:
            await ctx.networks.records.forget_published(container_id)


async def _hold_again(ctx: Containers, container_id: str) -> None:
    for tries in range(_TRIES, -1, -1):
        if container_id not in ctx.networks.ports.active:
            return
        try:
            await _hold(ctx, container_id, ctx.networks.ports.hold_again(container_id))
            return
        except PierError as problem:
            if not tries:
                log.warning("container %s: %s; the firewall still leads there", ctx.name_of(container_id), problem)
            await asyncio.sleep(_PAUSE_S)  # the last netd may be about to end


async def _hold(ctx: Containers, container_id: str, held: list[Held]) -> None:
    """Hand sockets to netd; they are owned by this call."""
    try:
        for part, at in enumerate(range(0, len(held), _PART)):
            some = held[at : at + _PART]
            targets = [(each.protocol, each.address, each.port) for each in some]
            if await _call(ctx, "publish", [each.fd for each in some], key=container_id, part=part, targets=targets):
                ctx.holding.add(container_id)
        trace.point("publish.held")
    finally:
        close(held)


async def _call(ctx: Containers, op: str, fds: list[int] | None = None, **fields: object) -> bool:
    """Ask netd. Where it does not answer it gets everything when it is back (`restored`)."""
    for tries in range(_TRIES, -1, -1):
        try:
            await ctx.supervisor.helper("netd").call(op, fds or [], **fields)
            return True
        except RemoteError as error:
            log.warning("published ports: %s of %s: %s", op, str(fields.get("key"))[:12], error)
            return False
        except PeerGone:
            if tries:
                await asyncio.sleep(_PAUSE_S)
    log.warning("published ports: netd does not answer; it gets everything when it is back")
    return False
