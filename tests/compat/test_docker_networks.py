"""docker network, and containers in networks of users, as the docker command shows them."""

import json
from collections.abc import Iterator

import pytest

from .conftest import Target


@pytest.fixture
def network(docker: Target) -> Iterator[str]:
    """A network of this test; removed after it, with the containers in it."""
    name = docker.name()
    docker("network", "create", "--label", "a=b", "--subnet", "10.93.0.0/24", "--gateway", "10.93.0.254", name).ok()
    yield name
    left = docker("ps", "-aq", "--filter", f"network={name}").ok().out.split()
    if left:
        docker("rm", "-f", *left).ok()
    docker("network", "rm", "-f", name)


def sleeper(docker: Target, image: str, *options: str) -> str:
    name = docker.name()
    docker.background("--name", name, *options, image, "sleep", "300")
    return name


def test_create_list_inspect_remove(docker: Target, network: str) -> None:
    assert docker("network", "ls", "--filter", f"name={network}", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.IPv6}} {{.Internal}}").ok().line == (
        f"{network} bridge local false false"
    )
    (found,) = json.loads(docker("network", "inspect", network).ok().out)
    assert found["IPAM"] == {"Driver": "default", "Options": {}, "Config": [{"Subnet": "10.93.0.0/24", "Gateway": "10.93.0.254"}]}
    assert (found["Labels"], found["Options"], found["Containers"], found["EnableIPv4"]) == ({"a": "b"}, {}, {}, True)
    docker("network", "create", network).fails(1, f"network with name {network} already exists")
    docker("network", "create", "--subnet", "10.93.0.128/25", docker.name()).fails(1, "Pool overlaps with other one on this address space")
    docker("network", "rm", network).ok()
    docker("network", "inspect", network).fails(1, f"network {network} not found")


def test_containers_find_each_other(docker: Target, image: str, network: str) -> None:
    web = sleeper(docker, image, "--network", network, "--network-alias", "front", "--ip", "10.93.0.77", "--mac-address", "02:00:00:00:00:77")
    said = docker("run", "--rm", "--network", network, image, "ping", "-c", "1", "-W", "5", "front").ok().out
    assert "(10.93.0.77)" in said
    template = "{{json .NetworkSettings.Networks}}"
    found = json.loads(docker.inspect(web, template))[network]
    assert (found["IPAddress"], found["IPPrefixLen"], found["Gateway"], found["MacAddress"]) == ("10.93.0.77", 24, "10.93.0.254", "02:00:00:00:00:77")
    assert (found["Aliases"], found["IPAMConfig"]) == (["front"], {"IPv4Address": "10.93.0.77"})
    assert {web, "front"} <= set(found["DNSNames"])
    assert docker("ps", "--filter", f"network={network}", "--format", "{{.Names}} {{.Networks}}").ok().line == f"{web} {network}"
    docker("network", "rm", network).fails(1, "has active endpoints")


def test_connect_and_disconnect(docker: Target, image: str, network: str) -> None:
    web, plain = sleeper(docker, image, "--network", network), sleeper(docker, image)
    docker("exec", plain, "ping", "-c", "1", "-W", "1", "10.93.0.1").fails(1)
    docker("network", "connect", "--alias", "guest", "--ip", "10.93.0.50", network, plain).ok()
    docker("exec", web, "ping", "-c", "1", "-W", "5", "guest").ok()
    docker("exec", plain, "ping", "-c", "1", "-W", "5", web).ok()
    docker("network", "connect", network, plain).fails(1, f"endpoint with name {plain} already exists in network {network}")
    docker("network", "disconnect", network, plain).ok()
    docker("exec", plain, "ping", "-c", "1", "-W", "1", "10.93.0.1").fails(1)
    docker("network", "disconnect", network, plain).fails(1, "is not connected to network")
    docker("network", "disconnect", "host", plain).fails(1, "is not connected to network host")
    docker("network", "disconnect", network, docker("create", image, "true").ok().line).fails(1, f"is not connected to the network {network}")


def test_several_networks_at_once(docker: Target, image: str, network: str) -> None:
    other = docker.name()
    docker("network", "create", "--internal", other).ok()
    try:
        both = sleeper(docker, image, "--network", f"name={network},ip=10.93.0.9", "--network", f"name={other},alias=second")
        assert set(json.loads(docker.inspect(both, "{{json .NetworkSettings.Networks}}"))) == {network, other}
        assert "default via 10.93.0.254" in docker("exec", both, "ip", "route").ok().out
        docker("rm", "-f", both).ok()
    finally:
        docker("network", "rm", other).ok()


def test_prune_leaves_what_is_in_use(docker: Target, image: str, network: str) -> None:
    sleeper(docker, image, "--network", network)
    empty = docker.name()
    docker("network", "create", "--label", f"mine={empty}", empty).ok()
    assert docker("network", "prune", "-f", "--filter", f"label=mine={empty}").ok().out == f"Deleted Networks:\n{empty}\n\n"
    assert network in docker("network", "ls", "-q", "--format", "{{.Name}}").ok().out
