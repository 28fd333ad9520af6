"""What the kernel lost of the networks, and what a killed daemon left: compared with the records, made again or taken away."""

import logging
from collections.abc import Collection, Iterable, Sequence
from sqlite3 import Row
from typing import TYPE_CHECKING

from pier.errors import PierError
from pier.networks import pools
from pier.networks.drivers import Port
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
    _tell_of_lost(networks, veths)
    for name, link in veths.items():
        if name not in known and link.master in masters:
            await networks.ask(networks.plumbing.delete_link, name)
            _log.info("link %s belonged to no container: deleted", name)
    await look_around(networks)


def _tell_of_lost(networks: "Networks", veths: Collection[str]) -> None:
    """A container whose link somebody deleted runs on without it."""
    for container_id, places in networks.endpoints.items():
        for endpoint in places.values():
            if endpoint.host_interface and endpoint.host_interface not in veths and endpoint.endpoint_id not in networks.plugging:
                way_out = f"`pier network disconnect {endpoint.network} {container_id[:12]}` and `connect`, or a restart, make it again"
                _log.warning("container %s: its link %s is gone: %s", container_id[:12], endpoint.host_interface, way_out)


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
            live.base, made = await networks.ask(networks.plumbing.bridges.ensure, live.network, networks.mtu)
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
