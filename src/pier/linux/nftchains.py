"""Chains that rules jump to, and sets whose elements end by themselves. Source: linux/netfilter/nf_tables.h."""

import struct
from collections.abc import Iterable

from pier.linux.netlink import NLM_F_CREATE, Message, attribute, be32, be64, nested, text
from pier.linux.nftables import FAMILY_IPV4, Expression, expression, message

RETURN = -5
_JUMP = -3
_NEWCHAIN, _NEWSET, _NEWSETELEM, _DELSETELEM = 3, 9, 12, 14
_INTERVAL, _TIMEOUT, _DYNAMIC, _CONCAT = 0x04, 0x10, 0x20, 0x80
_UPDATE = 1
_META_L4PROTO = 16
_TYPES = {"ifname": (41, 16), "protocol": (12, 1), "port": (13, 2)}  # of nft(8), and their bytes
_ADDRESSES = {FAMILY_IPV4: (7, 4)}
_IPV6_ADDRESS = (8, 16)
PROTOCOLS = {"tcp": 6, "udp": 17}


def add_chain(family: int, table: str, chain: str) -> Message:
    """Make a chain that only rules lead to."""
    return message(_NEWCHAIN, NLM_F_CREATE, family, text(1, table), text(3, chain))


def jump(chain: str) -> Expression:
    """Go on there, and come back where it ends."""
    return expression("immediate", be32(1, 0), nested(2, nested(2, be32(1, _JUMP & 0xFFFFFFFF), text(2, chain))))


def leave() -> Expression:
    """Go back to where the jump was."""
    return expression("immediate", be32(1, 0), nested(2, nested(2, be32(1, RETURN & 0xFFFFFFFF))))


class Key:
    """The fields of a set's keys, loaded one after another into registers of four bytes; each field fills whole ones."""

    def __init__(self, family: int, *fields: str) -> None:
        """fields: "ifname", "saddr", "daddr", "protocol", "port" (the destination's, of TCP and UDP), "oifname"."""
        self.family, self.fields = family, fields

    def _of(self, field: str) -> tuple[int, int]:
        if field.endswith("addr"):
            return _ADDRESSES.get(self.family, _IPV6_ADDRESS)
        return _TYPES["ifname" if field == "oifname" else field]

    @property
    def kind(self) -> int:
        """The type of a key, for nft(8)."""
        kind = 0
        for field in self.fields:
            kind = kind << 6 | self._of(field)[0]
        return kind

    @property
    def sizes(self) -> list[int]:
        """The bytes of each field."""
        return [self._of(field)[1] for field in self.fields]

    def load(self) -> list[Expression]:
        """The expressions that load it, from the first register on."""
        found, register = [], 8
        for field, size in zip(self.fields, self.sizes, strict=True):
            found.append(self._load(field, register))
            register += (size + 3) // 4
        return found

    def _load(self, field: str, register: int) -> Expression:
        if field in ("ifname", "oifname", "protocol"):
            return expression("meta", be32(2, {"ifname": 6, "oifname": 7, "protocol": _META_L4PROTO}[field]), be32(1, register))
        if field == "port":
            return expression("payload", be32(1, register), be32(2, 2), be32(3, 2), be32(4, 2))
        size = self._of(field)[1]
        offset = {"saddr": (12, 8), "daddr": (16, 24)}[field][self.family != FAMILY_IPV4]
        return expression("payload", be32(1, register), be32(2, 1), be32(3, offset), be32(4, size))

    def encode(self, *values: bytes) -> bytes:
        """A key of the fields' values."""
        return b"".join(value + b"\0" * (-len(value) % 4) for value in values)


def lookup(key: Key, name: str, *, found: bool = True) -> list[Expression]:
    """The packet's key is in a set (or not); a packet that lacks a field is in none, and the rule ends."""
    return [*key.load(), expression("lookup", text(1, name), be32(2, 8), *([] if found else [be32(5, 1)]))]


def learn(name: str, timeout_s: int) -> Expression:
    """What was loaded from the first register on is in a set from now on, for a time. Where the set is full, the rule ends here."""
    return expression("dynset", text(1, name), be32(3, _UPDATE), be32(4, 8), be64(6, timeout_s * 1000))


def forget(family: int, table: str, name: str) -> Message:
    """Empty a set."""
    return message(_DELSETELEM, 0, family, text(1, table), text(2, name))


def add_set(table: str, name: str, number: int, key: Key, *, ranges: bool = False, timed: bool = False, most: int = 0) -> Message:
    """Make a set. number: its own within the transaction; ranges: elements have ends; timed: they end by themselves.

    most: so many elements at most, which rules put there (`learn`).
    """
    flags = (_INTERVAL if ranges else 0) | (_CONCAT if ranges and len(key.fields) > 1 else 0) | (_TIMEOUT if timed else 0) | (_DYNAMIC if most else 0)
    data = [text(1, table), text(2, name), be32(3, flags), be32(4, key.kind), be32(5, sum((size + 3) & ~3 for size in key.sizes)), be32(10, number)]
    if ranges and len(key.fields) > 1:
        data.append(nested(9, nested(2, *(nested(1, be32(1, size)) for size in key.sizes))))
    if most:
        data.append(nested(9, be32(1, most)))
    if key.fields == ("ifname",):
        data.append(attribute(13, b"\0\4" + struct.pack("=I", 1)))
    return message(_NEWSET, NLM_F_CREATE, key.family, *data)


def add_timed(family: int, table: str, name: str, keys: Iterable[bytes], timeout_s: int) -> list[Message]:
    """Put keys into a set for a time, counted anew for those that are there: what is added twice in a transaction may be deleted in between."""
    found = []
    for key in keys:
        where, name_of = text(1, table) + text(2, name), nested(1, attribute(1, key))
        timed = message(_NEWSETELEM, NLM_F_CREATE, family, where, nested(3, nested(1, name_of, be64(4, timeout_s * 1000))))
        found += [timed, message(_DELSETELEM, 0, family, where, nested(3, nested(1, name_of))), timed]
    return found
