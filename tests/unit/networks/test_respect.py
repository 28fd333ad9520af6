"""The rules of `firewall: respect`: there with a group alone, behind everybody's, and as many as ever."""

from ipaddress import ip_address

import pytest

from pier.linux import nftables as nft
from pier.linux.nftables import FAMILY_IPV4, FAMILY_IPV6
from pier.linux.nftsets import ifname, port_key, protocol_key
from pier.networks import respect, rules
from pier.networks.rules import Member, Wanted

WANTED = Wanted("pier", (Member("pier0", ("172.17.0.0/16",)),))
RESPECTS = Wanted("pier", WANTED.members, log_group=respect.group("pier", "respect"))


def test_a_group_is_the_tables_own_and_there_is_none_by_default() -> None:
    groups = {respect.group(table, respect.RESPECT) for table in ("pier", "pier-01234567", "pier-89abcdef")}
    assert len(groups) == 3 and all(1 << 15 <= group < 1 << 16 for group in groups)
    assert respect.group("pier", respect.CHOICES[0]) == 0


@pytest.mark.parametrize("family", [FAMILY_IPV4, FAMILY_IPV6])
def test_rules_are_more_only_where_they_are_asked_for(family: int) -> None:
    plain, asked = (sum(message[0] & 0xFF == 6 for message in rules.ruleset(wanted, family)) for wanted in (WANTED, RESPECTS))
    assert asked == plain + 6 + (family == FAMILY_IPV6)  # dstnat for containers, input, four ways, link-local
    assert len(rules._rules(family)) == plain
    assert all("accepted" not in comment for _, _, comment in rules._rules(family))


def test_what_another_mode_left_is_seen() -> None:
    def kernel(wanted: Wanted) -> tuple[list[nft.Chain], list[nft.Rule]]:
        chains = [nft.Chain(FAMILY_IPV4, "pier", name, hook, at, nft.ACCEPT) for name, _, hook, at in rules._chains(wanted.log_group)]
        shown = [(chain, comment) for chain, _, comment in rules._rules(FAMILY_IPV4, wanted.log_group)]
        return chains, [nft.Rule(FAMILY_IPV4, "pier", chain, number, comment) for number, (chain, comment) in enumerate(shown)]

    held = rules.elements(WANTED, FAMILY_IPV4)
    for there in (WANTED, RESPECTS):
        for wanted in (WANTED, RESPECTS):
            assert rules.intact(wanted, FAMILY_IPV4, *kernel(there), held) == (there is wanted)


def test_who_was_let_in_is_read_back() -> None:
    for family, client, address in ((FAMILY_IPV4, "192.0.2.2", "192.0.2.1"), (FAMILY_IPV6, "2001:db8::2", "2001:db8::1")):
        key = ifname("eth0") + ip_address(client).packed + ip_address(address).packed + protocol_key("udp") + port_key(8080)
        assert len(key) == sum((size + 3) & ~3 for size in respect.key(family).sizes)
        assert respect.accepted({(key, b"")}, family) == {("udp", address, 8080, client)}
