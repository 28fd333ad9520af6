"""Which elements a container's ports become, and that a change is what is different."""

import socket

from pier.linux.nftables import FAMILY_IPV4, FAMILY_IPV6
from pier.networks import rules
from pier.networks.ports import Binding
from pier.networks.rules import Member, Wanted
from pier.networks.translation import Published, runs

MEMBERS = (Member("pier0", ("172.17.0.0/16", "fd00::/64")),)
TARGET, TARGET6 = socket.inet_aton("172.17.0.2"), socket.inet_pton(socket.AF_INET6, "fd00::2")
TCP, UDP = bytes((6, 0, 0, 0)), bytes((17, 0, 0, 0))


def port(number: int) -> bytes:
    return number.to_bytes(2, "big") + b"\0\0"


def both(*bindings: tuple[str, int, int]) -> tuple[Binding, ...]:
    return tuple(Binding(protocol, there, address, here) for protocol, here, there in bindings for address in ("0.0.0.0", "::"))


def test_each_kind_of_port() -> None:
    one = (*both(("tcp", 8080, 80), ("udp", 53, 53)), Binding("tcp", 81, "127.0.0.1", 8081), Binding("tcp", 82, "::1", 82))
    found = Published((*one, *both(*(("tcp", n, n) for n in range(9000, 10000)))), "172.17.0.2", "fd00::2")
    assert found.elements(FAMILY_IPV4) == {
        "ports": {(TCP + port(8080), b"", TARGET + port(80)), (UDP + port(53), b"", TARGET + port(53))},
        "ports_at": {(socket.inet_aton("127.0.0.1") + TCP + port(8081), b"", TARGET + port(81))},
        "ranges": {(TCP + port(9000), TCP + port(9999), TARGET)},
    }
    assert found.elements(FAMILY_IPV6) == {  # ::1 leads to netd
        "ports": {(TCP + port(8080), b"", TARGET6 + port(80)), (UDP + port(53), b"", TARGET6 + port(53))},
        "ranges": {(TCP + port(9000), TCP + port(9999), TARGET6)},
    }
    assert (found.target("::1"), found.target("127.0.0.1")) == ("fd00::2", "172.17.0.2")


def test_a_container_of_one_family_and_a_routed_one() -> None:
    four = Published(both(("tcp", 8080, 80)), "172.17.0.2")
    assert four.elements(FAMILY_IPV6) == {} and set(four.elements(FAMILY_IPV4)) == {"ports"}
    assert four.target("::") == "172.17.0.2"
    routed = Published((Binding("tcp", 80, "0.0.0.0", 0),), "172.17.0.2")
    assert routed.elements(FAMILY_IPV4) == {"opened": {(TARGET + TCP + port(80), b"")}}


def test_runs() -> None:
    assert runs([5, 1, 2, 3, 3, 9, 8]) == [(1, 3), (5, 5), (8, 9)]
    assert runs([]) == []


def test_a_change_is_one_message_for_each_map_and_rules_stay_constant() -> None:
    old = Wanted("pier", MEMBERS, {str(n): Published(both(("tcp", n, 80)), "172.17.0.2", "fd00::2") for n in range(1, 5000)})
    new = Wanted("pier", MEMBERS, {**old.published, "x": Published(both(("tcp", 8080, 80), ("tcp", 7, 7), ("tcp", 8, 8)), "172.17.0.9")})
    assert len(rules.change(old, new, FAMILY_IPV4)) == 2 and rules.change(old, new, FAMILY_IPV6) == []
    assert len(rules.change(new, old, FAMILY_IPV4)) == 2
    moved = Wanted("pier", MEMBERS, {**new.published, "x": Published(both(("tcp", 8080, 80)), "172.17.0.10")})
    assert len(rules.change(new, moved, FAMILY_IPV4)) == 3  # another value under the same key goes before it comes
    adding = [message for message in rules.ruleset(new, FAMILY_IPV4) if message[0] & 0xFF == 6]
    assert len(adding) == rules.CONSTANT_RULES


def test_what_trusted_links_reach_is_whatever_is_published_and_nothing_where_none_are() -> None:
    bindings = (Binding("tcp", 80, "127.0.0.1", 8080), Binding("udp", 53, "::1", 5353))
    plain, trusted = (Published(bindings, "172.17.0.2", "fd00::2", direct) for direct in ((), (4, 6)))
    assert [plain.elements(family).get("direct") for family in (FAMILY_IPV4, FAMILY_IPV6)] == [None, None]
    assert trusted.elements(FAMILY_IPV4)["direct"] == {(TARGET + TCP + port(80), b"")}
    assert trusted.elements(FAMILY_IPV6)["direct"] == {(TARGET6 + UDP + port(53), b"")}
    assert Published(bindings, "172.17.0.2", "fd00::2", (6,)).elements(FAMILY_IPV4).get("direct") is None
