"""Where a packet stops."""

from dataclasses import replace

import pytest

from pier.linux.nftables import FAMILY_IPV4
from pier.networks.explain import Facts, Respected, steps
from pier.networks.ports import Binding
from pier.networks.translation import MAPS, Published

WEB = Binding("tcp", 80, "0.0.0.0", 8080)
SAME = tuple(Binding("tcp", n, "0.0.0.0", n) for n in range(90, 95))
PUBLISHED = Published((WEB, *SAME), "172.17.0.2")
HELD = {(FAMILY_IPV4, name): {*PUBLISHED.elements(FAMILY_IPV4).get(name, set())} for name in MAPS}
LISTENING = frozenset({("tcp", "0.0.0.0", 80), ("tcp", "::", 92), ("udp", "0.0.0.0", 81), ("tcp", "127.0.0.1", 93)})
GOOD = Facts("pier", True, HELD, forwarding={4: True, 6: True}, bridge="pier0", link="pier1", listening=LISTENING)


def stop(binding: Binding, facts: Facts) -> str:
    """What is said where it stops, "" where it does not."""
    way = steps(binding, PUBLISHED, facts)
    assert all(step.passed for step in way[:-1])
    return "" if way[-1].passed else way[-1].text


@pytest.mark.parametrize(
    ("binding", "facts", "text"),
    [
        (WEB, GOOD, ""),
        (SAME[2], GOOD, ""),  # in a range
        (WEB, replace(GOOD, maps={}), "does not know the way to 172.17.0.2:80 (table ip pier)"),
        (SAME[2], replace(GOOD, maps={(FAMILY_IPV4, "ports"): HELD[FAMILY_IPV4, "ports"]}), "does not know the way to 172.17.0.2:92"),
        (WEB, replace(GOOD, forwarding={4: False}), "the host does not forward IPv4"),
        (WEB, replace(GOOD, drops=("inet firewalld filter_FORWARD",)), "the firewall chain 'inet firewalld filter_FORWARD' drops"),
        (WEB, replace(GOOD, linked=False), "link pier1 is not in bridge pier0"),
        (SAME[0], GOOD, "no program in the container listens on 90/tcp"),
        (SAME[3], GOOD, "no program in the container listens on 93/tcp but on 127.0.0.1:93: let it listen on 0.0.0.0"),
        (Binding("tcp", 80, "::1", 8080), GOOD, ""),
        (Binding("tcp", 80, "::1", 8080), replace(GOOD, held=False), "pier-netd does not listen on [::1]:8080"),
    ],
)
def test_where_it_stops(binding: Binding, facts: Facts, text: str) -> None:
    assert (stop(binding, facts) == "") if not text else text in stop(binding, facts)


def test_where_the_hosts_input_decides_it_is_said_and_who_was_let_in() -> None:
    chains = ((0, "inet host input"), (6, "ip6 filter INPUT"))
    others = (("udp", "192.0.2.1", 8080, "192.0.2.3"), ("tcp", "2001:db8::1", 8080, "2001:db8::2"))
    accepted = frozenset({("tcp", "192.0.2.1", 8080, "192.0.2.2"), *others})
    facts = replace(GOOD, respect=Respected(chains, ("iptables-legacy",), accepted))
    said = steps(WEB, PUBLISHED, facts)[0].text
    assert said.startswith("from outside, the host's INPUT decides on 8080/tcp (firewall: respect): in the last 30 s it let in 192.0.2.2; ")
    assert said.endswith("; what no rule accepts is dropped by 'inet host input'; rules of iptables-legacy are not read here")
    many = frozenset(("tcp", "192.0.2.1", 8080, f"198.51.100.{n}") for n in range(20))
    assert "198.51.100.15 and 12 others" in steps(WEB, PUBLISHED, replace(GOOD, respect=Respected((), (), many)))[0].text
    here = Binding("tcp", 80, "127.0.0.1", 8080)
    assert "INPUT" not in steps(here, Published((here,), "172.17.0.2"), facts)[0].text
