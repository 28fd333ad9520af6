"""Who reaches published ports, and as whom the container sees him: real packets from four positions, over IPv4 and IPv6."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.engine import Engine

from .isolated import Namespace
from .positions import HOST4, HOST6, LAN4, LAN6, Entered, lan, server, who

WEB = {
    "80/tcp": [{"HostPort": "8080"}],
    "80/udp": [{"HostPort": "8080"}],
    "81/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8081"}],
    "82/tcp": [{"HostIp": "::1", "HostPort": "8082"}],
    "82/udp": [{"HostIp": "::1", "HostPort": "8082"}],
    "83/tcp": [{"HostIp": HOST4, "HostPort": "8083"}],
    **{f"{port}/tcp": [{"HostPort": str(port)}] for port in range(9000, 9010)},
}
PLAIN = {"80/tcp": [{"HostPort": "8090"}], "80/udp": [{"HostPort": "8090"}]}
WEB4, WEB6, GATE4, GATE6, FAR4, FAR6 = "10.99.0.10", "fd00:99::10", "10.99.0.1", "fd00:99::1", "10.98.0.10", "fd00:98::10"


def start(engine: Engine, name: str, network: str, ports: dict[str, Any], addresses: tuple[str, str] | None = None) -> None:
    settings = {"IPAMConfig": {"IPv4Address": addresses[0], "IPv6Address": addresses[1]}} if addresses else {}
    body = {
        "Image": "busybox:latest", "Cmd": ["sleep", "600"], "ExposedPorts": {port: {} for port in ports},
        "HostConfig": {"NetworkMode": network, "PortBindings": ports}, "NetworkingConfig": {"EndpointsConfig": {network: settings}},
    }  # fmt: skip
    engine.api("POST", "/containers/create", body, name=name).ok(201)
    engine.api("POST", f"/containers/{name}/start").ok(204)


@pytest.fixture(scope="module")
def stage() -> Iterator[dict[str, Namespace]]:
    """web and same share a network, far is in another one, plain has no IPv6; positions by name."""
    with Engine() as engine, contextlib.ExitStack() as stack:
        engine.load_busybox()
        outside = stack.enter_context(lan(engine))
        for name, number in (("six", 99), ("other", 98)):
            config = [{"Subnet": f"10.{number}.0.0/24"}, {"Subnet": f"fd00:{number}::/64"}]
            engine.api("POST", "/networks/create", {"Name": name, "EnableIPv6": True, "IPAM": {"Config": config}}).ok(201)
        start(engine, "web", "six", WEB, (WEB4, WEB6))
        start(engine, "same", "six", {}, ("10.99.0.20", "fd00:99::20"))
        start(engine, "far", "other", {}, (FAR4, FAR6))
        start(engine, "plain", "bridge", PLAIN)
        spaces: dict[str, Namespace] = {"lan": outside, "host": stack.enter_context(Entered(engine.namespaces.pid))}
        spaces["web"] = stack.enter_context(server(engine, "web", [80, 81, 82, 83, 9005]))
        spaces["plain"] = stack.enter_context(server(engine, "plain", [80]))
        for name in ("same", "far"):
            spaces[name] = stack.enter_context(Entered(engine.api.get(f"/containers/{name}/json")["State"]["Pid"]))
        yield spaces


REACHED = [
    # from, protocol, to; as whom the container sees him
    ("host", "tcp", "127.0.0.1", 8080, GATE4),
    ("host", "udp", "127.0.0.1", 8080, GATE4),
    ("host", "tcp", HOST4, 8080, HOST4),
    ("host", "udp", HOST4, 8080, HOST4),
    ("host", "tcp", GATE4, 8080, GATE4),
    ("host", "tcp", "::1", 8080, GATE6),  # by netd
    ("host", "udp", "::1", 8080, GATE6),
    ("host", "tcp", HOST6, 8080, HOST6),
    ("host", "udp", HOST6, 8080, HOST6),
    ("host", "tcp", "127.0.0.1", 8081, GATE4),
    ("host", "tcp", "::1", 8082, GATE6),
    ("host", "udp", "::1", 8082, GATE6),
    ("host", "tcp", HOST4, 8083, HOST4),
    ("host", "tcp", "127.0.0.1", 9005, GATE4),
    ("host", "tcp", HOST6, 9005, HOST6),
    ("lan", "tcp", HOST4, 8080, LAN4),
    ("lan", "udp", HOST4, 8080, LAN4),
    ("lan", "tcp", HOST6, 8080, LAN6),
    ("lan", "udp", HOST6, 8080, LAN6),
    ("lan", "tcp", HOST4, 8083, LAN4),
    ("lan", "tcp", HOST4, 9005, LAN4),
    ("lan", "tcp", HOST6, 9005, LAN6),
    ("same", "tcp", HOST4, 8080, GATE4),
    ("same", "udp", HOST4, 8080, GATE4),
    ("same", "tcp", HOST6, 8080, GATE6),
    ("same", "tcp", GATE4, 8080, GATE4),
    ("same", "tcp", WEB4, 80, "10.99.0.20"),
    ("far", "tcp", HOST4, 8080, FAR4),
    ("far", "udp", HOST4, 8080, FAR4),
    ("far", "tcp", HOST6, 8080, FAR6),
    ("far", "tcp", "10.98.0.1", 8080, FAR4),
    ("far", "tcp", HOST4, 9005, FAR4),
    # a container without IPv6: netd passes on what comes over IPv6
    ("host", "tcp", "127.0.0.1", 8090, "172.17.0.1"),
    ("host", "tcp", "::1", 8090, "172.17.0.1"),
    ("host", "udp", "::1", 8090, "172.17.0.1"),
    ("lan", "tcp", HOST4, 8090, LAN4),
    ("lan", "tcp", HOST6, 8090, "172.17.0.1"),
    ("lan", "udp", HOST6, 8090, "172.17.0.1"),
]


@pytest.mark.parametrize(("position", "protocol", "address", "port", "seen"), REACHED)
def test_who_reaches_it_and_as_whom(stage: dict[str, Namespace], position: str, protocol: str, address: str, port: int, seen: str) -> None:
    inside = {8080: 80, 8081: 81, 8082: 82, 8083: 83, 8090: 80}.get(port, port)
    assert stage[position](who, address, port, protocol) == f"{inside} {seen}"


KEPT_OUT = [
    ("lan", "tcp", HOST4, 8081),  # published on 127.0.0.1 alone
    ("lan", "tcp", HOST6, 8082),  # on ::1 alone
    ("lan", "udp", HOST6, 8082),
    ("host", "tcp", HOST4, 8081),
    ("host", "tcp", "127.0.0.1", 8083),  # on another address
    ("far", "tcp", "10.98.0.1", 8081),
    ("lan", "tcp", HOST4, 80),  # not published
    ("lan", "tcp", WEB4, 80),  # the container's own address
    ("lan", "udp", WEB4, 80),
    ("lan", "tcp", WEB6, 80),
    ("far", "tcp", WEB4, 80),
    ("far", "tcp", WEB6, 80),
]


@pytest.mark.parametrize(("position", "protocol", "address", "port"), KEPT_OUT)
def test_who_does_not(stage: dict[str, Namespace], position: str, protocol: str, address: str, port: int) -> None:
    assert stage[position](who, address, port, protocol, 0.3) == ""


def _set(name: str, value: str) -> None:
    Path(f"/proc/sys/net/{name}").write_text(value)


def _loopback_is_elsewhere() -> str:
    """A neighbour who sends what is for 127.0.0.1 to us, while our link would take it."""
    _set("ipv4/conf/eth0/route_localnet", "1")
    subprocess.run(["ip", "addr", "del", "127.0.0.1/8", "dev", "lo"], check=False)
    subprocess.run(["ip", "route", "replace", "127.0.0.0/8", "via", HOST4, "dev", "eth0", "src", LAN4], check=True)
    return who("127.0.0.1", 8081, "tcp", 0.5)


def test_a_port_of_127_0_0_1_is_not_reached_by_routing_to_it(stage: dict[str, Namespace]) -> None:
    """Even where the host's link takes such packets (route_localnet), as long as our rule stands; without it the attack works."""
    stage["host"](_set, "ipv4/conf/lan0/route_localnet", "1")
    stage["host"](_set, "ipv4/conf/all/rp_filter", "0")
    stage["host"](_set, "ipv4/conf/lan0/rp_filter", "0")
    assert stage["lan"](_loopback_is_elsewhere) == ""

    def without_the_rule() -> None:
        listed = subprocess.run(["nft", "-a", "list", "ruleset", "ip"], capture_output=True, text=True, check=True).stdout
        table = next(line.split()[2] for line in listed.splitlines() if line.startswith("table ip pier"))
        handle = next(line.rsplit(" ", 1)[1] for line in listed.splitlines() if "nobody outside reaches loopback" in line)
        # the daemon puts it back after 0.2 s
        subprocess.run(["nft", "delete", "rule", "ip", table, "prerouting", "handle", handle], check=True)

    stage["host"](without_the_rule)
    assert stage["lan"](who, "127.0.0.1", 8081, "tcp", 0.15).startswith("81 "), "the test does not test anything"


def test_a_container_reaches_itself_by_the_host(stage: dict[str, Namespace]) -> None:
    for name in ("iptables", "ip6tables"):
        with contextlib.suppress(FileNotFoundError):  # where bridges are not filtered at all
            stage["host"](_set, f"bridge/bridge-nf-call-{name}", "0")
    assert stage["web"](who, HOST4, 8080) == f"80 {GATE4}"
    assert stage["web"](who, HOST6, 8080) == f"80 {GATE6}"
