"""Egress lists: what they say, the elements that they become, and what an answer of a name server adds."""

import dns.message
import dns.rrset
import pytest

from pier.errors import Invalid
from pier.linux.nftables import FAMILY_IPV4, FAMILY_IPV6
from pier.linux.nftsets import ifname
from pier.netd import egress as netd
from pier.netd import message
from pier.networks.egress import Restricted, Tables, names, parse, reaches

TABLES = Tables("pier-egress")


def test_entries() -> None:
    found = parse("10.0.0.0/8, 192.0.2.1:443 fd00::/8,[2001:db8::1]:53 example.com,*.Example.org:443 10.0.0.0/8")
    assert [(str(entry.network or ""), entry.name, entry.port) for entry in found] == [
        ("10.0.0.0/8", "", 0), ("192.0.2.1/32", "", 443), ("fd00::/8", "", 0), ("2001:db8::1/128", "", 53), ("", "example.com", 0),
        ("", "*.example.org", 443),
    ]  # fmt: skip
    assert names(found) == [["example.com", 0], ["*.example.org", 443]]
    assert parse("none") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("10.0.0.1/8", "has host bits set"),
        ("10.0.0.0/8:0", "the port '0' is not from 1 to 65535"),
        ("example.com:http", "the port 'http'"),
        ("10.0.0", "invalid egress '10.0.0'"),
        ("ex ample;rm", "invalid egress 'ample;rm'"),
        ("*", "neither a network"),
        ("a.*.b", "neither a network"),
        ("fd00::/129", "invalid egress 'fd00::/129'"),
        ("-x.com", "neither a network"),
    ],
)
def test_what_is_refused_is_named(text: str, words: str) -> None:
    with pytest.raises(Invalid) as told:
        parse(text)
    assert words in str(told.value)


def test_elements_of_networks_and_containers() -> None:
    network = Restricted(parse("10.1.0.0/16,10.1.2.0/24,192.0.2.1:443,example.com"), ("br-a",))
    container = Restricted(parse("10.0.0.0/8,fd00::/8"), ("br-b",), ("172.18.0.2", "fd01::2"))
    found = TABLES.elements([network, container], FAMILY_IPV4)
    a, own = ifname("br-a"), bytes((172, 18, 0, 2))
    assert found["networks"] == {(a, b"")} and found["containers"] == {(own, b"")}
    assert found["network_allowed"] == {(a + bytes((10, 1, 0, 0)), a + bytes((10, 1, 255, 255)))}, "what lies within another goes"
    assert {first[-8:-4] for first, *_ in found["network_allowed_ports"]} == {bytes((6, 0, 0, 0)), bytes((17, 0, 0, 0))}
    assert found["container_allowed"] == {(own + bytes((10, 0, 0, 0)), own + bytes((10, 255, 255, 255)))}
    assert len(found["within"]) == 2
    assert len(TABLES.elements([container], FAMILY_IPV6)["container_allowed"]) == 1
    assert "network_named" not in found, "netd's"


def test_rules_are_as_many_whatever_there_is_and_a_change_is_what_is_different() -> None:
    one, two = Restricted(parse("10.0.0.0/8"), ("br-a",)), Restricted(parse("none"), ("br-b",))
    assert len({comment for _, _, comment in TABLES.rules(FAMILY_IPV4)}) == len(TABLES.rules(FAMILY_IPV4))
    assert TABLES.change([one], [one], FAMILY_IPV4) == []
    assert len(TABLES.change([one], [one, two], FAMILY_IPV4)) == 2  # networks, within
    assert len(TABLES.change([one, two], [two], FAMILY_IPV4)) == 3


HELD = netd.view({
    "table": "pier-egress",
    "scopes": [
        ["network", {"4": ["aa"], "6": ["bb"]}, [["example.com", 0]]],
        ["container", {"4": ["0102", "0304"], "6": []}, [["*.example.com", 443]]],
    ],
})  # fmt: skip


def answered(name: str, kind: str, *records: str) -> tuple[message.Question, bytes]:
    question = dns.message.make_query(name, kind)
    answer = dns.message.make_response(question)
    answer.answer = [dns.rrset.from_text(*record.split()) for record in records]
    return message.parse(question.to_wire()), answer.to_wire()


def test_addresses_of_allowed_names_are_let_in() -> None:
    records = ("example.com. 300 IN CNAME cdn.example.net.", "cdn.example.net. 20 IN A 192.0.2.7")
    (fill,) = netd.fills(HELD, *answered("example.com", "A", *records))
    assert (fill.family, fill.set, fill.keys, fill.timeout_s) == (FAMILY_IPV4, "network_named", (b"\xaa\xc0\x00\x02\x07",), 90)
    (fill,) = netd.fills(HELD, *answered("www.example.com", "A", "www.example.com. 3600 IN A 192.0.2.8"))
    assert fill.set == "container_named_ports" and len(fill.keys) == 4 and fill.timeout_s == 3630
    (fill,) = netd.fills(HELD, *answered("example.com", "AAAA", "example.com. 300 IN AAAA 2001:db8::7"))
    assert fill.family == FAMILY_IPV6 and fill.keys[0][:1] == b"\xbb"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("example.org", "A"), ("notexample.com", "A"), ("example.com.evil.org", "A"), ("example.com", "TXT"), ("a.example.com", "AAAA")],
)
def test_nothing_else_is(name: str, kind: str) -> None:
    data = {"A": "192.0.2.7", "AAAA": "2001:db8::7", "TXT": "x"}[kind]
    assert netd.fills(HELD, *answered(name, kind, f"{name}. 300 IN {kind} {data}")) == []


def test_an_answer_that_is_broken_lets_nothing_in() -> None:
    question, answer = answered("example.com", "A", "example.com. 300 IN A 192.0.2.7")
    for size in range(12, len(answer)):
        netd.fills(HELD, question, answer[:size])


@pytest.mark.parametrize(
    ("text", "server", "reached"),
    [
        ("10.0.0.0/8", "10.0.0.53", True), ("10.0.0.0/8", "192.0.2.53", False), ("none", "10.0.0.53", False), ("example.com", "10.0.0.53", False),
        ("10.0.0.53:53", "10.0.0.53", True), ("10.0.0.53:443", "10.0.0.53", False), ("10.0.0.53:53", "10.0.0.53:5353", False),
        ("10.0.0.53:5353", "10.0.0.53:5353", True), ("::/0", "[2001:db8::53]:53", True), ("[2001:db8::53]:53", "10.0.0.53", False),
        ("0.0.0.0/0", "2001:db8::53", False), ("0.0.0.0/0,::/0", "localhost", False), ("fe80::/10", "fe80::1%eth0", True),
    ],
)  # fmt: skip
def test_which_name_servers_a_list_lets_be_asked(text: str, server: str, reached: bool) -> None:
    assert reaches(parse(text), server) is reached


def test_every_list_has_to_let_a_name_be_asked() -> None:
    def held(*scopes: tuple[list[list[object]], list[str]]) -> netd.Held:
        return netd.view({"table": "t", "scopes": [["network", {}, *scope] for scope in scopes]})

    one, two = "192.0.2.1", "192.0.2.2"
    assert netd.may_ask(netd.Held(), "a.test", (one, two)) == (one, two)
    assert netd.may_ask(held(([], [])), "a.test", (one, two)) == ()
    assert netd.may_ask(held(([["a.test", 443]], [])), "a.test", (one, two)) == (one, two)
    assert netd.may_ask(held(([["a.test", 0]], []), ([["*.test", 0]], [])), "b.test", (one, two)) == ()
    assert netd.may_ask(held(([["a.test", 0]], [two]), ([["*.test", 0]], [])), "b.test", (one, two)) == (two,)
    assert netd.may_ask(held(([], [two]), ([], [one])), "b.test", (one, two)) == ()
