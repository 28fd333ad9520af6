"""The stage of these tests: a daemon's Networks on a host namespace, containers, and a LAN beside the host."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pier.containers.spec import interfaces
from pier.events import Journal
from pier.linux.netlink import NLM_F_CREATE, attribute, configure_inside, link_header, nested, text, u32
from pier.linux.rtnetlink import Routing
from pier.networks import Endpoint, NetworkConfig, Networks
from pier.networks.schema import STEPS
from pier.store import Store

from .isolated import Namespace

HOST, LAN = "203.0.113.1", "203.0.113.2"


class Daemon:
    """Networks with the store and the journal of its own."""

    def __init__(self, root: Path, config: NetworkConfig, instance: str) -> None:
        self.store = Store.open(root / "state.db", STEPS)
        self.journal = Journal()
        self.networks = Networks(self.store, self.journal, config, instance)

    async def idle(self) -> None:
        """Until nothing is being released any more."""
        while self.networks._tasks:
            await asyncio.gather(*self.networks._tasks)

    async def end(self) -> None:
        await self.networks.stop()
        self.store.close()


@asynccontextmanager
async def daemon(root: Path | None = None, config: NetworkConfig | None = None, instance: str = "pier") -> AsyncIterator[Daemon]:
    """A started daemon; with the same root it is the next one after a restart."""
    with contextlib.nullcontext(root) if root else tempfile.TemporaryDirectory(prefix="pier-networks-") as folder:
        running = Daemon(Path(folder), config or NetworkConfig(), instance)
        try:
            await running.networks.start()
            yield running
        finally:
            await running.end()


class Container:
    """A namespace that is attached as the daemon does it for a container."""

    def __init__(self, number: int) -> None:
        self.id = f"{number:064x}"
        self.namespace = Namespace()
        self.endpoint: Endpoint | None = None

    async def attach(self, networks: Networks, mac: str | None = None) -> Endpoint:
        endpoint = await networks.attach(self.id, "bridge", self.namespace.fd, hostname="c", mac=mac)
        self.namespace(configure_inside, interfaces=[asdict(interface) for interface in interfaces([endpoint])])
        await networks.settle(self.id)
        self.endpoint = endpoint
        return endpoint

    @property
    def address(self) -> str:
        assert self.endpoint is not None
        return self.endpoint.address


@asynccontextmanager
async def containers(networks: Networks, count: int = 1) -> AsyncIterator[list[Container]]:
    """Attached containers; at the end their namespaces go."""
    made: list[Container] = []
    try:
        for number in range(1, count + 1):
            made.append(Container(number))
            await made[-1].attach(networks)
        yield made
    finally:
        for container in made:
            container.namespace.end()


def veth(name: str, address: str, netns_fd: int, peer_address_in: Callable[[], None]) -> None:
    """A veth from the calling namespace to another: `name` with `address` here; the peer, eth0, is set up by a function."""
    routing = Routing()
    peer = link_header() + text(3, "eth0") + u32(28, netns_fd)
    info = nested(18, text(1, "veth"), nested(2, nested(1, peer)))
    routing._netlink.run([(16, NLM_F_CREATE, link_header() + text(3, name) + info)])
    link = routing.link(name)
    assert link is not None
    routing.configure_bridge(link.index, [address])
    peer_address_in()
    routing.close()


def lan(namespace: Namespace, route: str = "") -> None:
    """Connect a LAN namespace to the calling one. route: "172.17.0.0/16": what the LAN sends to the host to be forwarded."""

    def inside() -> None:
        gateways = [HOST] if route == "default" else []
        configure_inside(interfaces=[{"name": "eth0", "addresses": [f"{LAN}/24"], "mac": "", "gateways": gateways, "neighbours": []}])

    veth("lan0", f"{HOST}/24", namespace.fd, lambda: namespace(inside))


def add_address(interface: str, address: str) -> None:
    """Give a link one more address."""
    import socket
    import struct

    from pier.linux.netlink import NETLINK_ROUTE, Netlink

    packed = socket.inet_aton(address)
    body = struct.pack("=BBBBI", socket.AF_INET, 32, 0, 0, socket.if_nametoindex(interface)) + attribute(2, packed) + attribute(1, packed)
    with Netlink(NETLINK_ROUTE) as netlink:
        netlink.run([(20, NLM_F_CREATE, body)])


def run(main: Coroutine[Any, Any, None]) -> None:
    """asyncio.run with a limit, so that a hang is a failure."""

    async def limited() -> None:
        async with asyncio.timeout(60):
            await main

    asyncio.run(limited())
