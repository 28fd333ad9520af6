"""--link in the default bridge and in networks of users, and what a container asks of one interface."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.engine import Engine

from .test_user_networks import create, places, run_in, start

SYSCTLS = "com.docker.network.endpoint.sysctls"


@pytest.fixture(autouse=True)
def no_network_is_left(engine: Engine) -> Iterator[None]:
    yield
    for container in engine.api.get("/containers/json", all=True):
        if set(container["NetworkSettings"]["Networks"]) - {"bridge"}:
            engine.api("DELETE", f"/containers/{container['Id']}", force=True)
    engine.api("POST", "/networks/prune").ok()


def said(engine: Engine, container: str, *command: str) -> str:
    """What a command in a container wrote, as a terminal shows it."""
    wanted = {"Cmd": list(command), "AttachStdout": True, "Tty": True}
    execution = engine.api("POST", f"/containers/{container}/exec", wanted).ok(201).json["Id"]
    return engine.api("POST", f"/exec/{execution}/start", {"Detach": False, "Tty": True}).ok().body.decode().replace("\r\n", "\n")


def test_links_in_the_default_bridge(engine: Engine) -> None:
    web = start(engine, "web", "bridge", Hostname="webhost", Env=["FOO=bar", "PATH=/bin"], ExposedPorts={"80/tcp": {}})
    start(engine, "app", "bridge", HostConfig={"Links": ["web:front-end", "web"]})
    address = places(engine, "web")["bridge"]["IPAddress"]
    environment = said(engine, "app", "env").splitlines()
    for line in (f"FRONT_END_PORT=tcp://{address}:80", "FRONT_END_NAME=/app/front-end", "FRONT_END_ENV_FOO=bar", "WEB_NAME=/app/web"):
        assert line in environment
    assert not any("ENV_PATH" in line for line in environment)
    hosts = said(engine, "app", "cat", "/etc/hosts")
    assert f"{address}\tfront-end webhost web\n{address}\tweb webhost\n" in hosts
    assert run_in(engine, "app", "ping", "-c", "1", "-W", "5", "front-end")[0] == 0
    assert engine.api.get("/containers/app/json")["HostConfig"]["Links"] == ["/web:/app/front-end", "/web:/app/web"]
    engine.api("POST", "/containers/web/rename", name="shop").ok(204)
    assert engine.api.get("/containers/app/json")["HostConfig"]["Links"] == ["/shop:/app/front-end", "/shop:/app/web"]
    listed = {each["Id"]: each["Names"] for each in engine.api.get("/containers/json")}
    assert listed[web] == ["/app/front-end", "/app/web", "/shop"]

    engine.api("POST", "/containers/shop/stop", t=0).ok(204)
    start(engine, "taker", "bridge")
    engine.api("POST", "/containers/shop/start").ok(204)
    moved = places(engine, "shop")["bridge"]["IPAddress"]
    assert f"{moved}\tfront-end webhost shop" in said(engine, "app", "cat", "/etc/hosts"), "its new address is followed"

    assert engine.api("DELETE", "/containers/app/nope", link=True).json["message"] == "No such container: app/nope"
    assert engine.api("DELETE", "/containers/app", link=True).status == 500
    engine.api("DELETE", "/containers/app/web", link=True).ok(204)
    assert engine.api.get("/containers/app/json")["HostConfig"]["Links"] == ["/shop:/app/front-end"]
    engine.api("POST", "/containers/shop/stop", t=0).ok(204)
    refused = engine.api("POST", "/containers/app/restart", t=0)
    assert refused.status == 500 and "Cannot link to a non running container: /shop AS /app/front-end" in refused.json["message"]


def test_links_that_are_refused(engine: Engine) -> None:
    create(engine, "mine", "10.81.0.0/24")
    start(engine, "far", "mine")
    for mode, link, words in (
        ("bridge", "nope:x", "could not get container for nope: No such container: nope"),
        ("bridge", "a:b:c", "bad format for links: a:b:c"),
        ("host", "far", "conflicting options: host type networking can't be used with links"),
    ):
        answer = engine.api("POST", "/containers/create", {"Image": "busybox:latest", "HostConfig": {"Links": [link], "NetworkMode": mode}})
        assert answer.status == 400 and words in answer.json["message"]
    made = engine.api("POST", "/containers/create", {"Image": "busybox:latest", "HostConfig": {"Links": ["far"]}}).ok(201).json["Id"]
    assert "not attached to default bridge network" in engine.api("POST", f"/containers/{made}/start").json["message"]


def test_links_in_a_network_are_aliases_for_one_container(engine: Engine) -> None:
    create(engine, "mine", "10.81.0.0/24")
    start(engine, "one", "mine", settings={"mine": {"Links": ["later:db"]}})
    start(engine, "two", "mine", HostConfig={"Links": ["one:friend"]})
    assert run_in(engine, "one", "ping", "-c", "1", "-W", "2", "db")[0] == 1
    start(engine, "later", "mine")
    assert run_in(engine, "one", "ping", "-c", "1", "-W", "5", "db")[0] == 0
    assert run_in(engine, "two", "ping", "-c", "1", "-W", "5", "friend")[0] == 0
    assert run_in(engine, "two", "ping", "-c", "1", "-W", "2", "db")[0] == 1, "an alias of one container's own"


def test_what_is_asked_of_one_interface(engine: Engine) -> None:
    create(engine, "mine", "10.81.0.0/24")
    options = {SYSCTLS: "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0", "com.docker.network.endpoint.ifname": "front0"}
    start(engine, "one", "mine", settings={"mine": {"DriverOpts": options, "IPAMConfig": {"LinkLocalIPs": ["169.254.5.5"]}}})
    assert said(engine, "one", "cat", "/proc/sys/net/ipv4/conf/front0/log_martians") == "1\n"
    assert "169.254.5.5/16" in run_in(engine, "one", "ip", "addr", "show", "front0")[1]
    create(engine, "other", "10.82.0.0/24")
    wish = {"Container": "one", "EndpointConfig": {"DriverOpts": {SYSCTLS: "net.ipv4.conf.IFNAME.log_martians=1"}}}
    engine.api("POST", "/networks/other/connect", wish).ok()
    assert said(engine, "one", "cat", "/proc/sys/net/ipv4/conf/eth0/log_martians") == "1\n"
    for option, words in (
        ({SYSCTLS: "kernel.foo=1"}, "unrecognised network interface sysctl 'kernel.foo=1'; represent 'net.X.Y.ethN.Z=V' as"),
        ({SYSCTLS: "net.ipv4.conf.IFNAME.../../x=1"}, "unrecognised network interface sysctl"),
        ({"com.docker.network.endpoint.ifname": "a/b"}, "invalid interface name 'a/b'"),
        ({"com.docker.network.endpoint.ifname": "lo"}, "invalid interface name 'lo'"),
        ({"foo": "bar"}, "the driver option foo of a container's place in a network is not supported by Pier yet"),
    ):
        wanted = {"EndpointsConfig": {"mine": {"DriverOpts": option}}}
        body = {"Image": "busybox:latest", "HostConfig": {"NetworkMode": "mine"}, "NetworkingConfig": wanted}
        answer = engine.api("POST", "/containers/create", body)
        assert answer.status in (400, 501) and words in answer.json["message"]
    body = {"Image": "busybox:latest", "HostConfig": {"Sysctls": {"net.ipv4.conf.eth0.log_martians": "1"}}}
    assert "must be supplied using driver option" in engine.api("POST", "/containers/create", body).json["message"]


def test_a_sysctl_that_is_not_there_fails_the_start(engine: Engine) -> None:
    create(engine, "mine", "10.81.0.0/24")
    wish = {"mine": {"DriverOpts": {SYSCTLS: "net.ipv4.conf.IFNAME.nope=1"}}}
    body = {"Image": "busybox:latest", "HostConfig": {"NetworkMode": "mine"}, "NetworkingConfig": {"EndpointsConfig": wish}}
    made = engine.api("POST", "/containers/create", body).ok(201).json["Id"]
    refused = engine.api("POST", f"/containers/{made}/start")
    assert refused.status == 500 and "/proc/sys/net/ipv4/conf/eth0/nope is not a sysctl file" in refused.json["message"]
    assert Path(f"/proc/{engine.pid}").exists()


def test_links_are_known_after_a_restart_of_the_daemon(engine: Engine) -> None:
    start(engine, "web", "bridge")
    start(engine, "app", "bridge", HostConfig={"Links": ["web:front"]})
    engine.kill("daemon")
    engine.start()
    engine.api("POST", "/containers/web/stop", t=0).ok(204)
    start(engine, "taker", "bridge")
    engine.api("POST", "/containers/web/start").ok(204)
    assert f"{places(engine, 'web')['bridge']['IPAddress']}\tfront" in said(engine, "app", "cat", "/etc/hosts")
