"""The kernel's table of connections: which of a protocol there are, and forgetting one. Source: linux/netfilter/nfnetlink_conntrack.h."""

import errno
import struct
from typing import NamedTuple

from pier.linux.netlink import NETLINK_NETFILTER, Netlink, NetlinkError, attribute, attribute_map, nested, u32
from pier.linux.nftables import FAMILY_IPV4

UDP = 17
_SUBSYSTEM, _GET, _DELETE = 1 << 8, 1, 2
_ORIGINAL, _REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_IP, _PROTOCOL = 1, 2
_BY_PROTOCOL = 1 << 3  # CTA_FILTER_FLAG(CTA_PROTO_NUM)


class Flow(NamedTuple):
    """A connection as it was begun, and where its answers come from: somewhere else where its destination was translated. Addresses are packed."""

    family: int
    destination: bytes
    port: int
    answers_from: bytes
    answers_from_port: int
    identity: bytes  # for `forget`


class Conntrack:
    """Blocks; raises NetlinkError. Opens its socket when it is needed first."""

    def __init__(self) -> None:
        self._netlink: Netlink | None = None

    def close(self) -> None:
        """Close the socket."""
        if self._netlink is not None:
            self._netlink.close()

    def _socket(self) -> Netlink:
        if self._netlink is None:
            self._netlink = Netlink(NETLINK_NETFILTER)
        return self._netlink

    def flows(self, family: int, protocol: int) -> list[Flow]:
        """All connections of a protocol. Kernels before 5.8 tell of the others, too, which are left out here."""
        tuple_ = nested(_ORIGINAL, nested(_PROTOCOL, attribute(1, bytes((protocol,)))))
        wanted = nested(_FILTER, u32(1, _BY_PROTOCOL), u32(2, 0))
        body = struct.pack(">BBH", family, 0, 0) + tuple_ + wanted
        try:
            answers = self._socket().dump(_SUBSYSTEM | _GET, body, "list of connections")
        except NetlinkError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            answers = self._socket().dump(_SUBSYSTEM | _GET, struct.pack(">BBH", family, 0, 0), "list of connections")
        return [flow for _, body in answers if (flow := parse(body, protocol))]

    def forget(self, flow: Flow) -> bool:
        """Let the next packet of a connection be its first. False where it has ended meanwhile."""
        try:
            self._socket().run([(_SUBSYSTEM | _DELETE, 0, struct.pack(">BBH", flow.family, 0, 0) + flow.identity)], "forgetting a connection")
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True


def parse(body: bytes, protocol: int) -> Flow | None:
    """A connection of what the kernel tells; None for one of another protocol, or without ports."""
    found = attribute_map(body, 4)
    original, reply = attribute_map(found.get(_ORIGINAL, b"")), attribute_map(found.get(_REPLY, b""))
    asked, answered = attribute_map(original.get(_PROTOCOL, b"")), attribute_map(reply.get(_PROTOCOL, b""))
    if asked.get(1) != bytes((protocol,)) or 3 not in asked or 2 not in answered:
        return None
    to, back = attribute_map(original.get(_IP, b"")), attribute_map(reply.get(_IP, b""))
    source, destination = (1, 2) if body[0] == FAMILY_IPV4 else (3, 4)
    identity = nested(_ORIGINAL, found[_ORIGINAL])
    for kind in (_ID, _ZONE):
        if kind in found:
            identity += attribute(kind, found[kind])
    ports = int.from_bytes(asked[3], "big"), int.from_bytes(answered[2], "big")
    return Flow(body[0], to.get(destination, b""), ports[0], back.get(source, b""), ports[1], identity)
