"""docker network with macvlan, links, and what is asked of one interface: the docker command and docker-py."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.commands import run

from .conftest import Target

SYSCTLS = "com.docker.network.endpoint.sysctls"


@pytest.fixture
def parent(docker: Target) -> Iterator[str]:
    """A link of the engine's host; networks on it, and their containers, go before it."""
    name = "pp" + docker.name()[-6:]
    inside = ["nsenter", "--target", str(docker.inside.pid), "--net", "--"]
    run([*inside, "ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}b"]).ok()
    run([*inside, "ip", "link", "set", name, "up"]).ok()
    run([*inside, "ip", "link", "set", f"{name}b", "up"]).ok()
    yield name
    run([*inside, "ip", "link", "del", name]).ok()


@pytest.fixture
def network(docker: Target) -> Iterator[str]:
    name = docker.name()
    docker("network", "create", "--subnet", "10.93.1.0/24", name).ok()
    yield name
    gone(docker, name)


def gone(docker: Target, network: str) -> None:
    left = docker("ps", "-aq", "--filter", f"network={network}").ok().out.split()
    if left:
        docker("rm", "-f", *left).ok()
    docker("network", "rm", network).ok()


def sleeper(docker: Target, image: str, *options: str) -> str:
    name = docker.name()
    docker.background("--name", name, *options, image, "sleep", "300")
    return name


def test_macvlan(docker: Target, image: str, parent: str) -> None:
    name = docker.name()
    docker("network", "create", "-d", "macvlan", "--subnet", "10.93.2.0/24", "-o", f"parent={parent}", name).ok()
    try:
        one = sleeper(docker, image, "--network", name, "--mac-address", "02:00:00:00:77:01")
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}} {{.MacAddress}}{{end}}"
        assert docker.inspect(one, template) == "10.93.2.2 10.93.2.1 02:00:00:00:77:01"
        assert "default via 10.93.2.1 dev eth0" in docker("exec", one, "ip", "route").ok().out
        docker("run", "--rm", "--network", name, image, "ping", "-c", "1", "-W", "5", one).ok()
        docker("network", "disconnect", name, one).ok()
        assert "eth0" not in docker("exec", one, "ip", "link").ok().out
        docker("network", "connect", "--ip", "10.93.2.77", name, one).ok()
        assert "10.93.2.77/24" in docker("exec", one, "ip", "addr").ok().out
    finally:
        gone(docker, name)


def test_macvlan_that_cannot_be(docker: Target, parent: str) -> None:
    for options, words in (
        (("parent=nope",), "invalid subinterface vlan name nope, example formatting is eth0.10"),
        ((f"parent={parent}.x",), "unable to parse a valid vlan id from: x (ex. eth0.10 for vlan 10)"),
        ((f"parent={parent}.5000",), "vlan id must be between 1-4094, received: 5000"),
        (("parent=nope.10",), "-o parent interface was not found on the host: nope"),
        (("parent=lo",), "loopback interface is not a valid macvlan parent link"),
        ((f"parent={parent}", "macvlan_mode=zz"), "requested macvlan mode 'zz' is not valid, 'bridge' mode is the macvlan driver default"),
    ):
        given = [word for option in options for word in ("-o", option)]
        docker("network", "create", "-d", "macvlan", *given, docker.name()).fails(1, words)


def test_passthru_keeps_its_parent(docker: Target, parent: str) -> None:
    name = docker.name()
    identity = docker("network", "create", "-d", "macvlan", "-o", f"parent={parent}", "-o", "macvlan_mode=passthru", name).ok().line
    try:
        words = f"macvlan network {identity} is already using parent interface {parent} in mode passthru"
        docker("network", "create", "-d", "macvlan", "-o", f"parent={parent}", docker.name()).fails(1, words)
    finally:
        gone(docker, name)


def test_gateway_mode_isolated(docker: Target, image: str) -> None:
    mode = ("-o", "com.docker.network.bridge.gateway_mode_ipv4=isolated")
    docker("network", "create", *mode, docker.name()).fails(1, "gateway mode 'isolated' can only be used for an internal network")
    name = docker.name()
    docker("network", "create", "--internal", "--subnet", "10.93.3.0/24", *mode, name).ok()
    try:
        one = sleeper(docker, image, "--network", name)
        assert docker.inspect(one, "{{range .NetworkSettings.Networks}}{{.IPAddress}}|{{.Gateway}}{{end}}") == "10.93.3.1|"
        docker("run", "--rm", "--network", name, image, "ping", "-c", "1", "-W", "5", "10.93.3.1").ok()
    finally:
        gone(docker, name)


def test_links_on_the_default_bridge(docker: Target, image: str) -> None:
    web = sleeper(docker, image, "--hostname", "webhost", "-e", "FOO=bar", "--expose", "80", "--expose", "443/udp", "--expose", "8000-8001")
    address = docker.inspect(web, "{{.NetworkSettings.Networks.bridge.IPAddress}}")
    app = sleeper(docker, image, "--link", f"{web}:my-db")
    assert f"{address}\tmy-db webhost {web}\n" in docker("exec", app, "cat", "/etc/hosts").ok().out
    found = [line for line in docker("exec", app, "env").ok().out.splitlines() if line.startswith("MY_DB")]
    assert found[:2] == [f"MY_DB_PORT=tcp://{address}:80", f"MY_DB_PORT_80_TCP=tcp://{address}:80"]
    assert found[-6:] == [
        f"MY_DB_PORT_8000_TCP_START=tcp://{address}:8000",
        "MY_DB_PORT_8000_TCP_PORT_START=8000",
        f"MY_DB_PORT_8000_TCP_END=tcp://{address}:8001",
        "MY_DB_PORT_8000_TCP_PORT_END=8001",
        f"MY_DB_NAME=/{app}/my-db",
        "MY_DB_ENV_FOO=bar",
    ]
    assert docker.inspect(app, "{{.HostConfig.Links}}") == f"[/{web}:/{app}/my-db]"
    names = docker("ps", "-a", "--no-trunc", "--filter", f"name={web}", "--format", "{{.Names}}").ok().out.splitlines()
    assert f"{app}/my-db,{web}" in names
    docker("stop", "-t", "0", web).ok()
    docker("restart", "-t", "0", app).fails(1, f"Cannot link to a non running container: /{web} AS /{app}/my-db")
    assert docker("rm", "--link", f"{app}/my-db").ok().line == f"{app}/my-db"
    assert docker.inspect(app, "{{.HostConfig.Links}}") == "[]"
    docker("start", app).ok()


def test_links_that_are_refused(docker: Target, image: str) -> None:
    docker("create", "--link", "nope:x", image).fails(1, "could not get container for nope: No such container: nope")
    words = "conflicting options: host type networking can't be used with links. This would result in undefined behavior"
    docker("run", "--rm", "--network", "host", "--link", sleeper(docker, image), image, "true").fails(125, words)


def test_links_in_a_network(docker: Target, image: str, network: str) -> None:
    one = sleeper(docker, image, "--network", network)
    two = sleeper(docker, image, "--network", network, "--link", f"{one}:db")
    docker("exec", two, "ping", "-c", "1", "-W", "5", "db").ok()
    docker("run", "--rm", "--network", network, image, "ping", "-c", "1", "-W", "2", "db").fails(1)
    assert docker.inspect(two, "{{json .HostConfig.Links}} {{range .NetworkSettings.Networks}}{{.Links}}{{end}}") == f"null [{one}:db]"


def test_one_interface(docker: Target, image: str, network: str) -> None:
    option = f'name={network},"driver-opt={SYSCTLS}=net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0"'
    said = docker("run", "--rm", "--network", option, image, "cat", "/proc/sys/net/ipv4/conf/eth0/log_martians")
    assert said.ok().line == "1"
    named = f"name={network},driver-opt=com.docker.network.endpoint.ifname=front0,link-local-ip=169.254.5.5"
    assert "169.254.5.5/16" in docker("run", "--rm", "--network", named, image, "ip", "addr", "show", "front0").ok().out
    words = "unrecognised network interface sysctl 'kernel.foo=1'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be"
    docker("run", "--rm", "--network", f"name={network},driver-opt={SYSCTLS}=kernel.foo=1", image, "true").fails(125, words)
    nope = docker("run", "--rm", "--network", f"name={network},driver-opt={SYSCTLS}=net.ipv4.conf.IFNAME.nope=1", image, "true")
    nope.fails(125, "/proc/sys/net/ipv4/conf/eth0/nope is not a sysctl file")
    single = docker("run", "--rm", "--sysctl", "net.ipv4.conf.eth0.log_martians=1", image, "true")
    single.fails(125, f"must be supplied using driver option '{SYSCTLS}'")
    docker("run", "--rm", "--network", f"name={network},link-local-ip=10.1.1.1", image, "true").fails(125, "invalid link local IP address: 10.1.1.1")


def test_docker_py(docker: Target, image: str, parent: str, client: Any) -> None:
    import docker as docker_py

    ipam = docker_py.types.IPAMConfig(pool_configs=[docker_py.types.IPAMPool(subnet="10.93.4.0/24")])
    network = client.networks.create(docker.name(), driver="macvlan", options={"parent": parent}, ipam=ipam)
    target = client.containers.run(image, ["sleep", "300"], detach=True, network=network.name)
    try:
        assert (network.attrs["Driver"], network.attrs["Options"]) == ("macvlan", {"parent": parent})
        linked = client.containers.run(image, ["ping", "-c", "1", "-W", "5", target.name], network=network.name, remove=True)
        assert b"1 packets received" in linked
    finally:
        target.remove(force=True)
        network.remove()
    web = client.containers.run(image, ["sleep", "300"], detach=True)
    try:
        said = client.containers.run(image, ["env"], links={web.name: "front"}, remove=True)
        assert b"FRONT_NAME=/" in said
    finally:
        web.remove(force=True)
