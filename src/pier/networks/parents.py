"""The drivers macvlan and ipvlan: each container has a link of its own on a link of the host, the parent, and an address of the parent's network.

    parent=eth0           as it is; it is nobody's but the host's
    parent=eth0.10        where it is not there: VLAN 10 on eth0, ours; it goes with the last network on it
    no parent             a veth of ours, `dm-<ID>`, whose other end leads nowhere: containers reach each other and nothing else. (Docker makes a
                          dummy link; not every kernel has those, and a bridge without ports has no carrier.)

The containers' links live in their namespaces alone: nothing of them is seen on the host, no rule is made for them, and the host itself does not
reach them through the parent (Linux keeps macvlan and ipvlan from that).
"""

import errno
from collections.abc import Sequence
from typing import Literal

from pier.errors import Internal, NotImplementedByPier
from pier.linux.netlink import NetlinkError
from pier.linux.rtnetlink import Link, Routing
from pier.networks import sysctls
from pier.networks.drivers import Base, Port
from pier.networks.model import Network
from pier.trace import point

MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}  # linux/if_link.h
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}


class Parents:
    """One of the two drivers. Everything blocks; one thread at a time."""

    hosted = False
    addressed = True

    def __init__(self, kind: Literal["macvlan", "ipvlan"], routing: Routing, owner: str) -> None:
        """owner: the alias of links that this instance makes, by which they are found again."""
        self._kind, self._routing, self._owner = kind, routing, owner

    def create(self, network: Network, mtu: int) -> Base:
        """Raises Internal with Docker's texts (no such parent, a loopback, a kernel without VLANs), NetlinkError."""
        return self.ensure(network, mtu)[0]

    def ensure(self, network: Network, mtu: int) -> tuple[Base, bool]:
        """Its parent, made where it is ours to make. A parent that was deleted is an error until its owner makes it again."""
        link, made = self._routing.link(network.link), False
        if link is None:
            point("networks.parent")
            link, made = self._made(network, mtu), True
        if link.loopback:
            raise Internal(f"loopback interface is not a valid {self._kind} parent link")
        return Base(link.name, link.index, mode=self._mode(network)), made

    def _made(self, network: Network, mtu: int) -> Link:
        name = network.link
        if not network.options.get("parent"):
            peer = f"dp-{network.id[:12]}"
            link = self._routing.create_pair(name, peer, network.mtu or mtu, self._owner)
            for one in (name, peer):
                sysctls.silence(one)
            return link
        below, dot, number = name.rpartition(".")
        if not dot:
            raise Internal(f"invalid subinterface vlan name {name}, example formatting is eth0.10")
        if not number.isdecimal():
            raise Internal(f"unable to parse a valid vlan id from: {number} (ex. eth0.10 for vlan 10)")
        if not 1 <= int(number) <= 4094:
            raise Internal(f"vlan id must be between 1-4094, received: {number}")
        lower = self._routing.link(below)
        if lower is None:
            raise Internal(f"-o parent interface was not found on the host: {below}")
        try:
            return self._routing.create_vlan(name, lower.index, int(number), self._owner)
        except NetlinkError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise Internal(f"failed to create {name} vlan link: operation not supported: this kernel has no VLAN links (8021q)") from error
            raise

    def _mode(self, network: Network) -> str:
        if self._kind == "macvlan":
            return network.options.get("macvlan_mode") or "bridge"
        return f"{network.options.get('ipvlan_mode') or 'l2'} {network.options.get('ipvlan_flag') or 'bridge'}"

    def remove(self, networks: Sequence[Network]) -> None:
        """Only what is ours: another network on the same parent keeps it, since `Removals` asks for the last one's only."""
        links = [self._routing.link(name) for name in {network.link for network in networks}]
        self._routing.delete_links([link.name for link in links if link is not None and link.alias == self._owner])

    def join(self, base: Base, port: Port) -> None:
        """Make the container's link inside its namespace. Raises NetlinkError: ENODEV where the parent is gone, EINVAL where passthru is taken."""
        try:
            if self._kind == "macvlan":
                self._routing.create_macvlan(base.index, port.netns_fd, port.interface, port.mac, port.mtu, MACVLAN_MODES[base.mode])
            else:
                mode, _, flag = base.mode.partition(" ")
                self._routing.create_ipvlan(base.index, port.netns_fd, port.interface, port.mtu, IPVLAN_MODES[mode], IPVLAN_FLAGS[flag])
        except NetlinkError as error:
            if error.errno == errno.EINVAL and base.mode == "passthru":
                raise Internal(f"failed to create the macvlan port: {base.name} has a container already, and passthru takes one") from error
            if error.errno == errno.EOPNOTSUPP:
                raise NotImplementedByPier(f"{self._kind} on this kernel (it has no {self._kind} links)") from error
            raise

    def leave(self, base: Base | None, port: Port, *, cut: bool) -> bool:
        """Delete the link, from outside, where the namespace is known; else it goes with the namespace."""
        if port.netns_fd >= 0:
            self._routing.delete_link_in(port.netns_fd, port.interface)
            return True
        return not cut


def has_ipvlan(routing: Routing) -> bool:
    """Whether this kernel has ipvlan links: one on `lo` is refused as such where it has, and as unknown where it has not."""
    try:
        routing.create_ipvlan(1, -1, "", 0, 0, 0)
    except NetlinkError as error:
        return error.errno != errno.EOPNOTSUPP
    return True
