"""nf_tables by our own messages: transactions, expressions, and reading back what is there. No policy: rules are made by who calls.

A transaction is a list of messages that the kernel takes whole or not at all. Source: linux/netfilter/nf_tables.h, nft(8); 0.2 ms each.
"""

import errno
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from pier.linux.netlink import (
    NETLINK_NETFILTER,
    NLM_F_APPEND,
    NLM_F_CREATE,
    Message,
    Netlink,
    NetlinkError,
    attribute,
    attribute_map,
    attributes,
    be32,
    be64,
    nested,
    string,
    text,
)

FAMILY_INET, FAMILY_IPV4, FAMILY_IPV6 = 1, 2, 10
HOOK_PREROUTING, HOOK_INPUT, HOOK_FORWARD, HOOK_OUTPUT, HOOK_POSTROUTING = range(5)
DROP, ACCEPT = 0, 1
GROUP_NFTABLES = 7
CT_ESTABLISHED, CT_RELATED, CT_NEW = 2, 4, 8

_SUBSYSTEM = 10 << 8
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _GETCHAIN = 0, 1, 2, 3, 4
_NEWRULE, _GETRULE, _DELRULE, NEWGEN = 6, 7, 8, 15
_NEWSETELEM, _GETSETELEM, _DELSETELEM = 12, 13, 14
_REGISTER_1, _REGISTER_VERDICT = 1, 0
_META_IIFNAME, _META_OIFNAME = 6, 7
_SADDR, _DADDR = 12, 16  # offsets in the IPv4 header
_COMMENT = 0  # type of a comment among a rule's user data (libnftnl's)
# XT_CONNTRACK_STATE over ESTABLISHED, RELATED and DNAT, as struct xt_conntrack_mtinfo3 (linux/netfilter/xt_conntrack.h), padded to eight bytes.
_XT_DNAT = 0x80
_XT_ANSWERS_OR_DNAT = struct.pack("=136x HHHHH HH HH HHHH 6x", 0, 0, 0, 0, 0, 1, 0, CT_ESTABLISHED | CT_RELATED | _XT_DNAT, 0, 0, 0, 0, 0)

Expression = bytes


class Chain(NamedTuple):
    """A base chain found in the kernel."""

    family: int
    table: str
    name: str
    hook: int
    priority: int
    policy: int


class Rule(NamedTuple):
    """A rule found in the kernel, as far as anybody here wants to know it."""

    family: int
    table: str
    chain: str
    handle: int
    comment: str


def expression(name: str, *data: bytes) -> Expression:
    """An expression of a rule by its name in the kernel, with its attributes."""
    return nested(1, text(1, name), nested(2, *data))  # NFTA_LIST_ELEM { NFTA_EXPR_NAME, NFTA_EXPR_DATA }


def _compare(data: bytes, equal: bool = True) -> Expression:
    return expression("cmp", be32(1, _REGISTER_1), be32(2, 0 if equal else 1), nested(3, attribute(1, data)))


def _interface(key: int, name: str, equal: bool) -> list[Expression]:
    # Compared with its NUL, as iptables-nft does, so that both tools can read the rule.
    return [expression("meta", be32(2, key), be32(1, _REGISTER_1)), _compare(name.encode() + b"\0", equal)]


def iifname(name: str, equal: bool = True) -> list[Expression]:
    """The packet came in by that link (or not)."""
    return _interface(_META_IIFNAME, name, equal)


def oifname(name: str, equal: bool = True) -> list[Expression]:
    """The packet leaves by that link (or not)."""
    return _interface(_META_OIFNAME, name, equal)


def _masked(mask: bytes) -> Expression:
    registers = be32(1, _REGISTER_1), be32(2, _REGISTER_1), be32(3, len(mask))
    return expression("bitwise", *registers, nested(4, attribute(1, mask)), nested(5, attribute(1, bytes(len(mask)))))


def _network(offset: int, network: str, equal: bool) -> list[Expression]:
    address, _, prefix = network.partition("/")
    mask = (0xFFFFFFFF << (32 - int(prefix or 32)) & 0xFFFFFFFF).to_bytes(4, "big")
    load = expression("payload", be32(1, _REGISTER_1), be32(2, 1), be32(3, offset), be32(4, 4))  # base 1: network header
    return [load, _masked(mask), _compare(socket.inet_aton(address), equal)]


def saddr(network: str, equal: bool = True) -> list[Expression]:
    """The source lies in an IPv4 network "172.17.0.0/16" (or not); for tables of the family IPV4 only."""
    return _network(_SADDR, network, equal)


def daddr(network: str, equal: bool = True) -> list[Expression]:
    """The same for the destination."""
    return _network(_DADDR, network, equal)


def ct_state(mask: int) -> list[Expression]:
    """The connection is in one of the states of the mask (CT_...)."""
    load = expression("ct", be32(2, 0), be32(1, _REGISTER_1))
    return [load, _masked(struct.pack("=I", mask)), _compare(bytes(4), equal=False)]


def xt_answers_or_translated() -> list[Expression]:
    """The connection is established, related, or its destination was translated: by iptables' own match, for a chain that iptables-nft looks after.

    A native match makes it call its table incompatible.
    """
    return [expression("match", text(1, "conntrack"), be32(2, 3), attribute(3, _XT_ANSWERS_OR_DNAT))]


def verdict(code: int) -> list[Expression]:
    """DROP or ACCEPT."""
    return [expression("immediate", be32(1, _REGISTER_VERDICT), nested(2, nested(2, be32(1, code))))]


def masquerade() -> list[Expression]:
    """The source becomes the address of the link that the packet leaves by."""
    return [expression("masq")]


def counter() -> list[Expression]:
    """Counts, as each rule of iptables-nft does."""
    return [expression("counter", be64(1, 0), be64(2, 0))]


def message(kind: int, flags: int, family: int, *data: bytes) -> Message:
    """A message of nf_tables: its kind (NFT_MSG_...), flags, the table's family, attributes."""
    return _SUBSYSTEM | kind, flags, struct.pack(">BBH", family, 0, 0) + b"".join(data)


def add_table(family: int, table: str) -> Message:
    """Make a table; it may be there already."""
    return message(_NEWTABLE, NLM_F_CREATE, family, text(1, table))


def delete_table(family: int, table: str) -> Message:
    """Delete a table with all that is in it; it must be there (put `add_table` before it)."""
    return message(_DELTABLE, 0, family, text(1, table))


def add_base_chain(family: int, table: str, chain: str, kind: str, hook: int, priority: int, policy: int = ACCEPT) -> Message:
    """Make a base chain. kind: "filter" or "nat"; priority as the kernel counts (lower comes first)."""
    where = nested(4, be32(1, hook), attribute(2, struct.pack(">i", priority)))
    return message(_NEWCHAIN, NLM_F_CREATE, family, text(1, table), text(3, chain), where, be32(5, policy), text(7, kind))


def add_rule(family: int, table: str, chain: str, expressions: Sequence[Expression], comment: str = "", *, first: bool = False) -> Message:
    """Add a rule at the end of a chain, or as its first. comment: shown by nft, at most 120 characters, found again by `rules`."""
    data = [text(1, table), text(2, chain), nested(4, *expressions)]
    if comment:
        words = comment.encode()[:120] + b"\0"
        data.append(attribute(7, bytes((_COMMENT, len(words))) + words))
    return message(_NEWRULE, NLM_F_CREATE | (0 if first else NLM_F_APPEND), family, *data)


def delete_rule(rule: Rule) -> Message:
    """Delete a rule that `rules` found."""
    return message(_DELRULE, 0, rule.family, text(1, rule.table), text(2, rule.chain), be64(3, rule.handle))


def changed_element(kind: int) -> bool:
    """Whether a message of GROUP_NFTABLES is about an element of a set."""
    return kind & 0xFF in (_NEWSETELEM, _DELSETELEM)


def changed_table(kind: int, body: bytes) -> str:
    """The table that a message of GROUP_NFTABLES is about; "" for one that is about none (a new generation)."""
    return string(attribute_map(body, 4).get(1, b"")) if kind & 0xFF != NEWGEN else ""


class Firewall:
    """Reads and changes the rules of the calling thread's network namespace; every method blocks shortly."""

    def __init__(self) -> None:
        """Opens a socket."""
        self._netlink = Netlink(NETLINK_NETFILTER)
        self.port = self._netlink.port  # who the listeners of GROUP_NFTABLES are told it was

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def apply(self, messages: Sequence[Message], what: str) -> None:
        """One transaction; `what` is named in the error. Raises NetlinkError: then nothing was changed."""
        if messages:
            edge = struct.pack(">BBH", 0, 0, 10)
            self._netlink.transaction((_BATCH_BEGIN, 0, edge), messages, (_BATCH_END, 0, edge), what)

    def tables(self) -> list[tuple[int, str]]:
        """(family, name) of all tables."""
        found = self._netlink.dump(_SUBSYSTEM | _GETTABLE, struct.pack(">BBH", 0, 0, 0), "list of nftables tables")
        return [(body[0], string(attribute_map(body, 4).get(1, b""))) for _, body in found]

    def base_chains(self, family: int = 0) -> list[Chain]:
        """All base chains, of one family or of all."""
        result = []
        for _, body in self._netlink.dump(_SUBSYSTEM | _GETCHAIN, struct.pack(">BBH", family, 0, 0), "list of nftables chains"):
            found = attribute_map(body, 4)
            if 4 in found:
                hook = attribute_map(found[4])
                priority = struct.unpack(">i", hook[2])[0]
                policy = int.from_bytes(found.get(5, b"\0\0\0\1"), "big")
                result.append(Chain(body[0], string(found[1]), string(found[3]), int.from_bytes(hook[1], "big"), priority, policy))
        return result

    def elements(self, family: int, table: str, name: str) -> set[tuple[bytes, ...]] | None:
        """(key, end of its range), in a map with its value, of a set's elements; None where there is no such set."""
        request = struct.pack(">BBH", family, 0, 0) + text(1, table) + text(2, name)
        try:
            answers = self._netlink.dump(_SUBSYSTEM | _GETSETELEM, request, f"elements of {table} {name}")
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        lists = [attribute_map(body, 4).get(3, b"") for _, body in answers]
        found = [attribute_map(element) for each in lists for _, element in attributes(each)]
        parts = [[attribute_map(e[kind])[1] if kind in e else b"" for kind in (1, 10, 2)] for e in found]
        return {tuple(each if each[2] else each[:2]) for each in parts}

    def chain_names(self, family: int, table: str) -> list[str]:
        """The names of all chains of a table, base chains and others."""
        answers = self._netlink.dump(_SUBSYSTEM | _GETCHAIN, struct.pack(">BBH", family, 0, 0), "list of nftables chains")
        found = [attribute_map(body, 4) for _, body in answers]
        return [string(chain[3]) for chain in found if string(chain[1]) == table]

    def rules(self, family: int, table: str, chain: str = "") -> list[Rule]:
        """The rules of a table or chain, in their order; none where it is not there."""
        request = struct.pack(">BBH", family, 0, 0) + text(1, table) + (text(2, chain) if chain else b"")
        try:
            answers = self._netlink.dump(_SUBSYSTEM | _GETRULE, request, f"rules of {table} {chain}")
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return []
            raise
        result = []
        for _, body in answers:
            found = attribute_map(body, 4)
            if string(found[1]) != table or (chain and string(found[2]) != chain):
                continue  # a kernel that does not filter its dumps
            handle = int.from_bytes(found[3], "big")
            result.append(Rule(family, table, string(found[2]), handle, _comment(found.get(7, b""))))
        return result


def _comment(user_data: bytes) -> str:
    offset = 0
    while offset + 2 <= len(user_data):
        kind, length = user_data[offset], user_data[offset + 1]
        if kind == _COMMENT:
            return string(user_data[offset + 2 : offset + 2 + length])
        offset += 2 + length
    return ""
