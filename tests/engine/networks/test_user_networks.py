"""Networks of users through a real daemon: made, joined, kept apart, removed; what a restart and a kill leave."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine.faults import steps
from tests.harness.commands import run
from tests.harness.engine import Engine

from .isolated import answer, ask
from .positions import HOST4, LAN4, Entered, ip, lan

IMAGE = "busybox:latest"


@pytest.fixture(autouse=True)
def no_network_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    used: list[Engine] = [request.getfixturevalue(name) for name in ("engine", "fresh_engine") if name in request.fixturenames]
    yield
    for engine in used:
        for container in engine.api.get("/containers/json", all=True):
            if set(container["NetworkSettings"]["Networks"]) - {"bridge", "host", "none"}:
                engine.api("DELETE", f"/containers/{container['Id']}", force=True)
        engine.api("POST", "/networks/prune").ok()
        assert {network["Name"] for network in engine.api.get("/networks")} == {"bridge", "host", "none"}


def create(engine: Engine, name: str, subnet: str = "", **fields: Any) -> str:
    if subnet:
        fields["IPAM"] = {"Config": [{"Subnet": one} for one in subnet.split()]}
    return str(engine.api("POST", "/networks/create", {"Name": name, **fields}).ok(201).json["Id"])


def start(engine: Engine, name: str, *networks: str, settings: dict[str, Any] | None = None, **fields: Any) -> str:
    """A container that sleeps, in networks; the first is its network mode."""
    host = {"NetworkMode": networks[0], **fields.pop("HostConfig", {})}
    wanted = {network: (settings or {}).get(network, {}) for network in networks}
    body = {"Image": IMAGE, "Cmd": ["sleep", "600"], "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": wanted}, **fields}
    made = str(engine.api("POST", "/containers/create", body, name=name).ok(201).json["Id"])
    engine.api("POST", f"/containers/{made}/start").ok(204)
    return made


def run_in(engine: Engine, container: str, *command: str) -> tuple[int, str]:
    """Run a command in a container; (exit code, what it said)."""
    wanted = {"Cmd": list(command), "AttachStdout": True, "AttachStderr": True}
    execution = engine.api("POST", f"/containers/{container}/exec", wanted).ok(201).json["Id"]
    said = engine.api("POST", f"/exec/{execution}/start", {"Detach": False, "Tty": True}).ok().body
    return int(engine.api.get(f"/exec/{execution}/json")["ExitCode"]), said.decode(errors="replace")


def pings(engine: Engine, container: str, address: str) -> bool:
    return run_in(engine, container, "ping", "-c", "1", "-W", "2", address)[0] == 0


def places(engine: Engine, container: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = engine.api.get(f"/containers/{container}/json")["NetworkSettings"]["Networks"]
    return found


def test_containers_of_one_network_reach_each_other_and_no_other_network(engine: Engine) -> None:
    create(engine, "one", "10.81.0.0/24")
    create(engine, "two", "10.82.0.0/24")
    first, second, other = start(engine, "first", "one"), start(engine, "second", "one"), start(engine, "other", "two")
    assert places(engine, "second")["one"]["IPAddress"] == "10.81.0.3"
    assert places(engine, "first")["one"]["DNSNames"] == ["first", first[:12]]
    assert pings(engine, "first", "10.81.0.3") and pings(engine, "first", "10.81.0.1")
    assert not pings(engine, "first", places(engine, "other")["two"]["IPAddress"])
    inside = engine.api.get("/networks/one")["Containers"]
    assert {each["Name"] for each in inside.values()} == {"first", "second"} and second in inside
    assert [c["Names"] for c in engine.api.get("/containers/json", filters=json.dumps({"network": ["two"]}))] == [["/other"]]
    refused = engine.api("DELETE", "/networks/two")
    assert refused.status == 403 and 'network two has active endpoints (name:"other"' in refused.json["message"]
    assert other


def test_a_container_in_two_networks(engine: Engine) -> None:
    create(engine, "one", "10.81.0.0/24")
    create(engine, "two", "10.82.0.0/24 fd00:82::/64", EnableIPv6=True)
    wishes = {"one": {"IPAMConfig": {"IPv4Address": "10.81.0.77"}, "MacAddress": "02:00:00:00:81:77"}, "two": {"GwPriority": 5}}
    start(engine, "both", "one", "two", settings=wishes)
    found = places(engine, "both")
    assert (found["one"]["IPAddress"], found["one"]["MacAddress"]) == ("10.81.0.77", "02:00:00:00:81:77")
    assert (found["two"]["IPAddress"], found["two"]["GlobalIPv6Address"], found["two"]["IPv6Gateway"]) == ("10.82.0.2", "fd00:82::2", "fd00:82::1")
    links = run_in(engine, "both", "ip", "addr")[1]
    assert "eth0" in links and "10.81.0.77/24" in links and "eth1" in links and "fd00:82::2/64" in links
    assert "default via 10.82.0.1 dev eth1" in run_in(engine, "both", "ip", "route")[1]
    start(engine, "six", "two")
    assert pings(engine, "six", "fd00:82::2")
    assert pings(engine, "six", "10.82.0.2")
    engine.api("POST", "/containers/both/restart", t=0).ok(204)
    assert places(engine, "both")["one"]["IPAddress"] == "10.81.0.77"
    assert "default via 10.82.0.1 dev eth1" in run_in(engine, "both", "ip", "route")[1]


def test_an_address_is_free_for_the_next_as_soon_as_its_container_is_removed(engine: Engine) -> None:
    create(engine, "again", "10.87.0.0/24")
    for number in range(3):
        start(engine, f"fixed{number}", "again", settings={"again": {"IPAMConfig": {"IPv4Address": "10.87.0.50"}}})
        assert places(engine, f"fixed{number}")["again"]["IPAddress"] == "10.87.0.50"
        engine.api("POST", f"/containers/fixed{number}/restart", t=0).ok(204)
        engine.api("DELETE", f"/containers/fixed{number}", force=True).ok(204)


def test_an_internal_network_leads_nowhere_and_icc_false_keeps_its_containers_apart(engine: Engine) -> None:
    create(engine, "inner", "10.83.0.0/24", Internal=True)
    create(engine, "apart", "10.84.0.0/24", Options={"com.docker.network.bridge.enable_icc": "false"})
    start(engine, "in1", "inner")
    start(engine, "in2", "inner")
    assert pings(engine, "in1", "10.83.0.3")
    assert "default" not in run_in(engine, "in1", "ip", "route")[1]
    start(engine, "apart1", "apart")
    start(engine, "apart2", "apart")
    assert pings(engine, "apart1", "10.84.0.1")
    assert not pings(engine, "apart1", "10.84.0.3")


def test_addresses_that_are_taken_or_outside_are_refused(engine: Engine) -> None:
    create(engine, "one", "10.81.0.0/24")
    start(engine, "first", "one", settings={"one": {"IPAMConfig": {"IPv4Address": "10.81.0.9"}}})
    body = {"Image": IMAGE, "HostConfig": {"NetworkMode": "one"}}

    def wish(address: str) -> dict[str, Any]:
        return {**body, "NetworkingConfig": {"EndpointsConfig": {"one": {"IPAMConfig": {"IPv4Address": address}}}}}

    outside = engine.api("POST", "/containers/create", wish("10.99.0.1"))
    assert outside.status == 400 and "no configured subnet or ip-range contain the IP address 10.99.0.1" in outside.json["message"]
    taken = engine.api("POST", "/containers/create", wish("10.81.0.9")).ok(201).json["Id"]
    refused = engine.api("POST", f"/containers/{taken}/start")
    assert refused.status == 409 and "Address already in use" in refused.json["message"]
    engine.api("DELETE", f"/containers/{taken}").ok(204)
    clash = engine.api("POST", "/networks/create", {"Name": "x", "IPAM": {"Config": [{"Subnet": "10.81.0.0/25"}]}})
    assert clash.status == 403 and "Pool overlaps with other one on this address space" in clash.json["message"]


def test_a_network_that_is_gone_is_found_out_at_the_start(engine: Engine) -> None:
    create(engine, "brief", "10.85.0.0/24")
    made = engine.api("POST", "/containers/create", {"Image": IMAGE, "HostConfig": {"NetworkMode": "brief"}}).ok(201).json["Id"]
    engine.api("DELETE", "/networks/brief").ok(204)
    refused = engine.api("POST", f"/containers/{made}/start")
    assert refused.status == 404 and "failed to set up container networking: network" in refused.json["message"]
    engine.api("DELETE", f"/containers/{made}").ok(204)


def test_networks_and_their_containers_outlive_the_daemon(fresh_engine: Engine) -> None:
    engine = fresh_engine
    identity = create(engine, "one", "10.81.0.0/24 fd00:81::/64", EnableIPv6=True, Labels={"a": "b"})
    start(engine, "first", "one", "bridge")
    before, there = places(engine, "first"), engine.api.get("/networks/one")
    engine.kill("daemon")
    engine.start()
    assert (places(engine, "first"), engine.api.get("/networks/one")) == (before, there)
    start(engine, "second", "one")
    assert places(engine, "second")["one"]["IPAddress"] == "10.81.0.3"
    assert pings(engine, "second", "10.81.0.2")
    assert engine.api.get("/networks", filters=json.dumps({"label": ["a=b"]}))[0]["Id"] == identity


@pytest.mark.parametrize("point", ["networks.create.row", "networks.create.bridge", "networks.create.rules"])
def test_a_daemon_killed_while_it_makes_a_network(fresh_engine: Engine, point: str) -> None:
    engine = fresh_engine
    engine.stop()
    engine.start(PIER_FAIL=f"{point}:kill")
    wanted = {"Name": "half", "IPAM": {"Config": [{"Subnet": "10.86.0.0/24"}]}}
    assert steps.attempt(engine, "POST", "/networks/create", wanted) is None
    steps.died(engine)
    engine.start()
    assert {network["Name"] for network in engine.api.get("/networks")} == {"bridge", "host", "none", "half"}
    start(engine, "later", "half")
    assert pings(engine, "later", "10.86.0.1")


def test_a_removed_network_is_out_of_the_way_of_the_next(engine: Engine) -> None:
    """Links are deleted a moment later, together; who wants the same name of a bridge and the same addresses at once has them."""
    wanted = {"Options": {"com.docker.network.bridge.name": "br-again"}}
    for _ in range(3):
        create(engine, "again", "10.87.0.0/24", **wanted)
        create(engine, "beside", "10.88.0.0/24")
        for name in ("again", "beside"):
            engine.api("DELETE", f"/networks/{name}").ok(204)
    create(engine, "again", "10.87.0.0/24", **wanted)
    start(engine, "there", "again")
    assert pings(engine, "there", "10.87.0.1")


@pytest.mark.parametrize("point", ["networks.remove.row", "networks.remove.rules"])
def test_a_daemon_killed_while_it_removes_a_network(fresh_engine: Engine, point: str) -> None:
    engine = fresh_engine
    engine.stop()
    engine.start(PIER_FAIL=f"{point}:kill")
    create(engine, "going", "10.86.0.0/24", Options={"com.docker.network.bridge.name": "br-going"})
    assert steps.attempt(engine, "DELETE", "/networks/going") is None
    steps.died(engine)
    engine.start()
    there = "going" in {network["Name"] for network in engine.api.get("/networks")}
    links = run(engine.namespaces.argv("ip", "-o", "link")).out
    assert there == ("br-going" in links) == (point == "networks.remove.row")


def test_pools_of_ones_own() -> None:
    with Engine("--default-address-pool", "base=10.40.0.0/16,size=24", "--default-address-pool", "base=fd00:40::/48,size=64") as engine:
        create(engine, "first")
        create(engine, "second", EnableIPv6=True)
        found = {n["Name"]: [each["Subnet"] for each in n["IPAM"]["Config"] or []] for n in engine.api.get("/networks")}
        assert (found["bridge"], found["first"]) == (["10.40.0.0/24"], ["10.40.1.0/24"])
        assert found["second"] == ["10.40.2.0/24", "fd00:40::/64"]
        assert engine.api.get("/info")["DefaultAddressPools"][0] == {"Base": "10.40.0.0/16", "Size": 24}


def table(engine: Engine) -> str:
    """The name of its firewall tables."""
    listed = run(engine.namespaces.argv("nft", "list", "tables")).ok().out
    return next(line.split()[2] for line in listed.splitlines() if line.startswith("table ip pier"))


def test_what_leaves_a_network_has_the_address_that_it_names(engine: Engine) -> None:
    named4, named6 = "203.0.113.77", "2001:db8::77"
    options = {"com.docker.network.host_ipv4": named4, "com.docker.network.host_ipv6": named6}
    with lan(engine) as outside:
        for address in (f"{named4}/24", f"{named6}/64"):
            ip(engine.namespaces.pid, "address", "add", address, "dev", "lan0")
        create(engine, "named", "10.83.0.0/24 fd00:83::/64", Options=options, EnableIPv6=True)
        create(engine, "plain", "10.84.0.0/24")
        for network, seen in (("named", named4), ("plain", HOST4)):
            start(engine, f"in-{network}", network)
            with Entered(engine.api.get(f"/containers/in-{network}/json")["State"]["Pid"]) as inside:
                heard = outside.start(answer, LAN4, 7000)
                assert inside(ask, LAN4, 7000) and heard() == [(seen, b"hello")]
        assert named6 in run(engine.namespaces.argv("nft", "list", "map", "ip6", table(engine), "leaves_as")).ok().out
