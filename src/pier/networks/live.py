"""A network as it stands while the daemon runs: its record, its bridge, and which of its addresses are leased."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from sqlite3 import Row

from pier.errors import Conflict, Invalid, PierError, Unavailable
from pier.networks.addresses import Pool
from pier.networks.drivers import Base
from pier.networks.endpoints import Endpoint, Wish
from pier.networks.model import Network
from pier.networks.rules import Member


class Live:
    """One network. `base`: what it stands on; None for host, none and configurations, and where it could not be made."""

    def __init__(self, network: Network, base: Base | None = None, taken: Iterable[str] = ()) -> None:
        """taken: addresses that are leased already."""
        self.network, self.base = network, base
        self.leased = list(taken)
        self.pools = [Pool(subnet, self.leased) for subnet in network.subnets] if base else []
        self._member: Member | None = None
        self._member_of: Base | None = None
        self.doomed = False  # a removal is under way: nobody joins any more

    @property
    def bridge(self) -> Base | None:
        """Its bridge, where it has one."""
        return self.base if self.network.driver == "bridge" else None

    def lease(self, wish: Wish) -> tuple[str, str]:
        """Addresses of both families, "" where the network has none of it. Raises Invalid, Conflict, Unavailable: then nothing is leased."""
        found: list[str] = []
        try:
            for version, wanted in ((4, wish.address), (6, wish.address6)):
                found.append(self._lease(version, wanted))
        except PierError:
            self.give_back(found)
            raise
        return found[0], found[1]

    def _lease(self, version: int, wanted: str) -> str:
        own = [pool for pool in self.pools if pool.network.version == version]
        if wanted:
            pool = next((pool for pool in own if ip_address(wanted) in pool.network), None)
            if pool is None:
                raise Invalid(f"invalid endpoint settings:\nno configured subnet or ip-range contain the IP address {wanted}")
            try:
                return str(pool.claim(wanted))
            except Conflict as error:
                raise Conflict(f"failed to set up container networking: {error} ({wanted} in network {self.network.name})") from None
        for number, pool in enumerate(own):
            try:
                return str(pool.take())
            except Unavailable:
                if number == len(own) - 1:
                    raise
        return ""

    def give_back(self, addresses: Iterable[str]) -> None:
        """End leases."""
        for address in filter(None, addresses):
            for pool in self.pools:
                if ip_address(address) in pool.network:
                    pool.give_back(address)

    def endpoint(self, endpoint_id: str, wish: Wish, addresses: tuple[str, str], mac: str, host_interface: str) -> Endpoint:
        """The endpoint of leased addresses."""
        network, base = self.network, self.base
        lengths, gateways = {4: 0, 6: 0}, {4: "", 6: ""}
        for subnet in network.subnets:
            if any(address and ip_address(address) in ip_network(subnet.network) for address in addresses):
                lengths[subnet.version] = subnet.parsed.prefixlen
                gateways[subnet.version] = "" if network.closed else subnet.gateway
        return Endpoint(
            network=network.name, network_id=network.id, endpoint_id=endpoint_id, interface=wish.interface, address=addresses[0],
            prefix_len=lengths[4], gateway=gateways[4], mac=mac, host_interface=host_interface, gateway_mac=base.mac if base else "",
            address6=addresses[1], prefix_len6=lengths[6], gateway6=gateways[6], priority=wish.priority,
        )  # fmt: skip

    def remembered(self, row: Row) -> Endpoint:
        """The endpoint of a lease in the database."""
        if not row["interface"]:
            return Endpoint(self.network.name, self.network.id, row["id"])
        wish = Wish(interface=row["interface"], priority=int(row["priority"]))
        return self.endpoint(row["id"], wish, (row["ipv4"] or "", row["ipv6"] or ""), row["mac"], row["host_interface"])

    def member(self) -> Member | None:
        """What the firewall is to know of it; the same object as long as nothing changes."""
        if self._member is not None and self.base is self._member_of:
            return self._member
        network, bridge = self.network, self.bridge
        if bridge is None:
            return None
        self._member_of = bridge
        modes = {version: network.gateway_mode(version) for version in (4, 6)}
        self._member = Member(
            bridge=bridge.name, subnets=tuple(subnet.network for subnet in network.subnets), icc=network.icc, internal=network.internal,
            masquerade=tuple(v for v, mode in modes.items() if network.masquerade and mode != "routed"),
            unprotected=tuple(v for v, mode in modes.items() if mode == "nat-unprotected"),
            routed=tuple(v for v, mode in modes.items() if mode == "routed"),
            trusted=network.trusted, leaves_as=tuple(filter(None, map(network.host_address, (4, 6)))),
        )  # fmt: skip
        return self._member
