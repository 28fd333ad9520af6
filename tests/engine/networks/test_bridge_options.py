"""Options of bridge networks, each by what packets do: from a LAN beside the host, and towards it."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.harness.commands import run
from tests.harness.engine import Engine
from tests.harness.images import busybox

from .isolated import Namespace, answer, ask
from .positions import HOST4, LAN4, LAN6, lan, server, who
from .test_user_networks import create, places, run_in, start

BRIDGE = "com.docker.network.bridge."
PORTS = {"80/tcp": [{"HostPort": "8085"}]}


@pytest.fixture(autouse=True)
def gone(engine: Engine) -> Iterator[None]:
    yield
    for container in engine.api.get("/containers/json", all=True):
        if "opt" in container["NetworkSettings"]["Networks"]:
            engine.api("DELETE", f"/containers/{container['Id']}", force=True)
    engine.api("POST", "/networks/prune").ok()


@contextlib.contextmanager
def web(engine: Engine, **options: str) -> Iterator[tuple[Namespace, Namespace, str]]:
    """A container with an open port 80, published as 8085, and port 81 in a network with options: a LAN, the container, its address."""
    create(engine, "opt", "10.83.0.0/24", Options={BRIDGE + key: value for key, value in options.items()})
    exposed = {"80/tcp": {}}
    start(engine, "web", "opt", ExposedPorts=exposed, HostConfig={"PortBindings": PORTS})
    with lan(engine) as outside, server(engine, "web", [80, 81]) as inside:
        yield outside, inside, places(engine, "web")["opt"]["IPAddress"]


def seen_as(outside: Namespace, inside: Namespace) -> str:
    """As whom a program on the LAN sees the container."""
    heard = outside.start(answer, LAN4, 9, 1, 10.0)
    assert inside(ask, LAN4, 9, timeout_s=10)
    return str(heard()[0][0])


def test_as_it_is(engine: Engine) -> None:
    with web(engine) as (outside, inside, address):
        assert outside(who, HOST4, 8085) == f"80 {LAN4}" and seen_as(outside, inside) == HOST4
        assert not outside(who, address, 80, "tcp", 0.3) and not outside(who, address, 81, "tcp", 0.3)


def test_unprotected_everybody_comes_in(engine: Engine) -> None:
    with web(engine, gateway_mode_ipv4="nat-unprotected") as (outside, inside, address):
        assert outside(who, HOST4, 8085) == f"80 {LAN4}" and outside(who, address, 81) == f"81 {LAN4}" and seen_as(outside, inside) == HOST4


def test_routed_what_is_published_is_reached_at_its_own_address(engine: Engine) -> None:
    with web(engine, gateway_mode_ipv4="routed") as (outside, inside, address):
        assert outside(who, address, 80) == f"80 {LAN4}" and not outside(who, address, 81, "tcp", 0.3) and not outside(who, HOST4, 8085, "tcp", 0.3)
        assert run(["nsenter", "--target", str(outside.pid), "--net", str(busybox()), "ping", "-c", "1", "-W", "3", address]).code == 0
        assert seen_as(outside, inside) == address


def test_without_masquerade_the_container_is_seen_itself(engine: Engine) -> None:
    with web(engine, enable_ip_masquerade="false") as (outside, inside, address):
        assert seen_as(outside, inside) == address and outside(who, HOST4, 8085) == f"80 {LAN4}"


def test_ports_are_bound_where_the_network_says(engine: Engine) -> None:
    with web(engine, host_binding_ipv4="127.0.0.1") as (outside, _, _):
        published = engine.api.get("/containers/web/json")["NetworkSettings"]["Ports"]["80/tcp"]
        assert published == [{"HostIp": "127.0.0.1", "HostPort": "8085"}] and not outside(who, HOST4, 8085, "tcp", 0.3)


def test_a_bridge_without_an_address_and_interfaces_of_another_name(engine: Engine) -> None:
    options = {f"{BRIDGE}inhibit_ipv4": "true", "com.docker.network.container_iface_prefix": "net"}
    link = f"br-{create(engine, 'opt', '10.83.0.0/24', Options=options)[:12]}"
    start(engine, "web", "opt")
    shown = [*engine.namespaces.argv(), "ip", "-4", "-o", "addr", "show", "dev", link]
    assert run(shown).out == "" and "net0" in run_in(engine, "web", "ip", "-4", "-o", "addr")[1]


def test_a_link_that_is_trusted_reaches_what_is_published_at_its_own_address(engine: Engine) -> None:
    options = {f"{BRIDGE}trusted_host_interfaces": "nothing0:lan0"}
    config = [{"Subnet": "10.83.0.0/24"}, {"Subnet": "fd00:83::/64"}]
    engine.api("POST", "/networks/create", {"Name": "opt", "EnableIPv6": True, "IPAM": {"Config": config}, "Options": options}).ok(201)
    ports = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8085"}], "80/udp": [{"HostIp": "::1", "HostPort": "8085"}]}
    start(engine, "web", "opt", ExposedPorts={"80/tcp": {}}, HostConfig={"PortBindings": ports})
    place = places(engine, "web")["opt"]
    four, six = place["IPAddress"], place["GlobalIPv6Address"]
    with lan(engine) as outside, server(engine, "web", [80, 81]):
        assert outside(who, four, 80) == f"80 {LAN4}" and outside(who, six, 80, "udp") == f"80 {LAN6}"
        assert not any(outside(who, *asked, 0.3) for asked in ((four, 81, "tcp"), (four, 80, "udp"), (six, 80, "tcp"), (HOST4, 8085, "tcp")))
        engine.pier("update", "--publish-add", "8086:81", "web").ok()
        assert outside(who, four, 81) == f"81 {LAN4}" and outside(who, six, 81) == f"81 {LAN6}"
        engine.pier("update", "--publish-rm", "8086:81", "web").ok()
        assert not outside(who, four, 81, "tcp", 0.3)
        engine.restart()
        assert outside(who, four, 80) == f"80 {LAN4}" and outside(who, six, 80, "udp") == f"80 {LAN6}"
