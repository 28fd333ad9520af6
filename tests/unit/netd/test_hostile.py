"""Containers that ask what hurts: netd lives on, remembers nothing false, stays small, and answers the others."""

import itertools
import socket
import struct

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rrset
import pytest

from pier.netd import message
from pier.netd.cache import MOST_ENTRY_BYTES, Cache
from pier.netd.message import Malformed
from pier.netd.published import Published
from pier.netd.upstream import Exchange, target

from .test_server import HOME, Outside, Running, address, ask, both, netd

__all__ = ["netd"]


def header(*, flags: int = 0x0100, questions: int = 1, further: int = 0) -> bytes:
    return struct.pack("!HHHHHH", 1, flags, questions, 0, 0, further)


def question(name: str, kind: str = "A") -> message.Question:
    return message.parse(dns.message.make_query(name, kind).to_wire())


def long(query: dns.message.Message, strings: int) -> bytes:
    answer = dns.message.make_response(query)
    answer.answer.append(dns.rrset.from_text(query.question[0].name, 300, "IN", "TXT", " ".join(['"' + "y" * 250 + '"'] * strings)))
    return answer.to_wire()


def test_pointers_behind_pointers_end() -> None:
    chain = header() + b"\1x\0" + b"".join(struct.pack("!H", 0xC000 | at) for at in (12, *range(15, 15 + 2 * 40, 2)))
    assert message.read_name(chain, 15 + 2 * 30) == ("x", 15 + 2 * 31)
    with pytest.raises(Malformed):
        message.read_name(chain, 15 + 2 * 40)


@pytest.mark.parametrize("packet", [header(further=4000) + b"\0\0\1\0\1", header() + b"\xc0\x02\0\1\0\1"], ids=["records", "pointer"])
def test_a_question_of_thousands_of_records_or_that_points_elsewhere_is_none(packet: bytes) -> None:
    with pytest.raises(Malformed):
        message.parse(packet)


def test_a_dot_in_a_label_is_not_a_dot_between_labels() -> None:
    """The world outside knows no `www.bank` below `com`: what it says of that must not be remembered of www.bank.com."""
    wires = [(b"www", b"bank", b"com"), (b"www.bank", b"com"), (b"www\\.bank", b"com"), (b"www\\", b"bank", b"com")]
    asked = [message.parse(header() + b"".join(bytes([len(each)]) + each for each in labels) + b"\0\0\1\0\1") for labels in wires]
    assert len({each.name for each in asked}) == 4 and asked[0].name == "www.bank.com"
    cache, query = Cache(), dns.message.make_query(dns.name.Name([b"www.bank", b"com", b""]), "A")
    nothing = dns.message.make_response(query)
    nothing.set_rcode(dns.rcode.NXDOMAIN)
    nothing.authority.append(dns.rrset.from_text("com.", 900, "IN", "SOA", "a.example. b.example. 1 2 3 4 900"))
    cache.put(message.parse(query.to_wire()), ("s",), nothing.to_wire(), 0)
    assert len(cache) == 1 and not cache.get(question("www.bank.com"), ("s",), 1)


def test_who_does_without_verification_does_it_for_himself() -> None:
    query = dns.message.make_query("bogus.example", "A")
    query.flags |= dns.flags.CD
    answer = dns.message.make_response(query)
    answer.answer.append(dns.rrset.from_text("bogus.example.", 300, "IN", "A", "192.0.2.66"))
    cache = Cache()
    cache.put(message.parse(query.to_wire()), ("s",), answer.to_wire(), 0)
    assert cache.get(message.parse(query.to_wire()), ("s",), 1) and not cache.get(question("bogus.example"), ("s",), 1)


def test_what_is_kept_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pier.netd.cache.MOST_BYTES", 100_000)
    cache = Cache()
    for number in range(30):
        query = dns.message.make_query(f"x{number}.example", "TXT")
        answer = long(query, 60 if number else 70)
        assert (len(answer) > MOST_ENTRY_BYTES) == (not number)
        cache.put(message.parse(query.to_wire()), (), answer, 0)
    assert len(cache) == 6 and cache.get(question("x29.example", "TXT"), (), 1)


def test_only_questions_go_out_and_as_ours(netd: Running) -> None:
    heard: list[dns.message.Message] = []
    outside = Outside(lambda query: heard.append(query))
    port = netd.container("c1", (outside.address,))
    for code in (dns.opcode.NOTIFY, dns.opcode.UPDATE, dns.opcode.STATUS):
        query = dns.message.make_query("example.org", "SOA")
        query.flags = dns.opcode.to_flags(code)
        answer = dns.query.udp(query, HOME, 5, port)
        assert answer.rcode() == dns.rcode.NOTIMP and answer.opcode() == code
    odd = dns.message.make_query("example.org", "A", flags=dns.flags.AA | dns.flags.TC | dns.flags.CD)
    made = message.asked_outside(message.parse(odd.to_wire()), 7)
    assert not heard and dns.message.from_wire(made).flags == dns.flags.RD | dns.flags.CD and dns.message.from_wire(made).id == 7
    outside.close()


@pytest.mark.parametrize("name", ["a" * 100 + ".shop", "a..b.shop", ".".join(["a" * 60] * 5)])
def test_a_container_of_a_name_that_is_none_of_dns(netd: Running, name: str) -> None:
    netd.call("network", "n1", fields={"name": "shop", "subnets": ["10.1.0.0/16"], "hosts": {"web": ["10.1.0.2"]}, "pointers": {"10.1.0.9": name}})
    port = netd.container("c1")
    assert ask(port, "9.0.1.10.in-addr.arpa", "PTR") == (3, []) and ask(port, "web") == (0, ["10.1.0.2"])


def test_a_network_of_a_name_that_is_not_ascii(netd: Running) -> None:
    netd.call("network", "n1", fields={"name": "bücher", "subnets": ["10.1.0.0/16"], "pointers": {"10.1.0.9": "web.bücher"}})
    assert ask(netd.container("c1"), "9.0.1.10.in-addr.arpa", "PTR") == (0, [r"web.b\195\188cher."])


def test_an_alias_of_more_containers_than_a_message_carries(netd: Running) -> None:
    many = [f"10.1.{n // 250}.{n % 250 + 1}" for n in range(6000)]
    netd.call("network", "n1", fields={"name": "shop", "hosts": {"web": many, "db": ["10.1.0.2"]}})
    port = netd.container("c1")
    code, found = ask(port, "web", tcp=True)
    assert code == 0 and 4000 < len(found) < 5000 and set(found) <= set(many) and ask(port, "db") == (0, ["10.1.0.2"])


def test_who_asks_and_does_not_listen_is_not_read_further(netd: Running) -> None:
    outside = Outside(lambda query: long(query, 60))
    port = netd.container("c1", (outside.address,))
    query = dns.message.make_query("long.example", "TXT").to_wire()
    sock = socket.create_connection((HOME, port), 10)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    sock.settimeout(0.5)
    data, sent = (struct.pack("!H", len(query)) + query) * 1000, 0
    with pytest.raises(TimeoutError):
        while sent < 32 << 20:
            sent += sock.send(data[sent % len(data) :])
    assert ask(port, "web") == (0, ["10.1.0.2"])  # nobody else waits
    sock.settimeout(10)
    got = b""
    while len(got) < 300_000:  # it is answered as soon as it listens
        got += sock.recv(1 << 20)
    sock.close()
    assert ask(port, "web", tcp=True) == (0, ["10.1.0.2"])
    outside.close()


def test_many_questions_on_one_connection_are_all_answered(netd: Running) -> None:
    silent = Outside(lambda query: None)
    port = netd.container("c1", (silent.address,))
    queries = [dns.message.make_query(name, "A").to_wire() for name in (*["web"] * 200, *["outside.example"] * 15, *["web"] * 200)]
    with socket.create_connection((HOME, port), 10) as sock:
        sock.sendall(b"".join(struct.pack("!H", len(query)) + query for query in queries))
        with sock.makefile("rb") as stream:
            for _ in range(400):
                assert stream.read(int.from_bytes(stream.read(2), "big"))[3] & 0xF == 0
    silent.close()


@pytest.mark.parametrize("data", [b"\xff\xff" + b"x" * 500, b"\0\3abc", b"\0\x0c\0\1\x80\0\0\1\0\0\0\0\0\0"], ids=["long", "short", "answer"])
def test_who_sends_what_is_no_question_is_hung_up(netd: Running, data: bytes) -> None:
    with socket.create_connection((HOME, netd.container("c1")), 10) as sock:
        sock.sendall(data)
        assert sock.recv(10) == b""


def test_numbers_and_ports_of_questions_that_go_out_are_any() -> None:
    datagram, listener = both()
    listener.close()
    datagram.settimeout(5)
    server, seen = f"{HOME}:{datagram.getsockname()[1]}", []
    for _ in range(40):
        exchange = Exchange(question("example.org"), (server,), False, lambda *_: None, lambda *_: None, 0.0)
        data, (_, port) = datagram.recvfrom(4096)
        seen.append((int.from_bytes(data[:2], "big"), port))
        exchange.close()
    datagram.close()
    numbers, ports = zip(*seen, strict=True)
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    assert len(set(numbers)) > 35 and len(steps) > 35 and len(set(ports)) > 20


def test_servers_are_addresses_also_on_a_link(netd: Running) -> None:
    assert target("192.0.2.1:5353") == (socket.AF_INET, ("192.0.2.1", 5353)) and target("[fd00::1]:53") == (socket.AF_INET6, ("fd00::1", 53))
    assert target("fe80::1%lo") == (socket.AF_INET6, ("fe80::1", 53, 0, socket.if_nametoindex("lo")))
    for wrong in ("localhost", "1.2.3", "fe80::1%nolink", "192.0.2.1:70000"):
        with pytest.raises((OSError, ValueError)):
            target(wrong)
    good = Outside(lambda query: address(query, "192.0.2.1"))
    port = netd.container("c1", ("localhost", "192.0.2.1:70000", good.address))
    assert ask(port, "example.org") == (0, ["192.0.2.1"])
    good.close()


def test_without_descriptors_datagrams_to_a_port_are_lost_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    datagram, listener = both()
    listener.close()
    handlers = {}
    published = Published(lambda fd, mask, handler: handlers.update({fd: handler}), lambda fd: None)
    published.hold("web/0", [("udp", HOME, 9)], [datagram.fileno()])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", datagram.getsockname())
        with monkeypatch.context() as patch:
            patch.setattr("pier.netd.published.socket.socket", _none_left)
            handlers[datagram.fileno()](1)
        assert published.clients == 0
        client.sendto(b"x", datagram.getsockname())
        handlers[datagram.detach()](1)
        assert published.clients == 1
    published.release("web/0")


def _none_left(*_: object) -> None:
    raise OSError(24, "Too many open files")
