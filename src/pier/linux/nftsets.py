"""Sets of nf_tables, and the expressions that look packets up in them: constant rules, however many networks and members there are.

Keys are bytes as the kernel compares them. A key of several fields fills the registers one after another: an interface's name has 16 bytes,
so what follows it goes into the second register. Source: linux/netfilter/nf_tables.h; a range over several fields is a pipapo set (5.6).
"""

import struct
from collections.abc import Iterable

from pier.linux.netlink import NLM_F_CREATE, Message, attribute, be32, nested, text
from pier.linux.nftables import FAMILY_IPV4, Expression, expression, message

IFNAME_BYTES = 16
FIRST, SECOND = 1, 2  # registers of 16 bytes
ICMP = {FAMILY_IPV4: 1}  # protocol of ICMP; 58 in IPv6
PORT_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_NEWSET, _NEWSETELEM, _DELSETELEM = 9, 12, 14
_INTERVAL, _MAP, _CONCAT = 0x04, 0x08, 0x80
_META_IIFNAME, _META_OIFNAME, _META_L4PROTO = 6, 7, 16
_TYPES = {"ifname": 41, "protocol": 12, "port": 13}  # of nft(8), for those who list our sets
_IPV4_TYPE, _IPV6_TYPE = 7, 8
_SIZES = {"ifname": IFNAME_BYTES, "protocol": 1, "port": 2}
_CHUNK = 512

Element = tuple[bytes, ...]  # key, the end of its range (b"" for none), and in a map its value


def ifname(name: str) -> bytes:
    """An interface's name as a key."""
    return name.encode().ljust(IFNAME_BYTES, b"\0")


def _load(key: int, register: int) -> Expression:
    return expression("meta", be32(2, key), be32(1, register))


def load_iifname(register: int = FIRST) -> Expression:
    """The name of the link that the packet came in by."""
    return _load(_META_IIFNAME, register)


def load_oifname(register: int = FIRST) -> Expression:
    """The name of the link that the packet leaves by."""
    return _load(_META_OIFNAME, register)


def load_saddr(family: int, register: int = FIRST) -> Expression:
    """The source's address, of the family of the table."""
    offset, size = (12, 4) if family == FAMILY_IPV4 else (8, 16)
    return expression("payload", be32(1, register), be32(2, 1), be32(3, offset), be32(4, size))


def is_icmp(family: int) -> list[Expression]:
    """The packet is ICMP, or ICMPv6 in a table of IPv6."""
    return [_load(_META_L4PROTO, FIRST), expression("cmp", be32(1, FIRST), be32(2, 0), nested(3, attribute(1, bytes((ICMP.get(family, 58),)))))]


def load_protocol(register: int = FIRST) -> Expression:
    """The protocol above IP, one byte."""
    return _load(_META_L4PROTO, register)


def load_dport(register: int) -> Expression:
    """The destination's port, of TCP, UDP or SCTP."""
    return expression("payload", be32(1, register), be32(2, 2), be32(3, 2), be32(4, 2))  # base 2: transport header


def load_daddr(family: int, register: int = FIRST) -> Expression:
    """The destination's address, of the family of the table."""
    offset, size = (16, 4) if family == FAMILY_IPV4 else (24, 16)
    return expression("payload", be32(1, register), be32(2, 1), be32(3, offset), be32(4, size))


def lookup(name: str, *, found: bool = True) -> Expression:
    """What was loaded from the first register on is in a set (or not)."""
    return expression("lookup", text(1, name), be32(2, FIRST), *([] if found else [be32(5, 1)]))


def mapped(name: str) -> Expression:
    """What was loaded from the first register on is in a map, whose value is in the first register then."""
    return expression("lookup", text(1, name), be32(2, FIRST), be32(3, FIRST))


def port_key(number: int) -> bytes:
    """A port as a field of a key."""
    return number.to_bytes(2, "big") + b"\0\0"


def protocol_key(protocol: str) -> bytes:
    """A protocol of ports ("tcp") as a field of a key."""
    return bytes((PORT_PROTOCOLS[protocol], 0, 0, 0))


def address_bytes(family: int) -> int:
    """Of an address of the family."""
    return 4 if family == FAMILY_IPV4 else 16


def after_address(family: int) -> int:
    """The register behind an address in the first one: registers of four bytes have numbers of their own, from 8 on."""
    return 9 if family == FAMILY_IPV4 else SECOND


def _field_bytes(family: int, field: str) -> int:
    return _SIZES.get(field) or address_bytes(family)


def _layout(family: int, fields: tuple[str, ...]) -> tuple[int, int]:
    """(type for nft(8), bytes) of fields one after another, each filling whole registers of four bytes."""
    kind = 0
    for field in fields:
        kind = kind << 6 | (_TYPES.get(field) or (_IPV4_TYPE if family == FAMILY_IPV4 else _IPV6_TYPE))
    return kind, sum((_field_bytes(family, field) + 3) & ~3 for field in fields)


def add_set(
    family: int, table: str, name: str, number: int, fields: tuple[str, ...], *, ranges: bool = False, values: tuple[str, ...] = ()
) -> Message:  # fmt: skip
    """Make a set, or with `values` a map. number: its own within the transaction. ranges: elements are ranges.

    fields: of its keys, and values of what they map to: "ifname", "address", "protocol", "port".
    """
    kind, size = _layout(family, fields)
    flags = (_INTERVAL if ranges else 0) | (_CONCAT if ranges and len(fields) > 1 else 0) | (_MAP if values else 0)
    data = [text(1, table), text(2, name), be32(3, flags), be32(4, kind), be32(5, size)]
    if values:
        value_kind, value_size = _layout(family, values)
        data += [be32(6, value_kind), be32(7, value_size)]
    if ranges and len(fields) > 1:
        data.append(nested(9, nested(2, *(nested(1, be32(1, _field_bytes(family, field))) for field in fields))))
    data.append(be32(10, number))
    if fields == ("ifname",):
        data.append(attribute(13, b"\0\4" + struct.pack("=I", 1)))  # so that nft(8) shows the names: keys in the host's byte order
    return message(_NEWSET, NLM_F_CREATE, family, *data)


def _element(element: Element) -> bytes:
    key, end, *value = element
    parts = [nested(1, attribute(1, key))]
    if value:
        parts.append(nested(2, attribute(1, value[0])))
    if end:
        parts.append(nested(10, attribute(1, end)))
    return nested(1, *parts)


def _change(kind: int, flags: int, family: int, table: str, name: str, elements: Iterable[Element]) -> list[Message]:
    every = sorted(elements)
    return [
        message(kind, flags, family, text(1, table), text(2, name), nested(3, *map(_element, every[at : at + _CHUNK])))
        for at in range(0, len(every), _CHUNK)
    ]


def add_elements(family: int, table: str, name: str, elements: Iterable[Element]) -> list[Message]:
    """Put elements into a set; none gives no message."""
    return _change(_NEWSETELEM, NLM_F_CREATE, family, table, name, elements)


def delete_elements(family: int, table: str, name: str, elements: Iterable[Element]) -> list[Message]:
    """Take elements out of a set; they must be there."""
    return _change(_DELSETELEM, 0, family, table, name, elements)
