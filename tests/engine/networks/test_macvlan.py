"""Networks of the driver macvlan through a real daemon, on a veth of the daemon's host whose other end is a neighbour on the LAN."""

from collections.abc import Iterator

import pytest

from tests.harness.commands import Done, run
from tests.harness.engine import Engine

from .test_user_networks import create, pings, places, run_in, start

MAC = "02:00:00:00:55:01"


def on_host(engine: Engine, *command: str) -> Done:
    return run(engine.namespaces.argv(*command))


@pytest.fixture(autouse=True)
def lan(engine: Engine) -> Iterator[None]:
    """`lan0` on the host; `lan1`, its other end, has the address 10.88.0.254 as somebody else would."""
    on_host(engine, "sh", "-c", "ip link add lan0 type veth peer name lan1 && ip link set lan0 up && ip link set lan1 up && ip netns list").ok()
    on_host(engine, "ip", "addr", "add", "10.88.0.254/32", "dev", "lan1").ok()
    yield
    for container in engine.api.get("/containers/json", all=True):
        if set(container["NetworkSettings"]["Networks"]) - {"bridge"}:
            engine.api("DELETE", f"/containers/{container['Id']}", force=True)
    engine.api("POST", "/networks/prune").ok()
    on_host(engine, "ip", "link", "del", "lan0").ok()


def test_containers_on_a_parent(engine: Engine) -> None:
    create(engine, "van", "10.88.0.0/24", Driver="macvlan", Options={"parent": "lan0"})
    fixed = {"van": {"MacAddress": MAC, "IPAMConfig": {"IPv4Address": "10.88.0.9"}}}
    start(engine, "one", "van", settings=fixed)
    start(engine, "two", "van")
    place = places(engine, "one")["van"]
    assert (place["IPAddress"], place["MacAddress"], place["Gateway"]) == ("10.88.0.9", MAC, "10.88.0.1")
    assert run_in(engine, "two", "ping", "-c", "1", "-W", "5", "one")[0] == 0, "by name"
    assert "default via 10.88.0.1 dev eth0" in run_in(engine, "one", "ip", "route")[1]
    engine.api("POST", "/containers/one/restart", t=0).ok(204)
    assert MAC in run_in(engine, "one", "ip", "link", "show", "eth0")[1]
    assert "active endpoints" in engine.api("DELETE", "/networks/van").json["message"]
    engine.api("POST", "/networks/van/disconnect", {"Container": "two"}).ok()
    assert "eth0" not in run_in(engine, "two", "ip", "link")[1]
    engine.api("POST", "/networks/van/connect", {"Container": "two"}).ok()
    assert pings(engine, "two", "10.88.0.9")


def test_after_a_restart_of_the_daemon_links_are_still_ours(engine: Engine) -> None:
    create(engine, "van", "10.88.0.0/24", Driver="macvlan", Options={"parent": "lan0"})
    create(engine, "closed", "10.89.0.0/24", Driver="macvlan", Internal=True)
    start(engine, "one", "van", "closed")
    start(engine, "two", "closed")
    engine.kill("daemon")
    engine.start()
    assert pings(engine, "one", "10.89.0.2")
    engine.api("POST", "/networks/van/disconnect", {"Container": "one"}).ok()
    assert "eth0" not in run_in(engine, "one", "ip", "link")[1]
    start(engine, "three", "van", settings={"van": {"IPAMConfig": {"IPv4Address": "10.88.0.2"}}})


def test_without_a_parent_it_leads_nowhere(engine: Engine) -> None:
    closed = create(engine, "closed", "10.89.0.0/24", Driver="macvlan")
    assert on_host(engine, "ip", "link", "show", f"dm-{closed[:12]}").code == 0
    start(engine, "one", "closed")
    assert places(engine, "one")["closed"]["IPAddress"] == "10.89.0.1", "nobody is the gateway"
    start(engine, "two", "closed")
    assert pings(engine, "two", "10.89.0.1")
    assert "default" not in run_in(engine, "two", "ip", "route")[1]
    engine.api("DELETE", "/containers/one", force=True).ok(204)
    engine.api("DELETE", "/containers/two", force=True).ok(204)
    engine.api("DELETE", "/networks/closed").ok(204)
    create(engine, "again", "10.89.0.0/24")
    assert on_host(engine, "ip", "link", "show", f"dm-{closed[:12]}").code != 0, "the link went with its network"


def test_what_is_refused(engine: Engine) -> None:
    create(engine, "van", "10.88.0.0/24", Driver="macvlan", Options={"parent": "lan0"})
    for options, words in (
        ({"parent": "lo"}, "loopback interface is not a valid macvlan parent link"),
        ({"parent": "nope"}, "invalid subinterface vlan name nope, example formatting is eth0.10"),
        ({"parent": "lan0", "macvlan_mode": "zz"}, "requested macvlan mode 'zz' is not valid, 'bridge' mode is the macvlan driver default"),
        ({"parent": "lan0", "macvlan_mode": "passthru"}, "cannot use mode passthru, macvlan network"),
    ):
        answer = engine.api("POST", "/networks/create", {"Name": "bad", "Driver": "macvlan", "Options": options})
        assert answer.status in (400, 409, 500) and words in answer.json["message"]
    assert engine.api("GET", "/networks/bad").status == 404
    on_host(engine, "ip", "link", "del", "lan0").ok()
    made = engine.api("POST", "/containers/create", {"Image": "busybox:latest", "HostConfig": {"NetworkMode": "van"}}).ok(201).json["Id"]
    refused = engine.api("POST", f"/containers/{made}/start")
    assert refused.status == 500 and "macvlan eth0" in refused.json["message"]
    engine.api("DELETE", f"/containers/{made}").ok(204)
    on_host(engine, "ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1").ok()


def test_gateway_mode_isolated(engine: Engine) -> None:
    mode = {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}
    refused = engine.api("POST", "/networks/create", {"Name": "iso", "Options": mode})
    assert refused.status == 400 and refused.json["message"] == "gateway mode 'isolated' can only be used for an internal network"
    identity = create(engine, "iso", "10.90.0.0/24", Internal=True, Options=mode)
    assert "inet " not in on_host(engine, "ip", "-4", "addr", "show", f"br-{identity[:12]}").out
    start(engine, "one", "iso")
    start(engine, "two", "iso")
    assert (places(engine, "one")["iso"]["IPAddress"], places(engine, "one")["iso"]["Gateway"]) == ("10.90.0.1", "")
    assert pings(engine, "two", "10.90.0.1")
