"""Who sees which names."""

import dns.message
import dns.rcode
import pytest

from pier.netd import message
from pier.netd.zone import Zones, pointed


@pytest.fixture
def zones() -> Zones:
    made = Zones()
    shop = {"web": ["10.1.0.2", "fd01::2"], "WWW": ["10.1.0.2"], "0123456789ab": ["10.1.0.2"], "app": ["10.1.0.3", "10.1.0.4"]}
    made.set_network("n1", {"name": "Shop", "subnets": ["10.1.0.0/16", "fd01::/64"], "hosts": shop, "pointers": {"10.1.0.2": "web.shop"}})
    made.set_network("n2", {"name": "back", "internal": True, "subnets": ["10.2.0.0/16"], "hosts": {"db": ["10.2.0.2"]}})
    made.set_view("c1", {"networks": ["n1"], "servers": ["192.0.2.53"]})
    made.set_view("c2", {"networks": ["n1", "n2"], "own": {"database": [["n2", "db"]], "later": [["n2", "nobody"]]}, "servers": ["192.0.2.53"]})
    made.set_view("c3", {"networks": ["n2"], "servers": ["192.0.2.53"]})
    return made


def ask(zones: Zones, container: str, name: str, kind: str = "A", turn: int = 0) -> tuple[int, list[str]] | str:
    decided = zones.decide(container, message.parse(dns.message.make_query(name, kind).to_wire()), turn)
    if decided.servers:
        return "outside"
    answer = dns.message.from_wire(decided.packets[0])
    return int(answer.rcode()), [item.to_text() for rrset in answer.answer for item in rrset]


def test_names_aliases_ids_and_the_networks_name_behind_them(zones: Zones) -> None:
    for name in ("web", "WEB", "www", "0123456789ab", "web.shop"):
        assert ask(zones, "c1", name) == (0, ["10.1.0.2"]), name
    assert ask(zones, "c1", "web", "AAAA") == (0, ["fd01::2"])


def test_other_networks_names_are_not_seen(zones: Zones) -> None:
    assert ask(zones, "c1", "db") == "outside"
    assert ask(zones, "c2", "db") == (0, ["10.2.0.2"])
    assert ask(zones, "c2", "database") == (0, ["10.2.0.2"])
    assert ask(zones, "c1", "database") == "outside"
    assert ask(zones, "c2", "later") == "outside"


def test_a_known_name_without_that_family_is_not_asked_outside(zones: Zones) -> None:
    assert ask(zones, "c2", "db", "AAAA") == (0, [])
    assert ask(zones, "c1", "web", "MX") == (0, [])


def test_several_addresses_take_turns(zones: Zones) -> None:
    assert ask(zones, "c1", "app", turn=0) == (0, ["10.1.0.3", "10.1.0.4"])
    assert ask(zones, "c1", "app", turn=1) == (0, ["10.1.0.4", "10.1.0.3"])


def test_all_orders_of_a_few_addresses_come_at_once_of_many_one() -> None:
    zones = Zones()
    zones.set_view("c", {"networks": ["n"]})
    question = message.parse(dns.message.make_query("app", "A").to_wire())
    for count, ways in ((1, 1), (2, 2), (8, 8), (9, 1)):
        zones.set_network("n", {"name": "n", "hosts": {"app": [f"10.1.0.{n}" for n in range(count)]}})
        assert len(set(zones.decide("c", question, 3).packets)) == ways


def test_each_change_of_the_tables_is_another_version() -> None:
    zones = Zones()
    seen = [zones.version]
    for change in (
        lambda: zones.set_network("n", {"name": "n"}), lambda: zones.set_view("c", {}),
        lambda: zones.drop_view("c"), lambda: zones.drop_network("n"),
    ):  # fmt: skip
        change()
        assert zones.version not in seen
        seen.append(zones.version)


def test_pointers(zones: Zones) -> None:
    assert ask(zones, "c1", "2.0.1.10.in-addr.arpa", "PTR") == (0, ["web.shop."])
    assert ask(zones, "c1", "9.0.1.10.in-addr.arpa", "PTR") == (int(dns.rcode.NXDOMAIN), [])
    assert ask(zones, "c1", "1.2.0.192.in-addr.arpa", "PTR") == "outside"


def test_an_internal_network_asks_nobody_outside(zones: Zones) -> None:
    assert ask(zones, "c3", "example.org") == (int(dns.rcode.NXDOMAIN), [])
    assert ask(zones, "c2", "example.org") == "outside"


def test_a_network_that_is_not_known_yet_may_be_an_internal_one(zones: Zones) -> None:
    """A netd that takes over hears of containers and of networks one after the other."""
    zones.set_view("c4", {"networks": ["n2", "n9"], "servers": ["192.0.2.53"]})
    assert ask(zones, "c4", "db") == (0, ["10.2.0.2"]) and ask(zones, "c4", "example.org") == (2, [])
    zones.set_network("n9", {"name": "late", "subnets": ["10.9.0.0/16"]})
    assert ask(zones, "c4", "example.org") == "outside"


def test_strangers_are_refused(zones: Zones) -> None:
    assert ask(zones, "nobody", "web") == (int(dns.rcode.REFUSED), [])


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("4.3.2.1.in-addr.arpa", "1.2.3.4"),
        ("3.2.1.in-addr.arpa", ""),
        ("x.3.2.1.in-addr.arpa", ""),
        ("1." + "0." * 23 + "0.0.0.0.0.1.d.f.ip6.arpa", "fd10::1"),
        ("1.ip6.arpa", ""),
        ("example.org", ""),
    ],
)
def test_reverse_names(name: str, address: str) -> None:
    assert pointed(name) == address
