"""The egress lists of a daemon as they stand: which networks and containers have one, and the table that holds them to it."""

import asyncio
import logging
from typing import TYPE_CHECKING

from pier.networks import egress
from pier.networks.egress import Allowed, Restricted, Tables
from pier.networks.endpoints import Endpoint

if TYPE_CHECKING:
    from pier.networks.networks import Networks

_log = logging.getLogger("pier.networks")


class Egress:
    """Who has a list. The table is there from the first list on, and goes with the last."""

    def __init__(self, networks: "Networks", table: str) -> None:
        """table: the name of the firewall's tables."""
        self._networks = networks
        networks.guard.further = self.repair
        self.tables = Tables(f"{table}-egress")
        self.held: dict[str, tuple[tuple[Allowed, ...], dict[str, Endpoint]]] = {}  # containers: list, endpoints by ID
        self._applied: tuple[Restricted, ...] | None = None  # None: what the kernel holds is not known
        self._changing = asyncio.Lock()
        self._known = False  # which containers have a list; until then the table of the last daemon stays as it is

    async def hold(self, container_id: str, allowed: tuple[Allowed, ...]) -> None:
        """Hold a container to its list, in all networks that it is in by now; before it runs there. Raises NetlinkError: then it must not run."""
        places = {endpoint.endpoint_id: endpoint for endpoint in self._networks.endpoints_of(container_id) if endpoint.interface}
        if not places:
            return
        self.held[container_id] = (allowed, {**self.held.get(container_id, ((), {}))[1], **places})
        await self.refresh()

    async def released(self, container_id: str, endpoint: Endpoint) -> None:
        """A link is gone: its address may be somebody else's from now on."""
        places = self.held[container_id][1]
        places.pop(endpoint.endpoint_id, None)
        if not places:
            del self.held[container_id]
        await self.refresh()

    def network(self, network_id: str) -> tuple[Allowed, ...] | None:
        """The list of a network, None where it has none."""
        live = self._networks.live.get(network_id)
        text = live.network.options.get(egress.OPTION) if live else None
        return egress.parse(text) if text else None

    def _wanted(self) -> tuple[Restricted, ...]:
        found = []
        for live in [live for live in self._networks.live.values() if egress.OPTION in live.network.options]:
            if live.bridge is not None and (allowed := self.network(live.network.id)) is not None:
                found.append(Restricted(allowed, (live.bridge.name,)))
        for allowed, places in self.held.values():
            theirs = [self._networks.live[place.network_id] for place in places.values() if place.network_id in self._networks.live]
            bridges = {live.bridge.name for live in theirs if live.bridge}
            addresses = [address for place in places.values() for address in (*place.addresses, place.link_local) if address]
            if addresses:  # the host, too, has a link-local address that answers
                found.append(Restricted(allowed, tuple(sorted(bridges)), tuple(addresses)))
        return tuple(found)

    async def refresh(self) -> None:
        """Bring the kernel from what was last applied to what is wanted. Raises NetlinkError."""
        async with self._changing:
            wanted = self._wanted()
            if self._known and wanted != self._applied:
                await self._networks.ask(self._apply, wanted)

    async def start(self) -> None:
        """The containers that run are known: from now on the table is what is wanted."""
        self._known = True
        await self.repair()

    async def repair(self) -> None:
        """Compare the kernel with what is wanted; what names have let in is lost where the table has to be written anew."""
        if not self._known:
            return
        async with self._changing:
            wanted = self._wanted()
            if (wanted or self._applied is None) and not await self._networks.ask(self._stands, wanted):
                await self._networks.ask(self._write, wanted)
                _log.info("firewall table %s %s", self.tables.name, "written" if wanted else "removed")
            self._applied = wanted

    def _apply(self, wanted: tuple[Restricted, ...]) -> None:
        old, self._applied = self._applied, None
        if not old or not wanted:
            self._write(wanted)
        else:
            try:
                for family in egress.VERSIONS:
                    self._networks.plumbing.firewall.apply(self.tables.change(old, wanted, family), f"firewall table {self.tables.name}")
            except OSError:
                self._write(wanted)  # somebody has changed it
        self._applied = wanted

    def _write(self, wanted: tuple[Restricted, ...]) -> None:
        for family in egress.VERSIONS:
            messages = self.tables.ruleset(wanted, family) if wanted else self.tables.remove(family)
            self._networks.plumbing.firewall.apply(messages, f"firewall table {self.tables.name}")

    def _stands(self, wanted: tuple[Restricted, ...]) -> bool:
        firewall, name = self._networks.plumbing.firewall, self.tables.name
        chains = firewall.base_chains()
        for family in egress.VERSIONS:
            found = firewall.rules(family, name)
            if not wanted:
                if found:
                    return False
                continue
            if not found:
                return False
            held = {each: firewall.elements(family, name, each) for each in self.tables.elements((), family)}
            if not self.tables.intact(wanted, family, chains, found, held):
                return False
        return True
