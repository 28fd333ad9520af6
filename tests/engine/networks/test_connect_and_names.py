"""Connecting and disconnecting running containers, and the names by which containers find each other."""

from collections.abc import Iterator

import pytest

from tests.engine.faults import steps
from tests.harness.commands import eventually
from tests.harness.engine import Engine

from .test_user_networks import create, no_network_is_left, pings, places, run_in, start

__all__ = ["no_network_is_left"]


def resolves(engine: Engine, container: str, name: str) -> list[str]:
    """The addresses of a name, as a container hears them; none where there is no such name."""
    code, said = run_in(engine, container, "nslookup", name)
    if code:
        return []
    lines = said.replace("\r", "").splitlines()
    heads = [line.partition("Address")[2].partition(":")[2].split() for line in lines[2:] if line.startswith("Address")]
    return [words[0] for words in heads if words]


@pytest.fixture
def pair(engine: Engine) -> Iterator[Engine]:
    create(engine, "shop", "10.91.0.0/24")
    create(engine, "back", "10.92.0.0/24 fd00:92::/64", EnableIPv6=True)
    start(engine, "web", "shop", settings={"shop": {"Aliases": ["www", "Front"]}})
    yield engine


def test_a_running_container_is_connected_and_disconnected(pair: Engine) -> None:
    engine = pair
    db = start(engine, "db1", "back")
    assert not pings(engine, "web", "10.92.0.2")
    engine.api("POST", "/networks/back/connect", {"Container": "web", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.92.0.50"}}}).ok()
    found = places(engine, "web")["back"]
    assert (found["IPAddress"], found["GlobalIPv6Address"]) == ("10.92.0.50", "fd00:92::3")
    assert "10.92.0.50/24" in run_in(engine, "web", "ip", "addr", "show", "eth1")[1]
    assert pings(engine, "web", "10.92.0.2") and pings(engine, "web", "fd00:92::2")
    assert "default via 10.92.0.1 dev eth1" in run_in(engine, "web", "ip", "route")[1], "`back` comes before `shop`, as in Docker"
    assert resolves(engine, "web", "db1") and resolves(engine, "db1", "web")
    assert "10.92.0.50\tweb" not in run_in(engine, "web", "cat", "/etc/hosts")[1]  # the host name is the ID
    assert "10.92.0.50" in run_in(engine, "web", "cat", "/etc/hosts")[1]
    again = engine.api("POST", "/networks/back/connect", {"Container": "web"})
    assert (again.status, again.json["message"]) == (403, "endpoint with name web already exists in network back")
    engine.api("POST", "/networks/back/disconnect", {"Container": "web"}).ok()
    assert "eth1" not in run_in(engine, "web", "ip", "link")[1]
    assert "default via 10.91.0.1 dev eth0" in run_in(engine, "web", "ip", "route")[1]
    assert "10.92.0.50" not in run_in(engine, "web", "cat", "/etc/hosts")[1]
    assert "back" not in places(engine, "web") and not resolves(engine, "web", "db1")
    gone = engine.api("POST", "/networks/back/disconnect", {"Container": "web"})
    assert gone.status == 500 and "is not connected to network back" in gone.json["message"]
    assert db


def test_a_stopped_container_has_its_networks_at_its_next_start(pair: Engine) -> None:
    engine = pair
    engine.api("POST", "/containers/web/stop", t=0).ok(204)
    engine.api("POST", "/networks/back/connect", {"Container": "web"}).ok()
    engine.api("POST", "/networks/shop/disconnect", {"Container": "web"}).ok()
    engine.api("POST", "/containers/web/start").ok(204)
    assert list(places(engine, "web")) == ["back"] and places(engine, "web")["back"]["IPAddress"] == "10.92.0.2"


@pytest.mark.parametrize(
    ("network", "body", "status", "text"),
    [
        ("nope", {"Container": "web"}, 404, "network nope not found"),
        ("shop", {"Container": "nope"}, 404, "No such container: nope"),
        ("host", {"Container": "web"}, 400, "cannot connect container to host network - container must be created in host network mode"),
        ("back", {"Container": "web", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}}, 400,
         "invalid endpoint settings:\nno configured subnet or ip-range contain the IP address 1.2.3.4"),
        ("bridge", {"Container": "web", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "172.17.0.99"}}}, 400,
         "invalid endpoint settings:\nuser specified IP address is supported on user defined networks only"),
    ],
)  # fmt: skip
def test_what_connect_refuses(pair: Engine, network: str, body: dict[str, object], status: int, text: str) -> None:
    answer = pair.api("POST", f"/networks/{network}/connect", body)
    assert (answer.status, answer.json["message"]) == (status, text)


def test_names_aliases_and_ids(pair: Engine) -> None:
    engine = pair
    other = start(engine, "other", "shop")
    for name in ("web", "www", "front", "web.shop"):
        assert resolves(engine, "other", name) == ["10.91.0.2"], name
    assert resolves(engine, "web", other[:12]) == ["10.91.0.3"]
    assert "web.shop" in run_in(engine, "other", "nslookup", "10.91.0.2")[1]
    assert "nameserver 127.0.0.11" in run_in(engine, "other", "cat", "/etc/resolv.conf")[1]
    engine.api("POST", "/containers/other/rename", name="renamed").ok(204)
    assert resolves(engine, "web", "renamed") == ["10.91.0.3"] and not resolves(engine, "web", "other")
    engine.api("POST", "/containers/renamed/stop", t=0).ok(204)
    eventually(lambda: not resolves(engine, "web", "renamed"), 10, "the name of a stopped container goes")


def test_port_53_is_still_the_containers_own(pair: Engine) -> None:
    engine = pair
    code, said = run_in(engine, "web", "sh", "-c", "(echo hello | timeout 5 nc -l -p 53 &) ; sleep 0.3; nc -w 2 10.91.0.2 53 </dev/null")
    assert "hello" in said, (code, said)
    assert resolves(engine, "web", "web") == ["10.91.0.2"]


def test_a_container_of_the_bridge_alone_has_no_server_of_names(engine: Engine) -> None:
    start(engine, "plain", "bridge")
    assert "127.0.0.11" not in run_in(engine, "plain", "cat", "/etc/resolv.conf")[1]
    create(engine, "shop", "10.91.0.0/24")
    start(engine, "web", "shop")
    engine.api("POST", "/networks/shop/connect", {"Container": "plain"}).ok()
    assert "127.0.0.11" in run_in(engine, "plain", "cat", "/etc/resolv.conf")[1]
    assert resolves(engine, "plain", "web") == ["10.91.0.2"] and resolves(engine, "web", "plain") == ["10.91.0.3"]
    engine.api("DELETE", "/containers/plain", force=True).ok(204)


@pytest.mark.parametrize("victim", ["netd", "daemon", "keeper"])
def test_names_are_answered_whoever_dies(fresh_engine: Engine, victim: str) -> None:
    engine = fresh_engine
    create(engine, "shop", "10.91.0.0/24")
    start(engine, "web", "shop")
    start(engine, "other", "shop")
    execution = engine.api("POST", "/containers/other/exec", {"Cmd": ["true"]}).ok(201)
    assert execution and resolves(engine, "other", "web") == ["10.91.0.2"]
    engine.kill(victim)
    if victim == "daemon":
        engine.start()
    eventually(lambda: resolves(engine, "other", "web") == ["10.91.0.2"], 20, "names are answered again")
    start(engine, "third", "shop")
    assert resolves(engine, "other", "third") == ["10.91.0.4"] and resolves(engine, "third", "web") == ["10.91.0.2"]


@pytest.mark.parametrize("point", ["connect.record", "disconnect.record"])
def test_a_daemon_killed_while_it_connects(fresh_engine: Engine, point: str) -> None:
    engine = fresh_engine
    engine.stop()
    engine.start(PIER_FAIL=f"{point}:kill")
    create(engine, "one", "10.91.0.0/24")
    create(engine, "two", "10.92.0.0/24")
    start(engine, "web", *(["one"] if point == "connect.record" else ["one", "two"]))
    verb = point.partition(".")[0]
    assert steps.attempt(engine, "POST", f"/networks/two/{verb}", {"Container": "web"}) is None
    steps.died(engine)
    engine.start()
    there = verb == "disconnect"  # neither was acknowledged: nothing has changed
    assert ("two" in places(engine, "web")) == there
    assert ("eth1" in run_in(engine, "web", "ip", "link")[1]) == there
    assert ("web" in str(engine.api.get("/networks/two")["Containers"])) == there
    start(engine, "next", "two")
    assert places(engine, "next")["two"]["IPAddress"] == ("10.92.0.3" if there else "10.92.0.2")
