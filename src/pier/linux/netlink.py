"""Netlink by hand: messages, attributes, one synchronous socket; and the one use that a container's child has for it.

What the daemon does with it is in rtnetlink.py and nftables.py.

A request runs in the kernel while `send` runs, in the thread that calls: under the kernel's RTNL lock that can be 30 ms,
so the daemon does it in a thread of its own. No imports beyond what a blank child has. Source: netlink(7), linux/netlink.h.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
_NLMSG_ERROR, _NLMSG_DONE, _F_DUMP_INTR, _F_CAPPED, _F_ACK_TLVS = 2, 3, 0x10, 0x100, 0x200
_NLA_F_NESTED, _NLA_TYPE_MASK = 0x8000, 0x3FFF
_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 270, 1, 10, 11, 12
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")
_SO_SNDBUFFORCE, _SEND_BYTES = 32, 65536
_SO_ATTACH_FILTER = 26
_RECEIVE_BYTES = 32768  # what the kernel puts into one packet of a dump at most

NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, GETADDR, NEWROUTE, DELROUTE, GETROUTE, NEWNEIGH, DELNEIGH = 20, 22, 24, 25, 26, 28, 29
IFLA_ADDRESS, IFF_UP, _IFA_F_NODAD = 1, 1, 2
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

    def __init__(self, protocol: int, groups: Iterable[int] = (), receive_bytes: int = _RECEIVE_BYTES) -> None:
        """protocol: NETLINK_ROUTE or NETLINK_NETFILTER. groups: multicast groups to listen to (then only `listen` makes sense).

        receive_bytes: what an answer may have at most; dumps need the whole of it.
        """
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        self._buffer = bytearray(receive_bytes)  # one for all answers: a new one each time costs its page faults
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

    def filter(self, program: bytes) -> None:
        """Hear only what a program of classic BPF (struct sock_filter) lets pass. Raises OSError."""
        buffer = ctypes.create_string_buffer(program, len(program))
        words = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, words)

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
        """Send requests in one packet; the kernel carries them out in order and does not stop at a failing one.

        It tells of each that fails, and of the last.

        what: named in the error. Raises NetlinkError for the first that failed.
        """
        first = self._sequence + 1
        packet = b""
        for number, (kind, flags, body) in enumerate(messages, 1):
            self._sequence += 1
            flags |= NLM_F_REQUEST | (NLM_F_ACK if number == len(messages) else 0)
            packet += _HEADER.pack(len(body) + 16, kind, flags, self._sequence, 0) + body
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
        if len(packet) > _SEND_BYTES:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, len(packet))  # the kernel doubles it; a packet above it is EMSGSIZE
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


def packed_address(address: str) -> bytes:
    """An IPv4 or IPv6 address as its 4 or 16 bytes. Raises OSError."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _family(packed: bytes) -> int:
    return socket.AF_INET if len(packed) == 4 else socket.AF_INET6


def neighbour_body(index: int, address: str, mac: str | None) -> bytes:
    """struct ndmsg and attributes of a neighbour: permanent with a MAC, as a name to delete without."""
    packed = packed_address(address)
    body = struct.pack("=BxxxiHBB", _family(packed), index, _NUD_PERMANENT if mac else 0, 0, 0) + attribute(1, packed)
    return body + attribute(2, mac_bytes(mac)) if mac else body


def address_message(index: int, interface: str) -> Message:
    """The request that gives a link the address "172.17.0.1/16" or "fd00::1/64"; IPv6 without a second of looking for duplicates."""
    ip, _, prefix = interface.partition("/")
    packed, length = packed_address(ip), int(prefix)
    body = struct.pack("=BBBBI", _family(packed), length, 0 if len(packed) == 4 else _IFA_F_NODAD, 0, index)
    body += attribute(2, packed) + attribute(1, packed)  # LOCAL, ADDRESS
    if len(packed) == 4:
        broadcast = int.from_bytes(packed, "big") | ((1 << (32 - length)) - 1)
        body += attribute(4, broadcast.to_bytes(4, "big"))
    return NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body


def _default_route(index: int, gateway: str, kind: int = NEWROUTE) -> Message:
    packed = packed_address(gateway)
    route = struct.pack("=BBBBBBBBI", _family(packed), 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, 0, _RTN_UNICAST, 0)
    return kind, NLM_F_CREATE | NLM_F_REPLACE if kind == NEWROUTE else 0, route + attribute(5, packed) + u32(4, index)


def configure_inside(*, loopback: bool = True, interfaces: Sequence[dict[str, Any]] = (), withdrawn: Sequence[str] = ()) -> None:
    """Bring up what a container's network namespace holds: for the child itself, inside it; imports nothing, takes 0.15 ms.

    loopback: bring `lo` up. interfaces: links that the daemon put there, each with its "name", "mac" ("" as it is), "addresses" with their prefixes,
    "gateways" (default routes through it), "neighbours" (permanent: [address, MAC] of gateways; with 1,000 containers the kernel's table is full
    otherwise) and "sysctls" ([name below /proc/sys/net, value]). IPv6 is off on one without such an address, as in Docker.
    withdrawn: "4", "6": a default route that is there goes first, another interface has it from now on. Raises NetlinkError, OSError.
    """
    messages: list[Message] = []
    if loopback:
        messages.append((NEWLINK, 0, link_header(socket.if_nametoindex("lo"), IFF_UP, IFF_UP)))
    late: list[Message] = []
    for one in interfaces:
        name, index = one["name"], socket.if_nametoindex(one["name"])
        v6 = any(":" in address for address in one["addresses"])
        _write_sysctl(f"ipv6/conf/{name}/disable_ipv6", "0" if v6 else "1")
        messages += [address_message(index, address) for address in one["addresses"]]
        set_mac = attribute(IFLA_ADDRESS, mac_bytes(one["mac"])) if one["mac"] else b""
        messages.append((NEWLINK, 0, link_header(index, IFF_UP, IFF_UP) + set_mac))
        late += [_default_route(index, gateway) for gateway in one["gateways"]]
        late += [(NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, neighbour_body(index, address, mac)) for address, mac in one["neighbours"]]
    what = "network inside the container (" + (", ".join(one["name"] for one in interfaces) or "lo") + ")"
    with Netlink(NETLINK_ROUTE, receive_bytes=_RECEIVE_BYTES if withdrawn else 4096) as netlink:
        for version in withdrawn:
            _withdraw(netlink, socket.AF_INET if version == "4" else socket.AF_INET6)
        if messages or late:
            netlink.run([*messages, *late], what)
    for one in interfaces:
        for name, value in one.get("sysctls", ()):
            if not os.path.exists(f"/proc/sys/net/{name}"):
                raise FileNotFoundError(2, f"/proc/sys/net/{name} is not a sysctl file")
            _write_sysctl(name, value)


def _withdraw(netlink: Netlink, family: int) -> None:
    """Delete the default routes of a family, but for those that the kernel made itself."""
    body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)
    for _, route in netlink.dump(GETROUTE, body, "default routes"):
        if route[1] == 0 and route[4] == _RT_TABLE_MAIN and route[5] == _RTPROT_STATIC:
            netlink.run([(DELROUTE, 0, route)], "the default route that was")


def _write_sysctl(name: str, value: str) -> None:
    """/proc/sys/net is that of the caller's namespace, whoever mounted it; a host without IPv6 has no such file."""
    try:
        fd = os.open(f"/proc/sys/net/{name}", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
