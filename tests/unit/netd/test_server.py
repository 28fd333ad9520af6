"""The process's loop, in a thread: questions over UDP and TCP, servers outside that answer, lie or keep silent, and another netd that takes over."""

import contextlib
import errno
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from pier.ipc import Channel
from pier.ipc.polled import PolledChannel
from pier.netd.server import MOST_OF_ONE, Netd

HOME = "127.0.0.1"


def both() -> tuple[socket.socket, socket.socket]:
    """A port of UDP and of TCP of one number, which somebody else may have of the one or the other."""
    while True:
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagram.bind((HOME, 0))
        try:
            return datagram, socket.create_server(datagram.getsockname())
        except OSError as error:
            datagram.close()
            if error.errno != errno.EADDRINUSE:
                raise


class Outside:
    """A name server: what it answers is `reply`'s, per question; None is silence."""

    def __init__(self, reply: Callable[[dns.message.Message], bytes | None]) -> None:
        self.reply, self.asked = reply, 0
        self.udp, self.tcp = both()
        self.address = f"{HOME}:{self.udp.getsockname()[1]}"
        for target in (self._datagrams, self._streams):
            threading.Thread(target=target, daemon=True).start()

    def _datagrams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, client = self.udp.recvfrom(4096)
                self.asked += 1
                if answer := self.reply(dns.message.from_wire(data)):
                    self.udp.sendto(answer if len(answer) <= 512 else answer[:2] + bytes([answer[2] | 2]) + answer[3:12] + b"", client)

    def _streams(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.tcp.accept()
                with sock:
                    size = struct.unpack("!H", sock.recv(2))[0]
                    answer = self.reply(dns.message.from_wire(sock.recv(size))) or b""
                    sock.sendall(struct.pack("!H", len(answer)) + answer)

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


def address(query: dns.message.Message, *texts: str, ttl: int = 300) -> bytes:
    answer = dns.message.make_response(query)
    answer.answer.append(dns.rrset.from_text(query.question[0].name, ttl, "IN", "A", *texts))
    return answer.to_wire()


class CountingNetd(Netd):
    turned = 0

    def _flush(self) -> None:
        self.turned += 1
        super()._flush()


class Running:
    """A Netd in a thread, its keeper's end and a daemon's connection."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.keeper = Channel(ours)
        self.netd = CountingNetd(PolledChannel(theirs))
        self.thread = threading.Thread(target=self.netd.run, daemon=True)
        self.thread.start()
        mine, his = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.keeper.send({"op": "connect"}, [his.fileno()])
        his.close()
        self.daemon = Channel(mine)
        self.number = 0

    def call(self, op: str, key: str = "", fds: tuple[int, ...] = (), **fields: Any) -> dict[str, Any]:
        self.number += 1
        self.daemon.send({"op": op, "key": key, "id": self.number, **fields}, list(fds))
        got = self.daemon.recv()
        assert got is not None and got[0]["re"] == self.number and "error" not in got[0], got
        return got[0]

    def turns(self, window_s: float) -> int:
        """How often the loop turns in that time: one that has nothing to do some twenty times a second, an idle one thousands of times."""
        before = self.netd.turned
        time.sleep(window_s)
        return self.netd.turned - before

    def container(self, key: str, servers: tuple[str, ...] = (), networks: tuple[str, ...] = ("n1",)) -> int:
        """Open a session; its port."""
        datagram, listener = both()
        self.call("open", key, (datagram.fileno(), listener.fileno()), view={"networks": networks, "servers": servers})
        port: int = datagram.getsockname()[1]
        datagram.close()
        listener.close()
        return port

    def close(self) -> None:
        self.keeper.sock.close()
        self.daemon.sock.close()
        self.thread.join(5)
        assert not self.thread.is_alive()


@pytest.fixture
def netd() -> Iterator[Running]:
    made = Running()
    made.call("network", "n1", fields={"name": "shop", "subnets": ["10.1.0.0/16"], "hosts": {"web": ["10.1.0.2"]}})
    yield made
    made.close()


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """This process, and so netd in it, can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open("/dev/null", "rb") as lowest:  # the numbers below it are taken
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno() + 1, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_names_are_answered_and_connections_wait_but_nothing_turns_idly(netd: Running) -> None:
    port = netd.container("c1")
    client, query = socket.socket(), dns.message.make_query("web", "A")
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for sock in (client, datagram):
        sock.settimeout(15)
    with no_descriptors():
        with pytest.raises(OSError, match="Too many open files"):
            socket.socket()
        client.connect((HOME, port))
        client.sendall(struct.pack("!H", len(query.to_wire())) + query.to_wire())
        assert netd.turns(0.4) < 50
        datagram.sendto(query.to_wire(), (HOME, port))
        answer = datagram.recv(512)
    assert dns.message.from_wire(answer).answer
    size = struct.unpack("!H", client.recv(2))[0]
    assert dns.message.from_wire(client.recv(size)).answer[0][0].to_text() == "10.1.0.2"
    client.close()
    datagram.close()
    assert ask(port, "web", tcp=True) == (0, ["10.1.0.2"])


def test_a_published_port_waits_for_descriptors_too_and_may_be_withdrawn_meanwhile(netd: Running) -> None:
    ports, target = [], socket.create_server((HOME, 0))
    for key in ("c1", "c2"):
        with socket.create_server((HOME, 0)) as listener:
            netd.call("publish", key, (listener.fileno(),), part="a", targets=[["tcp", HOME, target.getsockname()[1]]])
            ports.append(listener.getsockname()[1])
    clients = [socket.socket(), socket.socket()]
    with no_descriptors():
        for client, port in zip(clients, ports, strict=True):
            client.settimeout(15)
            client.connect((HOME, port))
        assert netd.turns(0.4) < 50
        netd.call("withdraw", "c2")
    target.settimeout(15)
    with target.accept()[0] as arrived:
        arrived.sendall(b"hello")
        assert clients[0].recv(5) == b"hello"
    assert netd.call("stats")
    for sock in (*clients, target):
        sock.close()


def ask(port: int, name: str, kind: str = "A", *, tcp: bool = False, limit_s: float = 15.0) -> tuple[int, list[str]]:
    query = dns.message.make_query(name, kind)
    answer = (dns.query.tcp if tcp else dns.query.udp)(query, HOME, limit_s, port)
    return int(answer.rcode()), [item.to_text() for rrset in answer.answer for item in rrset]


@pytest.mark.parametrize("tcp", [False, True])
def test_names_of_the_network(netd: Running, tcp: bool) -> None:
    port = netd.container("c1")
    assert ask(port, "web", tcp=tcp) == (0, ["10.1.0.2"])
    netd.call("network", "n1", fields={"name": "shop", "subnets": ["10.1.0.0/16"], "hosts": {"web": ["10.1.0.9"], "db": ["10.1.0.3"]}})
    assert ask(port, "web", tcp=tcp) == (0, ["10.1.0.9"]) and ask(port, "db", tcp=tcp) == (0, ["10.1.0.3"])


@pytest.mark.parametrize("tcp", [False, True])
def test_the_world_outside_is_asked_once_and_remembered(netd: Running, tcp: bool) -> None:
    outside = Outside(lambda query: address(query, "192.0.2.1"))
    port = netd.container("c1", (outside.address,))
    for _ in range(3):
        assert ask(port, "example.org", tcp=tcp) == (0, ["192.0.2.1"])
    assert netd.call("stats")["counts"]["outside"] == 1
    outside.close()


def test_a_question_that_was_answered_is_neither_read_nor_decided_again(netd: Running) -> None:
    outside = Outside(lambda query: address(query, "192.0.2.1"))
    port = netd.container("c1", (outside.address,))
    for name, wanted in (("web", "10.1.0.2"), ("example.org", "192.0.2.1")):
        query = dns.message.make_query(name, "A")
        for number in range(5):
            query.id = number
            assert [str(item) for item in dns.query.udp(query, HOME, 5, port).answer[0]] == [wanted]
    counts = netd.call("stats")["counts"]
    # The world's name: the first time asked, the second cached, from then on ready; a second may pass in between, after which it is cached again.
    assert counts["asked"] + counts["ready"] == 10 and counts["asked"] <= 5 and counts["outside"] == 1
    outside.close()


def test_a_name_that_opens_the_firewall_does_so_each_time(netd: Running) -> None:
    outside = Outside(lambda query: address(query, "192.0.2.1"))
    port = netd.container("c1")
    egress = {"table": "t", "scopes": [["container", {"4": ["0a010002"]}, [["other.example", 443]], [outside.address]]]}
    netd.call("view", "c1", view={"networks": ("n1",), "servers": (outside.address,), "egress": egress})
    for _ in range(3):
        assert ask(port, "example.org") == (0, ["192.0.2.1"])
    assert netd.call("stats")["counts"]["ready"] == 0
    outside.close()


def test_a_name_that_no_list_has_is_not_asked_outside(netd: Running) -> None:
    outside = Outside(lambda query: address(query, "192.0.2.1"))
    port = netd.container("c1")
    scopes = [["network", {}, [["*.example", 0]], []], ["container", {}, [["www.example", 443]], []]]
    netd.call("view", "c1", view={"networks": ("n1",), "servers": (outside.address,), "egress": {"table": "t", "scopes": scopes}})
    for tcp in (False, True):
        assert ask(port, "secret.attacker.test", tcp=tcp) == ask(port, "other.example", "TXT", tcp=tcp) == (3, [])
        assert ask(port, "7.2.0.192.in-addr.arpa", "PTR", tcp=tcp) == (3, [])
        assert ask(port, "web", tcp=tcp) == (0, ["10.1.0.2"])
    assert outside.asked == 0
    assert ask(port, "www.example") == (0, ["192.0.2.1"]) and outside.asked == 1
    outside.close()


def test_who_floods_servers_that_are_silent_is_refused_and_nobody_else(netd: Running) -> None:
    silent, good = Outside(lambda query: None), Outside(lambda query: address(query, "192.0.2.1"))
    flooding, other = netd.container("c1", (silent.address,)), netd.container("c2", (good.address,))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((HOME, flooding))
        for number in range(MOST_OF_ONE + 20):
            sock.send(dns.message.make_query(f"n{number}.example", "A").to_wire())
            if number % 16 == 15:
                netd.call("ping")  # they are taken before the next come
        refused = [dns.message.from_wire(sock.recv(512)) for _ in range(20)]
    assert {int(answer.rcode()) for answer in refused} == {int(dns.rcode.SERVFAIL)}
    assert ask(other, "example.org") == (0, ["192.0.2.1"])
    silent.close()
    good.close()


def test_a_silent_server_is_passed_over(netd: Running) -> None:
    silent, good = Outside(lambda query: None), Outside(lambda query: address(query, "192.0.2.1"))
    port = netd.container("c1", (silent.address, good.address))
    began = time.monotonic()
    assert ask(port, "example.org") == (0, ["192.0.2.1"]) and 1.5 < time.monotonic() - began < 5
    silent.close()
    good.close()


def test_a_server_that_fails_is_passed_over_at_once(netd: Running) -> None:
    def failing(query: dns.message.Message) -> bytes:
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.SERVFAIL)
        return answer.to_wire()

    bad, good = Outside(failing), Outside(lambda query: address(query, "192.0.2.1"))
    port = netd.container("c1", (bad.address, good.address))
    assert ask(port, "example.org", limit_s=1.5) == (0, ["192.0.2.1"])
    only = netd.container("c2", (bad.address,))
    assert ask(only, "other.org")[0] == int(dns.rcode.SERVFAIL)
    bad.close()
    good.close()


def test_a_forged_answer_is_not_taken(netd: Running) -> None:
    def forging(query: dns.message.Message) -> bytes:
        query.id ^= 1
        return address(query, "203.0.113.66")

    forger = Outside(forging)
    port = netd.container("c1", (forger.address,))
    with pytest.raises(dns.exception.Timeout):
        ask(port, "example.org", limit_s=1)
    forger.close()


def test_a_large_answer_comes_over_tcp(netd: Running) -> None:
    many = [f"192.0.{n}.1" for n in range(80)]
    outside = Outside(lambda query: address(query, *many))
    port = netd.container("c1", (outside.address,))
    assert len(ask(port, "big.example", tcp=True)[1]) == 80
    outside.close()


def test_nobody_outside_is_no_hang(netd: Running) -> None:
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.bind((HOME, 0))
    port = netd.container("c1", (f"{HOME}:{closed.getsockname()[1]}",))
    closed.close()
    assert ask(port, "example.org", limit_s=12)[0] == int(dns.rcode.SERVFAIL)


def test_noise_and_half_messages_hurt_nobody(netd: Running) -> None:
    port = netd.container("c1")
    noisy = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for data in (b"", b"x", bytes(12), b"\xff" * 600):
        noisy.sendto(data, (HOME, port))
    half = socket.create_connection((HOME, port))
    half.sendall(b"\x00\xff\x01")
    many = [socket.create_connection((HOME, port)) for _ in range(80)]
    assert ask(port, "web") == (0, ["10.1.0.2"])
    for sock in (noisy, half, *many):
        sock.close()


def test_a_closed_session_answers_no_more(netd: Running) -> None:
    port = netd.container("c1")
    assert ask(port, "web")[0] == 0
    netd.call("close", "c1")
    with pytest.raises((OSError, dns.exception.DNSException)):
        ask(port, "web", limit_s=0.5)


def test_the_next_netd_goes_on_from_the_keepers_notes(netd: Running) -> None:
    port = netd.container("c1")
    held: dict[str, tuple[list[str], list[int], Any]] = {}
    while len(held) < 2:
        got = netd.keeper.recv()
        assert got is not None
        note, fds = got
        held[note["key"]] = (note["names"], fds, note["note"])
    successor = Running()
    netd.call("close", "c1")
    for key, (names, fds, note) in held.items():
        successor.keeper.send({"op": "resume", "key": key, "names": names, "note": note}, fds)
    assert ask(port, "web") == (0, ["10.1.0.2"])
    successor.close()
