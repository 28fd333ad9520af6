"""Links of networks that are gone are deleted together: the kernel waits 30 to 40 ms for a deletion, of however many links it is."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pier.networks.model import Network

if TYPE_CHECKING:
    from pier.networks.networks import Networks

GATHER_S = 0.1
"""For so long removals are gathered: `docker network rm` and Compose ask for one after another."""


class Removals:
    """Use from the loop's thread only. A daemon that dies in between leaves links that its next one does not know, and deletes."""

    def __init__(self, networks: "Networks") -> None:
        self._networks = networks
        self._waiting: list[Network] = []
        self._gathering = False

    def add(self, gone: Iterable[Network]) -> None:
        """Delete the links of networks that have no record any more, soon."""
        self._waiting += gone
        if self._waiting and not self._gathering:
            self._gathering = True
            self._networks.spawn(self._soon())

    async def _soon(self) -> None:
        try:
            await asyncio.sleep(GATHER_S)
        finally:
            self._gathering = False
        await self.flush()

    async def flush(self) -> None:
        """Delete them now: before a network is made, which may want the addresses, and as the daemon ends.

        A parent of several networks stays until the last of them is removed. Raises NetlinkError.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        used = {live.network.link for live in self._networks.live.values()}
        for driver in {network.driver for network in waiting}:
            going = [network for network in waiting if network.driver == driver and network.link not in used]
            if going:
                await self._networks.ask(self._networks.driver(going[0]).remove, going)
