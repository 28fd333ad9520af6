"""The driver of bridge networks: bridges, and the veths of containers in them, with permanent neighbours both ways."""

import errno
import hashlib
import socket
from collections.abc import Callable, Iterable, Sequence

from pier.errors import Conflict
from pier.linux.netlink import NetlinkError
from pier.linux.rtnetlink import Link, Routing
from pier.networks import sysctls
from pier.networks.drivers import Base, Port
from pier.networks.model import Network
from pier.networks.segments import Segments
from pier.trace import point


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


class Bridges:
    """Everything blocks; one thread at a time."""

    hosted = True
    addressed = True

    def __init__(self, routing: Routing, owner: str) -> None:
        """owner: the alias of what this instance makes, by which it is found again."""
        self._routing, self._owner = routing, owner
        self.segments = Segments(routing, owner)

    # -- of networks

    def create(self, network: Network, mtu: int) -> Base:
        """Raises Conflict where a link of that name is there, NetlinkError."""
        name, interfaces = network.link, network.interfaces()
        try:
            link = self._routing.create_bridge(name, bridge_mac(name), network.mtu or mtu, interfaces, self._owner)
        except NetlinkError as error:
            if error.errno == errno.EEXIST:
                raise Conflict(f"cannot create network: the link {name} is there already: delete it, or name another bridge") from error
            raise
        _guard(name, interfaces)
        return Base(name, link.index, tuple(interfaces), link.mac)

    def ensure(self, network: Network, mtu: int) -> tuple[Base, bool]:
        """Its bridge, with its addresses and up, and the parts that hang on it."""
        base, made = self.ensure_bridge(network.link, network.interfaces(), network.mtu or mtu)
        return base, self.segments.mend(base, isolated=not network.icc) or made

    def remove(self, networks: Sequence[Network]) -> None:
        """The bridges and their parts."""
        for network in networks:
            self.segments.remove(Base(network.link, _index(network.link)))
        self._routing.delete_links([network.link for network in networks])

    def ensure_bridge(self, name: str, interfaces: Sequence[str], mtu: int) -> tuple[Base, bool]:
        """A bridge of ours, made where it is missing, with its addresses and up. Returns it and whether it was made.

        Raises Conflict where a link of that name is no bridge, NetlinkError.
        """
        link, made = self._routing.link(name), False
        if link is None:
            point("networks.bridge")
            link, made = self._routing.create_bridge(name, bridge_mac(name), mtu, interfaces, self._owner), True
        elif link.kind != "bridge":
            raise Conflict(f"the link {name} is there and is no bridge: delete it, or name a bridge with --bridge")
        else:
            self._routing.configure_bridge(link.index, interfaces)
        _guard(name, interfaces)
        return Base(name, link.index, tuple(interfaces), link.mac), made

    # -- of containers

    def join(self, base: Base, port: Port) -> None:
        """Put a veth into the bridge and its other end into a network namespace; remember the neighbour.

        Raises NetlinkError(EINVAL, ENODEV) where the bridge is gone, Unavailable where it and its parts are full.
        """
        inner = port.netns_fd, port.interface, port.mac, port.mtu
        self._seat(base, port, lambda master: self._routing.create_veth(port.host_interface, master, *inner))

    def _seat(self, base: Base, port: Port, put: Callable[[int], None]) -> None:
        """Find a bridge with a free port: the one that had one last, then all, then one more."""
        front = self.segments.front(base)
        if not _has_room(put, front):
            for index in (each for each in self.segments.places(base) if each != front):
                if _has_room(put, index):
                    break
            else:
                index = self.segments.extend(base, port.mtu, isolated=port.isolated)
                put(index)
            self.segments.settled(base, index)
        if port.isolated:
            self._routing.isolate_port(port.host_interface)
        self._remember(base, port)

    def _remember(self, base: Base, port: Port) -> None:
        for address in port.addresses:
            self._routing.add_neighbour(base.index, address, port.mac)

    def stands(self, base: Base, host_interface: str) -> bool:
        """Whether bridge and veth are there; two ioctls without the RTNL lock, for any thread."""
        return _index(base.name) == base.index and _index(host_interface) > 0

    def claim(self, base: Base, port: Port) -> None:
        """`join` for a veth that was made ahead, and may be gone since: remembers its neighbour. Raises as `join`."""
        if _index(port.host_interface):
            self._remember(base, port)
        else:
            self.join(base, port)

    def reclaim(self, base: Base, port: Port) -> None:
        """`claim` after the bridge was made anew: the veth may be in none. Raises as `join`."""
        link = self._routing.link(port.host_interface)
        if link is None:
            self.join(base, port)
        elif link.master == 0:
            self.replug(base, link, port)
        else:
            self._remember(base, port)

    def replug(self, base: Base, link: Link, port: Port) -> None:
        """Put a veth that lost its bridge into it again; without an address it is one made ahead."""
        self._seat(base, port, lambda master: self._routing.enslave(link.index, master))

    def settle(self, ports: Iterable[tuple[Base, Port]]) -> None:
        """Remember the neighbours, and make the kernel take note that both ends are up.

        Without the latter the first packets of one in twenty are lost for a second.
        """
        for base, port in ports:
            self._remember(base, port)
            self._routing.link(port.host_interface)
            self._routing.link(base.name)

    def leave(self, base: Base | None, port: Port, *, cut: bool) -> bool:
        """Forget the neighbour, and with `cut` delete the veth; else it dies with the container's namespace."""
        if base is not None:
            for address in port.addresses:
                self._routing.delete_neighbour(base.index, address)
        if cut:
            self._routing.delete_link(port.host_interface)
            return True
        return self._routing.link(port.host_interface) is None


def _guard(name: str, interfaces: Sequence[str]) -> None:
    """Keep the host from believing what containers say on a bridge about routers, and from hearing IPv6 where the network has none."""
    sysctls.ignore_routers(name)
    if not any(":" in each for each in interfaces):
        sysctls.silence(name)


def _has_room(put: Callable[[int], None], index: int) -> bool:
    try:
        put(index)
    except NetlinkError as error:
        if error.errno == errno.EXFULL:
            return False
        raise
    return True
