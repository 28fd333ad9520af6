"""What the host's links take up, beside bridges of ours: read once, and again when somebody else changed it. In a network namespace of its own."""

import os
import subprocess

import pytest

from pier.linux.rtnetlink import Routing
from pier.networks.surroundings import Surroundings
from tests.engine.networks.isolated import Namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces")


class Host:
    """A host with bridges of ours, and a link of its own."""

    def __init__(self) -> None:
        self.routing = Routing()
        self.surroundings = Surroundings(self.routing)
        self.bridges: set[int] = set()
        self.routing.create_pair("lan0", "lan1", 1500, "the host's")
        ip("address", "add", "10.8.0.5/24", "dev", "lan0")

    def bridge(self, number: int, *, told: bool = True) -> str:
        addresses = [f"10.9.{number}.1/24", f"fd00:{number}::1/64"]
        link = self.routing.create_bridge(f"br-{number}", f"02:00:00:00:00:{number:02x}", 1500, addresses, "ours")
        if told:
            self.surroundings.ours(link.index)
        self.bridges.add(link.index)
        return link.name

    def networks(self) -> set[str]:
        found = self.surroundings.networks(lambda: self.bridges)
        return {str(network) for network in found if network.version == 4 and not network.is_loopback}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def test_our_own_bridges_cost_nothing() -> None:
    with Namespace() as space:
        space(_our_own_bridges_cost_nothing)


def _our_own_bridges_cost_nothing() -> None:
    host = Host()
    host.bridge(1)
    assert host.networks() == {"10.8.0.0/24"} and host.surroundings.reads == 1
    for number in range(2, 40):
        name = host.bridge(number, told=number != 7)
        assert host.networks() == {"10.8.0.0/24"}
        if number % 2:
            host.routing.delete_link(name)
    assert host.surroundings.reads == 1


def test_what_somebody_else_does_is_seen() -> None:
    with Namespace() as space:
        space(_what_somebody_else_does_is_seen)


def _what_somebody_else_does_is_seen() -> None:
    host = Host()
    assert host.networks() == {"10.8.0.0/24"}
    for words, wanted in (
        (("route", "add", "10.20.0.0/16", "via", "10.8.0.1"), {"10.8.0.0/24", "10.20.0.0/16"}),
        (("route", "add", "blackhole", "10.30.0.0/16"), {"10.8.0.0/24", "10.20.0.0/16", "10.30.0.0/16"}),
        (("route", "del", "10.20.0.0/16"), {"10.8.0.0/24", "10.30.0.0/16"}),
        (("address", "add", "10.40.0.1/32", "dev", "lan1"), {"10.8.0.0/24", "10.30.0.0/16", "10.40.0.1/32"}),
        (("address", "del", "10.8.0.5/24", "dev", "lan0"), {"10.30.0.0/16", "10.40.0.1/32"}),
    ):
        ip(*words)
        assert host.networks() == wanted, words
    assert host.surroundings.reads == 6 and host.networks() and host.surroundings.reads == 6


def test_more_than_the_socket_holds_is_read_again() -> None:
    with Namespace() as space:
        space(_more_than_the_socket_holds_is_read_again)


def _more_than_the_socket_holds_is_read_again() -> None:
    host = Host()
    host.bridge(1)
    assert host.networks() == {"10.8.0.0/24"}
    batch = "".join(f"route add 10.50.{n % 250}.{n // 250}/32 dev br-1\nroute del 10.50.{n % 250}.{n // 250}/32 dev br-1\n" for n in range(3000))
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
    assert host.networks() == {"10.8.0.0/24"} and host.surroundings.reads == 2
