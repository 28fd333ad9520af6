"""What the kernel lost of the networks, and what a killed daemon left: compared with the records, made again or taken away."""

import logging
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from sqlite3 import Row
from typing import TYPE_CHECKING

from pier.errors import PierError
from pier.networks import pools
from pier.networks.drivers import Port
from pier.networks.endpoints import Endpoint
from pier.networks.live import Live
from pier.networks.model import IPNetwork, Network

if TYPE_CHECKING:
    from pier.networks.networks import Networks

_log = logging.getLogger("pier.networks")


async def bring_up(networks: "Networks", network: Network, rows: Iterable[Row]) -> Live:
    """A network of the records as the daemon starts: its link is there when this returns, or the log says why not."""
    taken = [address for row in rows if row["network_id"] == network.id for address in (row["ipv4"], row["ipv6"]) if address]
    if network.config_only:
        return Live(network)
    try:
        base, made = await networks.ask(networks.driver(network).ensure, network, networks.mtu)
    except (OSError, PierError) as error:
        _log.error("network %s has no link: %s; its containers cannot start until that is mended and the daemon started again", network.name, error)
        return Live(network)
    if made:
        _log.info("link %s of network %s made again", network.link, network.name)
    return Live(network, base, taken)


async def reconcile(networks: "Networks", live: set[str]) -> None:
    """Release what the dead held, repair what the kernel lost, delete what is nobody's. Each repair is a line in the log."""
    for container_id in [container_id for container_id in networks.endpoints if container_id not in live]:
        for endpoint in networks.endpoints_of(container_id):
            _log.info("container %s is gone: its place in network %s is released", container_id[:12], endpoint.network)
        await networks.detach(container_id)
    await repair(networks)
    bases = {each.base.name for each in networks.live.values() if each.base}
    for name in await networks.ask(networks.plumbing.stray_links, bases):
        await networks.ask(networks.plumbing.delete_link, name)
        _log.info("link %s belonged to no network: deleted", name)
    known = {endpoint.host_interface for places in networks.endpoints.values() for endpoint in places.values()}
    known |= {endpoint.host_interface for endpoint in networks.leaving.values()} | networks.prepared.names()
    masters = await networks.ask(_masters, networks)
    veths = await networks.ask(networks.plumbing.veths)
    lost = _without_link(networks, veths)
    for name, link in veths.items():
        if name not in known and link.master in masters:
            await networks.ask(networks.plumbing.delete_link, name)
            _log.info("link %s belonged to no container: deleted", name)
    for container_id, endpoint in lost:
        networks.spawn(relink(networks, container_id, endpoint))
    networks.guard.watch_links(partial(_concerns, networks), partial(_mend, networks))
    await look_around(networks)


def _without_link(networks: "Networks", veths: Collection[str]) -> list[tuple[str, Endpoint]]:
    """The places of containers whose link somebody deleted."""
    held = [(container_id, endpoint) for container_id, places in networks.endpoints.items() for endpoint in places.values()]
    return [
        (container_id, endpoint) for container_id, endpoint in held
        if endpoint.host_interface and endpoint.host_interface not in veths and endpoint.endpoint_id not in networks.plugging
    ]  # fmt: skip


def _concerns(networks: "Networks", names: frozenset[str] | None) -> bool:
    """Whether a link that went, or left its bridge, is a network's or a container's that has not ended."""
    if names is None or any(live.bridge is not None and live.bridge.name in names and not live.doomed for live in networks.live.values()):
        return True
    held = (endpoint for places in networks.endpoints.values() for endpoint in places.values())
    return any(endpoint.host_interface in names and endpoint.endpoint_id not in networks.plugging for endpoint in held)


async def _mend(networks: "Networks") -> None:
    await repair(networks)
    for container_id, endpoint in _without_link(networks, await networks.ask(networks.plumbing.veths)):
        await relink(networks, container_id, endpoint)


async def relink(networks: "Networks", container_id: str, endpoint: Endpoint) -> None:
    """Make the link of a running container again; where that fails it runs on without."""
    try:
        await networks.guard.relink(container_id, endpoint)
    except (OSError, PierError) as error:
        way_out = f"`pier network disconnect {endpoint.network} {container_id[:12]}` and `connect`, or a restart, make it again"
        _log.warning("container %s: its link %s is gone: %s: %s", container_id[:12], endpoint.host_interface, error, way_out)


async def plug_again(networks: "Networks", endpoint: Endpoint, netns_fd: int) -> bool:
    """Make a link that is gone, as it was: its other end is in the container's namespace, without addresses yet. Whether it was gone."""
    live = networks.live.get(endpoint.network_id)
    if live is None or live.bridge is None or live.doomed or not await networks.ask(networks.plumbing.gone, [endpoint.host_interface]):
        return False
    await networks.ask(networks.plumbing.bridges.join, live.bridge, networks.port(live, endpoint, netns_fd))
    return True


async def surroundings(networks: "Networks") -> Sequence[IPNetwork]:
    """What the host's routes and addresses take up that are not our bridges'."""

    def bridges() -> set[int]:
        return {live.bridge.index for live in tuple(networks.live.values()) if live.bridge}

    return await networks.ask(networks.plumbing.surroundings.networks, bridges)


async def look_around(networks: "Networks") -> list[str]:
    """Which routes of the host's are in the way of networks by now: a VPN's may come at any time. They are among `warnings`; a new one is logged."""
    there = [(live.network.name, subnet.parsed) for live in networks.live.values() if live.bridge for subnet in live.network.subnets]
    found = pools.clashes(there, await surroundings(networks))
    for words in found:
        if words not in networks.guard.clashes:
            _log.warning("%s", words)
    networks.guard.clashes = found
    return found


def _masters(networks: "Networks") -> set[int]:
    """The bridges of networks and their parts; blocks."""
    segments = networks.plumbing.bridges.segments
    return {index for live in list(networks.live.values()) if live.bridge for index in segments.places(live.bridge)}


async def repair(networks: "Networks") -> None:
    """Make the bridges and the rules as they should be, and put the containers' links into their bridges again. Raises what prevents it."""
    async with networks.repairing:
        for live in list(networks.live.values()):
            if live.base is None or live.doomed or (live.network.name == "bridge" and networks.config.bridge):
                continue
            if live.bridge is None:
                await _repair_parent(networks, live)
                continue
            try:
                live.base, made = await networks.ask(networks.plumbing.bridges.ensure, live.network, networks.mtu)
            except (OSError, PierError) as error:  # another link has its name, say: no reason for the others not to be mended
                _log.warning("network %s: its bridge %s cannot be made again: %s", live.network.name, live.network.link, error)
                continue
            if made:
                _log.warning("bridge %s was gone: made again", live.network.link)
                await networks.ask(networks.plumbing.open_loopback, networks.ports.bridges())
        await _replug(networks)
    await networks.guard.repair()


async def _repair_parent(networks: "Networks", live: Live) -> None:
    """A parent that somebody deleted is not ours to mend, and no reason for the others not to be mended."""
    try:
        live.base, made = await networks.ask(networks.driver(live.network).ensure, live.network, networks.mtu)
    except (OSError, PierError) as error:
        _log.warning("network %s: %s", live.network.name, error)
        return
    if made and live.base is not None:
        _log.warning("link %s was gone: made again", live.base.name)


async def _replug(networks: "Networks") -> None:
    veths = await networks.ask(networks.plumbing.veths)
    wanted = [(endpoint.network_id, endpoint) for places in networks.endpoints.values() for endpoint in places.values()]
    for identity, endpoint in wanted:
        live, link = networks.live.get(identity), veths.get(endpoint.host_interface)
        if live is not None and live.bridge is not None and link is not None and link.master == 0:
            await networks.ask(networks.plumbing.bridges.replug, live.bridge, link, networks.port(live, endpoint))
            _log.warning("link %s was in no bridge: put into %s", link.name, live.bridge.name)
    default = next((live for live in networks.live.values() if live.network.name == "bridge"), None)
    for name in networks.prepared.names():
        link = veths.get(name)
        if default is not None and default.bridge is not None and link is not None and link.master == 0:
            await networks.ask(networks.plumbing.bridges.replug, default.bridge, link, Port(name, -1, (), "", networks.mtu))
