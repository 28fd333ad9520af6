"""What every driver of networks promises, over all that this kernel can. Each case runs in a network namespace of its own."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec import structs

from pier.errors import Conflict, Internal, NotImplementedByPier
from pier.linux.netlink import NetlinkError, configure_inside
from pier.linux.rtnetlink import Routing
from pier.networks.drivers import Base, Driver, Port
from pier.networks.model import Network, Subnet
from pier.networks.plumbing import Plumbing
from tests.engine.networks.isolated import Namespace, answer, ask

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces")
ID = "5" * 64
BARE = ("host", "null")
CASES: dict[str, dict[str, Any]] = {
    "bridge": {"driver": "bridge", "link": "br-555555555555"},
    "macvlan": {"driver": "macvlan", "link": "par0", "options": {"parent": "par0"}},
    "macvlan without parent": {"driver": "macvlan", "link": "dm-555555555555"},
    "ipvlan": {"driver": "ipvlan", "link": "par0", "options": {"parent": "par0"}},
    "ipvlan l3": {"driver": "ipvlan", "link": "par0", "options": {"parent": "par0", "ipvlan_mode": "l3"}},
    "ipvlan l3s": {"driver": "ipvlan", "link": "par0", "options": {"parent": "par0", "ipvlan_mode": "l3s"}},
    "host": {"driver": "host"},
    "null": {"driver": "null"},
}


@dataclass
class Stage:
    """A driver with a network of its own, in a host that has a link `par0`."""

    network: Network
    plumbing: Plumbing
    routing: Routing

    @property
    def driver(self) -> Driver:
        return self.plumbing.drivers[self.network.driver]

    def links(self) -> set[str]:
        return {link.name for link in self.routing.links()}

    def port(self, number: int, space: Namespace) -> Port:
        host = f"pier000000000{number}" if self.driver.hosted else ""
        mac = "" if self.network.driver == "ipvlan" else f"02:00:00:00:00:0{number}"
        return Port(host, space.fd, (f"10.9.0.{number}",), mac, 1500)


def each(*names: str) -> Callable[[Callable[[Stage], None]], Callable[[str], None]]:
    """Run a test for drivers, in a namespace."""

    def decorate(test: Callable[[Stage], None]) -> Callable[[str], None]:
        @pytest.mark.parametrize("case", names)
        @functools.wraps(test, assigned=("__module__", "__name__", "__doc__"), updated=())
        def wrapper(case: str) -> None:
            with Namespace() as host:
                told = host(_staged, test, case)
            if told:
                pytest.skip(told)

        del wrapper.__wrapped__  # type: ignore[attr-defined]  # pytest would ask for the inner one's arguments
        return wrapper

    return decorate


def _staged(test: Callable[[Stage], None], case: str) -> str:
    routing, plumbing = Routing(), Plumbing("pier")
    routing.create_pair("par0", "par1", 1500, "somebody's")
    network = Network(id=ID, name="net", created_ns=0, subnets=(Subnet(network="10.9.0.0/24", gateway="10.9.0.1"),), **CASES[case])
    if network.driver == "ipvlan" and not plumbing.has_ipvlan():
        return "this kernel has no ipvlan links"
    test(Stage(network, plumbing, routing))
    return ""


def configure(space: Namespace, number: int) -> None:
    inside = {"name": "eth0", "mac": "", "addresses": [f"10.9.0.{number}/24"], "gateways": [], "neighbours": []}
    space(configure_inside, interfaces=[inside])


def names_in(space: Namespace) -> set[str]:
    found: set[str] = space(lambda: {link.name for link in Routing().links()})
    return found


WIRED = [name for name in CASES if name not in BARE]


@each(*WIRED)
def test_containers_of_a_network_reach_each_other(stage: Stage) -> None:
    base = made(stage)
    with Namespace() as one, Namespace() as two:
        for number, space in ((2, one), (3, two)):
            stage.driver.join(base, stage.port(number, space))
            configure(space, number)
        answering = two.start(answer, "10.9.0.3", 7)
        assert one(ask, "10.9.0.3", 7)
        answering()


@each(*CASES)
def test_what_was_made_is_found_again_and_goes_again(stage: Stage) -> None:
    before = stage.links()
    base = stage.driver.create(stage.network, 1500)
    assert stage.driver.ensure(stage.network, 1500) == (base, False)
    assert (base is None) == (stage.network.driver in BARE)
    stage.driver.remove([stage.network])
    stage.driver.remove([stage.network])
    assert stage.links() == before


@each("bridge", "macvlan without parent")
def test_many_go_together(stage: Stage) -> None:
    before = stage.links()
    networks = [structs.replace(stage.network, id=f"{number}" * 64, link=stage.network.link[:3] + f"{number}" * 12) for number in range(5)]
    for network in networks:
        stage.driver.create(network, 1500)
    stage.routing.delete_link(networks[2].link)  # somebody was faster
    stage.driver.remove(networks)
    assert stage.links() == before
    stage.driver.remove(networks)


@each(*WIRED)
def test_a_container_that_runs_on_loses_its_link_at_once(stage: Stage) -> None:
    base = made(stage)
    with Namespace() as space:
        port = stage.port(2, space)
        stage.driver.join(base, port)
        assert names_in(space) == {"lo", "eth0"}
        assert stage.driver.leave(base, port, cut=True)
        assert names_in(space) == {"lo"}
        assert stage.driver.leave(base, port, cut=True), "once more does no harm"
        stage.driver.join(base, port)


@each(*WIRED)
def test_links_go_with_their_namespace(stage: Stage) -> None:
    base, before = made(stage), stage.links()
    with Namespace() as space:
        port = stage.port(2, space)
        stage.driver.join(base, port)
    for _ in range(200):
        if stage.links() == before:
            break
        Namespace().end()  # the kernel clears namespaces one after another
    assert stage.links() == before


@each(*WIRED)
def test_joining_what_is_gone_is_an_error_and_leaves_nothing(stage: Stage) -> None:
    gone = Base("nowhere", 9999, mode=made(stage).mode)
    with Namespace() as space:
        with pytest.raises((NetlinkError, Internal)):
            stage.driver.join(gone, stage.port(2, space))
        assert names_in(space) == {"lo"}


@each("bridge", "macvlan without parent")
def test_what_is_ours_is_made_again(stage: Stage) -> None:
    made(stage)
    stage.routing.delete_link(stage.network.link)
    base, again = stage.driver.ensure(stage.network, 1500)
    assert again and base is not None and stage.network.link in stage.links()


@each("macvlan", "ipvlan")
def test_a_parent_of_the_host_is_not_touched(stage: Stage) -> None:
    made(stage)
    stage.driver.remove([stage.network])
    assert {"par0", "par1"} <= stage.links()
    stage.routing.delete_link("par0")
    with pytest.raises(Internal, match="invalid subinterface vlan name par0"):
        stage.driver.ensure(stage.network, 1500)


@each("bridge")
def test_a_link_of_that_name_is_not_taken(stage: Stage) -> None:
    stage.routing.create_pair(stage.network.link, "other", 1500, "somebody's")
    with pytest.raises(Conflict, match="is there already"):
        stage.driver.create(stage.network, 1500)
    with pytest.raises(Conflict, match="is no bridge"):
        stage.driver.ensure(stage.network, 1500)


@each("macvlan")
def test_modes_and_parents_of_macvlan(stage: Stage) -> None:
    def of(parent: str, **options: str) -> Network:
        return Network(id=ID, name="n", created_ns=0, driver="macvlan", link=parent, options={"parent": parent, **options})

    for parent, words in (
        ("lo", "loopback interface is not a valid macvlan parent link"),
        ("par0.x", "unable to parse a valid vlan id from: x"),
        ("par0.4095", "vlan id must be between 1-4094, received: 4095"),
        ("none.5", "-o parent interface was not found on the host: none"),
    ):
        with pytest.raises(Internal, match=words):
            stage.driver.create(of(parent), 1500)
    private = stage.driver.create(of("par0", macvlan_mode="private"), 1500)
    assert private is not None
    with Namespace() as one, Namespace() as two:
        for number, space in ((2, one), (3, two)):
            stage.driver.join(private, stage.port(number, space))
            configure(space, number)
        two.start(answer, "10.9.0.3", 7, 1, 0.5)
        assert not one(ask, "10.9.0.3", 7, timeout_s=0.4)
    passthru = stage.driver.create(of("par1", macvlan_mode="passthru"), 1500)
    assert passthru is not None
    with Namespace() as one, Namespace() as two:
        stage.driver.join(passthru, stage.port(2, one))
        with pytest.raises(Internal, match="par1 has a container already, and passthru takes one"):
            stage.driver.join(passthru, stage.port(3, two))


@each("macvlan")
def test_a_vlan_of_a_parent_is_made_and_goes(stage: Stage) -> None:
    network = Network(id=ID, name="n", created_ns=0, driver="macvlan", link="par0.10", options={"parent": "par0.10"})
    try:
        base = stage.driver.create(network, 1500)
    except Internal as error:
        assert "failed to create par0.10 vlan link: operation not supported" in str(error)
        assert "par0.10" not in stage.links()
        return
    assert base is not None and "par0.10" in stage.links()
    stage.driver.remove([network])
    assert "par0.10" not in stage.links() and "par0" in stage.links()


@each("macvlan")
def test_a_kernel_without_ipvlan_says_so(stage: Stage) -> None:
    if stage.plumbing.has_ipvlan():
        return
    with Namespace() as space, pytest.raises(NotImplementedByPier, match="ipvlan on this kernel"):
        stage.plumbing.drivers["ipvlan"].join(Base("par0", stage.routing.links()[-1].index, mode="l2 bridge"), stage.port(2, space))


def made(stage: Stage) -> Base:
    base = stage.driver.create(stage.network, 1500)
    assert base is not None
    return base
