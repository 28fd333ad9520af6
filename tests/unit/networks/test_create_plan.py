"""What a request for a network becomes, and what is refused before anything is touched."""

from ipaddress import ip_network
from typing import Any

import pytest

from pier.api.models.networks import IPAM, ConfigReference, IPAMConfig, NetworkCreate
from pier.errors import Conflict, Forbidden, Invalid, NotFound, NotImplementedByPier, PierError, Unavailable
from pier.networks import pools
from pier.networks.create_plan import World, plan
from pier.networks.model import TRUSTED, Network, decode, encode

IDENTITY = "0123456789ab" + "c" * 52


def made(request: NetworkCreate, world: World | None = None) -> Network:
    known = world or World([])
    return plan(request, known, identity=IDENTITY if not known.networks else "b" * 64, now_ns=1)


def config(*pools: dict[str, Any], **more: Any) -> NetworkCreate:
    return NetworkCreate(name="x", ipam=IPAM(config=[IPAMConfig(**pool) for pool in pools]), **more)


def test_a_plain_network_gets_a_pool_around_what_is_there() -> None:
    taken = [ip_network("172.17.0.0/16"), ip_network("172.18.4.0/24"), ip_network("0.0.0.0/0")]
    network = made(NetworkCreate(name="app"), World([], taken))
    assert (network.driver, network.link, network.ipv6) == ("bridge", "br-0123456789ab", False)
    assert [(s.network, s.gateway) for s in network.subnets] == [("172.19.0.0/16", "172.19.0.1")]
    assert decode(encode(network)) == network


def test_two_networks_never_share_addresses() -> None:
    first = made(NetworkCreate(name="one"))
    second = made(NetworkCreate(name="two"), World([first]))
    assert first.subnets[0].network != second.subnets[0].network


def test_all_that_can_be_asked_for() -> None:
    request = config(
        {"subnet": "172.28.9.0/24", "ip_range": "172.28.9.128/25", "gateway": "172.28.9.1", "auxiliary_addresses": {"x": "172.28.9.5"}},
        {"subnet": "fd00:9::/64"},
        enable_ipv6=True,
        internal=True,
        attachable=True,
        labels={"a": "b"},
        options={
            "com.docker.network.bridge.name": "capbr0",
            "com.docker.network.driver.mtu": "1400",
            "com.docker.network.bridge.enable_icc": "False",
        },
    )
    network = made(request)
    assert (network.link, network.mtu, network.icc, network.masquerade) == ("capbr0", 1400, False, True)
    assert [s.gateway for s in network.subnets] == ["172.28.9.1", "fd00:9::1"]


def test_gateways_avoid_auxiliary_addresses_and_lie_in_the_range() -> None:
    one = made(config({"subnet": "10.5.0.0/24", "auxiliary_addresses": {"a": "10.5.0.1"}}))
    other = made(config({"subnet": "10.6.0.0/24", "ip_range": "10.6.0.64/26"}))
    assert [s.gateway for network in (one, other) for s in network.subnets] == ["10.5.0.2", "10.6.0.64"]
    with pytest.raises(Forbidden, match="bridge driver doesn't support multiple subnets"):
        made(config({"subnet": "10.5.0.0/24"}, {"subnet": "10.6.0.0/24"}))


def test_own_pools_are_cut_into_networks() -> None:
    pool = [(ip_network("10.9.0.0/23"), 24)]
    first = made(NetworkCreate(name="a"), World([], pools=pool))
    second = made(NetworkCreate(name="b"), World([first], pools=pool))
    assert (first.subnets[0].network, second.subnets[0].network) == ("10.9.0.0/24", "10.9.1.0/24")
    with pytest.raises(Unavailable, match=r"all predefined address pools have been fully subnetted: 10\.9\.0\.0/23: name a free subnet"):
        made(NetworkCreate(name="c"), World([first, second], pools=pool))


def test_without_pools_ipv6_comes_from_one_of_the_hosts_own() -> None:
    """As Docker's: a /48 of fd00::/8 that another host hardly has, and that stays the same."""
    assert pools.of_host("") == () and pools.of_host("one") == pools.of_host("one") != pools.of_host("other")
    (pool, size), = pools.of_host("one")
    assert (pool.prefixlen, size) == (48, 64) and pool.subnet_of(ip_network("fd00::/8"))
    first = made(NetworkCreate(name="a", enable_ipv6=True), World([], pools=pools.of_host("one")))
    second = made(NetworkCreate(name="b", enable_ipv6=True), World([first], pools=pools.of_host("one")))
    assert [network.subnets[0].network for network in (first, second)] == ["172.17.0.0/16", "172.18.0.0/16"]
    assert [network.subnets[1].network for network in (first, second)] == [str(each) for each in list(pool.subnets(new_prefix=64))[:2]]
    assert first.subnets[1].gateway == f"{pool.network_address}1"


THERE = Network(id="a" * 64, name="there", created_ns=0, driver="bridge", link="br-there", subnets=())


@pytest.mark.parametrize(
    ("request_", "kind", "text"),
    [
        (NetworkCreate(name=" "), Invalid, "invalid name: name is empty"),
        (NetworkCreate(name="bridge"), Forbidden, "operation is not permitted on predefined bridge network "),
        (NetworkCreate(name="there"), Conflict, "network with name there already exists"),
        (NetworkCreate(name="x", driver="nope"), NotFound, 'plugin "nope" not found'),
        (NetworkCreate(name="x", driver="host"), Forbidden, 'only one instance of "host" network is allowed'),
        (NetworkCreate(name="x", driver="overlay"), Forbidden, "This node is not a swarm manager."),
        (NetworkCreate(name="x", driver="ipvlan"), NotImplementedByPier, "ipvlan on this kernel"),
        (
            NetworkCreate(name="x", driver="macvlan", options={"macvlan_mode": "zz"}),
            Invalid,
            "requested macvlan mode 'zz' is not valid, 'bridge' mode is the macvlan driver default",
        ),
        (NetworkCreate(name="x", driver="macvlan", options={"parent": "a b"}), Invalid, "invalid parent 'a b'"),
        (NetworkCreate(name="x", scope="swarm"), Forbidden, "cannot create a swarm scoped network when swarm is not active"),
        (NetworkCreate(name="x", config_from=ConfigReference(network="zz")), NotFound, 'configuration network "zz" does not exist'),
        (config({"subnet": "abc"}), Invalid, "invalid network config:\ninvalid subnet abc: invalid CIDR block notation"),
        (config({"subnet": "172.27.9.5/24"}), Invalid, "invalid network config:\ninvalid subnet 172.27.9.5/24: it should be 172.27.9.0/24"),
        (
            config({"subnet": "172.27.9.0/24", "gateway": "10.0.0.1"}),
            Invalid,
            "invalid network config:\ninvalid gateway 10.0.0.1: parent subnet 172.27.9.0/24 doesn't contain this address",
        ),
        (
            config({"subnet": "abc"}, {"subnet": "10.0.0.1/8"}),
            Invalid,
            "invalid network config:\n* invalid subnet abc: invalid CIDR block notation\n* invalid subnet 10.0.0.1/8: it should be 10.0.0.0/8",
        ),
        *[
            (config({"subnet": subnet, **more}, enable_ipv6=":" in subnet), kind, text)
            for subnet, more, kind, text in (
                ("10.5.0.0/24", {"gateway": "10.5.0.0"}, Forbidden, "failed to allocate gateway (10.5.0.0): Address already in use"),
                ("10.5.0.0/24", {"gateway": "10.5.0.255"}, Forbidden, "failed to allocate gateway (10.5.0.255): Address already in use"),
                ("fd00::/64", {"gateway": "fd00::"}, Forbidden, "failed to allocate gateway (fd00::): Address already in use"),
                (
                    "10.5.0.0/24",
                    {"gateway": "10.5.0.1", "auxiliary_addresses": {"a": "10.5.0.1"}},
                    Forbidden,
                    "failed to allocate secondary ip address (a:10.5.0.1): Address already in use",
                ),
                ("10.5.0.0/32", {}, Unavailable, "failed to allocate gateway (): no available addresses on this pool"),
                ("fd00::/128", {}, Unavailable, "failed to allocate gateway (): no available addresses on this pool"),
                ("10.5.0.0/24", {"ip_range": "10.5.0.0/32"}, Unavailable, "failed to allocate gateway (): no available addresses on this pool"),
                (
                    "10.5.0.0/24",
                    {"ip_range": "10.5.0.4/31", "auxiliary_addresses": {"a": "10.5.0.4", "b": "10.5.0.5"}},
                    Unavailable,
                    "failed to allocate gateway (): no available addresses on this pool: 10.5.0.4/31 has none",
                ),
            )
        ],
        *[
            (NetworkCreate(name="x", options={"com.docker.network.driver.mtu": value}), Invalid, text)
            for value, text in (
                ("-5", "invalid MTU number: -5"),
                ("67", "invalid MTU number: 67"),
                ("65536", "invalid MTU number: 65536"),
                ("1e3", "failed to parse com.docker.network.driver.mtu value: 1e3"),
                ("", "failed to parse com.docker.network.driver.mtu value: "),
            )
        ],
        *[
            (NetworkCreate(name="x", options={"com.docker.network.container_iface_prefix": value}), Invalid, f"invalid interface prefix {value!r}")
            for value in ("waytoolongprefix", "a/b", "a b", "../x", " ")
        ],
        (config({"subnet": "fd00::/64"}), Invalid, "invalid network config:\ninvalid subnet fd00::/64: IPv6 has not been enabled"),
        (
            NetworkCreate(name="x", options={"com.docker.network.bridge.enable_icc": "maybe"}),
            Invalid,
            'failed to parse com.docker.network.bridge.enable_icc value: maybe (strconv.ParseBool: parsing "maybe": invalid syntax)',
        ),
        (NetworkCreate(name="x", options={"com.docker.network.bridge.name": "a-name-that-is-too-long"}), Invalid, "invalid bridge name"),
        (NetworkCreate(name="x", options={"com.docker.network.bridge.name": "br-there"}), Conflict, "bridge name br-there is network there's"),
        (NetworkCreate(name="x", options={TRUSTED: "eth0:a/b"}), Invalid, "invalid trusted host interface 'a/b': a link's name has at most 15 bytes"),
        (NetworkCreate(name="x", options={TRUSTED: "eth0 eth1"}), Invalid, "between two stands a colon"),
        (NetworkCreate(name="x", options={TRUSTED: "averylongname016"}), Invalid, "invalid trusted host interface 'averylongname016'"),
        (NetworkCreate(name="x", options={"com.docker.network.bridge.gateway_mode_ipv4": "zz"}), Invalid, "unknown gateway mode zz"),
        (
            NetworkCreate(name="x", options={"com.docker.network.host_ipv4": "nonsense"}),
            Invalid,
            "failed to parse com.docker.network.host_ipv4 value: nonsense (nil ip)",
        ),
        (NetworkCreate(name="x", options={"com.docker.network.host_ipv4": "fd00::1"}), Invalid, "value: fd00::1 (no IPv4 address"),
        (NetworkCreate(name="x", options={"com.docker.network.host_ipv6": "192.0.2.1"}), Invalid, "value: 192.0.2.1 (no IPv6 address"),
        (NetworkCreate(name="x", options={"com.docker.network.host_ipv6": "::"}), Invalid, "value: :: (no IPv6 address"),
    ],
)
def test_what_is_refused_in_dockers_words(request_: NetworkCreate, kind: type[PierError], text: str) -> None:
    with pytest.raises(kind) as told:
        made(request_, World([THERE]))
    assert text in str(told.value)


def test_an_overlap_names_the_other_network() -> None:
    first = made(config({"subnet": "172.28.9.0/24"}))
    with pytest.raises(Forbidden, match=r"invalid pool request: Pool overlaps with other one on this address space: 172\.28\.9\.0/24 is network x's"):
        plan(NetworkCreate(name="y", ipam=IPAM(config=[IPAMConfig(subnet="172.28.0.0/16")])), World([first]), identity="b" * 64, now_ns=1)


def test_a_configuration_is_taken_over() -> None:
    source = made(NetworkCreate(name="settings", config_only=True, ipam=IPAM(config=[IPAMConfig(subnet="10.77.0.0/24")]), labels={"a": "b"}))
    assert source.config_only and source.link == "" and source.subnets[0].gateway == ""
    network = plan(NetworkCreate(name="y", config_from=ConfigReference(network="settings")), World([source]), identity="b" * 64, now_ns=1)
    assert (network.subnets[0].network, network.subnets[0].gateway, network.labels, network.config_from) == (
        "10.77.0.0/24", "10.77.0.1", {"a": "b"}, "settings",
    )  # fmt: skip
    with pytest.raises(Forbidden, match="user specified configurations are not supported"):
        made(NetworkCreate(name="z", config_from=ConfigReference(network="settings"), labels={"c": "d"}), World([source]))


def test_a_parent_has_networks_of_one_driver_and_passthru_keeps_it_for_itself() -> None:
    def on(parent: str, world: World, driver: str = "macvlan", **options: str) -> Network:
        request = NetworkCreate(name=f"n{len(world.networks)}", driver=driver, options={"parent": parent, **options})
        return plan(request, world, identity="c" * 64, now_ns=1)

    first = on("eth0", World([]))
    assert (first.link, first.closed, first.subnets[0].gateway) == ("eth0", False, "172.17.0.1")
    assert on("eth0", World([first])).link == "eth0"
    with pytest.raises(Conflict, match="cannot use mode passthru"):
        on("eth0", World([first]), macvlan_mode="passthru")
    with pytest.raises(Conflict, match="in use by macvlan network n0"):
        on("eth0", World([first], ipvlan=True), driver="ipvlan")
    alone = on("eth0", World([]), macvlan_mode="passthru")
    with pytest.raises(Conflict, match="already using parent interface eth0 in mode passthru"):
        on("eth0", World([alone]))
    closed = plan(NetworkCreate(name="y", driver="macvlan"), World([]), identity="d" * 64, now_ns=1)
    assert (closed.link, closed.closed, closed.subnets[0].gateway) == ("dm-dddddddddddd", True, "")


def test_isolated_gateways_are_nobodys() -> None:
    option = {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}
    with pytest.raises(Invalid, match="gateway mode 'isolated' can only be used for an internal network"):
        plan(NetworkCreate(name="x", options=option), World([]), identity="c" * 64, now_ns=1)
    made = plan(NetworkCreate(name="x", options=option, internal=True), World([]), identity="c" * 64, now_ns=1)
    assert (made.subnets[0].gateway, made.interfaces()) == ("", [])
