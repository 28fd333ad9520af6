"""How a container's place in a network is given up: the lease is written off, its link goes, and only then its address is free again."""

import asyncio
import os
from typing import TYPE_CHECKING

from pier.networks.drivers import Port
from pier.networks.endpoints import Endpoint, Wish
from pier.networks.live import Live

if TYPE_CHECKING:
    from pier.networks.networks import Networks

_UNHURRIED_S = 0.05
_SWEEP_S = (0.06, 0.15, 0.4, 0.9)  # how often to look whether a veth is gone, before it is deleted


class Releasing:
    """A place that was left and is being released; `wanted`: at once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.wanted, self.over = endpoint, asyncio.Event(), asyncio.Event()


async def release_soon(networks: "Networks", container_id: str, endpoint: Endpoint) -> None:
    """The namespace takes the veth with it meanwhile, and who waits for the exit comes first."""
    releasing = networks.releasing[endpoint.endpoint_id] = Releasing(endpoint)
    asyncio.get_running_loop().call_later(_UNHURRIED_S, releasing.wanted.set)
    try:
        await releasing.wanted.wait()
        await release(networks, container_id, endpoint)
    finally:
        del networks.releasing[endpoint.endpoint_id]
        releasing.over.set()


async def vacated(networks: "Networks", network: str, wish: Wish) -> None:
    """Until the addresses and the MAC that are wished for are no longer those of a container that has just ended. Raises as `find`."""
    network_id = networks.find(network).network.id
    wanted = {address for address in (wish.address, wish.address6, wish.mac) if address}
    for releasing in list(networks.releasing.values()):
        if releasing.endpoint.network_id == network_id and wanted & {*releasing.endpoint.addresses, releasing.endpoint.mac}:
            releasing.wanted.set()
            await releasing.over.wait()


async def release(networks: "Networks", container_id: str, endpoint: Endpoint, *, cut: bool = False) -> None:
    """Write the lease off and see the link go. cut: the container runs on, so that the link is deleted. Raises NetlinkError."""
    await networks.records.remove(container_id, endpoint.endpoint_id)
    if not endpoint.interface:
        return
    if (plugging := networks.plugging.get(endpoint.endpoint_id)) is not None:
        await asyncio.wait([plugging])  # the kernel is at work on it: what comes of that is taken back
    live = networks.live.get(endpoint.network_id)
    if endpoint.host_interface:
        await _unplug(networks, live, endpoint, cut=cut)
    else:
        await _withdraw(networks, live, endpoint, cut=cut)
    networks.leaving.pop(endpoint.endpoint_id, None)
    if container_id in networks.egress.held:
        await networks.egress.released(container_id, endpoint)
    if live is not None:
        live.give_back(endpoint.addresses)


async def _withdraw(networks: "Networks", live: Live | None, endpoint: Endpoint, *, cut: bool) -> None:
    """A link that the host does not see; without its network or its namespace being known it goes with the latter."""
    space = networks.spaces.pop(endpoint.endpoint_id, -1)
    try:
        if live is not None:
            await networks.ask(networks.driver(live.network).leave, live.base, networks.port(live, endpoint, space), cut=cut)
    finally:
        if space >= 0:
            os.close(space)


async def _unplug(networks: "Networks", live: Live | None, endpoint: Endpoint, *, cut: bool) -> None:
    """Until the veth is gone."""
    port = Port(endpoint.host_interface, -1, endpoint.addresses, endpoint.mac, 0)
    gone = await networks.ask(networks.plumbing.bridges.leave, live.bridge if live else None, port, cut=cut)
    for delay_s in _SWEEP_S:
        if gone:
            break
        await asyncio.sleep(delay_s)
        gone = bool(await networks.ask(networks.plumbing.gone, [endpoint.host_interface]))
    if not gone:
        # Another container shares the network namespace and keeps it alive; its first owner is gone, as is its address.
        await networks.ask(networks.plumbing.delete_link, endpoint.host_interface)
