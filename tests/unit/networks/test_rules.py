"""When the firewall is touched, and when it is left alone; which packets' keys are in which set."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from pier.linux.nftables import ACCEPT, DROP, FAMILY_INET, FAMILY_IPV4, FAMILY_IPV6, HOOK_FORWARD, HOOK_INPUT, Chain, Rule
from pier.linux.nftsets import Element, ifname
from pier.networks import rules
from pier.networks.rules import Member, Wanted

DEFAULT = Member("pier0", ("172.17.0.0/16",))
SHOP = Member("br-shop", ("172.18.0.0/16", "fd00:1::/64"), icc=False, internal=True)
WANTED = Wanted("pier", (DEFAULT,))
HOOKED = (("prerouting", 0), ("dstnat", 0), ("output", 3), ("forward", 2), ("postrouting", 4))
OURS = [Chain(FAMILY_IPV4, "pier", name, hook, 0, ACCEPT) for name, hook in HOOKED]
FORWARD = Chain(FAMILY_IPV4, "filter", "FORWARD", HOOK_FORWARD, 0, DROP)


def kernel(comments: list[tuple[str, str]]) -> list[Rule]:
    return [Rule(FAMILY_IPV4, "pier", chain, number, comment) for number, (chain, comment) in enumerate(comments)]


def complete() -> list[tuple[str, str]]:
    return [(chain, comment) for chain, _, comment in rules._rules(FAMILY_IPV4)]


def intact(wanted: Wanted, chains: list[Chain], found: list[Rule], held: dict[str, set[Element]] | None = None) -> bool:
    return rules.intact(wanted, FAMILY_IPV4, chains, found, held if held is not None else rules.elements(WANTED, FAMILY_IPV4))


def test_what_is_complete_is_left_alone() -> None:
    assert intact(WANTED, [*OURS, FORWARD], kernel(complete()))
    assert rules.change(WANTED, WANTED, FAMILY_IPV4) == []


def test_a_missing_rule_a_foreign_one_another_subnet_and_a_missing_chain_are_seen() -> None:
    assert not intact(WANTED, OURS, kernel(complete()[1:]))
    assert not intact(WANTED, OURS, kernel([*complete(), ("forward", "mine")]))
    assert not intact(Wanted("pier", (Member("pier0", ("172.18.0.0/16",)),)), OURS, kernel(complete()))
    assert not intact(WANTED, OURS[:2], kernel(complete()))
    assert not intact(WANTED, OURS, kernel(complete()), {**rules.elements(WANTED, FAMILY_IPV4), "within": set()})


def test_the_rules_are_as_many_for_a_thousand_networks() -> None:
    many = Wanted("pier", tuple(Member(f"br-{n}", (f"10.{n // 250}.{n % 250}.0/24",)) for n in range(1000)))
    adding = [message for message in rules.ruleset(many, FAMILY_IPV4) if message[0] & 0xFF == 6]
    assert len(adding) == rules.CONSTANT_RULES == 24
    assert len(rules.change(Wanted("pier", many.members[1:]), many, FAMILY_IPV4)) == 4  # bridges, subnets, own, within


def test_one_network_of_thousands_costs_what_one_of_two_does(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    of_members = rules._of_members

    def counting(members: Iterable[Member], family: int) -> dict[str, set[Element]]:
        found = list(members)
        looked_at.extend(member.bridge for member in found)
        return of_members(found, family)

    monkeypatch.setattr(rules, "_of_members", counting)
    many = tuple(Member(f"br-{n}", (f"10.{n // 250}.{n % 250}.0/24",)) for n in range(1000))
    assert len(rules.change(Wanted("pier", many), Wanted("pier", many[:500] + many[501:]), FAMILY_IPV4)) == 4
    assert looked_at == ["br-500"]
    again = tuple(replace(member) for member in many)  # equal, and other objects
    assert rules.change(Wanted("pier", many), Wanted("pier", again), FAMILY_IPV4) == []


@pytest.mark.parametrize(
    ("name", "v4", "v6"),
    [("bridges", 2, 2), ("within", 1, 1), ("internal", 1, 1), ("own", 2, 1), ("subnets", 2, 1), ("plain", 1, 1), ("routed", 0, 0), ("trusted", 0, 0)],
)
def test_what_is_in_the_sets(name: str, v4: int, v6: int) -> None:
    both = Wanted("pier", (DEFAULT, SHOP))
    assert both.families() == [FAMILY_IPV4, FAMILY_IPV6] and WANTED.families() == [FAMILY_IPV4]
    assert (len(rules.elements(both, FAMILY_IPV4)[name]), len(rules.elements(both, FAMILY_IPV6)[name])) == (v4, v6)
    assert rules.elements(both, FAMILY_IPV4)["within"] == {(ifname("pier0") * 2, b"")}


def test_an_address_to_leave_by_is_in_a_map_where_the_network_has_the_hosts_address() -> None:
    named = Member("br-a", ("10.1.0.0/24", "fd00:1::/64"), leaves_as=("192.0.2.9", "2001:db8::9"))
    first, last = ip_address("10.1.0.0").packed, ip_address("10.1.0.255").packed
    assert rules.elements(Wanted("pier", (named, DEFAULT)), FAMILY_IPV4)["leaves_as"] == {(first * 2, last * 2, ip_address("192.0.2.9").packed)}
    assert {value for *_, value in rules.elements(Wanted("pier", (named,)), FAMILY_IPV6)["leaves_as"]} == {ip_address("2001:db8::9").packed}
    for other in (replace(named, masquerade=()), replace(named, internal=True)):
        assert not rules.elements(Wanted("pier", (other,)), FAMILY_IPV4)["leaves_as"]
    gone = rules.change(Wanted("pier", (DEFAULT, named)), Wanted("pier", (DEFAULT,)), FAMILY_IPV4)
    assert len(gone) == 5  # bridges, subnets, own, within, leaves_as


def test_the_foreign_chain_gets_two_rules_once_for_each_bridge() -> None:
    def changes(bridges: list[str], found: list[Rule]) -> int:
        return len(rules.foreign_changes(bridges, "pier", FAMILY_IPV4, [FORWARD], found))

    assert (changes(["pier0"], []), changes(["pier0", "br-shop"], [])) == (2, 4)
    ours = ("pier: from pier0", "pier: answers and published ports to pier0")
    there = [Rule(FAMILY_IPV4, "filter", "FORWARD", number, comment) for number, comment in enumerate(ours, 7)]
    theirs = Rule(FAMILY_IPV4, "filter", "FORWARD", 9, "theirs")
    assert changes(["pier0"], [*there, theirs]) == 0
    assert changes(["pier0"], [there[0], theirs]) == 1
    twice = Rule(FAMILY_IPV4, "filter", "FORWARD", 6, "pier: from pier0")
    assert changes(["pier0"], [twice, *there]) == 1
    assert (changes([], [*there, theirs]), changes([], [theirs])) == (2, 0)


def test_another_instances_rules_are_not_ours() -> None:
    other = Rule(FAMILY_IPV4, "filter", "FORWARD", 7, "pier-0123abcd: from pier-0123abcd")
    assert rules.foreign_changes([], "pier", FAMILY_IPV4, [FORWARD], [other]) == []


def test_which_chains_drop() -> None:
    def chain(family: int = FAMILY_INET, table: str = "fw", hook: int = HOOK_FORWARD, policy: int = DROP) -> Chain:
        return Chain(family, table, "c", hook, 0, policy)

    assert rules.drops(chain(), "pier") and rules.drops(chain(family=FAMILY_IPV6), "pier")
    assert not any(rules.drops(c, "pier") for c in (chain(policy=ACCEPT), chain(hook=HOOK_INPUT), chain(table="pier")))
    assert rules.is_opened(FORWARD) and not rules.is_opened(chain()) and not rules.is_opened(FORWARD, FAMILY_IPV6)


def test_links_that_a_network_trusts_are_of_both_families() -> None:
    trusting = Wanted("pier", (Member("pier0", ("172.17.0.0/16", "fd00:9::/64"), trusted=("eth3", "vxlan.1")),))
    for family in (FAMILY_IPV4, FAMILY_IPV6):
        assert rules.elements(trusting, family)["trusted"] == {(ifname(link) + ifname("pier0"), b"") for link in ("eth3", "vxlan.1")}
