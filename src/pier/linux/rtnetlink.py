"""Links, addresses, routes and neighbours: RTM_* over the socket of netlink.py. Source: rtnetlink(7), linux/if_link.h.

Measured traps: IFF_UP on a veth's peer in the message that makes it is ENOTCONN; a fresh veth loses its first packets for up to a second unless
somebody asks for the link (`settle`), since the kernel notes the carrier lazily; RTM_DELLINK blocks for 30 ms.
"""

import errno
import ipaddress
import socket
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pier.linux.netlink import (
    DELLINK,
    DELNEIGH,
    GETADDR,
    GETLINK,
    GETROUTE,
    IFF_UP,
    IFLA_ADDRESS,
    NETLINK_ROUTE,
    NEWLINK,
    NEWNEIGH,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    SETLINK,
    Netlink,
    NetlinkError,
    address_message,
    attribute,
    attribute_map,
    link_header,
    mac_bytes,
    neighbour_body,
    nested,
    string,
    text,
    u32,
)

_IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 4, 10, 18, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER, _IFLA_BR_STP_STATE = 1, 2, 1, 5
_IFLA_PROTINFO, _IFLA_IFALIAS, _IFLA_BRPORT_ISOLATED = 12, 20, 33
_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS = 29, 8
_IFLA_LINK, _IFLA_TARGET_NETNSID, _IFLA_GROUP = 5, 46, 27
_GROUP_LINKS, _NEWS_BYTES = 1, 32768  # RTNLGRP_LINK
_LOAD_HALF, _JUMP_EQUAL, _RETURN = 0x28, 0x15, 0x06  # classic BPF, linux/filter.h
_GROUP = 0x50696572  # of links that are being deleted together, whoever's; "Pier"
_IFLA_MACVLAN_MODE, _IFLA_IPVLAN_MODE, _IFLA_IPVLAN_FLAGS, _IFLA_VLAN_ID = 1, 1, 2, 1
_NEWNSID, _GETNSID, _NETNSA_NSID, _NETNSA_FD = 88, 90, 1, 3
_IFF_LOOPBACK = 8
_RTN_UNICAST = 1


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface as the kernel tells it."""

    index: int
    name: str
    kind: str  # "bridge", "veth", "" for hardware
    mac: str
    mtu: int
    up: bool
    master: int  # index of its bridge, 0 for none
    alias: str = ""
    loopback: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a link."""

    index: int
    interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True, slots=True)
class Route:
    """A route to other than this host itself."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    index: int  # the link it leaves by, 0 for none (blackholes, several)


def mac_text(mac: bytes) -> str:
    """Six bytes as "02:42:ac:11:00:02"."""
    return mac.hex(":")


def _by_name(name: str) -> bytes:
    return link_header() + text(_IFLA_IFNAME, name) + u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)


def _parse_link(body: bytes) -> Link:
    _, index, flags, _ = struct.unpack_from("=HxxiII", body)
    found = attribute_map(body, 16)
    info = attribute_map(found.get(_IFLA_LINKINFO, b""))
    return Link(
        index,
        string(found.get(_IFLA_IFNAME, b"")),
        string(info.get(_IFLA_INFO_KIND, b"")),
        mac_text(found.get(IFLA_ADDRESS, b"")),
        int.from_bytes(found.get(_IFLA_MTU, b""), "little"),
        bool(flags & IFF_UP),
        int.from_bytes(found.get(_IFLA_MASTER, b""), "little"),
        found.get(_IFLA_IFALIAS, b"").rstrip(b"\0").decode("utf-8", "replace"),
        bool(flags & _IFF_LOOPBACK),
    )


class Routing:
    """What the daemon asks of the kernel; every method blocks for a system call or two and raises NetlinkError."""

    def __init__(self) -> None:
        """Opens a socket in the network namespace of the calling thread."""
        self._netlink = Netlink(NETLINK_ROUTE)

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def links(self) -> list[Link]:
        """All links of the namespace."""
        found = self._netlink.dump(GETLINK, link_header() + u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS), "list of links")
        return [_parse_link(body) for _, body in found]

    def link(self, name: str) -> Link | None:
        """One link by its name, None where there is none. Asking also makes the kernel take note of a change of carrier at once (`settle`)."""
        try:
            return _parse_link(self._netlink.get(GETLINK, _by_name(name), f"link {name}"))
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def addresses(self, family: int = socket.AF_INET, but: Collection[int] = ()) -> list[Address]:
        """All addresses of a family, but those of some links."""
        result = []
        for _, body in self._netlink.dump(GETADDR, struct.pack("=BBBBI", family, 0, 0, 0, 0), "list of addresses"):
            found = attribute_map(body, 8)
            packed = found.get(2) or found.get(1)
            index = struct.unpack_from("=I", body, 4)[0]
            if packed and body[0] == family and index not in but:
                result.append(Address(index, ipaddress.ip_interface((packed, body[1]))))
        return result

    def routes(self, family: int = socket.AF_INET, but: Collection[int] = ()) -> list[Route]:
        """Routes of all tables but those to this host's own and broadcast addresses, and those by some links."""
        result = []
        for _, body in self._netlink.dump(GETROUTE, struct.pack("=BBBBBBBBI", family, *[0] * 8), "list of routes"):
            if body[0] == family and (body[7] == _RTN_UNICAST or body[7] > 5):  # blackhole, unreachable and prohibit are somebody's too
                found = attribute_map(body, 12)
                index = int.from_bytes(found.get(4, b""), "little")
                if index in but:
                    continue
                destination = found.get(1) or bytes(4 if family == socket.AF_INET else 16)
                network = ipaddress.ip_network((destination, body[1]), strict=False)
                result.append(Route(network, index))
        return result

    def create_bridge(self, name: str, mac: str, mtu: int, interfaces: Sequence[str], alias: str) -> Link:
        """Make a bridge with a fixed MAC, addresses ("172.18.0.1/16") and an alias, and bring it up.

        Raises NetlinkError(EEXIST) where the name is taken.
        """
        info = nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, "bridge"), nested(_IFLA_INFO_DATA, u32(_IFLA_BR_STP_STATE, 0)))
        body = link_header() + text(_IFLA_IFNAME, name) + attribute(IFLA_ADDRESS, mac_bytes(mac)) + u32(_IFLA_MTU, mtu) + info
        # In one packet: a bridge without its alias would be nobody's, should this process be killed in between.
        owner = (SETLINK, 0, link_header() + text(_IFLA_IFNAME, name) + attribute(_IFLA_IFALIAS, alias.encode()))
        self._netlink.run([(NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body), owner], f"creating bridge {name}")
        made = self._made(name)
        self.configure_bridge(made.index, interfaces)
        return made

    def configure_bridge(self, index: int, interfaces: Sequence[str]) -> None:
        """Give a bridge its addresses and bring it up; does nothing where both are so."""
        up = (NEWLINK, 0, link_header(index, IFF_UP, IFF_UP))
        addresses = [address_message(index, interface) for interface in interfaces]
        self._netlink.run([*addresses, up], f"addresses {', '.join(interfaces)} and up for link {index}")

    def isolate_port(self, name: str) -> None:
        """Keep a port of a bridge from every other isolated port of it: the bridge forwards to others and to the host only."""
        body = struct.pack("=BxHiII", socket.AF_BRIDGE, 0, socket.if_nametoindex(name), 0, 0)
        self._netlink.run([(SETLINK, 0, body + nested(_IFLA_PROTINFO, attribute(_IFLA_BRPORT_ISOLATED, b"\1")))], f"isolating port {name}")

    def create_veth(self, host_name: str, master: int, netns_fd: int, peer_name: str, mac: str, mtu: int) -> None:
        """Make a veth pair in one message: the host's end up and in a bridge, the other as `peer_name` inside a network namespace.

        master: index of the bridge. mac: of the inner end. Raises NetlinkError: ENODEV where the bridge is gone, EXFULL at 1,023 ports,
        EEXIST where either name is taken; then neither end is there.
        """
        peer = link_header() + text(_IFLA_IFNAME, peer_name) + attribute(IFLA_ADDRESS, mac_bytes(mac)) + u32(_IFLA_MTU, mtu)
        peer += u32(_IFLA_NET_NS_FD, netns_fd)
        info = nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, "veth"), nested(_IFLA_INFO_DATA, nested(_VETH_INFO_PEER, peer)))
        body = link_header(0, IFF_UP, IFF_UP) + text(_IFLA_IFNAME, host_name) + u32(_IFLA_MTU, mtu) + u32(_IFLA_MASTER, master) + info
        self._netlink.run([(NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)], f"veth {host_name}")

    def enslave(self, index: int, master: int) -> None:
        """Put a link into a bridge and bring it up."""
        body = link_header(index, IFF_UP, IFF_UP) + u32(_IFLA_MASTER, master)
        self._netlink.run([(SETLINK, 0, body)], f"link {index} into bridge {master}")

    def enslave_all(self, moves: Sequence[tuple[int, int]]) -> None:
        """Put links (first of each pair) into bridges, in one message to the kernel: nobody is killed in between."""
        bodies = [link_header(index, IFF_UP, IFF_UP) + u32(_IFLA_MASTER, master) for index, master in moves]
        self._netlink.run([(SETLINK, 0, body) for body in bodies], "links into bridges")

    def create_pair(self, name: str, peer: str, mtu: int, alias: str) -> Link:
        """Make a veth with both ends here, up; the alias is the first's. Raises NetlinkError(EEXIST)."""
        other = link_header() + text(_IFLA_IFNAME, peer) + u32(_IFLA_MTU, mtu)
        info = nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, "veth"), nested(_IFLA_INFO_DATA, nested(_VETH_INFO_PEER, other)))
        body = link_header() + text(_IFLA_IFNAME, name) + u32(_IFLA_MTU, mtu) + info
        owner = (SETLINK, 0, link_header(0, IFF_UP, IFF_UP) + text(_IFLA_IFNAME, name) + attribute(_IFLA_IFALIAS, alias.encode()))
        up = (SETLINK, 0, link_header(0, IFF_UP, IFF_UP) + text(_IFLA_IFNAME, peer))
        self._netlink.run([(NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body), owner, up], f"creating veth {name}")
        return self._made(name)

    def create_vlan(self, name: str, lower: int, number: int, alias: str) -> Link:
        """Make a VLAN link (IEEE 802.1Q) on another, up. Raises NetlinkError: EOPNOTSUPP where the kernel has none, EEXIST."""
        info = nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, "vlan"), nested(_IFLA_INFO_DATA, attribute(_IFLA_VLAN_ID, struct.pack("=H", number))))
        body = link_header() + text(_IFLA_IFNAME, name) + u32(_IFLA_LINK, lower) + info
        owner = (SETLINK, 0, link_header(0, IFF_UP, IFF_UP) + text(_IFLA_IFNAME, name) + attribute(_IFLA_IFALIAS, alias.encode()))
        self._netlink.run([(NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body), owner], f"creating VLAN link {name}")
        return self._made(name)

    def _made(self, name: str) -> Link:
        link = self.link(name)
        if link is None:
            raise NetlinkError(errno.ENODEV, f"link {name} was deleted while it was being made")
        return link

    def create_macvlan(self, parent: int, netns_fd: int, name: str, mac: str, mtu: int, mode: int) -> None:
        """Make a macvlan link on a parent, inside a network namespace. mac: "" for the kernel's choice; mtu: 0 for the parent's.

        mode: MACVLAN_MODE_... Raises NetlinkError: ENODEV where the parent is gone, EINVAL where another keeps it for itself (passthru).
        """
        own = attribute(IFLA_ADDRESS, mac_bytes(mac)) if mac else b""
        self._create_upper("macvlan", parent, netns_fd, name, mtu, own, u32(_IFLA_MACVLAN_MODE, mode))

    def create_ipvlan(self, parent: int, netns_fd: int, name: str, mtu: int, mode: int, flags: int) -> None:
        """The same with an ipvlan link, which has its parent's MAC. mode: IPVLAN_MODE_..., flags: IPVLAN_F_...; netns_fd: -1 for here."""
        data = attribute(_IFLA_IPVLAN_MODE, struct.pack("=H", mode)) + attribute(_IFLA_IPVLAN_FLAGS, struct.pack("=H", flags))
        self._create_upper("ipvlan", parent, netns_fd, name, mtu, b"", data)

    def _create_upper(self, kind: str, parent: int, netns_fd: int, name: str, mtu: int, own: bytes, data: bytes) -> None:
        body = link_header() + (text(_IFLA_IFNAME, name) if name else b"") + u32(_IFLA_LINK, parent) + own
        body += u32(_IFLA_MTU, mtu) if mtu else b""
        body += u32(_IFLA_NET_NS_FD, netns_fd) if netns_fd >= 0 else b""
        body += nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, kind), nested(_IFLA_INFO_DATA, data))
        self._netlink.run([(NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body)], f"{kind} {name}")

    def delete_link_in(self, netns_fd: int, name: str) -> bool:
        """Delete a link of another network namespace, without going there (Linux 4.15). False where it was gone already."""
        space = attribute(_NETNSA_FD, struct.pack("=I", netns_fd))
        try:
            self._netlink.run([(_NEWNSID, 0, bytes(4) + attribute(_NETNSA_NSID, struct.pack("=i", -1)) + space)], "number of a namespace")
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
        found = attribute_map(self._netlink.get(_GETNSID, bytes(4) + space, "number of a namespace"), 4)
        where = attribute(_IFLA_TARGET_NETNSID, found[_NETNSA_NSID])
        try:
            self._netlink.run([(DELLINK, 0, link_header() + text(_IFLA_IFNAME, name) + where)], f"deleting link {name} of a container")
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    def delete_link(self, name: str) -> bool:
        """Delete a link; blocks for 30 ms or more. False where it was gone already."""
        return self._unless_gone((DELLINK, 0, link_header() + text(_IFLA_IFNAME, name)), f"deleting link {name}")

    def delete_links(self, names: Sequence[str]) -> None:
        """Delete links in about the time of one: in a group of their own (`ip link delete group`). Those that are gone are passed over."""
        if len(names) == 1:
            self.delete_link(names[0])
            return
        for name in names:
            self._unless_gone((SETLINK, 0, link_header() + text(_IFLA_IFNAME, name) + u32(_IFLA_GROUP, _GROUP)), f"deleting link {name}")
        if names:
            self._unless_gone((DELLINK, 0, link_header() + u32(_IFLA_GROUP, _GROUP)), f"deleting {len(names)} links")

    def _unless_gone(self, message: tuple[int, int, bytes], what: str) -> bool:
        try:
            self._netlink.run([message], what)
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    def add_neighbour(self, index: int, address: str, mac: str) -> None:
        """A permanent neighbour: not counted against gc_thresh3, never asked for by ARP."""
        self._netlink.run([(NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, neighbour_body(index, address, mac))], f"neighbour {address}")

    def delete_neighbour(self, index: int, address: str) -> None:
        """Forget a neighbour; one that is not there, or whose link is gone, is forgotten already."""
        try:
            self._netlink.run([(DELNEIGH, 0, neighbour_body(index, address, None))], f"forgetting neighbour {address}")
        except NetlinkError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
                raise


def listen_for_deleted_links() -> Netlink:
    """A socket that hears of links that go (RTM_DELLINK, also of one that leaves its bridge), and that the kernel wakes nobody else's news for."""
    netlink = Netlink(NETLINK_ROUTE, groups=[_GROUP_LINKS], receive_bytes=_NEWS_BYTES)
    word = int.from_bytes(struct.pack("=H", DELLINK), "big")  # filters read in network order
    lines = ((_LOAD_HALF, 0, 0, 4), (_JUMP_EQUAL, 0, 1, word), (_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0))
    netlink.filter(b"".join(struct.pack("=HBBI", *line) for line in lines))
    return netlink


def deleted_link(body: bytes) -> str:
    """The name in a message of such a socket, "" where it has none."""
    return string(attribute_map(body, 16).get(_IFLA_IFNAME, b""))
