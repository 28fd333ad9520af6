"""Our messages against dnspython's, and against noise."""

import struct

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.netd import message
from pier.netd.cache import Cache
from pier.netd.message import Malformed


def asked(name: str, kind: str = "A", **how: object) -> dns.message.Message:
    return dns.message.make_query(name, kind, **how)  # type: ignore[arg-type]


def read(packet: bytes) -> dns.message.Message:
    return dns.message.from_wire(packet)


def test_a_question() -> None:
    query = asked("WeB.Shop.", "AAAA", use_edns=0, payload=4096, want_dnssec=True)
    question = message.parse(query.to_wire())
    assert (question.name, question.kind, question.klass, question.number) == ("web.shop", message.AAAA, message.IN, query.id)
    assert question.edns and question.dnssec and question.size == 1232
    assert message.parse(asked("x").to_wire()).size == 512


@pytest.mark.parametrize(("kind", "found", "shown"), [("A", ["10.0.0.2", "fd00::2"], ["10.0.0.2"]), ("AAAA", ["10.0.0.2", "fd00::2"], ["fd00::2"])])
def test_addresses_of_the_family_that_was_asked_for(kind: str, found: list[str], shown: list[str]) -> None:
    query = asked("Web", kind, use_edns=0)
    answer = read(message.addresses(message.parse(query.to_wire()), found, 600))
    assert query.is_response(answer) and answer.rcode() == dns.rcode.NOERROR and answer.edns == 0
    assert [item.to_text() for rrset in answer.answer for item in rrset] == shown and answer.answer[0].ttl == 600
    assert answer.question[0].name.to_text() == "Web."  # the asker's spelling


def test_no_address_is_an_answer_too() -> None:
    answer = read(message.addresses(message.parse(asked("web", "AAAA").to_wire()), ["10.0.0.2"], 600))
    assert answer.rcode() == dns.rcode.NOERROR and not answer.answer


def test_a_pointer() -> None:
    query = asked("2.0.0.10.in-addr.arpa", "PTR")
    answer = read(message.names(message.parse(query.to_wire()), ["web.shop"], 600))
    assert answer.answer[0][0].to_text() == "web.shop."


def test_what_is_too_large_for_udp_is_cut_and_whole_for_edns() -> None:
    many = [f"10.0.{n}.1" for n in range(60)]
    small, large = (message.parse(asked("x", **how).to_wire()) for how in ({}, {"use_edns": 0, "payload": 4096}))  # type: ignore[arg-type]
    cut = message.fitted(message.addresses(small, many, 1), small)
    assert len(cut) <= 512 and read(cut).flags & dns.flags.TC
    assert len(read(message.fitted(message.addresses(large, many, 1), large)).answer[0]) == 60


@given(st.binary(max_size=200))
def test_noise_is_malformed_or_a_question(data: bytes) -> None:
    try:
        question = message.parse(data)
    except Malformed:
        reply = message.malformed(data)
        assert reply == b"" or read(reply).rcode() == dns.rcode.FORMERR
        return
    assert len(question.name) <= 255


@given(st.binary(max_size=120), st.binary(min_size=1, max_size=3))
def test_flipped_answers_never_hang_and_never_crash(tail: bytes, noise: bytes) -> None:
    query = asked("example.org")
    answer = dns.message.make_response(query)
    answer.answer.append(dns.rrset.from_text("example.org.", 300, "IN", "A", "192.0.2.1"))
    data = bytearray(answer.to_wire() + tail)
    for number, byte in enumerate(noise):
        data[(byte * 7 + number) % len(data)] ^= byte
    for act in (message.lifetime_s, lambda packet: message.aged(packet, 5)):
        try:
            act(bytes(data))
        except Malformed:
            pass


@pytest.mark.parametrize("loop", [b"\xc0\x0c", b"\x01a\xc0\x0c", b"\xc0\xff"])
def test_a_name_that_points_at_itself_or_forwards(loop: bytes) -> None:
    with pytest.raises(Malformed):
        message.parse(struct.pack("!HHHHHH", 1, 0x100, 1, 0, 0, 0) + loop + b"\0\1\0\1")


def test_a_forged_answer_does_not_fit() -> None:
    query = asked("example.org")
    question = message.parse(query.to_wire())
    good = dns.message.make_response(query).to_wire()
    assert message.fits(good, question, query.id)
    assert not message.fits(good, question, query.id ^ 1)
    other = dns.message.make_response(asked("example.com", id=query.id)).to_wire()
    assert not message.fits(other, question, query.id)
    assert not message.fits(query.to_wire(), question, query.id)


def answered(ttl: int, *, negative: bool = False) -> tuple[message.Question, bytes]:
    query = asked("example.org")
    answer = dns.message.make_response(query)
    if negative:
        answer.set_rcode(dns.rcode.NXDOMAIN)
        answer.authority.append(dns.rrset.from_text("org.", ttl, "IN", "SOA", "ns. host. 1 2 3 4 30"))
    else:
        answer.answer.append(dns.rrset.from_text("example.org.", ttl, "IN", "CNAME", "b.example.org."))
        answer.answer.append(dns.rrset.from_text("b.example.org.", ttl * 2, "IN", "A", "192.0.2.1"))
    return message.parse(query.to_wire()), answer.to_wire()


def test_a_cache_obeys_the_least_lifetime() -> None:
    cache = Cache()
    question, answer = answered(60)
    cache.put(question, ("192.0.2.53",), answer, 100.0)
    later = question._replace(number=question.number ^ 1)
    kept = cache.get(later, ("192.0.2.53",), 130.5)
    assert kept is not None and kept.until_s == 131.0  # a second later it reads otherwise
    got = read(kept.packet)
    assert got.id == later.number and [rrset.ttl for rrset in got.answer] == [30, 90]
    assert not cache.get(later, ("192.0.2.54",), 130.0) and not cache.get(later, ("192.0.2.53",), 160.0)


def test_what_is_not_there_is_kept_as_its_soa_says() -> None:
    question, answer = answered(3600, negative=True)
    assert message.lifetime_s(answer) == 30
    assert message.lifetime_s(message.refusal(question, message.SERVFAIL)) == 0


def test_a_cache_is_bounded() -> None:
    cache = Cache(most=10)
    question, answer = answered(60)
    for number in range(50):
        cache.put(question._replace(name=f"n{number}"), (), answer, 0.0)
    assert len(cache) == 10 and cache.get(question._replace(name="n49"), (), 1.0) and not cache.get(question._replace(name="n1"), (), 1.0)
