"""How the bridge network comes up when the daemon starts, and how it goes with `--bridge none`."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from typing import ParamSpec, Protocol, TypeVar

from msgspec.structs import replace

from pier.errors import Conflict
from pier.networks import files, pools, respect, sysctls
from pier.networks.drivers import Base
from pier.networks.model import IPNetwork, Network, Subnet
from pier.networks.plumbing import Plumbing
from pier.networks.records import Records
from pier.networks.spans import Spans
from pier.trace import point

P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger("pier.networks")


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The daemon's options that concern networks; empty means the default."""

    bip: str = ""
    bridge: str = ""  # "none": no bridge network
    mtu: int = 0
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_opts: tuple[str, ...] = ()
    pools: tuple[tuple[IPNetwork, int], ...] = ()  # default-address-pools: (pool, prefix length of the networks in it)
    firewall: str = respect.OPEN  # or RESPECT: published ports obey the host's INPUT policy
    identity: str = ""  # of the daemon: where no pool is configured, its networks of IPv6 come from one that is its own


class Ask(Protocol):
    """Runs a blocking function in the thread for the kernel."""

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """The function's result, or what it raised."""
        ...


class BridgeSetup:
    """Decides which bridge with which addresses, and makes it so. The intent is always on disk before the kernel is touched."""

    def __init__(self, config: NetworkConfig, own_bridge: str, mtu: int, records: Records, plumbing: Plumbing, ask: Ask) -> None:
        """own_bridge: the name of the bridge that this instance makes."""
        self._config, self._own_bridge, self.mtu = config, own_bridge, mtu
        self._records, self._plumbing, self._ask = records, plumbing, ask

    async def start(self, network: Network, others: Sequence[Network]) -> tuple[Base, Network]:
        """Make or adopt the bridge and turn forwarding on. Returns the bridge and the network as it is now. others: of users.

        Raises PierError and NetlinkError where it cannot be.
        """
        if self._config.bridge:
            bridge = await self._ask(self._plumbing.adopt_bridge, self._config.bridge)
        else:
            interface = await self._choose_interface(network, others)
            # The intent is on disk before the link is there: a daemon killed in between finds the same address again.
            network = await self._remember(network, self._own_bridge, str(interface))
            bridge, _ = await self._ask(self._plumbing.bridges.ensure_bridge, self._own_bridge, [str(interface)], self.mtu)
        network = await self._remember(network, bridge.name, bridge.interfaces[0])
        await self.enable_forwarding()
        return bridge, network

    async def _remember(self, old: Network, link: str, interface: str) -> Network:
        gateway = IPv4Interface(interface)
        new = replace(old, link=link, subnets=(Subnet(network=str(gateway.network), gateway=str(gateway.ip)),))
        if new != old:
            await self._records.save([new])
        return new

    async def _choose_interface(self, network: Network, others: Sequence[Network]) -> IPv4Interface:
        links = [self._own_bridge, *(other.link for other in others if other.driver == "bridge")]
        found = await self._ask(lambda: self._plumbing.host_networks(self._plumbing.indexes(links)))
        taken = [each for each in found if isinstance(each, IPv4Network)]
        used = self._records.has_leases(network.id)
        known = None
        if network.subnets and network.link == self._own_bridge:
            subnet = network.subnets[0]
            known = IPv4Interface(f"{subnet.gateway}/{subnet.network.partition('/')[2]}")
        if self._config.bip:
            wanted = IPv4Interface(self._config.bip)
            if known is None or wanted == known:
                return wanted
            if used:
                raise Conflict(f"--bip {wanted}: containers run in {known.network}: stop them first, or start the daemon without --bip")
            await self._ask(self._plumbing.delete_link, self._own_bridge)
            return wanted
        if known is not None:
            clash = pools.overlapping(known.network, taken)
            if not clash:
                return known
            if used:
                _log.warning("the bridge's network %s overlaps with the host's route to %s: stop the containers and restart", known.network, clash[0])
                return known
            await self._ask(self._plumbing.delete_link, self._own_bridge)
        servers = files.name_servers(files.host_resolv_text(files.host_resolv_path()))
        taken += [IPv4Network(server) for server in servers if server.count(".") == 3]
        taken += [each for other in others for subnet in other.of_version(4) if isinstance(each := subnet.parsed, IPv4Network)]
        if self._config.pools:
            chosen = Spans().choose(self._config.pools, taken)
            return IPv4Interface(f"{chosen[1]}/{chosen.prefixlen}")
        return pools.choose(taken)

    async def remove(self, network: Network, others: Sequence[Network]) -> None:
        """--bridge none: the last bridge network goes, and with it what was set up for it. others: of users, which stay."""
        if not network.link:
            return
        if network.link == self._own_bridge:
            await self._ask(self._plumbing.delete_link, self._own_bridge)
        if not any(other.driver == "bridge" for other in others):
            await self._ask(self._plumbing.remove_rules)
            await self._put_forwarding_back()
        await self._records.save([replace(network, link="", subnets=())])

    async def enable_forwarding(self) -> None:
        """Let the host forward IPv4, and remember that we did it."""
        if not sysctls.forwarding_is_off():
            return
        await self._records.set_fact("ip_forward", sysctls.Forwarding.here().encode())
        point("networks.forward")
        try:
            sysctls.turn_forwarding(True)
        except OSError as error:
            _log.warning("net.ipv4.ip_forward cannot be set: %s: containers reach nothing beyond this host", error)

    async def _put_forwarding_back(self) -> None:
        text = self._records.fact("ip_forward")
        kept = sysctls.Forwarding.decode(text) if text else None
        others = await self._ask(self._plumbing.other_engines, {self._own_bridge})
        if sysctls.put_back(kept, sysctls.Forwarding.here(), sysctls.current_forwarding(), others):
            sysctls.turn_forwarding(False)
            _log.info("net.ipv4.ip_forward is off again, as before the bridge network")
        await self._records.set_fact("ip_forward", "")
