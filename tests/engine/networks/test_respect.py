"""`firewall: respect`: published ports obey the host's own INPUT rules, whoever made them, and the container sees its clients' addresses."""

import contextlib
import functools
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.harness.commands import eventually
from tests.harness.engine import Engine

from .isolated import Namespace
from .positions import HOST4, HOST6, LAN4, LAN6, Entered, lan, server, who
from .test_published_packets import FAR4, FAR6, GATE4, GATE6, start

PEERS = Path("/root/.cache/pier-peers/root")
ALLOWED, FORBIDDEN, ALONE, PLAIN = 8080, 8081, 8083, 8090
PORTS = {
    "80/tcp": [{"HostPort": "8080"}], "80/udp": [{"HostPort": "8080"}], "81/tcp": [{"HostPort": "8081"}], "81/udp": [{"HostPort": "8081"}],
    "82/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8082"}], "83/tcp": [{"HostIp": HOST4, "HostPort": "8083"}],
    **{f"{port}/tcp": [{"HostPort": str(port)}] for port in range(9000, 9010)},
}  # fmt: skip
INSIDE = {8080: 80, 8081: 81, 8082: 82, 8083: 83, 8090: 80}
OPEN_TCP = (ALLOWED, ALONE, PLAIN, 9005)
RULES = """table inet host {
  chain services { tcp dport { 8080, 8083, 8090, 9005 } accept; udp dport { 8080, 8090 } accept; }
  chain input { type filter hook input priority 0; policy drop;
    ct state established,related accept; iif lo accept; ip6 nexthdr icmpv6 accept; jump services; }
}
"""


class Stage:
    """An engine that respects, a LAN beside it, and positions by name."""

    def __init__(self, engine: Engine, spaces: dict[str, Namespace]) -> None:
        self.engine, self.spaces = engine, spaces

    def nft(self, *words: str, text: str = "") -> str:
        """nft(8) on the host."""
        argv = self.engine.namespaces.argv("nft", *(words or ("-f", "-")))
        return subprocess.run(argv, input=text, text=True, check=True, capture_output=True).stdout

    def iptables(self, kind: str, *words: str) -> None:
        """Both tools of a kind ("nft", "legacy") on the host."""
        libraries = f"{PEERS}/usr/lib/x86_64-linux-gnu"
        loader = (f"{PEERS}/lib64/ld-linux-x86-64.so.2", "--library-path", libraries)
        env = {**os.environ, "XTABLES_LIBDIR": f"{libraries}/xtables", "XTABLES_LOCKFILE": f"{self.engine.roots}/lock"}
        for name in ("iptables", "ip6tables"):
            argv = self.engine.namespaces.argv(*loader, f"{PEERS}/usr/sbin/xtables-{kind}-multi", name, *words)
            subprocess.run(argv, check=True, capture_output=True, env=env)

    def asked(self, position: str, address: str, port: int, protocol: str = "tcp", timeout_s: float = 5.0) -> str:
        return str(self.spaces[position](who, address, port, protocol, timeout_s))

    def forget(self) -> None:
        """Whoever was let in is asked about again."""
        for family in ("ip", "ip6"):
            with contextlib.suppress(subprocess.CalledProcessError):  # the tables are gone for a moment
                self.nft("flush", "set", family, f"pier-{self.engine.instance}", "learned")

    def learned(self, family: str = "ip") -> list[dict[str, object]]:
        shown = json.loads(self.nft("-j", "list", "set", family, f"pier-{self.engine.instance}", "learned"))
        return [each["elem"] for each in shown["nftables"][1]["set"].get("elem", ())]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Engine("--firewall", "respect") as engine, contextlib.ExitStack() as stack:
        engine.load_busybox()
        spaces: dict[str, Namespace] = {"lan": stack.enter_context(lan(engine)), "host": stack.enter_context(Entered(engine.namespaces.pid))}
        for name, number in (("six", 99), ("other", 98)):
            config = [{"Subnet": f"10.{number}.0.0/24"}, {"Subnet": f"fd00:{number}::/64"}]
            engine.api("POST", "/networks/create", {"Name": name, "EnableIPv6": True, "IPAM": {"Config": config}}).ok(201)
        start(engine, "web", "six", PORTS, ("10.99.0.10", "fd00:99::10"))
        start(engine, "same", "six", {}, ("10.99.0.20", "fd00:99::20"))
        start(engine, "far", "other", {}, (FAR4, FAR6))
        start(engine, "plain", "bridge", {"80/tcp": [{"HostPort": "8090"}], "80/udp": [{"HostPort": "8090"}]})
        stack.enter_context(server(engine, "web", [80, 81, 82, 83, 9005]))
        stack.enter_context(server(engine, "plain", [80]))
        for name in ("same", "far"):
            spaces[name] = stack.enter_context(Entered(engine.api.get(f"/containers/{name}/json")["State"]["Pid"]))
        yield Stage(engine, spaces)


def _by_nft(stage: Stage) -> Callable[[], None]:
    stage.nft(text=RULES)
    return lambda: stage.nft("delete", "table", "inet", "host") and None


@pytest.fixture
def by_nft(stage: Stage) -> Iterator[Stage]:
    gone = _by_nft(stage)
    eventually(lambda: stage.asked("lan", HOST4, FORBIDDEN, "tcp", 0.2) == "", says="the rules are heard of")
    yield stage
    gone()


def test_a_rule_that_is_withdrawn_is_gone_at_once_and_without_a_word_when_what_was_learned_ends(by_nft: Stage) -> None:
    assert by_nft.asked("lan", HOST4, ALLOWED) == f"80 {LAN4}"
    (learned,) = by_nft.learned()
    assert learned["val"]["concat"][1:] == [LAN4, HOST4, "tcp", ALLOWED] and learned["timeout"] == 30  # type: ignore[index]
    by_nft.nft("flush", "chain", "inet", "host", "services")
    eventually(lambda: by_nft.asked("lan", HOST4, ALLOWED, "tcp", 0.2) == "", says="nobody comes in any more")
    assert by_nft.learned() == []
    by_nft.nft("add", "rule", "inet", "host", "services", "udp", "dport", str(FORBIDDEN), "accept")
    assert by_nft.asked("lan", HOST4, FORBIDDEN, "udp") == f"81 {LAN4}" and not by_nft.asked("lan", HOST4, FORBIDDEN, "tcp", 0.3)


def test_explain_and_info_tell_the_truth(by_nft: Stage) -> None:
    engine = by_nft.engine
    assert by_nft.asked("lan", HOST4, ALLOWED) == f"80 {LAN4}"
    shown = engine.pier("port", "--explain", "web", "80/tcp").ok().out
    begin = "ok    from outside, the host's INPUT decides on 8080/tcp (firewall: respect): in the last 30 s it let in"
    assert f"{begin} {LAN4}; what no rule accepts is dropped by 'inet host input'" in shown, shown
    assert f"{begin} nobody; what" in shown.partition("[::]:8080")[2]
    assert "INPUT decides" not in engine.pier("port", "--explain", "web", "82/tcp").ok().out, "127.0.0.1 is not reached from outside"
    assert engine.api.get("/info")["FirewallBackend"] == {"Driver": "nftables", "Info": [["Published ports", "obey the host's INPUT rules"]]}


def test_after_every_death_and_flush_and_when_the_mode_changes(by_nft: Stage) -> None:
    engine, learns = by_nft.engine, lambda: (by_nft.forget(), by_nft.asked("lan", HOST4, ALLOWED, "udp", 0.5))[1] == f"80 {LAN4}"
    engine.kill("daemon")
    assert learns() and by_nft.asked("lan", HOST4, ALLOWED) == f"80 {LAN4}" and not by_nft.asked("lan", HOST4, FORBIDDEN, "tcp", 0.3)
    engine.kill("netd")
    eventually(learns, says="the next netd takes the first packets while the daemon is away")
    engine.start()
    assert by_nft.learned() == [], "rules that changed while nobody listened are asked again"
    engine.kill("keeper")
    eventually(learns, says="the next keeper's netd takes them")
    by_nft.nft("flush", "ruleset")
    by_nft.nft(text=RULES)
    eventually(learns, says="the tables are back")
    assert by_nft.asked("lan", HOST6, ALLOWED) == f"80 {LAN6}" and not by_nft.asked("lan", HOST4, FORBIDDEN, "tcp", 0.3)
    engine.pier("update", "--publish-add", "8084:81", "web").ok()
    assert not by_nft.asked("lan", HOST4, 8084, "tcp", 0.3) and by_nft.asked("host", "127.0.0.1", 8084) == f"81 {GATE4}"
    by_nft.nft("add", "rule", "inet", "host", "services", "tcp", "dport", "8084", "accept")
    assert by_nft.asked("lan", HOST4, 8084) == f"81 {LAN4}"
    engine.pier("update", "--publish-rm", "8084:81", "web").ok()
    engine.stop()
    engine.options = ("--firewall", "open")
    engine.start()
    assert by_nft.asked("lan", HOST4, FORBIDDEN) == f"81 {LAN4}" and "learned" not in by_nft.nft("list", "ruleset")
    engine.stop()
    engine.options = ("--firewall", "respect")
    engine.start()
    eventually(learns, says="and back")
    assert not by_nft.asked("lan", HOST4, FORBIDDEN, "tcp", 0.3)


def _by_iptables(kind: str, stage: Stage) -> Callable[[], None]:
    if not (PEERS / f"usr/sbin/xtables-{kind}-multi").exists():
        pytest.skip("needs iptables of the peers")
    rules: Sequence[Sequence[str]] = (
        ("-i", "lo", "-j", "ACCEPT"), ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"),
        *(("-p", "tcp", "--dport", str(port), "-j", "ACCEPT") for port in OPEN_TCP),
        *(("-p", "udp", "--dport", str(port), "-j", "ACCEPT") for port in (ALLOWED, PLAIN)),
        *(("-p", kind, "-j", "ACCEPT") for kind in ("icmp", "ipv6-icmp")), ("-j", "DROP"),
    )  # fmt: skip
    for rule in rules:
        stage.iptables(kind, "-A", "INPUT", *rule)
    return lambda: stage.iptables(kind, "-F", "INPUT")


FIREWALLS: dict[str, Callable[[Stage], Callable[[], None]]] = {
    "nft": _by_nft, "iptables-nft": functools.partial(_by_iptables, "nft"), "iptables-legacy": functools.partial(_by_iptables, "legacy"),
}  # fmt: skip


@pytest.fixture(scope="module", params=FIREWALLS)
def fenced(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A host whose INPUT lets ports 8080, 8083, 8090 and 9005 in, and nothing else from outside."""
    gone = FIREWALLS[request.param](stage)
    yield stage
    gone()


LET_IN = [
    ("tcp", HOST4, ALLOWED, LAN4), ("udp", HOST4, ALLOWED, LAN4), ("tcp", HOST6, ALLOWED, LAN6), ("udp", HOST6, ALLOWED, LAN6),
    ("tcp", HOST4, ALONE, LAN4), ("tcp", HOST4, 9005, LAN4), ("tcp", HOST6, 9005, LAN6), ("tcp", HOST4, PLAIN, LAN4), ("udp", HOST4, PLAIN, LAN4),
    ("tcp", HOST6, PLAIN, "172.17.0.1"), ("udp", HOST6, PLAIN, "172.17.0.1"),  # no IPv6 there: netd passes it on
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "address", "port", "seen"), LET_IN)
def test_what_input_allows_comes_in_from_the_first_packet_on(fenced: Stage, protocol: str, address: str, port: int, seen: str) -> None:
    fenced.forget()
    answer = f"{INSIDE.get(port, port)} {seen}"
    assert fenced.asked("lan", address, port, protocol) == answer, "the first packet, which netd sends again: of UDP nobody else would"
    assert fenced.asked("lan", address, port, protocol) == answer, "by the kernel alone"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_what_it_does_not_allow_stays_outside(fenced: Stage, protocol: str) -> None:
    for address in (HOST4, HOST6):
        assert fenced.asked("lan", address, FORBIDDEN, protocol, 0.3) == ""
    assert fenced.asked("lan", HOST4, 82, "tcp", 0.3) == fenced.asked("lan", "10.99.0.10", 80, "tcp", 0.3) == ""


AT_HOME = [
    ("host", "tcp", "127.0.0.1", FORBIDDEN, GATE4), ("host", "udp", "127.0.0.1", FORBIDDEN, GATE4), ("host", "tcp", "::1", FORBIDDEN, GATE6),
    ("host", "tcp", "127.0.0.1", 8082, GATE4), ("host", "tcp", HOST4, FORBIDDEN, HOST4), ("host", "udp", HOST6, FORBIDDEN, HOST6),
    ("same", "tcp", HOST4, FORBIDDEN, GATE4), ("same", "udp", HOST6, FORBIDDEN, GATE6),
    ("far", "tcp", HOST4, FORBIDDEN, FAR4), ("far", "udp", HOST6, FORBIDDEN, FAR6),
]  # fmt: skip


@pytest.mark.parametrize(("position", "protocol", "address", "port", "seen"), AT_HOME)
def test_the_host_itself_and_containers_are_not_asked(fenced: Stage, position: str, protocol: str, address: str, port: int, seen: str) -> None:
    assert fenced.asked(position, address, port, protocol) == f"{INSIDE[port]} {seen}"
