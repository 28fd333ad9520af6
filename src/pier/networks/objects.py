"""Networks of users: made, removed, pruned. create_plan.py decides; a row comes before its bridge and goes before it."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from pier import trace
from pier.api.models.networks import NetworkCreate, NetworkCreated, NetworksPruned
from pier.errors import Forbidden, Invalid
from pier.networks import create_plan, files, pools, repair, sysctls
from pier.networks.create_plan import World
from pier.networks.live import Live
from pier.networks.model import IPNetwork, Network

if TYPE_CHECKING:
    from pier.networks.networks import Networks

_log = logging.getLogger("pier.networks")
_PRUNE_FILTERS = ("label", "label!", "until")


async def create(networks: "Networks", request: NetworkCreate) -> NetworkCreated:
    """POST /networks/create. Raises what create_plan.plan raises, Conflict (a link of that name is there); nothing is left then."""
    async with networks.changing:
        await networks.removals.flush()
        ipvlan = request.driver == "ipvlan" and await networks.ask(networks.plumbing.has_ipvlan)
        taken = await _taken(networks, request)
        own = networks.config.pools or pools.of_host(networks.config.identity)
        world = World([live.network for live in networks.live.values()], taken, own, ipvlan, networks.spans)
        network = create_plan.plan(request, world, identity=secrets.token_hex(32), now_ns=time.time_ns())
        if network.config_only:
            await networks.records.save([network])
            networks.live[network.id] = Live(network)
        else:
            await _make(networks, network)
    networks.journal.publish("network", "create", network.id, {"name": network.name, "type": network.driver})
    return NetworkCreated(id=network.id, warning=await _warning(networks, request, network))


async def _warning(networks: "Networks", request: NetworkCreate, network: Network) -> str:
    """What is in the way of a subnet that was asked for; one that was chosen goes around it."""
    if network.driver != "bridge" or network.config_only or not any(each.subnet for each in (request.ipam.config if request.ipam else None) or ()):
        return ""
    return "\n".join(pools.clashes([(network.name, subnet.parsed) for subnet in network.subnets], await repair.surroundings(networks)))


async def _taken(networks: "Networks", request: NetworkCreate) -> list[IPNetwork]:
    """What the host's routes, addresses and name servers take up; nobody needs to know where every subnet is given."""
    given = {6 if ":" in (each.subnet or "") else 4 for each in (request.ipam.config if request.ipam else None) or () if each.subnet}
    wanted = ({4} if request.enable_ipv4 is not False else set[int]()) | ({6} if request.enable_ipv6 else set())
    if wanted <= given:
        return []

    found = list(await repair.surroundings(networks))
    for server in files.name_servers(files.host_resolv_text(files.host_resolv_path())):
        found += create_plan.as_networks(server)
    return found


async def _make(networks: "Networks", network: Network) -> None:
    """The row, which is the intent; the link; the firewall. What fails takes back what was done."""
    await networks.records.save([network])
    live = Live(network)
    try:
        trace.point("networks.create.row")
        if network.driver == "bridge":
            await networks.setup.enable_forwarding()
            if network.ipv6 and not network.internal:
                await networks.ask(sysctls.forward_ipv6)
        live.base = await networks.ask(networks.driver(network).create, network, networks.mtu)
        trace.point("networks.create.bridge")
        made = Live(network, live.base)
        networks.live[network.id] = made
        if made.bridge is not None:
            networks.plumbing.surroundings.ours(made.bridge.index)
            await networks.guard.change()
            await networks.egress.refresh()
        trace.point("networks.create.rules")
    except BaseException:
        networks.live.pop(network.id, None)
        await asyncio.shield(_undo(networks, network, live))
        raise


async def _undo(networks: "Networks", network: Network, live: Live) -> None:
    if live.base is not None:
        if live.bridge is not None:
            await networks.guard.change()
            await networks.egress.refresh()
        networks.removals.add([network])
        await networks.removals.flush()
    await networks.records.delete([network.id])


async def remove(networks: "Networks", name: str, container_name: Callable[[str], str]) -> None:
    """DELETE /networks/{name}; the link goes in the background, before another network is made.

    Raises NotFound, Forbidden (predefined; containers are in it), with Docker's texts.
    """
    live = networks.find(name)
    network = live.network
    if network.predefined:
        raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
    inside = networks.inside(network.id)
    if inside:
        told = " ".join(f'name:"{container_name(container)}" id:"{endpoint.endpoint_id[:12]}"' for container, endpoint in inside.items())
        raise Forbidden(f"error while removing network: network {network.name} has active endpoints ({told})")
    users = [each.network.name for each in networks.live.values() if network.config_only and each.network.config_from == network.name]
    if users:
        raise Forbidden(f"configuration network {network.name!r} is in use by network {users[0]}")
    await _remove(networks, [live])


async def _remove(networks: "Networks", going: Sequence[Live]) -> None:
    for live in going:
        live.doomed = True
    try:
        trace.point("networks.remove.row")
        await networks.records.delete(live.network.id for live in going)
    except BaseException:
        for live in going:
            live.doomed = False
        raise
    for live in going:
        networks.live.pop(live.network.id, None)
        network = live.network
        networks.journal.publish("network", "destroy", network.id, {"name": network.name, "type": network.driver})
    trace.point("networks.remove.rules")
    if any(live.bridge for live in going):
        await networks.guard.change()
        await networks.egress.refresh()
    networks.removals.add(live.network for live in going if live.base is not None)


async def prune(
    networks: "Networks", filters: Mapping[str, Sequence[str]], used: Collection[str], until_ns: int | None = None
) -> NetworksPruned:  # fmt: skip
    """POST /networks/prune: removes users' networks that no container has, running or not. Raises Invalid.

    used: IDs of networks. until_ns: what the filter `until` says, ns since the epoch.
    """
    for key in filters:
        if key not in _PRUNE_FILTERS:
            raise Invalid(f"invalid filter '{key}'")
    going = [
        live for live in networks.live.values()
        if not live.network.predefined and live.network.id not in used and not networks.inside(live.network.id) and not live.doomed
        and (until_ns is None or live.network.created_ns < until_ns) and _labels_pass(live.network, filters)
    ]  # fmt: skip
    if going:
        await _remove(networks, going)
    networks.journal.publish("network", "prune", "", {"reclaimed": "0"})
    return NetworksPruned(networks_deleted=[live.network.name for live in going] or None)


def _labels_pass(network: Network, filters: Mapping[str, Sequence[str]]) -> bool:
    def has(wanted: str) -> bool:
        key, equals, value = wanted.partition("=")
        return key in network.labels and (not equals or network.labels[key] == value)

    return all(map(has, filters.get("label", ()))) and not any(map(has, filters.get("label!", ())))
