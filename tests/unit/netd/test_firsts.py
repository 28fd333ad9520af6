"""First packets as they are sent again: whole, with a checksum that is right, or not at all."""

import socket
import struct

import pytest

from pier.netd.firsts import renewed

SYN = struct.pack("!HHIIBBHHH", 40000, 8080, 1, 0, 5 << 4, 2, 64240, 0, 0)


def four(body: bytes, protocol: int, options: bytes = b"", fragment: int = 0) -> bytes:
    addresses = socket.inet_aton("192.0.2.2") + socket.inet_aton("192.0.2.1")
    words = 5 + len(options) // 4
    return struct.pack("!BBHHHBBH", 4 << 4 | words, 0, words * 4 + len(body), 7, fragment, 64, protocol, 0) + addresses + options + body


def six(body: bytes, protocol: int, extensions: bytes = b"") -> bytes:
    addresses = b"".join(socket.inet_pton(socket.AF_INET6, text) for text in ("2001:db8::2", "2001:db8::1"))
    return struct.pack("!IHBB", 6 << 28, len(extensions + body), 60 if extensions else protocol, 64) + addresses + extensions + body


def datagram(data: bytes, checksum: int = 0) -> bytes:
    return struct.pack("!HHHH", 5, 53, 8 + len(data), checksum) + data


def folded(packet: bytes, start: int, protocol: int) -> int:
    """The sum that a receiver makes, slowly: 0xffff where the checksum is right."""
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    data = addresses + struct.pack("!II", len(packet) - start, protocol) + packet[start:]
    total = sum(struct.unpack(f"!{len(data + data[:1]) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize(
    ("packet", "start", "protocol", "where"),
    [
        (four(SYN, 6), 20, 6, "192.0.2.1"),
        (four(SYN, 6, b"\1\1\1\1"), 24, 6, "192.0.2.1"),
        (four(datagram(b"odd", 0x1234), 17, fragment=0x4000), 20, 17, "192.0.2.1"),  # DF
        (four(datagram(b"x" * 60000, 9), 17), 20, 17, "192.0.2.1"),
        (six(SYN, 6), 40, 6, "2001:db8::1"),
        (six(datagram(b"even"), 17, b"\x11\0\1\4\0\0\0\0"), 48, 17, "2001:db8::1"),
    ],
)
def test_the_checksum_is_made_and_nothing_else_changed(packet: bytes, start: int, protocol: int, where: str) -> None:
    found = renewed(packet)
    assert found is not None and found[1] == where and folded(found[0], start, protocol) == 0xFFFF
    at = start + {6: 16, 17: 6}[protocol]
    assert found[0][:at] == packet[:at] and found[0][at + 2 :] == packet[at + 2 :]


def test_what_has_no_checksum_of_ours_stays_as_it_is() -> None:
    for packet in (four(datagram(b"none"), 17), four(b"sctp of any kind", 132), six(b"", 59)):
        assert renewed(packet) == (packet, "192.0.2.1" if packet[0] >> 4 == 4 else "2001:db8::1")


@pytest.mark.parametrize(
    "packet",
    [
        b"", b"\x45", b"\x00" * 60, four(SYN, 6)[:-1], four(SYN, 6) + b"x", four(SYN[:19], 6), four(b"1234567", 17), four(SYN, 6, fragment=0x2000),
        four(SYN, 6, fragment=3), b"\x41" + four(SYN, 6)[1:], six(SYN, 6)[:-1], six(SYN[:10], 6), six(b"", 6, b"\6\xff\1\4\0\0\0\0"),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_dropped(packet: bytes) -> None:
    assert renewed(packet) is None
