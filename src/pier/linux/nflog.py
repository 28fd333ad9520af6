"""Packets that a rule of nf_tables hands to a process: the expression, and the socket that takes them. Source: linux/netfilter/nfnetlink_log.h.

One process at a time has a group, in one network namespace. Only the kernel, and who has CAP_NET_ADMIN there, can send to such a socket.
"""

import socket
import struct
from collections.abc import Iterator

from pier.linux.netlink import NETLINK_NETFILTER, Netlink, attribute, attribute_map, be32
from pier.linux.nftables import Expression, expression

_SUBSYSTEM, _PACKET, _CONFIG = 4 << 8, 0, 1
_CFG_CMD, _CFG_MODE, _CFG_NLBUFSIZ = 1, 2, 3
_BIND, _COPY_PACKET = 1, 2
_PAYLOAD = 9
_MOST = 0xFFFF
_SO_RCVBUFFORCE, _QUEUE_BYTES = 33, 4 << 20
_SMALL = 512  # what the kernel sets aside for a packet that is smaller: a SYN has 60 bytes


def log(group: int) -> Expression:
    """Hand a copy of the packet to who has the group, at once."""
    return expression("log", attribute(1, struct.pack(">H", group)), attribute(4, struct.pack(">H", 1)))  # queue threshold 1


class Packets:
    """The packets of one group, whole, from their network header on."""

    def __init__(self, group: int) -> None:
        """Raises NetlinkError: EBUSY where somebody has the group, EINVAL where the kernel has no nfnetlink_log."""
        self._netlink = Netlink(NETLINK_NETFILTER, receive_bytes=_MOST + 1024)
        try:
            sock = socket.socket(fileno=self._netlink.fileno())
            try:
                sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE_BYTES)
            finally:
                sock.detach()
            bind = attribute(_CFG_CMD, bytes((_BIND,)))
            mode = attribute(_CFG_MODE, struct.pack(">IBx", _MOST, _COPY_PACKET)) + be32(_CFG_NLBUFSIZ, _SMALL)
            header = struct.pack(">BBH", socket.AF_UNSPEC, 0, group)
            for body in (bind, mode):
                self._netlink.run([(_SUBSYSTEM | _CONFIG, 0, header + body)], f"log group {group}")
        except BaseException:
            self._netlink.close()
            raise

    def fileno(self) -> int:
        """For a selector."""
        return self._netlink.fileno()

    def close(self) -> None:
        """Give the group up."""
        self._netlink.close()

    def read(self) -> Iterator[bytes]:
        """What has come; never waits. Raises OSError(ENOBUFS) where packets were lost."""
        for kind, _, body in self._netlink.listen():
            if kind == _SUBSYSTEM | _PACKET and (packet := attribute_map(body, 4).get(_PAYLOAD)):
                yield packet
