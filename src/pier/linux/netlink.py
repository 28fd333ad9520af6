"""Netlink by hand: messages, attributes, one synchronous socket; and the one use that a container's child has for it.

What the daemon does with it is in rtnetlink.py and nftables.py.

A request runs in the kernel while `send` runs, in the thread that calls: under the kernel's RTNL lock that can be 30 ms,
so the daemon does it in a thread of its own. No imports beyond what a blank child has. Source: netlink(7), linux/netlink.h.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
_NLMSG_ERROR, _NLMSG_DONE, _F_DUMP_INTR, _F_CAPPED, _F_ACK_TLVS = 2, 3, 0x10, 0x100, 0x200
_NLA_F_NESTED, _NLA_TYPE_MASK = 0x8000, 0x3FFF
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 270, 1, 10, 11, 12
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVE_BYTES = 32768  # what the kernel puts into one packet of a dump at most

NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, GETADDR, NEWROUTE, GETROUTE, NEWNEIGH, DELNEIGH = 20, 22, 24, 26, 28, 29
IFLA_ADDRESS, IFF_UP = 1, 1
_NUD_PERMANENT, _RTN_UNICAST, _RT_TABLE_MAIN, _RTPROT_STATIC = 0x80, 1, 254, 4

Message = tuple[int, int, bytes]  # type, flags, body


class NetlinkError(OSError):
    """The kernel refused a message: `errno` as usual, `strerror` with the kernel's own words where it gave some."""


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """A string attribute with its NUL."""
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """A 32-bit attribute in the machine's byte order (rtnetlink)."""
    return attribute(kind, struct.pack("=I", value))


def be32(kind: int, value: int) -> bytes:
    """A 32-bit attribute in network byte order (nf_tables)."""
    return attribute(kind, struct.pack(">I", value))


def be64(kind: int, value: int) -> bytes:
    """A 64-bit attribute in network byte order (nf_tables)."""
    return attribute(kind, struct.pack(">Q", value))


def attributes(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes in `data` from `offset` on: (type, payload). Ends silently where the data is cut short or makes no sense."""
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > len(data):
            return
        yield kind & _NLA_TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attribute_map(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The same as a dict; the last of equal types wins."""
    return dict(attributes(data, offset))


def string(payload: bytes) -> str:
    """A string attribute's text."""
    return payload.split(b"\0", 1)[0].decode("utf-8", "replace")


class Netlink:
    """A socket of one protocol in the network namespace of the thread that made it. One request at a time, one thread at a time."""

    def __init__(self, protocol: int, groups: Iterable[int] = ()) -> None:
        """protocol: NETLINK_ROUTE or NETLINK_NETFILTER. groups: multicast groups to listen to (then only `listen` makes sense)."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        self._buffer = bytearray(_RECEIVE_BYTES)  # one for all answers: a new one each time costs its page faults
        try:
            self._socket.bind((0, 0))
            self.port = self._socket.getsockname()[0]
            for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
                try:
                    self._socket.setsockopt(_SOL_NETLINK, option, 1)
                except OSError:
                    pass  # kernels without it give errors without words, and dumps without filters: both are handled
            for group in groups:
                self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """For a selector, where the socket listens to groups."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._socket.close()

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, messages: Sequence[Message], what: str = "netlink request") -> None:
        """Send requests in one packet; each is acknowledged. The kernel carries them out in order and does not stop at a failing one.

        what: named in the error. Raises NetlinkError for the first that failed.
        """
        first = self._sequence + 1
        packet = b""
        for kind, flags, body in messages:
            self._sequence += 1
            packet += _HEADER.pack(len(body) + 16, kind, flags | NLM_F_REQUEST | NLM_F_ACK, self._sequence, 0) + body
        self._socket.sendto(packet, (0, 0))
        failure: NetlinkError | None = None
        last = self._sequence
        while True:
            for kind, flags, sequence, body in self._receive():
                if kind != _NLMSG_ERROR or not first <= sequence <= last:
                    continue
                failure = failure or _failure(flags, body, what)
                if sequence == last:
                    if failure is not None:
                        raise failure
                    return

    def transaction(self, begin: Message, messages: Sequence[Message], end: Message, what: str) -> None:
        """Send an nf_tables batch of one message or more: all or nothing. The last one is acknowledged; errors come by themselves.

        Raises NetlinkError for the first message that the kernel refused; then nothing was changed.
        """
        first = self._sequence + 1
        packet = b""
        for number, (kind, flags, body) in enumerate((begin, *messages, end)):
            self._sequence += 1
            flags |= NLM_F_REQUEST | (NLM_F_ACK if number == len(messages) else 0)
            packet += _HEADER.pack(len(body) + 16, kind, flags, self._sequence, 0) + body
        last = self._sequence - 1
        self._socket.sendto(packet, (0, 0))
        while True:
            for kind, flags, sequence, body in self._receive():
                # A refused batch may be answered under the number of `begin` alone (EPERM, out of memory).
                if kind == _NLMSG_ERROR and first <= sequence <= last + 1:
                    failure = _failure(flags, body, what)
                    if failure is not None:
                        self._drain()
                        raise failure
                    if sequence == last:
                        return

    def dump(self, kind: int, body: bytes, what: str = "netlink dump", flags: int = NLM_F_DUMP) -> list[tuple[int, bytes]]:
        """All answers to a request: (type, body). Asks again, up to five times, where a change made the dump inconsistent. Raises NetlinkError."""
        answers, interrupted = self._dump_once(kind, body, what, flags)
        for _ in range(4):
            if not interrupted:
                break
            answers, interrupted = self._dump_once(kind, body, what, flags)
        return answers

    def get(self, kind: int, body: bytes, what: str) -> bytes:
        """The body of the one answer to a request. Raises NetlinkError."""
        return self._dump_once(kind, body, what, 0)[0][0][1]

    def _dump_once(self, kind: int, body: bytes, what: str, flags: int) -> tuple[list[tuple[int, bytes]], bool]:
        self._sequence += 1
        number, interrupted = self._sequence, False
        self._socket.sendto(_HEADER.pack(len(body) + 16, kind, flags | NLM_F_REQUEST, number, 0) + body, (0, 0))
        answers: list[tuple[int, bytes]] = []
        failure: NetlinkError | None = None
        while True:
            for got, got_flags, sequence, data in self._receive():
                if sequence != number:
                    continue
                interrupted = interrupted or bool(got_flags & _F_DUMP_INTR)
                if got == _NLMSG_ERROR:
                    failure = _failure(got_flags, data, what)
                    if failure is not None:
                        raise failure
                    return answers, interrupted
                if got == _NLMSG_DONE:
                    return answers, interrupted
                answers.append((got, data))
                if not flags & NLM_F_DUMP:
                    return answers, interrupted

    def listen(self) -> Iterator[tuple[int, int, bytes]]:
        """What the groups said: (type, port of who caused it, body); never waits. Raises OSError(ENOBUFS) where messages were lost."""
        while True:
            try:
                data = self._packet(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            for kind, _, _, port, body in _split(data):
                yield kind, port, body

    def _receive(self) -> list[tuple[int, int, int, bytes]]:
        return [(kind, flags, sequence, body) for kind, flags, sequence, _, body in _split(self._packet())]

    def _packet(self, flags: int = 0) -> bytes:
        size = self._socket.recv_into(self._buffer, 0, flags)
        return bytes(memoryview(self._buffer)[:size])

    def _drain(self) -> None:
        try:
            while True:
                self._packet(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return


def _split(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if length < 16 or offset + length > len(data):
            return
        yield kind, flags, sequence, port, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _failure(flags: int, body: bytes, what: str) -> NetlinkError | None:
    code = -struct.unpack_from("=i", body)[0]
    if code == 0:
        return None
    words = ""
    if flags & _F_ACK_TLVS:
        # The header of the refused message follows the code; the whole message unless it was capped.
        refused = 16 if flags & _F_CAPPED else max(16, struct.unpack_from("=I", body, 4)[0])
        words = string(attribute_map(body, 4 + ((refused + 3) & ~3)).get(1, b""))  # NLMSGERR_ATTR_MSG
    return NetlinkError(code, f"{what}: {os.strerror(code)}" + (f" ({words})" if words else ""))


def mac_bytes(mac: str) -> bytes:
    """ "02:42:ac:11:00:02" as six bytes. Raises ValueError."""
    parts = mac.split(":")
    if len(parts) != 6:
        raise ValueError(f"{mac!r} is not a MAC address")
    return bytes(int(part, 16) for part in parts)


def link_header(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    """struct ifinfomsg."""
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


def neighbour_body(index: int, address: str, mac: str | None) -> bytes:
    """struct ndmsg and attributes of an IPv4 neighbour: permanent with a MAC, as a name to delete without."""
    body = struct.pack("=BxxxiHBB", socket.AF_INET, index, _NUD_PERMANENT if mac else 0, 0, 0) + attribute(1, socket.inet_aton(address))
    return body + attribute(2, mac_bytes(mac)) if mac else body


def configure_inside(
    *, loopback: bool = True, interface: str | None = None, address: str | None = None, gateway: str | None = None,
    mac: str | None = None, gateway_mac: str | None = None,
) -> None:  # fmt: skip
    """Bring up what a container's network namespace holds: for the child itself, inside it; imports nothing, takes 0.15 ms.

    loopback: bring `lo` up. interface: the name of the link that the daemon put there; its address "172.17.0.2/16", default gateway "172.17.0.1",
    MAC (None: as it is) and the gateway's MAC (a permanent neighbour: with 1,000 containers the kernel's table of neighbours is full otherwise).
    IPv6 is off on `interface`, as in Docker where the network has none. Raises NetlinkError, OSError.
    """
    indexes = {name: socket.if_nametoindex(name) for name in (("lo",) if loopback else ()) + ((interface,) if interface else ())}
    messages: list[Message] = []
    if loopback:
        messages.append((NEWLINK, 0, link_header(indexes["lo"], IFF_UP, IFF_UP)))
    if interface:
        _disable_ipv6(interface)
        index = indexes[interface]
        if address:
            ip, _, prefix = address.partition("/")
            packed, mask = int.from_bytes(socket.inet_aton(ip), "big"), (1 << (32 - int(prefix))) - 1
            body = struct.pack("=BBBBI", socket.AF_INET, int(prefix), 0, 0, index)
            own = packed.to_bytes(4, "big")
            body += attribute(2, own) + attribute(1, own) + attribute(4, (packed | mask).to_bytes(4, "big"))  # LOCAL, ADDRESS, BROADCAST
            messages.append((NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body))
        set_mac = attribute(IFLA_ADDRESS, mac_bytes(mac)) if mac else b""
        messages.append((NEWLINK, 0, link_header(index, IFF_UP, IFF_UP) + set_mac))
        if gateway:
            route = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, 0, _RTN_UNICAST, 0)
            messages.append((NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route + attribute(5, socket.inet_aton(gateway)) + u32(4, index)))
            if gateway_mac:
                messages.append((NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, neighbour_body(index, gateway, gateway_mac)))
    if messages:
        with Netlink(NETLINK_ROUTE) as netlink:
            netlink.run(messages, f"network inside the container ({interface or 'lo'})")


def _disable_ipv6(interface: str) -> None:
    """/proc/sys/net is that of the caller's namespace, whoever mounted it; a host without IPv6 has no such file."""
    try:
        fd = os.open(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(fd, b"1")
    finally:
        os.close(fd)
