"""More ports than a Linux bridge takes: the bridge is filled with cheap links, the containers that come after it are real."""

import functools
import os
from collections.abc import Callable

import pytest

from pier.linux.netlink import configure_inside
from pier.linux.rtnetlink import Routing
from pier.networks import segments
from pier.networks.drivers import Base, Port
from pier.networks.model import Network, Subnet
from pier.networks.plumbing import Plumbing
from pier.networks.segments import prefix
from tests.engine.networks.isolated import Namespace, answer, ask

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces")
NAME = "br-666666666666"


def network(icc: bool = True) -> Network:
    options = {} if icc else {"com.docker.network.bridge.enable_icc": "false"}
    subnet = Subnet(network="10.9.0.0/16", gateway="10.9.255.254")
    return Network(id="6" * 64, name="wide", created_ns=0, driver="bridge", link=NAME, subnets=(subnet,), options=options)


def filled(routing: Routing, base: Base, elsewhere: Namespace, count: int) -> None:
    """Ports without containers: veths to one namespace."""
    for number in range(count):
        routing.create_veth(f"fill{number}", base.index, elsewhere.fd, f"in{number}", f"06:00:00:00:{number >> 8:02x}:{number & 255:02x}", 1500)


def port(number: int, space: Namespace, *, isolated: bool = False) -> Port:
    return Port(f"pier00000000{number:02}", space.fd, (f"10.9.0.{number}",), f"02:00:00:00:00:{number:02x}", 1500, isolated=isolated)


def configure(space: Namespace, number: int) -> None:
    space(configure_inside, interfaces=[{"name": "eth0", "mac": "", "addresses": [f"10.9.0.{number}/16"], "gateways": [], "neighbours": []}])


def in_namespace(test: Callable[[], None]) -> Callable[[], None]:
    @functools.wraps(test)
    def wrapper() -> None:
        with Namespace() as host:
            host(test)

    return wrapper


def reaches(one: Namespace, other: Namespace, address: str, *, wait_s: float = 20.0) -> bool:
    other.start(answer, address, 7, 1, wait_s)
    return bool(one(ask, address, 7, timeout_s=wait_s))


@in_namespace
def test_containers_of_all_parts_reach_each_other_and_the_gateway() -> None:
    routing, plumbing = Routing(), Plumbing("pier")
    before = {link.name for link in routing.links()}
    base = plumbing.bridges.create(network(), 1500)
    with Namespace() as one, Namespace() as two, Namespace() as three, Namespace() as late, Namespace() as elsewhere:
        plumbing.bridges.join(base, port(1, one))
        filled(routing, base, elsewhere, 1021)
        for number, space in ((2, two), (3, three), (4, late)):
            plumbing.bridges.join(base, port(number, space))
        for number, space in ((1, one), (2, two), (3, three), (4, late)):
            configure(space, number)
        masters = {link.name: link.master for link in routing.links()}
        parts = list(plumbing.bridges.segments.parts(base))
        assert [part.name for part in parts] == [f"{prefix(NAME)}1"]
        assert masters["pier0000000003"] == masters["pier0000000004"] == parts[0].index
        for here, there, address in ((one, late, "10.9.0.4"), (late, one, "10.9.0.1"), (two, three, "10.9.0.3"), (three, late, "10.9.0.4")):
            assert reaches(here, there, address)
        gateway = late.start(ask, "10.9.255.254", 7)
        assert answer("10.9.255.254", 7)
        assert gateway()
        # what somebody deletes by hand comes back
        routing.delete_link(f"{prefix(NAME)}1u")
        base, mended = plumbing.bridges.ensure(network(), 1500)
        assert mended and reaches(one, late, "10.9.0.4")
        assert plumbing.stray_links({NAME}) == []
        assert len(plumbing.stray_links(set())) == 3, "bridge, part and veth are found by their alias"
        plumbing.bridges.remove([network()])
        left = {link.name for link in routing.links() if not link.name.startswith(("fill", "pier"))}
        assert left == before, "parts go with their network"


@in_namespace
def test_parts_keep_isolated_ports_apart() -> None:
    plumbing = Plumbing("pier")
    base = plumbing.bridges.create(network(icc=False), 1500)
    with Namespace() as one, Namespace() as two, Namespace() as three:
        plumbing.bridges.join(base, port(1, one, isolated=True))
        plumbing.bridges.join(base, port(2, two, isolated=True))
        plumbing.bridges.segments.extend(base, 1500, isolated=True)
        plumbing.bridges.segments.settled(base, next(plumbing.bridges.segments.parts(base)).index)
        plumbing.bridges.join(base, port(3, three, isolated=True))
        for number, space in ((1, one), (2, two), (3, three)):
            configure(space, number)
        for here, there, address in ((one, two, "10.9.0.2"), (one, three, "10.9.0.3"), (three, one, "10.9.0.1"), (two, three, "10.9.0.3")):
            assert not reaches(here, there, address, wait_s=0.3)
        for space in (one, two, three):
            gateway = space.start(ask, "10.9.255.254", 7)
            assert answer("10.9.255.254", 7)
            assert gateway()


@pytest.mark.parametrize("where", ["networks.segment", "networks.segment.moves"])
def test_who_is_killed_while_a_part_is_hung_on_leaves_what_is_mended(where: str) -> None:
    def body() -> None:
        plumbing = Plumbing("pier")
        base = plumbing.bridges.create(network(), 1500)
        with Namespace() as one, Namespace() as two:
            plumbing.bridges.join(base, port(1, one))
            killed = os.fork()
            if not killed:
                segments.point = lambda name: os._exit(0) if name == where else None  # type: ignore[attr-defined]
                Plumbing("pier").bridges.segments.extend(base, 1500, isolated=False)
                os._exit(1)
            assert os.waitpid(killed, 0)[1] == 0
            base, mended = plumbing.bridges.ensure(network(), 1500)
            assert mended == (where == "networks.segment.moves")
            part = next(plumbing.bridges.segments.parts(base), None)
            plumbing.bridges.segments.settled(base, part.index if part else base.index)
            plumbing.bridges.join(base, port(2, two))
            for number, space in ((1, one), (2, two)):
                configure(space, number)
            assert reaches(one, two, "10.9.0.2")

    with Namespace() as host:
        host(body)
