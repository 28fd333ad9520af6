"""What gets through between containers, the host and a LAN, with real packets; each "does not" has a control that does."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pier.api.models.networks import IPAM, IPAMConfig, NetworkCreate
from pier.linux import nftables as nft
from pier.linux import nftsets
from pier.linux.nftables import FAMILY_IPV4, Firewall
from pier.linux.rtnetlink import Routing
from pier.networks import NetworkConfig, Networks, objects, repair, rules
from pier.networks.ports import Binding
from pier.networks.rules import CONSTANT_RULES, Member, Wanted
from pier.networks.translation import Published

from .isolated import Namespace, answer, ask, isolated
from .stage import HOST, LAN, add_address, containers, daemon, lan, run, veth

_SHORT_S = 0.5  # how long to wait for what must not come


async def eventually(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.02)


def forward_comments() -> list[str]:
    firewall = Firewall()
    try:
        return [rule.comment for rule in firewall.rules(FAMILY_IPV4, "filter", "FORWARD")]
    finally:
        firewall.close()


def own_rules(table: str = "pier") -> int:
    firewall = Firewall()
    try:
        return len(firewall.rules(FAMILY_IPV4, table))
    finally:
        firewall.close()


def bridges_known() -> set[bytes]:
    firewall = Firewall()
    try:
        return {key for key, _ in firewall.elements(FAMILY_IPV4, "pier", "bridges") or ()}
    finally:
        firewall.close()


def apply(*messages: nft.Message) -> None:
    firewall = Firewall()
    firewall.apply(messages, "test")
    firewall.close()


FOREIGN = (
    nft.add_table(FAMILY_IPV4, "filter"),
    nft.add_base_chain(FAMILY_IPV4, "filter", "FORWARD", "filter", nft.HOOK_FORWARD, 0, nft.DROP),
)


@isolated
def test_a_container_reaches_the_lan_as_the_host_and_the_lan_does_not_reach_it() -> None:
    async def main() -> None:
        with Namespace() as outside:
            lan(outside, "default")
            async with daemon() as d, containers(d.networks) as (c,):
                served = outside.start(answer, LAN, 9)
                assert c.namespace(ask, LAN, 9)
                assert served() == [(HOST, b"hello")]
                listening = c.namespace.start(answer, c.address, 9)
                assert not outside(ask, c.address, 9, timeout_s=_SHORT_S)
                assert ask(c.address, 9)  # the host does
                assert listening() == [("172.17.0.1", b"hello")]

    run(main())


@isolated
def test_without_our_drop_the_lan_would_reach_it() -> None:
    async def main() -> None:
        with Namespace() as outside:
            lan(outside, "default")
            async with daemon() as d, containers(d.networks) as (c,):
                d.networks.guard._watch.close()  # type: ignore[union-attr]  # or it would repair at once
                d.networks.guard._watch = None
                apply(nft.delete_table(FAMILY_IPV4, "pier"))
                listening = c.namespace.start(answer, c.address, 9)
                assert outside(ask, c.address, 9)
                listening()

    run(main())


@isolated
def test_a_forged_source_from_the_lan_is_dropped() -> None:
    async def main() -> None:
        with Namespace() as outside:
            lan(outside)
            outside(add_address, "eth0", "172.17.0.99")
            for control in (True, False):
                async with daemon() as d:
                    if control:
                        d.networks.guard._watch.close()  # type: ignore[union-attr]
                        d.networks.guard._watch = None
                        apply(nft.delete_table(FAMILY_IPV4, "pier"))
                    Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("0")
                    Path("/proc/sys/net/ipv4/conf/lan0/rp_filter").write_text("0")
                    got = asyncio.get_running_loop().run_in_executor(None, _received, 9)
                    outside(_send, "172.17.0.99", HOST, 9)
                    assert await got == control

    run(main())


def _received(port: int) -> bool:
    try:
        return bool(answer(HOST, port, timeout_s=_SHORT_S))
    except TimeoutError:
        return False


def _send(source: str, to: str, port: int) -> None:
    import socket
    import time

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        for _ in range(5):
            sock.sendto(b"x", (to, port))
            time.sleep(0.03)


@isolated
def test_a_container_sends_from_its_network_only() -> None:
    def heard() -> list[str]:
        import socket

        who = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((LAN, 9))
            sock.settimeout(1.5)
            try:
                while True:
                    who.append(sock.recvfrom(100)[1][0])
            except TimeoutError:
                return sorted(set(who))

    async def main() -> None:
        with Namespace() as outside:
            lan(outside, "default")
            async with daemon() as d, containers(d.networks) as (c,):
                c.namespace(add_address, "lo", "198.51.100.7")
                listening = outside.start(heard)
                c.namespace(_send, "198.51.100.7", LAN, 9)
                c.namespace(_send, c.address, LAN, 9)
                assert listening() == [HOST]

    run(main())


@isolated
def test_rules_that_somebody_flushes_come_back() -> None:
    async def main() -> None:
        async with daemon() as d:
            rules = own_rules()
            assert rules == CONSTANT_RULES
            apply(nft.delete_table(FAMILY_IPV4, "pier"))
            await eventually(lambda: own_rules() == rules)
            firewall = Firewall()
            apply(nft.delete_rule(firewall.rules(FAMILY_IPV4, "pier", "forward")[-1]))
            firewall.close()
            await eventually(lambda: own_rules() == rules)
            apply(*nftsets.delete_elements(FAMILY_IPV4, "pier", "bridges", [(nftsets.ifname("pier0"), b"")]))
            await eventually(lambda: bridges_known() == {nftsets.ifname("pier0")})
            await d.idle()

    run(main())


@isolated
def test_a_foreign_drop_in_forward_is_opened_whenever_it_comes_and_closed_when_it_goes() -> None:
    async def main() -> None:
        with Namespace() as outside:
            lan(outside, "default")
            apply(*FOREIGN)
            async with daemon() as d, containers(d.networks) as (c,):
                assert forward_comments() == ["pier: from pier0", "pier: answers and published ports to pier0"]
                served = outside.start(answer, LAN, 9)
                assert c.namespace(ask, LAN, 9)
                served()
                assert not outside(ask, c.address, 9, timeout_s=_SHORT_S)
                apply(nft.delete_table(FAMILY_IPV4, "filter"))
                apply(*FOREIGN, nft.add_rule(FAMILY_IPV4, "filter", "FORWARD", nft.verdict(nft.DROP), "theirs"))
                await eventually(lambda: forward_comments() == ["pier: from pier0", "pier: answers and published ports to pier0", "theirs"])
                apply(nft.add_base_chain(FAMILY_IPV4, "filter", "FORWARD", "filter", nft.HOOK_FORWARD, 0, nft.ACCEPT))
                await eventually(lambda: forward_comments() == ["theirs"])
                await d.idle()

    run(main())


@isolated
def test_another_chain_that_drops_is_left_alone_and_named() -> None:
    async def main() -> None:
        apply(nft.add_table(nft.FAMILY_INET, "fw"), nft.add_base_chain(nft.FAMILY_INET, "fw", "fwd", "filter", nft.HOOK_FORWARD, 0, nft.DROP))
        async with daemon() as d:
            assert any("'inet fw fwd' drops forwarded packets" in words for words in d.networks.warnings)

    run(main())


@isolated
def test_forwarding_is_on_stays_on_and_goes_back_with_the_last_bridge_network() -> None:
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")

    async def main() -> None:
        forwarding.write_text("0")
        apply(*FOREIGN)
        with TemporaryDirectory() as folder:
            root = Path(folder)
            async with daemon(root):
                assert forwarding.read_text() == "1\n"
            assert forwarding.read_text() == "1\n"
            assert own_rules() == CONSTANT_RULES
            async with daemon(root):
                pass
            async with daemon(root, NetworkConfig(bridge="none")) as d:
                assert forwarding.read_text() == "0\n"
                assert (own_rules(), forward_comments()) == (0, [])
                assert [network.name for network in d.networks.list_networks({})] == ["host", "none"]
            routing = Routing()
            assert routing.link("pier0") is None
            async with daemon(root):
                assert forwarding.read_text() == "1\n"
            routing.create_bridge("docker0", "02:00:00:00:00:08", 1500, ["172.30.0.1/16"], "")
            async with daemon(root, NetworkConfig(bridge="none")):
                assert forwarding.read_text() == "1\n"  # another engine is there and needs it
            routing.close()

    run(main())


@isolated
def test_forwarding_that_was_on_before_is_never_turned_off() -> None:
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")

    async def main() -> None:
        forwarding.write_text("1")
        with TemporaryDirectory() as folder:
            async with daemon(Path(folder)):
                pass
            async with daemon(Path(folder), NetworkConfig(bridge="none")):
                assert forwarding.read_text() == "1\n"

    run(main())


@isolated
def test_strict_reverse_paths_are_named() -> None:
    async def main() -> None:
        Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("1")
        async with daemon() as d:
            assert any("rp_filter is 1" in words for words in d.networks.warnings)

    run(main())


@isolated
def test_the_pool_goes_around_the_hosts_routes() -> None:
    async def main() -> None:
        with Namespace() as outside:
            veth("lan0", "172.17.5.1/24", outside.fd, lambda: None)
            async with daemon() as d:
                assert d.networks.host_gateway() == "172.18.0.1"

    run(main())


@isolated
def test_a_route_that_is_in_the_way_is_named_whenever_it_comes() -> None:
    def told(networks: Networks) -> list[str]:
        return [words for words in networks.warnings if "overlaps" in words]

    async def main() -> None:
        async with daemon() as d:
            network = NetworkCreate(name="shop", ipam=IPAM(config=[IPAMConfig(subnet="10.5.0.0/16")]))
            assert not (await objects.create(d.networks, network)).warning and not told(d.networks)
            with Namespace() as vpn:
                veth("vpn0", "10.5.9.1/24", vpn.fd, lambda: None)
                words = "network shop (10.5.0.0/16) overlaps with the host's route to 10.5.9.0/24: "
                assert [each.startswith(words) for each in await repair.look_around(d.networks)] == [True] and len(told(d.networks)) == 1
                await objects.remove(d.networks, "shop", str)
                assert (await objects.create(d.networks, network)).warning.startswith(words)
            Routing().delete_link("vpn0")
            assert not await repair.look_around(d.networks) and not told(d.networks)

    run(main())


@isolated
def test_twenty_thousand_ports_are_one_transaction_and_are_read_back() -> None:
    published = Published(tuple(Binding("tcp", number // 2 + 1, "0.0.0.0", number) for number in range(1, 20_001)), "172.17.0.2")
    wanted = Wanted("pier", (Member("pier0", ("172.17.0.0/16",)),), {"web": published})
    apply(*rules.ruleset(wanted, FAMILY_IPV4))
    firewall = Firewall()
    held = {name: firewall.elements(FAMILY_IPV4, "pier", name) for name in rules.NAMES}
    assert rules.intact(wanted, FAMILY_IPV4, firewall.base_chains(), firewall.rules(FAMILY_IPV4, "pier"), held)
    firewall.close()
