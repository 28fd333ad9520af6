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
_NEWSET, _NEWSETELEM, _DELSETELEM = 9, 12, 14
_INTERVAL, _CONCAT = 0x04, 0x80
_META_IIFNAME, _META_OIFNAME, _META_L4PROTO = 6, 7, 16
_IFNAME_TYPE, _IPV4_TYPE, _IPV6_TYPE = 41, 7, 8  # of nft(8), for those who list our sets
_CHUNK = 512

Element = tuple[bytes, bytes]  # key, and the end of its range: b"" for none


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


def lookup(name: str, *, found: bool = True) -> Expression:
    """What was loaded from the first register on is in a set (or not)."""
    return expression("lookup", text(1, name), be32(2, FIRST), *([] if found else [be32(5, 1)]))


def address_bytes(family: int) -> int:
    """Of an address of the family."""
    return 4 if family == FAMILY_IPV4 else 16


def after_address(family: int) -> int:
    """The register behind an address in the first one: registers of four bytes have numbers of their own, from 8 on."""
    return 9 if family == FAMILY_IPV4 else SECOND


def add_set(family: int, table: str, name: str, number: int, fields: tuple[str, ...], *, ranges: bool = False) -> Message:
    """Make a set. number: its own within the transaction. fields: of its keys, "ifname" or "address"; ranges: elements are ranges."""
    sizes = [IFNAME_BYTES if field == "ifname" else address_bytes(family) for field in fields]
    kind = 0
    for field in fields:
        kind = kind << 6 | (_IFNAME_TYPE if field == "ifname" else _IPV4_TYPE if family == FAMILY_IPV4 else _IPV6_TYPE)
    flags = (_INTERVAL if ranges else 0) | (_CONCAT if ranges and len(fields) > 1 else 0)
    data = [text(1, table), text(2, name), be32(3, flags), be32(4, kind), be32(5, sum(sizes)), be32(10, number)]
    if ranges and len(fields) > 1:
        data.append(nested(9, nested(2, *(nested(1, be32(1, size)) for size in sizes))))
    if fields == ("ifname",):
        data.append(attribute(13, b"\0\4" + struct.pack("=I", 1)))  # so that nft(8) shows the names: keys in the host's byte order
    return message(_NEWSET, NLM_F_CREATE, family, *data)


def _element(element: Element) -> bytes:
    key, end = element
    parts = [nested(1, attribute(1, key))]
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
