"""What the kernel is asked for, in one thread of its own: each call may wait for the kernel's RTNL lock, 30 ms and more.

Thin: what is decided is decided in pools.py, rules.py and networks.py.
"""

import errno
import hashlib
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from pier.errors import Conflict, Invalid, NotFound, Unavailable
from pier.linux.netlink import NetlinkError
from pier.linux.nftables import FAMILY_IPV4, Firewall
from pier.linux.rtnetlink import Link, Routing
from pier.networks import rules
from pier.trace import point

_MOST_PORTS = 1023  # of a Linux bridge; the next is EXFULL


@dataclass(frozen=True, slots=True)
class Bridge:
    """The bridge as it stands."""

    name: str
    index: int
    interface: IPv4Interface  # the gateway
    mac: str  # "" where it is somebody else's and may change


@dataclass(frozen=True, slots=True)
class Port:
    """A container's veth to be."""

    host_interface: str
    netns_fd: int
    address: str  # "" for one that is made ahead
    mac: str
    mtu: int


def bridge_mac(name: str) -> str:
    """A MAC that a bridge of this name has each time it is made: containers remember it as a permanent neighbour."""
    octets = bytearray(hashlib.sha256(f"bridge {name}".encode()).digest()[:6])
    octets[0] = octets[0] & 0xFE | 0x02
    return octets.hex(":")


class Plumbing:
    """Links, neighbours and rules of one bridge network. Everything blocks; one thread at a time."""

    def __init__(self, table: str) -> None:
        """table: the name of our nftables table."""
        self._table = table
        self._routing = Routing()
        self._firewall = Firewall()
        self.firewall_port = self._firewall.port

    def close(self) -> None:
        """Close the sockets."""
        self._routing.close()
        self._firewall.close()

    def host_networks(self, but_link: str) -> list[IPv4Network]:
        """What the host's routes and addresses take up, those of one link left out."""
        link = self._routing.link(but_link)
        own = link.index if link else -1
        routes = [route.network for route in self._routing.routes() if route.index != own]
        return routes + [address.interface.network for address in self._routing.addresses() if address.index != own]

    def ensure_bridge(self, name: str, interface: IPv4Interface, mtu: int) -> tuple[Bridge, bool]:
        """Our own bridge, made where it is missing, with its address and up. Returns it and whether it was made.

        Raises Conflict where a link of that name is no bridge, NetlinkError.
        """
        link, made = self._routing.link(name), False
        if link is None:
            point("networks.bridge")
            link, made = self._routing.create_bridge(name, bridge_mac(name), mtu, interface), True
        elif link.kind != "bridge":
            raise Conflict(f"the link {name} is there and is no bridge: delete it, or name a bridge with --bridge")
        else:
            self._routing.configure_bridge(link.index, interface)
        return Bridge(name, link.index, interface, link.mac), made

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
        return Bridge(name, link.index, addresses[0], "")

    def delete_link(self, name: str) -> bool:
        """Delete a link; takes 30 ms or more. Whether it was there."""
        return self._routing.delete_link(name)

    def plug(self, bridge: Bridge, port: Port) -> None:
        """Put a veth into the bridge and its other end, as eth0, into a network namespace; remember the neighbour.

        Raises NetlinkError(EINVAL, ENODEV) where the bridge is gone, Unavailable where it is full.
        """
        try:
            self._routing.create_veth(port.host_interface, bridge.index, port.netns_fd, "eth0", port.mac, port.mtu)
        except NetlinkError as error:
            if error.errno == errno.EXFULL:
                raise Unavailable(f"bridge {bridge.name} is full: it takes {_MOST_PORTS} running containers; remove one") from error
            raise
        if port.address:
            self._routing.add_neighbour(bridge.index, port.address, port.mac)

    def claim(self, bridge: Bridge, port: Port) -> None:
        """`plug` for a veth that was made ahead: remembers its neighbour. Raises as `plug`."""
        try:
            socket.if_nametoindex(port.host_interface)  # an ioctl, without the RTNL lock
        except OSError:
            self.plug(bridge, port)
        else:
            self._routing.add_neighbour(bridge.index, port.address, port.mac)

    def reclaim(self, bridge: Bridge, port: Port) -> None:
        """`claim` after the bridge was made anew: the veth may be in none. Raises as `plug`."""
        link = self._routing.link(port.host_interface)
        if link is None:
            self.plug(bridge, port)
            return
        if link.master != bridge.index:
            self._routing.enslave(link.index, bridge.index)
        self._routing.add_neighbour(bridge.index, port.address, port.mac)

    def settle(self, bridge: Bridge, host_interface: str) -> None:
        """Make the kernel take note that both ends are up: without it the first packets of one in twenty are lost for a second."""
        self._routing.link(host_interface)
        self._routing.link(bridge.name)

    def unplug(self, bridge: Bridge | None, address: str, host_interface: str) -> bool:
        """Forget the neighbour. Whether the veth is gone; it dies with the container's namespace."""
        if bridge is not None:
            self._routing.delete_neighbour(bridge.index, address)
        return self._routing.link(host_interface) is None

    def gone(self, host_interfaces: Iterable[str]) -> set[str]:
        """Which of them are no longer there."""
        return {name for name in host_interfaces if self._routing.link(name) is None}

    def ports(self, bridge: Bridge) -> dict[str, Link]:
        """The veths of this bridge, and those of any Pier that are in none, by name."""
        ours = [link for link in self._routing.links() if link.kind == "veth" and link.name.startswith("pier")]
        return {link.name: link for link in ours if link.master in (0, bridge.index)}

    def replug(self, bridge: Bridge, link: Link, address: str, mac: str) -> None:
        """Put a veth that lost its bridge into it again; without an address it is one made ahead."""
        self._routing.enslave(link.index, bridge.index)
        if address:
            self._routing.add_neighbour(bridge.index, address, mac)

    def ensure_rules(self, wanted: rules.BridgeRules) -> Sequence[str]:
        """Bring our table and the foreign chain to what is wanted. Returns what had to be done, in words."""
        chains, done = self._firewall.base_chains(), []
        if not rules.intact(wanted, chains, self._firewall.rules(FAMILY_IPV4, wanted.table)):
            point("networks.rules")
            self._firewall.apply(rules.ruleset(wanted), f"firewall table {wanted.table}")
            done.append(f"firewall table {wanted.table} written")
        changes = self._foreign_changes(wanted)
        if changes:
            self._firewall.apply(changes, f"chain {rules.FOREIGN_CHAIN} of {rules.FOREIGN_TABLE}")
            done.append(f"two accepts for {wanted.bridge} in the foreign chain {rules.FOREIGN_CHAIN}, which drops by default")
        return done

    def remove_rules(self) -> None:
        """Take our table and our rules in the foreign chain away."""
        self._firewall.apply(rules.remove(self._table), f"firewall table {self._table}")
        changes = self._foreign_changes(None)
        if changes:
            self._firewall.apply(changes, f"chain {rules.FOREIGN_CHAIN} of {rules.FOREIGN_TABLE}")

    def _foreign_changes(self, wanted: rules.BridgeRules | None) -> list[tuple[int, int, bytes]]:
        found = self._firewall.rules(FAMILY_IPV4, rules.FOREIGN_TABLE, rules.FOREIGN_CHAIN)
        return rules.foreign_changes(wanted, self._table, self._firewall.base_chains(), found)

    def foreign_drops(self) -> list[str]:
        """Foreign chains that drop forwarded packets and that we leave alone: "inet firewalld filter_FORWARD"."""
        families = {1: "inet", 2: "ip"}
        dropping = [chain for chain in self._firewall.base_chains() if rules.drops(chain, self._table) and not rules.is_opened(chain)]
        return [f"{families[chain.family]} {chain.table} {chain.name}" for chain in dropping]

    def docker_is_here(self) -> bool:
        """Whether another engine has put Docker's chains into the host's firewall."""
        return any(name == "DOCKER-USER" for name in self._firewall.chain_names(FAMILY_IPV4, "filter"))

    def other_engines(self, own_bridge: str) -> list[str]:
        """Bridges of other engines and other instances: they need ip_forward as well."""
        names = [link.name for link in self._routing.links() if link.kind == "bridge" and link.name != own_bridge]
        return [name for name in names if name.startswith(("docker", "br-", "pier", "podman", "cni", "virbr", "lxc"))]
