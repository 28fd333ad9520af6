"""What the host's routes and addresses take up: read once, and again when somebody else than us has changed it.

The kernel tells of each change (rtnetlink(7), multicast groups), so that a host with thousands of our bridges is not read for each new one.
"""

import socket
import struct
from collections.abc import Callable, Collection, Sequence

from pier.linux.netlink import DELROUTE, NETLINK_ROUTE, NEWROUTE, Netlink, attribute_map
from pier.linux.rtnetlink import Routing
from pier.networks.model import IPNetwork

_GROUPS = (5, 7, 9, 11)  # RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE
_BUFFER = 64 * 1024
_LOCAL = (b"\xfe\x80", b"\xff")  # each link has addresses of fe80::/10 and ff00::/8: nobody's pool


def networks_of(routing: Routing, but: Collection[int]) -> list[IPNetwork]:
    """What routes and addresses take up, of both families. but: indexes of links whose are left out. Raises NetlinkError."""
    found: list[IPNetwork] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        found += [route.network for route in routing.routes(family, but)]
        found += [address.interface.network for address in routing.addresses(family, but)]
    return found


class Surroundings:
    """Blocks; for the thread for the kernel, but for `ours`."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        self._netlink: Netlink | None = None
        self._ours: set[int] = set()  # the kernel gives the number of a link that is gone to no other
        self._found: tuple[IPNetwork, ...] | None = None
        self.reads = 0
        """How often everything was read: tests count."""

    def close(self) -> None:
        """Stop listening."""
        if self._netlink is not None:
            self._netlink.close()

    def ours(self, index: int) -> None:
        """A bridge was made: what is told of it changes nothing. From any thread."""
        self._ours.add(index)

    def networks(self, bridges: Callable[[], Collection[int]]) -> Sequence[IPNetwork]:
        """What is not ours. bridges: tells the indexes of all bridges that are. Raises NetlinkError, OSError."""
        if self._netlink is None:
            self._netlink = Netlink(NETLINK_ROUTE, groups=_GROUPS, receive_bytes=_BUFFER)
        foreign = self._foreign(self._netlink)
        if foreign is None or foreign or self._found is None:
            self._ours |= set(bridges())
            if foreign is None or self._found is None or foreign - self._ours:
                self.reads += 1
                self._found = None  # should the reading fail
                self._found = tuple(dict.fromkeys(networks_of(self._routing, self._ours)))
        return self._found

    def _foreign(self, netlink: Netlink) -> set[int] | None:
        """The links, not known as ours, that something has changed on since the last time; None where more was told than the socket took."""
        found: set[int] = set()
        try:
            for kind, _, body in netlink.listen():
                index, address = _of_route(body) if kind in (NEWROUTE, DELROUTE) else _of_address(body)
                if index not in self._ours and not address.startswith(_LOCAL):
                    found.add(index)
        except OSError:
            return None
        return found


def _of_route(body: bytes) -> tuple[int, bytes]:
    """(the link it leaves by, 0 for none; what it leads to)."""
    found = attribute_map(body, 12)
    return int.from_bytes(found.get(4, b""), "little"), found.get(1, b"")


def _of_address(body: bytes) -> tuple[int, bytes]:
    """(its link, itself)."""
    index: int = struct.unpack_from("=I", body, 4)[0]
    found = attribute_map(body, 8)
    return index, found.get(2) or found.get(1) or b""
