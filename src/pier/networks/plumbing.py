"""What the kernel is asked for, in one thread of its own: each call may wait for the kernel's RTNL lock, 30 ms and more.

Thin: what is decided is decided in create_plan.py, rules.py and networks.py.
"""

import errno
import hashlib
import socket
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pier.errors import Conflict, Invalid, NotFound, Unavailable
from pier.linux.netlink import NetlinkError
from pier.linux.nftables import FAMILY_IPV4, Firewall
from pier.linux.rtnetlink import Link, Routing
from pier.networks import rules
from pier.networks.model import IPNetwork
from pier.trace import point

_MOST_PORTS = 1023  # of a Linux bridge; the next is EXFULL


@dataclass(frozen=True, slots=True)
class Bridge:
    """The bridge as it stands."""

    name: str
    index: int
    interfaces: tuple[str, ...]  # the gateways with their prefixes, "172.17.0.1/16"
    mac: str  # "" where it is somebody else's and may change


@dataclass(frozen=True, slots=True)
class Port:
    """A container's veth to be."""

    host_interface: str
    netns_fd: int
    addresses: tuple[str, ...]  # () for one that is made ahead
    mac: str
    mtu: int
    interface: str = "eth0"
    isolated: bool = False  # from the bridge's other containers


def bridge_mac(name: str) -> str:
    """A MAC that a bridge of this name has each time it is made: containers remember it as a permanent neighbour."""
    octets = bytearray(hashlib.sha256(f"bridge {name}".encode()).digest()[:6])
    octets[0] = octets[0] & 0xFE | 0x02
    return octets.hex(":")


def _index(name: str) -> int:
    """The number of a link, 0 where it is gone."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


class Plumbing:
    """Links, neighbours and rules of the bridge networks. Everything blocks; one thread at a time."""

    def __init__(self, table: str) -> None:
        """table: the name of our nftables tables; with the name of a network it is the alias of its bridge."""
        self._table = table
        self._routing = Routing()
        self._firewall = Firewall()
        self._applied: rules.Wanted | None = None
        self.firewall_port = self._firewall.port

    def close(self) -> None:
        """Close the sockets."""
        self._routing.close()
        self._firewall.close()

    def host_networks(self, but_links: Iterable[str]) -> list[IPNetwork]:
        """What the host's routes and addresses take up, of both families, those of some links left out."""
        indexes = {link.index for name in but_links if (link := self._routing.link(name))}
        found: list[IPNetwork] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            found += [route.network for route in self._routing.routes(family) if route.index not in indexes]
            found += [address.interface.network for address in self._routing.addresses(family) if address.index not in indexes]
        return found

    def ensure_bridge(self, name: str, interfaces: Sequence[str], mtu: int) -> tuple[Bridge, bool]:
        """Our own bridge, made where it is missing, with its addresses and up. Returns it and whether it was made.

        Raises Conflict where a link of that name is no bridge, NetlinkError.
        """
        link, made = self._routing.link(name), False
        if link is None:
            point("networks.bridge")
            link, made = self._routing.create_bridge(name, bridge_mac(name), mtu, interfaces, self._alias()), True
        elif link.kind != "bridge":
            raise Conflict(f"the link {name} is there and is no bridge: delete it, or name a bridge with --bridge")
        else:
            self._routing.configure_bridge(link.index, interfaces)
        return Bridge(name, link.index, tuple(interfaces), link.mac), made

    def create_bridge(self, name: str, interfaces: Sequence[str], mtu: int) -> Bridge:
        """A bridge for a new network. Raises Conflict where a link of that name is there, NetlinkError."""
        try:
            link = self._routing.create_bridge(name, bridge_mac(name), mtu, interfaces, self._alias())
        except NetlinkError as error:
            if error.errno == errno.EEXIST:
                raise Conflict(f"cannot create network: the link {name} is there already: delete it, or name another bridge") from error
            raise
        return Bridge(name, link.index, tuple(interfaces), link.mac)

    def _alias(self) -> str:
        return f"pier network of {self._table}"

    def stray_bridges(self, known: Collection[str]) -> list[str]:
        """Bridges that this instance made and that are no network's."""
        return [link.name for link in self._routing.links() if link.kind == "bridge" and link.alias == self._alias() and link.name not in known]

    def adopt_bridge(self, name: str) -> Bridge:
        """Somebody else's bridge, as --bridge names it: used as it is. Raises NotFound, Invalid."""
        link = self._routing.link(name)
        if link is None:
            raise NotFound(f"--bridge {name}: there is no such link: create it first, with an IPv4 address, or leave --bridge out")
        if link.kind != "bridge":
            raise Invalid(f"--bridge {name}: the link is no bridge")
        addresses = [address.interface for address in self._routing.addresses() if address.index == link.index]
        if not addresses:
            raise Invalid(f"--bridge {name}: it has no IPv4 address: give it one, it becomes the containers' gateway")
        return Bridge(name, link.index, (str(addresses[0]),), "")

    def delete_link(self, name: str) -> bool:
        """Delete a link; takes 30 ms or more. Whether it was there."""
        return self._routing.delete_link(name)

    def plug(self, bridge: Bridge, port: Port) -> None:
        """Put a veth into the bridge and its other end into a network namespace; remember the neighbour.

        Raises NetlinkError(EINVAL, ENODEV) where the bridge is gone, Unavailable where it is full.
        """
        try:
            self._routing.create_veth(port.host_interface, bridge.index, port.netns_fd, port.interface, port.mac, port.mtu)
        except NetlinkError as error:
            if error.errno == errno.EXFULL:
                raise Unavailable(f"bridge {bridge.name} is full: it takes {_MOST_PORTS} running containers; remove one") from error
            raise
        if port.isolated:
            self._routing.isolate_port(port.host_interface)
        self._remember(bridge, port)

    def _remember(self, bridge: Bridge, port: Port) -> None:
        for address in port.addresses:
            self._routing.add_neighbour(bridge.index, address, port.mac)

    def stands(self, bridge: Bridge, host_interface: str) -> bool:
        """Whether bridge and veth are there; two ioctls without the RTNL lock, for any thread."""
        return _index(bridge.name) == bridge.index and _index(host_interface) > 0

    def claim(self, bridge: Bridge, port: Port) -> None:
        """`plug` for a veth that was made ahead, and may be gone since: remembers its neighbour. Raises as `plug`."""
        if _index(port.host_interface):
            self._remember(bridge, port)
        else:
            self.plug(bridge, port)

    def reclaim(self, bridge: Bridge, port: Port) -> None:
        """`claim` after the bridge was made anew: the veth may be in none. Raises as `plug`."""
        link = self._routing.link(port.host_interface)
        if link is None:
            self.plug(bridge, port)
            return
        if link.master != bridge.index:
            self._routing.enslave(link.index, bridge.index)
        self._remember(bridge, port)

    def settle(self, ports: Iterable[tuple[Bridge, Port]]) -> None:
        """Remember the neighbours, and make the kernel take note that both ends are up.

        Without the latter the first packets of one in twenty are lost for a second.
        """
        for bridge, port in ports:
            self._remember(bridge, port)
            self._routing.link(port.host_interface)
            self._routing.link(bridge.name)

    def unplug(self, bridge: Bridge | None, addresses: Iterable[str], host_interface: str, *, cut: bool = False) -> bool:
        """Forget the neighbour. Whether the veth is gone; it dies with the container's namespace. cut: delete it now."""
        if bridge is not None:
            for address in addresses:
                self._routing.delete_neighbour(bridge.index, address)
        if cut:
            self._routing.delete_link(host_interface)
            return True
        return self._routing.link(host_interface) is None

    def gone(self, host_interfaces: Iterable[str]) -> set[str]:
        """Which of them are no longer there."""
        return {name for name in host_interfaces if self._routing.link(name) is None}

    def veths(self) -> dict[str, Link]:
        """The host's ends of the veths of any Pier, by name."""
        return {link.name: link for link in self._routing.links() if link.kind == "veth" and link.name.startswith("pier")}

    def replug(self, bridge: Bridge, link: Link, port: Port) -> None:
        """Put a veth that lost its bridge into it again; without an address it is one made ahead."""
        self._routing.enslave(link.index, bridge.index)
        if port.isolated:
            self._routing.isolate_port(link.name)
        self._remember(bridge, port)

    def replug_ahead(self, bridge: Bridge, link: Link) -> None:
        """The same for a veth that was made ahead and has no address yet."""
        self._routing.enslave(link.index, bridge.index)

    def change_rules(self, wanted: rules.Wanted) -> None:
        """Bring our tables from what was last applied to what is wanted, each in one transaction. Raises NetlinkError; then use `ensure_rules`."""
        old = self._applied
        if old is None or old.families() != wanted.families():
            self.ensure_rules(wanted)
            return
        for family in wanted.families():
            self._firewall.apply(rules.change(old, wanted, family), f"firewall table {wanted.table}")
        self._applied = wanted
        self._ensure_foreign(wanted)

    def ensure_rules(self, wanted: rules.Wanted) -> Sequence[str]:
        """Bring our tables and the foreign chains to what is wanted. Returns what had to be done, in words."""
        chains, done = self._firewall.base_chains(), []
        for family in rules.FAMILIES:
            found = self._firewall.rules(family, wanted.table)
            if family not in wanted.families():
                if found:
                    self._firewall.apply(rules.remove(wanted.table, family), f"firewall table {wanted.table}")
                continue
            held = {name: self._firewall.elements(family, wanted.table, name) for name in rules.SETS} if found else {}
            if not rules.intact(wanted, family, chains, found, held):
                point("networks.rules")
                self._firewall.apply(rules.ruleset(wanted, family), f"firewall table {wanted.table}")
                done.append(f"firewall table {wanted.table} written" + (" (IPv6)" if rules.FAMILIES[family] == 6 else ""))
        self._applied = wanted
        return [*done, *self._ensure_foreign(wanted)]

    def _ensure_foreign(self, wanted: rules.Wanted | None) -> list[str]:
        """Our accepts in iptables' own chains, for all bridges; none with None."""
        chains = self._firewall.base_chains()
        bridges = [member.bridge for member in wanted.members] if wanted else []
        done = []
        for family in rules.FAMILIES:
            if not any(rules.is_opened(chain, family) for chain in chains):
                continue
            found = self._firewall.rules(family, rules.FOREIGN_TABLE, rules.FOREIGN_CHAIN)
            used = bridges if wanted and family in wanted.families() else []
            changes = rules.foreign_changes(used, self._table, family, chains, found)
            if changes:
                self._firewall.apply(changes, f"chain {rules.FOREIGN_CHAIN} of {rules.FOREIGN_TABLE}")
                what = f"accepts for {', '.join(bridges)} in" if bridges else "accepts taken out of"
                done.append(f"{what} the foreign chain {rules.FOREIGN_CHAIN}, which drops by default")
        return done

    def remove_rules(self) -> None:
        """Take our tables and our rules in the foreign chains away."""
        for family in rules.FAMILIES:
            if self._firewall.rules(family, self._table):
                self._firewall.apply(rules.remove(self._table, family), f"firewall table {self._table}")
        self._applied = None
        self._ensure_foreign(None)

    def foreign_drops(self) -> list[str]:
        """Foreign chains that drop forwarded packets and that we leave alone: "inet firewalld filter_FORWARD"."""
        families = {1: "inet", 2: "ip", 10: "ip6"}
        chains = [chain for chain in self._firewall.base_chains() if rules.drops(chain, self._table)]
        dropping = [chain for chain in chains if not any(rules.is_opened(chain, family) for family in rules.FAMILIES)]
        return [f"{families[chain.family]} {chain.table} {chain.name}" for chain in dropping]

    def docker_is_here(self) -> bool:
        """Whether another engine has put Docker's chains into the host's firewall."""
        return any(name == "DOCKER-USER" for name in self._firewall.chain_names(FAMILY_IPV4, "filter"))

    def other_engines(self, own_bridges: Collection[str]) -> list[str]:
        """Bridges of other engines and other instances: they need ip_forward as well."""
        names = [link.name for link in self._routing.links() if link.kind == "bridge" and link.name not in own_bridges]
        return [name for name in names if name.startswith(("docker", "br-", "pier", "podman", "cni", "virbr", "lxc"))]
