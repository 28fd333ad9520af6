"""When the firewall is touched, and when it is left alone."""

from pier.linux.nftables import ACCEPT, DROP, FAMILY_INET, FAMILY_IPV4, FAMILY_IPV6, HOOK_FORWARD, HOOK_INPUT, Chain, Rule
from pier.networks import rules

WANTED = rules.BridgeRules("pier", "pier0", "172.17.0.0/16")
OURS = [Chain(FAMILY_IPV4, "pier", name, hook, 0, ACCEPT) for name, hook in (("prerouting", 0), ("forward", 2), ("postrouting", 4))]
FORWARD = Chain(FAMILY_IPV4, "filter", "FORWARD", HOOK_FORWARD, 0, DROP)


def kernel(comments: list[tuple[str, str]]) -> list[Rule]:
    return [Rule(FAMILY_IPV4, "pier", chain, number, comment) for number, (chain, comment) in enumerate(comments)]


def complete() -> list[tuple[str, str]]:
    return [(chain, comment) for chain, _, comment in rules._rules(WANTED)]


def test_what_is_complete_is_left_alone() -> None:
    assert rules.intact(WANTED, [*OURS, FORWARD], kernel(complete()))


def test_a_missing_rule_a_foreign_one_another_subnet_and_a_missing_chain_are_seen() -> None:
    assert not rules.intact(WANTED, OURS, kernel(complete()[1:]))
    assert not rules.intact(WANTED, OURS, kernel([*complete(), ("forward", "mine")]))
    assert not rules.intact(rules.BridgeRules("pier", "pier0", "172.18.0.0/16"), OURS, kernel(complete()))
    assert not rules.intact(WANTED, OURS[:2], kernel(complete()))


def test_the_foreign_chain_gets_two_rules_once() -> None:
    changes = rules.foreign_changes(WANTED, "pier", [FORWARD], [])
    assert len(changes) == 2
    there = [Rule(FAMILY_IPV4, "filter", "FORWARD", 7, "pier: from pier0"), Rule(FAMILY_IPV4, "filter", "FORWARD", 8, "pier: answers to pier0")]
    theirs = Rule(FAMILY_IPV4, "filter", "FORWARD", 9, "theirs")
    assert rules.foreign_changes(WANTED, "pier", [FORWARD], [*there, theirs]) == []
    assert len(rules.foreign_changes(WANTED, "pier", [FORWARD], [there[0], theirs])) == 3  # one away, two anew
    assert len(rules.foreign_changes(None, "pier", [FORWARD], [*there, theirs])) == 2
    assert rules.foreign_changes(None, "pier", [FORWARD], [theirs]) == []


def test_another_instances_rules_are_not_ours() -> None:
    other = Rule(FAMILY_IPV4, "filter", "FORWARD", 7, "pier-0123abcd: from pier-0123abcd")
    assert rules.foreign_changes(None, "pier", [FORWARD], [other]) == []


def test_which_chains_drop() -> None:
    def chain(family: int = FAMILY_INET, table: str = "fw", hook: int = HOOK_FORWARD, policy: int = DROP) -> Chain:
        return Chain(family, table, "c", hook, 0, policy)

    assert rules.drops(chain(), "pier")
    assert not any(
        rules.drops(c, "pier") for c in (chain(policy=ACCEPT), chain(hook=HOOK_INPUT), chain(family=FAMILY_IPV6), chain(table="pier"))
    )
    assert rules.is_opened(FORWARD) and not rules.is_opened(chain())
