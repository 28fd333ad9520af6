"""First packets of connections that the host's INPUT has accepted (`firewall: respect`, pier.networks.respect), sent again as they came.

The firewall has learned their tuples and dropped them: sent from here they are translated, under the address of who sent them first, and what he
sends next comes in by the link as ever. The packets are foreign: what is not whole is dropped; who sent it tries again.
"""

import errno
import select
import socket
import struct
from collections.abc import Callable

from pier.linux.nflog import Packets

_IN = select.EPOLLIN
_ROUNDS = 64
_TCP, _UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
_CHECKSUM = {_TCP: 16, _UDP: 6}  # where in the header it is
_LEAST = {_TCP: 20, _UDP: 8}
_EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options

Watch = Callable[[int, int, Callable[[int], None]], None]


def renewed(packet: bytes) -> "tuple[bytes, str] | None":
    """(the packet, with the checksum that its sender's link may have left to its card; where it goes). None where it makes no sense. Pure."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        start, protocol = (packet[0] & 15) * 4, packet[9]
        if start < 20 or int.from_bytes(packet[2:4], "big") != len(packet) or int.from_bytes(packet[6:8], "big") & 0x3FFF:
            return None
        source, destination = packet[12:16], packet[16:20]
        where = socket.inet_ntop(socket.AF_INET, destination)
    elif version == 6 and len(packet) >= 40:
        start, protocol = 40, packet[6]
        if int.from_bytes(packet[4:6], "big") != len(packet) - 40:
            return None
        while protocol in _EXTENSIONS and start + 8 <= len(packet):
            protocol, start = packet[start], start + 8 + packet[start + 1] * 8
        source, destination = packet[8:24], packet[24:40]
        where = socket.inet_ntop(socket.AF_INET6, destination)
    else:
        return None
    at = _CHECKSUM.get(protocol)
    if at is None:
        return packet, where
    if len(packet) - start < _LEAST[protocol]:
        return None
    there = slice(start + at, start + at + 2)
    if protocol == _UDP and version == 4 and packet[there] == b"\0\0":
        return packet, where  # it has none
    body = packet[start : start + at] + b"\0\0" + packet[start + at + 2 :]
    summed = source + destination + struct.pack(">II", len(body), protocol) + body + b"\0" * (len(body) % 2)
    number = 0xFFFF - int.from_bytes(summed, "big") % 0xFFFF  # the one's complement sum of 16-bit words is the remainder by 65,535
    return packet[: start + at] + number.to_bytes(2, "big") + packet[start + at + 2 :], where


class Firsts:
    """Takes and sends; nothing is open until there is a group."""

    def __init__(self, watch: Watch) -> None:
        """watch: the loop's."""
        self._watch = watch
        self._packets: Packets | None = None
        self._senders: dict[int, socket.socket] = {}
        self.group = 0

    def take(self, group: int) -> None:
        """Have a group from now on, 0: none. Raises NetlinkError, OSError; then there is none."""
        if group == self.group:
            return
        self.close()
        if group:
            self._packets = Packets(group)
            try:
                self._senders[4] = _sender(socket.AF_INET)
                try:
                    self._senders[6] = _sender(socket.AF_INET6)
                except OSError as error:
                    if error.errno != errno.EAFNOSUPPORT:  # a host without IPv6
                        raise
            except OSError:
                self.close()
                raise
            self.group = group
            self._watch(self._packets.fileno(), _IN, self._came)

    def close(self) -> None:
        """Give the group up."""
        if self._packets is not None:
            if self.group:
                self._watch(self._packets.fileno(), 0, self._came)
            self._packets.close()
        for sock in self._senders.values():
            sock.close()
        self._packets, self.group = None, 0
        self._senders.clear()

    def _came(self, mask: int) -> None:
        if self._packets is None:
            return
        try:
            for _, packet in zip(range(_ROUNDS), self._packets.read(), strict=False):
                if again := renewed(packet):
                    self._send(packet[0] >> 4, *again)
        except OSError:
            pass  # more came than the queue holds: their senders try again

    def _send(self, version: int, packet: bytes, where: str) -> None:
        try:
            self._senders[version].sendto(packet, (where, 0))
        except (OSError, KeyError):
            pass  # a firewall of the host's forbids it, or its queue is full: its sender tries again


def _sender(family: socket.AddressFamily) -> "socket.socket":
    """A raw socket that sends packets with their network header, and receives none (raw(7), IPPROTO_RAW)."""
    return socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)
