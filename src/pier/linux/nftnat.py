"""Expressions of nf_tables around the translation of destinations: who is local, jumps, dnat by a map. Source: linux/netfilter/nf_tables.h."""

import struct

from pier.linux.netlink import NLM_F_CREATE, Message, attribute, be32, nested, text
from pier.linux.nftables import Expression, expression, message
from pier.linux.nftsets import FIRST

_NEWCHAIN = 3
_JUMP, _RETURN = -3, -5
_FIB_ADDRTYPE, _FIB_DADDR = 3, 1 << 1
_RTN_LOCAL = 2
_CT_STATUS, _DST_NAT = 2, 1 << 5  # linux/netfilter/nf_conntrack_common.h: IPS_DST_NAT
_NAT_SRC, _NAT_DST = 0, 1


def _verdict(code: int, chain: str = "") -> list[Expression]:
    parts = [attribute(1, struct.pack(">i", code)), *([text(2, chain)] if chain else [])]
    return [expression("immediate", be32(1, 0), nested(2, nested(2, *parts)))]


def _masked(mask: bytes) -> Expression:
    registers = be32(1, FIRST), be32(2, FIRST), be32(3, len(mask))
    return expression("bitwise", *registers, nested(4, attribute(1, mask)), nested(5, attribute(1, bytes(len(mask)))))


def jump(chain: str) -> list[Expression]:
    """Go on in a chain of the table, and come back at its end."""
    return _verdict(_JUMP, chain)


def back() -> list[Expression]:
    """Leave a chain that was jumped to."""
    return _verdict(_RETURN)


def add_chain(family: int, table: str, chain: str) -> Message:
    """Make a chain that is jumped to."""
    return message(_NEWCHAIN, NLM_F_CREATE, family, text(1, table), text(3, chain))


def to_this_host() -> list[Expression]:
    """The destination is an address of this host's."""
    load = expression("fib", be32(1, FIRST), be32(2, _FIB_ADDRTYPE), be32(3, _FIB_DADDR))
    return [load, expression("cmp", be32(1, FIRST), be32(2, 0), nested(3, attribute(1, struct.pack("=I", _RTN_LOCAL))))]


def destination_was_translated() -> list[Expression]:
    """The packet is of a connection whose destination was translated, by anybody's rule."""
    load = expression("ct", be32(2, _CT_STATUS), be32(1, FIRST))
    return [load, _masked(struct.pack("=I", _DST_NAT)), expression("cmp", be32(1, FIRST), be32(2, 1), nested(3, attribute(1, bytes(4))))]


def is_link_local_source() -> list[Expression]:
    """The source is a link-local address of IPv6: it means nothing on another link."""
    load = expression("payload", be32(1, FIRST), be32(2, 1), be32(3, 8), be32(4, 4))
    return [load, _masked(b"\xff\xc0\0\0"), expression("cmp", be32(1, FIRST), be32(2, 0), nested(3, attribute(1, b"\xfe\x80\0\0")))]


def is_to_loopback_ipv6() -> list[Expression]:
    """The destination is ::1."""
    load = expression("payload", be32(1, FIRST), be32(2, 1), be32(3, 24), be32(4, 16))
    return [load, expression("cmp", be32(1, FIRST), be32(2, 0), nested(3, attribute(1, bytes(15) + b"\1")))]


def dnat(family: int, port_register: int = 0) -> list[Expression]:
    """The destination becomes the address in the first register and, with `port_register`, the port in that one."""
    ports = [be32(5, port_register)] if port_register else []
    return [expression("nat", be32(1, _NAT_DST), be32(2, family), be32(3, FIRST), *ports)]


def snat(family: int) -> list[Expression]:
    """The source becomes the address in the first register."""
    return [expression("nat", be32(1, _NAT_SRC), be32(2, family), be32(3, FIRST))]
