"""The firewall as a pure function: a table of our own with constant rules, and two in a foreign chain that drops.

    prerouting (raw)  a source address of the bridge's that comes in by another link is forged: drop
    forward           from the bridge: accept, unless its source is not the bridge's; to the bridge: established or related, from the bridge itself;
                      everything else to the bridge: drop (container addresses cannot be reached from outside)
    postrouting       what leaves the bridge for elsewhere gets the host's address
An accept ends our chain only: a foreign chain on the same hook may still drop, hence the two rules there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pier.linux import nftables as nft
from pier.linux.netlink import Message

_FAMILY = nft.FAMILY_IPV4
_RAW, _FILTER, _SRCNAT = -300, 0, 100
FOREIGN_TABLE, FOREIGN_CHAIN = "filter", "FORWARD"


@dataclass(frozen=True, slots=True)
class BridgeRules:
    """What the rules are made of."""

    table: str  # "pier"
    bridge: str  # "pier0"
    subnet: str  # "172.17.0.0/16"


def _rules(wanted: BridgeRules) -> list[tuple[str, Sequence[nft.Expression], str]]:
    """(chain, expressions, comment); each comment once, so that what the kernel holds can be compared."""
    inside, outside = nft.iifname(wanted.bridge), nft.oifname(wanted.bridge)
    accept, drop = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP)
    known = nft.ct_state(nft.CT_ESTABLISHED | nft.CT_RELATED)
    b, s = wanted.bridge, wanted.subnet
    forged = [*nft.saddr(s), *nft.iifname(b, equal=False), *nft.iifname("lo", equal=False)]
    return [
        ("prerouting", [*forged, *drop], f"{s} from elsewhere than {b} is forged"),
        ("forward", [*inside, *nft.saddr(s, equal=False), *drop], f"{b} sends from {s} only"),
        ("forward", [*inside, *outside, *accept], f"within {b}"),
        ("forward", [*outside, *known, *accept], f"answers to {b}"),
        ("forward", [*outside, *drop], f"nobody else reaches {b}"),
        ("postrouting", [*nft.saddr(s), *nft.oifname(b, equal=False), *nft.masquerade()], f"{s} leaves as the host"),
    ]


def ruleset(wanted: BridgeRules) -> list[Message]:
    """The transaction that makes the table anew, whatever it held before."""
    table = wanted.table
    return [
        *remove(table),
        nft.add_table(_FAMILY, table),
        nft.add_base_chain(_FAMILY, table, "prerouting", "filter", nft.HOOK_PREROUTING, _RAW),
        nft.add_base_chain(_FAMILY, table, "forward", "filter", nft.HOOK_FORWARD, _FILTER),
        nft.add_base_chain(_FAMILY, table, "postrouting", "nat", nft.HOOK_POSTROUTING, _SRCNAT),
        *(nft.add_rule(_FAMILY, table, chain, expressions, comment) for chain, expressions, comment in _rules(wanted)),
    ]


def remove(table: str) -> list[Message]:
    """The transaction that takes the table away, there or not."""
    return [nft.add_table(_FAMILY, table), nft.delete_table(_FAMILY, table)]


def intact(wanted: BridgeRules, chains: Iterable[nft.Chain], found: Iterable[nft.Rule]) -> bool:
    """Whether the kernel holds just these rules."""
    have = sorted((rule.chain, rule.comment) for rule in found)
    hooked = {chain.name for chain in chains if chain.family == _FAMILY and chain.table == wanted.table}
    return hooked == {"prerouting", "forward", "postrouting"} and have == sorted((chain, comment) for chain, _, comment in _rules(wanted))


def _foreign(wanted: BridgeRules) -> list[tuple[list[nft.Expression], str]]:
    accept = [*nft.counter(), *nft.verdict(nft.ACCEPT)]
    return [
        ([*nft.iifname(wanted.bridge), *accept], f"{wanted.table}: from {wanted.bridge}"),
        ([*nft.oifname(wanted.bridge), *nft.xt_established_or_related(), *accept], f"{wanted.table}: answers to {wanted.bridge}"),
    ]


def drops(chain: nft.Chain, table: str) -> bool:
    """Whether a chain that is not ours (`table`) drops forwarded packets by its policy."""
    return chain.hook == nft.HOOK_FORWARD and chain.policy == nft.DROP and chain.table != table and chain.family in (nft.FAMILY_INET, _FAMILY)


def is_opened(chain: nft.Chain) -> bool:
    """Whether it is the one that we put rules into: iptables' own."""
    return (chain.family, chain.table, chain.name) == (_FAMILY, FOREIGN_TABLE, FOREIGN_CHAIN)


def foreign_changes(wanted: BridgeRules | None, table: str, chains: Iterable[nft.Chain], found: Sequence[nft.Rule]) -> list[Message]:
    """What to change in `ip filter FORWARD`: our two rules at its head where it drops, none of ours where it does not or `wanted` is None.

    found: the rules of that chain, in order. Nothing to do gives an empty list.
    """
    ours = [rule for rule in found if rule.comment.startswith(f"{table}: ")]
    needed = _foreign(wanted) if wanted and any(drops(chain, table) and is_opened(chain) for chain in chains) else []
    if [rule.comment for rule in ours] == [comment for _, comment in needed]:
        return []
    inserted = [
        nft.add_rule(_FAMILY, FOREIGN_TABLE, FOREIGN_CHAIN, expressions, comment, first=True) for expressions, comment in reversed(needed)
    ]
    return [*(nft.delete_rule(rule) for rule in ours), *inserted]
