"""The firewall as a pure function: a table of our own for each family with constant rules, and two for each bridge in a foreign chain that drops.

    prerouting (raw)  a source address of a network's that comes in by another link than its bridge is forged: drop;
                      so is a way from outside to the host's loopback addresses, and who says that he is one of them
    dstnat, output    what goes to a published port of this host goes to its container (translation.py)
    forward           from a bridge: only with an address of its network; within a network: accept; what is internal stays inside;
                      to a bridge: established or related, published ports, what a network's gateway mode lets in; everything else to a
                      bridge: drop (container addresses cannot be reached from outside, nor from other networks)
    input             with `firewall: respect` alone: what the host has accepted (respect.py)
    postrouting       what leaves a bridge for elsewhere gets the host's address; what comes through a published port keeps its own where it can
Networks are elements of sets: one transaction changes what is different. An accept ends our chain only: a foreign chain on the same hook
may still drop, hence the two rules there. Within one bridge packets are not forwarded: `icc=false` isolates the bridge's ports (plumbing.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from pier.linux import nftables as nft
from pier.linux import nftnat, nftsets
from pier.linux.netlink import Message
from pier.linux.nftables import FAMILY_IPV4, FAMILY_IPV6
from pier.linux.nftsets import FIRST, SECOND, Element
from pier.networks import respect, translation
from pier.networks.translation import Published

FAMILIES = {FAMILY_IPV4: 4, FAMILY_IPV6: 6}
_RAW, _DSTNAT, _FILTER, _SRCNAT = -300, -100, 0, 100
FOREIGN_TABLE, FOREIGN_CHAIN = "filter", "FORWARD"
# name: (fields, whether its elements are ranges)
SETS: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "bridges": (("ifname",), False),
    "subnets": (("address", "address"), True),  # twice the same: ranges of one field lie in a tree that takes no neighbours apart
    # To delete a range the kernel compares its first field with that of each before it: the short one comes first.
    "own": (("address", "ifname"), True),
    "within": (("ifname", "ifname"), False),
    "internal": (("ifname",), False),
    "unprotected": (("ifname",), False),
    "routed": (("ifname",), False),
    "trusted": (("ifname", "ifname"), False),
    "plain": (("address", "address"), True),
}
_CHAINS = (
    ("prerouting", "filter", nft.HOOK_PREROUTING, _RAW),
    ("dstnat", "nat", nft.HOOK_PREROUTING, _DSTNAT),
    ("output", "nat", nft.HOOK_OUTPUT, _DSTNAT),
    ("forward", "filter", nft.HOOK_FORWARD, _FILTER),
    ("postrouting", "nat", nft.HOOK_POSTROUTING, _SRCNAT),
)
# The same, and what it maps to.
MAPS: Mapping[str, tuple[tuple[str, ...], bool, tuple[str, ...]]] = {
    "leaves_as": (("address", "address"), True, ("address",)),
    **translation.MAPS,
}
NAMES = (*SETS, *MAPS)


@dataclass(frozen=True, slots=True)
class Member:
    """A bridge network in the firewall."""

    bridge: str  # "pier0"
    subnets: tuple[str, ...]  # "172.17.0.0/16", of both families
    icc: bool = True
    internal: bool = False
    masquerade: tuple[int, ...] = (4, 6)  # IP versions that leave with the host's address
    unprotected: tuple[int, ...] = ()  # IP versions of gateway mode nat-unprotected: everybody may come in
    routed: tuple[int, ...] = ()  # IP versions of gateway mode routed: a ping may come in
    trusted: tuple[str, ...] = ()  # links by which what is published is reached at its own address
    leaves_as: tuple[str, ...] = ()  # addresses of the host, of which IP versions what leaves has them instead of that of the link it leaves by


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the rules are made of."""

    table: str  # "pier"
    members: tuple[Member, ...] = ()
    published: Mapping[str, Published] = field(default_factory=dict)  # by container
    log_group: int = 0  # that first packets go to; 0: the host's INPUT is not asked (respect.group)

    def families(self) -> list[int]:
        """IPv4 always, IPv6 where a network has it."""
        v6 = any(":" in subnet for member in self.members for subnet in member.subnets)
        return [FAMILY_IPV4, FAMILY_IPV6] if v6 else [FAMILY_IPV4]


def elements(wanted: Wanted, family: int) -> dict[str, set[Element]]:
    """What is in each set and map."""
    found = {**{name: set[Element]() for name in translation.MAPS}, **_of_members(wanted.members, family)}
    for published in wanted.published.values():
        for name, each in published.elements(family).items():
            found[name] |= each
    return found


def _of_members(members: Iterable[Member], family: int) -> dict[str, set[Element]]:
    version = FAMILIES[family]
    found: dict[str, set[Element]] = {name: set() for name in (*SETS, "leaves_as")}
    for member in members:
        name = nftsets.ifname(member.bridge)
        found["bridges"].add((name, b""))
        if member.icc:
            found["within"].add((name + name, b""))
        for key, there in (("internal", member.internal), ("unprotected", version in member.unprotected), ("routed", version in member.routed)):
            if there:
                found[key].add((name, b""))
        found["trusted"] |= {(nftsets.ifname(link) + name, b"") for link in member.trusted}
        for subnet in map(ip_network, member.subnets):
            if subnet.version != version:
                continue
            first, last = subnet.network_address.packed, subnet.broadcast_address.packed
            found["subnets"].add((first + first, last + last))
            found["own"].add((first + name, last + name))
            if version not in member.masquerade or member.internal:
                found["plain"].add((first + first, last + last))
                continue
            for address in map(ip_address, member.leaves_as):
                if address.version == version:
                    found["leaves_as"].add((first + first, last + last, address.packed))
    return found


def _chains(log_group: int) -> Sequence[tuple[str, str, int, int]]:
    """(name, type, hook, priority) of the base chains."""
    return (*_CHAINS, (respect.INPUT, "filter", nft.HOOK_INPUT, respect.PRIORITY)) if log_group else _CHAINS


def _rules(family: int, log_group: int = 0) -> list[tuple[str, Sequence[nft.Expression], str]]:
    """(chain, expressions, comment); each comment once, so that what the kernel holds can be compared."""
    accept, drop = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP)
    after = nftsets.after_address(family)
    source = [nftsets.load_saddr(family), nftsets.load_saddr(family, after)]
    inside, outside = [nftsets.load_iifname(), nftsets.lookup("bridges")], [nftsets.load_oifname(), nftsets.lookup("bridges")]
    foreign = [nftsets.load_iifname(), nftsets.lookup("bridges", found=False)]
    own_in = [nftsets.load_saddr(family), nftsets.load_iifname(after), nftsets.lookup("own", found=False)]
    own_out = [nftsets.load_saddr(family), nftsets.load_oifname(after), nftsets.lookup("own", found=False)]
    pair = [nftsets.load_iifname(FIRST), nftsets.load_oifname(SECOND), nftsets.lookup("within")]
    trusts = [nftsets.load_iifname(FIRST), nftsets.load_oifname(SECOND), nftsets.lookup("trusted")]
    known = nft.ct_state(nft.CT_ESTABLISHED | nft.CT_RELATED)

    def leaves_by(name: str) -> list[nft.Expression]:
        return [nftsets.load_oifname(), nftsets.lookup(name)]

    def only_ipv4(*rule: tuple[str, Sequence[nft.Expression], str]) -> Sequence[tuple[str, Sequence[nft.Expression], str]]:
        return rule if family == FAMILY_IPV4 else ()

    not_lo, translated = nft.iifname("lo", equal=False), nftnat.destination_was_translated()
    same_net = [nftsets.load_saddr(family), nftsets.load_oifname(after), nftsets.lookup("own")]
    with_the_hosts = [*source, nftsets.lookup("subnets"), nftsets.lookup("plain", found=False)]
    return [
        ("prerouting", [*source, nftsets.lookup("subnets"), *own_in, *not_lo, *drop], "an address of a network from elsewhere is forged"),
        *only_ipv4(
            ("prerouting", [*not_lo, *nft.daddr("127.0.0.0/8"), *drop], "nobody outside reaches loopback"),
            ("prerouting", [*not_lo, *nft.saddr("127.0.0.0/8"), *drop], "nobody outside is loopback"),  # route_localnet lets him say so
        ),
        *translation.rules(family, respect.known(family) if log_group else ()),
        *(respect.rules(family, log_group) if log_group else ()),
        ("forward", [*inside, *own_in, *drop], "a network sends from its own addresses only"),
        ("forward", [*pair, *accept], "within a network"),
        ("forward", [nftsets.load_iifname(), nftsets.lookup("internal"), *drop], "what is internal stays inside"),
        ("forward", [*outside, *known, *accept], "answers to a network"),
        ("forward", [*leaves_by("unprotected"), *foreign, *accept], "gateway mode nat-unprotected"),
        ("forward", [*leaves_by("routed"), *foreign, *nftsets.is_icmp(family), *accept], "gateway mode routed: pings"),
        ("forward", [*outside, *translated, *accept], "published ports"),
        ("forward", [*outside, *translation.load_target(family), nftsets.lookup("opened"), *accept], "gateway mode routed: published ports"),
        ("forward", [*trusts, *translation.load_target(family), nftsets.lookup("direct"), *accept], "trusted links: published ports"),
        ("forward", [*outside, *drop], "nobody else reaches a network"),
        *only_ipv4(("postrouting", [*outside, *nft.saddr("127.0.0.0/8"), *nft.masquerade()], "loopback leaves as the host")),
        ("postrouting", [*same_net, *translated, *nft.masquerade()], "a published port of the own network answers by the host"),
        ("postrouting", [*outside, *translated, *accept], "who comes through a published port keeps his address"),
        ("postrouting", [*own_out, *source, nftsets.mapped("leaves_as"), *nftnat.snat(family)], "what leaves a network leaves as its address"),
        ("postrouting", [*with_the_hosts, *own_out, *nft.masquerade()], "what leaves a network leaves as the host"),
    ]


CONSTANT_RULES = len(_rules(FAMILY_IPV4))


def ruleset(wanted: Wanted, family: int) -> list[Message]:
    """The transaction that makes the table anew, whatever it held before."""
    table = wanted.table
    messages = [
        *remove(table, family),
        nft.add_table(family, table),
        *(nft.add_base_chain(family, table, name, kind, hook, priority) for name, kind, hook, priority in _chains(wanted.log_group)),
        nftnat.add_chain(family, table, translation.CHAIN),
    ]
    if wanted.log_group:
        messages += [nftnat.add_chain(family, table, respect.LEARN), respect.learned_set(table, len(NAMES) + 1, family)]
    for number, (name, (fields, ranges)) in enumerate(SETS.items(), 1):
        messages.append(nftsets.add_set(family, table, name, number, fields, ranges=ranges))
    for number, (name, (fields, ranges, values)) in enumerate(MAPS.items(), len(SETS) + 1):
        messages.append(nftsets.add_set(family, table, name, number, fields, ranges=ranges, values=values))
    for name, found in elements(wanted, family).items():
        messages += nftsets.add_elements(family, table, name, found)
    return [*messages, *(nft.add_rule(family, table, *rule) for rule in _rules(family, wanted.log_group))]


def change(old: Wanted, new: Wanted, family: int) -> list[Message]:
    """The transaction that brings a whole table from one state to another; nothing to do gives an empty list."""
    gone, come = _differences(old, new, family)
    return [
        *(message for name, each in gone.items() for message in nftsets.delete_elements(family, new.table, name, each)),
        *(message for name, each in come.items() for message in nftsets.add_elements(family, new.table, name, each)),
    ]


def _differences(old: Wanted, new: Wanted, family: int) -> tuple[dict[str, set[Element]], dict[str, set[Element]]]:
    """(what goes, what comes) of each set and map; looks only at what is not the same object, however much there is."""
    gone, come = {name: set[Element]() for name in translation.MAPS}, {name: set[Element]() for name in translation.MAPS}
    for container in old.published.keys() | new.published.keys():
        was, now = old.published.get(container), new.published.get(container)
        for published, found in ((was, gone), (now, come)) if was is not now else ():
            for name, each in published.elements(family).items() if published else ():
                found[name] |= each
    if old.members != new.members:
        # Each has elements of its own, whatever the others have. One that is equal and another object comes and goes, which is nothing below.
        left, stay = {id(member): member for member in old.members}, {id(member): member for member in new.members}
        before = _of_members((left[each] for each in left.keys() - stay.keys()), family)
        after = _of_members((stay[each] for each in stay.keys() - left.keys()), family)
        gone, come = gone | before, come | after
    return {name: gone[name] - come[name] for name in gone}, {name: come[name] - gone[name] for name in come}


def remove(table: str, family: int = FAMILY_IPV4) -> list[Message]:
    """The transaction that takes the table away, there or not."""
    return [nft.add_table(family, table), nft.delete_table(family, table)]


def intact(
    wanted: Wanted, family: int, chains: Iterable[nft.Chain], found: Iterable[nft.Rule], held: Mapping[str, set[Element] | None]
) -> bool:
    """Whether the kernel holds just these rules and elements. held: the elements of each set."""
    have = sorted((rule.chain, rule.comment) for rule in found)
    hooked = {chain.name for chain in chains if chain.family == family and chain.table == wanted.table}
    needed = sorted((chain, comment) for chain, _, comment in _rules(family, wanted.log_group))
    whole = hooked == {name for name, *_ in _chains(wanted.log_group)} and have == needed
    return whole and held == elements(wanted, family)


def _foreign(table: str, bridge: str) -> list[tuple[list[nft.Expression], str]]:
    accept = [*nft.counter(), *nft.verdict(nft.ACCEPT)]
    return [
        ([*nft.iifname(bridge), *accept], f"{table}: from {bridge}"),
        ([*nft.oifname(bridge), *nft.xt_answers_or_translated(), *accept], f"{table}: answers and published ports to {bridge}"),
    ]


def drops(chain: nft.Chain, table: str, hook: int = nft.HOOK_FORWARD) -> bool:
    """Whether a chain that is not ours (`table`) drops by its policy what is forwarded (or passes another hook)."""
    return chain.hook == hook and chain.policy == nft.DROP and chain.table != table and chain.family in (nft.FAMILY_INET, *FAMILIES)


def is_opened(chain: nft.Chain, family: int = FAMILY_IPV4) -> bool:
    """Whether it is the one that we put rules into: iptables' own."""
    return (chain.family, chain.table, chain.name) == (family, FOREIGN_TABLE, FOREIGN_CHAIN)


def foreign_changes(
    bridges: Sequence[str], table: str, family: int, chains: Iterable[nft.Chain], found: Sequence[nft.Rule]
) -> list[Message]:  # fmt: skip
    """What to change in the `filter FORWARD` of a family: our two rules for each bridge at its head where it drops, none of ours where it does not.

    found: the rules of that chain, in order. Nothing to do gives an empty list.
    """
    ours = {rule.comment: rule for rule in found if rule.comment.startswith(f"{table}: ")}
    opened = any(drops(chain, table) and is_opened(chain, family) for chain in chains)
    needed = {comment: expressions for bridge in bridges for expressions, comment in _foreign(table, bridge)} if opened else {}
    stale = [rule for rule in found if rule.comment in ours and (rule.comment not in needed or ours[rule.comment] is not rule)]
    missing = [comment for comment in needed if comment not in ours]
    return [
        *(nft.delete_rule(rule) for rule in stale),
        *(nft.add_rule(family, FOREIGN_TABLE, FOREIGN_CHAIN, needed[c], c, first=True) for c in reversed(missing)),
    ]
