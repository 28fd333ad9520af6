"""GET /networks as Docker's clients see it."""

import json

import msgspec
import pytest

from pier.api.models.networks import EndpointSettings
from pier.errors import Invalid
from pier.networks import views
from pier.networks.endpoints import Endpoint
from pier.networks.model import Network, Subnet
from pier.networks.sysctls import Forwarding, put_back

DEFAULT = Subnet(network="172.17.0.0/16", gateway="172.17.0.1")
BRIDGE = Network(id="d06f" * 16, name="bridge", created_ns=1795247360070296214, driver="bridge", link="pier0", subnets=(DEFAULT,))
HOST = Network(id="6437" * 16, name="host", created_ns=1795243000964976668, driver="host")
NONE = Network(id="e044" * 16, name="none", created_ns=1795243000963112428, driver="null")
SHOP = Network(
    id="6937" * 16, name="shop", created_ns=1795247383635970884, driver="bridge", link="capbr0", ipv6=True, attachable=True, labels={"a": "b"},
    options={"com.docker.network.bridge.name": "capbr0"},
    subnets=(
        Subnet(network="172.28.9.0/24", gateway="172.28.9.1", ip_range="172.28.9.128/25", auxiliary={"x": "172.28.9.5"}),
        Subnet(network="fd00:9::/64", gateway="fd00:9::1", implicit=True),
    ),
)  # fmt: skip


def test_a_users_network_on_the_wire() -> None:
    v6 = {"address6": "fd00:9::2", "prefix_len6": 64, "gateway6": "fd00:9::1"}
    endpoint = Endpoint("shop", SHOP.id, "e" * 64, "eth1", "172.28.9.200", 24, "172.28.9.1", "42:43:4e:a8:4e:75", "pierx", **v6)
    body = json.loads(msgspec.json.encode(views.describe(SHOP, 1500, {"c" * 64: endpoint}, lambda _: "nc")))
    assert body["IPAM"]["Config"] == [
        {"Subnet": "172.28.9.0/24", "IPRange": "172.28.9.128/25", "Gateway": "172.28.9.1", "AuxiliaryAddresses": {"x": "172.28.9.5"}},
        {"Subnet": "fd00:9::/64"},
    ]
    assert body["Containers"]["c" * 64]["IPv6Address"] == "fd00:9::2/64"
    assert (body["EnableIPv6"], body["Attachable"], body["Labels"], body["Options"]) == (True, True, {"a": "b"}, dict(SHOP.options))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"type": ["custom"]}, ["shop"]),
        ({"label": ["a"]}, ["shop"]),
        ({"label": ["a=b"]}, ["shop"]),
        ({"label": ["a=c"]}, []),
        ({"dangling": ["true"]}, ["shop"]),
        ({"dangling": ["false"]}, ["bridge"]),
    ],
)
def test_filters_of_users_networks(filters: dict[str, list[str]], expected: list[str]) -> None:
    assert [network.name for network in views.choose([BRIDGE, SHOP], filters)] == expected


def test_a_used_network_does_not_dangle() -> None:
    assert views.choose([BRIDGE, SHOP], {"dangling": ["true"]}, {SHOP.id}) == []




def test_the_bridge_on_the_wire() -> None:
    endpoint = Endpoint("bridge", BRIDGE.id, "e" * 64, "eth0", "172.17.0.2", 16, "172.17.0.1", "02:00:00:00:00:02", "pierx")
    body = json.loads(msgspec.json.encode(views.describe(BRIDGE, 1500, {"c" * 64: endpoint}, lambda _: "web")))
    assert list(body) == [
        "Name", "Id", "Created", "Scope", "Driver", "EnableIPv4", "EnableIPv6", "IPAM", "Internal", "Attachable", "Ingress", "ConfigFrom",
        "ConfigOnly", "Containers", "Options", "Labels",
    ]  # fmt: skip
    assert body["IPAM"] == {"Driver": "default", "Options": None, "Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]}
    assert body["Containers"] == {
        "c" * 64: {"Name": "web", "EndpointID": "e" * 64, "MacAddress": "02:00:00:00:00:02", "IPv4Address": "172.17.0.2/16", "IPv6Address": ""}
    }
    assert body["Created"] == "2026-11-21T07:49:20.070296214Z"
    assert body["Options"]["com.docker.network.bridge.name"] == "pier0"


def test_host_has_no_pool() -> None:
    body = json.loads(msgspec.json.encode(views.describe(HOST, 1500, {}, str)))
    assert (body["IPAM"]["Config"], body["Options"], body["Containers"], body["ConfigFrom"]) == (None, {}, {}, {"Network": ""})


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["bridge", "none", "host"]),
        ({"name": ["o"]}, ["none", "host"]),
        ({"name": ["bri", "hos"]}, ["bridge", "host"]),
        ({"driver": ["null"]}, ["none"]),
        ({"driver": ["nul"]}, []),
        ({"id": ["d06f"]}, ["bridge"]),
        ({"type": ["builtin"]}, ["bridge", "none", "host"]),
        ({"type": ["custom"]}, []),
        ({"scope": ["swarm"]}, []),
        ({"label": ["x"]}, []),
        ({"dangling": ["true"]}, []),
        ({"dangling": ["0"], "driver": ["host"]}, ["host"]),
    ],
)
def test_filters(filters: dict[str, list[str]], expected: list[str]) -> None:
    assert [record.name for record in views.choose([BRIDGE, NONE, HOST], filters)] == expected


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"nope": ["x"]}, "invalid filter 'nope'"),
        ({"type": ["x"]}, "invalid filter: 'type'='x'"),
        ({"dangling": ["x"]}, "invalid value for filter 'dangling'"),
    ],
)
def test_what_docker_refuses(filters: dict[str, list[str]], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        views.choose([BRIDGE], filters)


def test_endpoint_settings_are_dockers_letter_for_letter() -> None:
    body = json.loads(msgspec.json.encode(EndpointSettings()))
    assert list(body) == [
        "IPAMConfig", "Links", "Aliases", "MacAddress", "DriverOpts", "GwPriority", "NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen",
        "IPv6Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "DNSNames",
    ]  # fmt: skip
    sent = msgspec.json.decode(b'{"IPAMConfig":{"IPv4Address":"1.2.3.4"},"Links":null,"Aliases":["a"],"Unknown":1}', type=EndpointSettings)
    assert sent.ipam_config is not None and sent.ipam_config.ipv4_address == "1.2.3.4"


def test_when_forwarding_is_put_back() -> None:
    kept = Forwarding("boot", "net:[1]")
    assert Forwarding.decode(kept.encode()) == kept
    assert put_back(kept, kept, "1", [])
    assert not put_back(None, kept, "1", [])
    assert not put_back(Forwarding("earlier", "net:[1]"), kept, "1", [])
    assert not put_back(kept, kept, "0", [])
    assert not put_back(kept, kept, "1", ["docker0"])
