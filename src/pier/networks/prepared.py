"""Veths made ahead: between a container's create and its start the daemon waits for its client, and the kernel has time to make one."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pier.networks.drivers import Port
from pier.networks.endpoints import host_interface, random_mac

MOST = 64  # a bridge has 1,023 ports: what is created and never started must not use them up


@dataclass(frozen=True, slots=True)
class Ahead:
    """A veth that waits for its container."""

    endpoint_id: str
    host_interface: str
    mac: str
    namespace: int  # inode of the network namespace that its other end is in


@dataclass(frozen=True, slots=True)
class Making:
    """A veth on its way; who awaits `task` learns whether it came to be."""

    ahead: Ahead
    task: "asyncio.Task[None]"


class Prepared:
    """Keeps what was made ahead, by container. A veth that nobody takes dies with its namespace."""

    def __init__(self, make: Callable[[Port], Awaitable[None]]) -> None:
        """make: puts a veth into the bridge, without an address."""
        self._make = make
        self._making: dict[str, Making] = {}

    def begin(self, container_id: str, netns_fd: int, mtu: int) -> None:
        """Start making a veth into a namespace; the descriptor is only looked at now. Does nothing where it is made or too many wait."""
        if container_id in self._making or len(self._making) >= MOST:
            return
        endpoint_id = secrets.token_hex(32)
        ahead = Ahead(endpoint_id, host_interface(endpoint_id), random_mac(), os.fstat(netns_fd).st_ino)
        port = Port(ahead.host_interface, os.dup(netns_fd), (), ahead.mac, mtu)
        self._making[container_id] = Making(ahead, asyncio.get_running_loop().create_task(self._run(port)))

    async def _run(self, port: Port) -> None:
        try:
            await self._make(port)
        finally:
            os.close(port.netns_fd)

    def take(self, container_id: str, netns_fd: int) -> Making | None:
        """The veth that is made for this container and namespace; None where there is none."""
        making = self._making.pop(container_id, None)
        return making if making is not None and os.fstat(netns_fd).st_ino == making.ahead.namespace else None

    def forget(self, container_id: str) -> None:
        """Its container will not start."""
        self._making.pop(container_id, None)

    def names(self) -> set[str]:
        """The host's ends, for those who look for what belongs to nobody."""
        return {making.ahead.host_interface for making in self._making.values()}

    async def settle(self) -> None:
        """Until nothing is being made, as the daemon ends."""
        for making in tuple(self._making.values()):
            with contextlib.suppress(OSError):
                await making.task
