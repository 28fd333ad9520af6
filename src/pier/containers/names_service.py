"""The daemon's side of netd: which names there are in which network, and what each container sees. Pushed whenever it changes.

Nothing here fails a start: netd that is being started again gets everything when it is back (`restored`).
"""

import asyncio
import os
from typing import Any

from pier.containers import egress, errand, links
from pier.containers.naming import dns_names, serves
from pier.containers.record import Container
from pier.containers.table import Containers, log
from pier.errors import PierError
from pier.ipc import PeerGone, RemoteError
from pier.networks import files
from pier.runtime.plan import Step

_TRIES, _PAUSE_S = 5, 0.1
KEY = "names:"
_DEFAULT_SERVERS = ("8.8.8.8", "8.8.4.4")


def zone(ctx: Containers, network_id: str) -> dict[str, Any]:
    """A network's names, as netd takes them."""
    network = ctx.networks.find(network_id).network
    hosts: dict[str, list[str]] = {}
    pointers: dict[str, str] = {}
    for container_id, endpoint in ctx.networks.inside(network_id).items():
        container = ctx.table.get(container_id)
        names = dns_names(container.record, network.name) if container else None
        for name in names or ():  # the whole ID is too long for a label of DNS
            hosts.setdefault(name.lower(), []).extend(address for address in endpoint.addresses if address not in hosts.get(name.lower(), ()))
        for address in endpoint.addresses if names else ():
            pointers[address] = f"{names[0]}.{network.name}" if names else ""
    subnets = [subnet.network for subnet in network.subnets] if not network.predefined else []
    return {"name": network.name, "internal": network.internal, "subnets": subnets, "hosts": hosts, "pointers": pointers}


def view(ctx: Containers, container: Container) -> dict[str, Any]:
    """What a container sees: its networks, and whom to ask further."""
    own = container.record.host.dns or ctx.networks.config.dns
    servers = list(own) or files.name_servers(files.host_resolv_text("/etc/resolv.conf")) or list(_DEFAULT_SERVERS)
    linked: dict[str, list[list[str]]] = {}
    for place in container.places:
        given = container.record.endpoints.get(place.network)
        for name, alias in map(links.split, (given.links if given else None) or ()):
            linked.setdefault(alias, []).append([place.network_id, ctx.short(name)])
    fields = {"networks": [place.network_id for place in container.places], "own": linked, "servers": servers}
    return {**fields, "egress": held} if (held := egress.view(ctx, container, servers)) else fields


async def started(ctx: Containers, container: Container, sockets: list[int]) -> None:
    """A container runs that serves: its names, then its sockets (owned by this call)."""
    try:
        await _push(ctx, [place.network_id for place in container.places])
        await _call(ctx, "open", sockets, key=container.id, view=view(ctx, container))
    finally:
        for fd in sockets:
            os.close(fd)


async def joined(ctx: Containers, container: Container) -> None:
    """A running container was connected or disconnected, or has another name."""
    if serves(container.record):
        await _push(ctx, [place.network_id for place in container.places])
        if f"{KEY}{container.id}" in ctx.named:
            await _call(ctx, "view", key=container.id, view=view(ctx, container))
        else:
            await _open_anew(ctx, container)


async def changed(ctx: Containers, network_ids: list[str]) -> None:
    """Who is in these networks has changed."""
    await _push(ctx, network_ids)


async def ended(ctx: Containers, container: Container, network_ids: list[str]) -> None:
    """A container that served has ended."""
    if f"{KEY}{container.id}" in ctx.named:
        ctx.named.discard(f"{KEY}{container.id}")
        await _call(ctx, "close", key=container.id)
    await _push(ctx, network_ids)


async def removed(ctx: Containers, network_id: str) -> None:
    """A network is gone."""
    await _call(ctx, "network-gone", key=network_id)


async def restored(ctx: Containers, held: set[str]) -> None:
    """The daemon, netd or the keeper is new. held: the keys whose sockets the keeper has; the others' are made anew."""
    running = [container for container in list(ctx.table.values()) if container.state.running and serves(container.record)]
    ctx.named = {key for key in held if key.startswith(KEY)}
    await _push(ctx, sorted({place.network_id for container in running for place in container.places}))
    for container in running:
        async with container.lock:
            if container.state.running:
                await joined(ctx, container)
    known = {f"{KEY}{container.id}" for container in running}
    for key in ctx.named - known:
        ctx.named.discard(key)
        await _call(ctx, "close", key=key.removeprefix(KEY))


async def _open_anew(ctx: Containers, container: Container) -> None:
    try:
        sockets = await errand.run(ctx, container, [Step("names", {})])
    except PierError as error:
        log.warning("container %s: no names are answered: %s", container.record.short_id, error)
        return
    await started(ctx, container, sockets)


async def _push(ctx: Containers, network_ids: list[str]) -> None:
    for identity in network_ids:
        if identity in ctx.networks.live:
            await _call(ctx, "network", key=identity, fields=zone(ctx, identity))


async def _call(ctx: Containers, op: str, fds: list[int] | None = None, **fields: Any) -> None:
    for tries in range(_TRIES, -1, -1):
        try:
            await ctx.supervisor.helper("netd").call(op, fds or [], **fields)
            if op == "open":
                ctx.named.add(f"{KEY}{fields['key']}")
            return
        except RemoteError as error:
            log.warning("names: %s of %s: %s", op, str(fields.get("key"))[:12], error)
            return
        except PeerGone:
            if not tries:
                log.warning("names: netd does not answer; it gets everything when it is back")
                return
            await asyncio.sleep(_PAUSE_S)
