"""Containers on the bridge, with real packets."""

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pier.errors import Conflict, Invalid, NotFound, Unavailable
from pier.linux.netlink import NetlinkError
from pier.linux.rtnetlink import Routing
from pier.networks import NetworkConfig

from .isolated import Namespace, answer, ask, isolated
from .stage import Container, containers, daemon, run


def link_names() -> set[str]:
    routing = Routing()
    try:
        return {link.name for link in routing.links()}
    finally:
        routing.close()


def arp_table() -> dict[str, tuple[str, str]]:
    lines = Path("/proc/thread-self/net/arp").read_text().splitlines()[1:]
    return {words[0]: (words[2], words[3]) for words in (line.split() for line in lines)}


@isolated
def test_containers_reach_the_gateway_and_each_other_with_their_first_packet() -> None:
    async def main() -> None:
        async with daemon() as d, containers(d.networks, 12) as made:
            gateway = d.networks.host_gateway()
            assert gateway == "172.17.0.1"
            assert [c.address for c in made] == [f"172.17.0.{n}" for n in range(2, 14)]
            served = asyncio.get_running_loop().run_in_executor(None, answer, gateway, 9, len(made))
            for c in made:
                c.result = c.namespace.start(ask, gateway, 9)  # type: ignore[attr-defined]
            assert all(c.result() for c in made)  # type: ignore[attr-defined]
            assert sorted(who for who, _ in await served) == sorted(c.address for c in made)
            first, second = made[:2]
            waiting = second.namespace.start(answer, second.address, 7)
            assert first.namespace(ask, second.address, 7)
            assert waiting() == [(first.address, b"hello")]

    run(main())


@isolated
def test_neighbours_are_permanent_both_ways_and_go_with_the_container() -> None:
    async def main() -> None:
        async with daemon() as d, containers(d.networks) as (c,):
            assert c.endpoint is not None
            assert arp_table()[c.address] == ("0x6", c.endpoint.mac)  # complete and permanent
            assert c.namespace(arp_table) == {"172.17.0.1": ("0x6", c.endpoint.gateway_mac)}
            await d.networks.detach(c.id)
            await d.idle()
            assert arp_table() == {}

    run(main())


@isolated
def test_ipv6_is_off_on_eth0_and_on_on_lo() -> None:
    def setting(name: str) -> str:
        return Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").read_text().strip()

    async def main() -> None:
        async with daemon() as d, containers(d.networks) as (c,):
            assert (c.namespace(setting, "eth0"), c.namespace(setting, "lo")) == ("1", "0")

    run(main())


@isolated
def test_the_veth_dies_with_the_namespace_and_the_address_comes_back() -> None:
    async def main() -> None:
        async with daemon() as d:
            async with containers(d.networks) as (c,):
                assert c.endpoint is not None and c.endpoint.host_interface in link_names()
            await d.networks.detach(c.id)
            await d.idle()
            assert link_names() == {"lo", "pier0"}
            assert d.store.read("SELECT * FROM endpoints") == []
            async with containers(d.networks) as (again,):
                assert again.address == "172.17.0.2"

    run(main())


@isolated
def test_an_address_is_not_given_again_while_a_shared_namespace_keeps_its_link() -> None:
    async def main() -> None:
        async with daemon() as d, containers(d.networks) as (first,):
            assert first.endpoint is not None
            old = first.endpoint
            await d.networks.detach(first.id)  # the namespace lives on, as with --network container:
            second = Container(2)
            try:
                assert (await second.attach(d.networks)).address == "172.17.0.3"
                await d.idle()
                assert old.host_interface not in link_names()
                assert first.namespace(link_names) == {"lo"}
            finally:
                second.namespace.end()

    run(main())


@isolated
def test_a_mac_is_random_unless_given_and_checked() -> None:
    async def main() -> None:
        async with daemon() as d:
            one, two = Container(1), Container(2)
            try:
                made = await one.attach(d.networks)
                assert int(made.mac[:2], 16) & 3 == 2
                given = await two.attach(d.networks, mac="92:D0:c6:0a:29:33")
                assert given.mac == "92:d0:c6:0a:29:33"
                assert two.namespace(lambda: Path("/proc/thread-self/net/dev").exists())
                with pytest.raises(Invalid, match="group or empty"):
                    await d.networks.attach("f" * 64, "bridge", two.namespace.fd, mac="01:00:5e:00:00:01")
                with pytest.raises(Invalid, match="six octets"):
                    await d.networks.attach("f" * 64, "bridge", two.namespace.fd, mac="nonsense")
            finally:
                one.namespace.end()
                two.namespace.end()

    run(main())


@isolated
def test_a_full_pool_is_named_and_a_failed_attach_gives_its_address_back() -> None:
    async def main() -> None:
        async with daemon(config=NetworkConfig(bip="10.9.8.1/30")) as d:
            c = Container(1)
            try:
                with open(os.devnull) as no_namespace, pytest.raises(NetlinkError):
                    await d.networks.attach(c.id, "bridge", no_namespace.fileno())
                await d.idle()
                assert d.networks.endpoints_of(c.id) == ()
                assert (await c.attach(d.networks)).address == "10.9.8.2"
                with pytest.raises(Unavailable, match=r"no available IPv4 addresses on this network's address pools: 10\.9\.8\.0/30 is full"):
                    await d.networks.attach("2" * 64, "bridge", c.namespace.fd)
            finally:
                c.namespace.end()

    run(main())


@isolated
def test_a_cancelled_attach_leaves_nothing() -> None:
    async def main() -> None:
        async with daemon() as d:
            with Namespace() as namespace:
                task = asyncio.ensure_future(d.networks.attach("1" * 64, "bridge", namespace.fd))
                (pool,) = d.networks.find("bridge").pools
                while not len(pool):  # until it has taken an address
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                while d.networks.leaving or d.networks._tasks or len(pool):
                    await asyncio.sleep(0.01)
            assert d.networks.endpoints_of("1" * 64) == ()
            assert link_names() == {"lo", "pier0"}

    run(main())


@isolated
def test_a_bridge_deleted_by_hand_is_made_again_and_its_containers_are_reached_again() -> None:
    async def main() -> None:
        async with daemon() as d, containers(d.networks) as (old,):
            routing = Routing()
            routing.delete_link("pier0")
            new = Container(2)
            try:
                await new.attach(d.networks)
                for c in (old, new):
                    served = c.namespace.start(answer, c.address, 7)
                    assert ask(c.address, 7), c.address
                    served()
            finally:
                new.namespace.end()
                routing.close()

    run(main())


@isolated
def test_a_restarted_daemon_knows_who_has_what_and_releases_what_the_dead_had() -> None:
    async def main() -> None:
        with TemporaryDirectory() as folder:
            root = Path(folder)
            async with daemon(root) as d:
                network_id = d.networks.network_id("bridge")
                live, dead = Container(1), Container(2)
                endpoint = await live.attach(d.networks)
                await dead.attach(d.networks)
                await d.networks.attach("3" * 64, "host", -1)
            dead.namespace.end()
            try:
                async with daemon(root) as d:
                    await d.networks.reconcile({live.id})
                    await d.idle()
                    assert d.networks.network_id("bridge") == network_id
                    assert d.networks.endpoints_of(live.id) == (endpoint,)
                    assert d.networks.endpoints_of(dead.id) == d.networks.endpoints_of("3" * 64) == ()
                    async with containers(d.networks, 1) as _:  # container 1 again: its first place ends
                        pass
                    await d.networks.detach(live.id)
                    await d.idle()
            finally:
                live.namespace.end()

    run(main())


@isolated
def test_a_link_that_belongs_to_no_container_is_deleted() -> None:
    async def main() -> None:
        with TemporaryDirectory() as folder:
            root = Path(folder)
            async with daemon(root) as d:
                c = Container(1)
                endpoint = await c.attach(d.networks)
                await d.store.write(lambda connection: connection.execute("DELETE FROM endpoints") and None)
            async with daemon(root) as d:
                await d.networks.reconcile(set())
                assert endpoint.host_interface not in link_names()
            c.namespace.end()

    run(main())


@isolated
def test_two_instances_live_side_by_side() -> None:
    async def main() -> None:
        async with daemon() as one, daemon(instance="0123abcd") as two:
            assert {"pier0", "pier-0123abcd"} <= link_names()
            assert (one.networks.host_gateway(), two.networks.host_gateway()) == ("172.17.0.1", "172.18.0.1")
            async with containers(one.networks) as (c,):
                await one.networks.reconcile({c.id})
                await two.networks.reconcile(set())
                assert c.endpoint is not None and c.endpoint.host_interface in link_names()

    run(main())


@isolated
def test_an_existing_bridge_is_used_as_it_is_and_what_is_none_is_refused() -> None:
    async def main() -> None:
        routing = Routing()
        routing.create_bridge("mine", "02:00:00:00:00:07", 1500, ["10.77.0.1/24"], "")
        async with daemon(config=NetworkConfig(bridge="mine")) as d, containers(d.networks) as (c,):
            assert (c.address, d.networks.host_gateway()) == ("10.77.0.2", "10.77.0.1")
            served = c.namespace.start(answer, c.address, 7)
            assert ask(c.address, 7)
            served()
            assert "pier0" not in link_names()
        with pytest.raises(NotFound, match="--bridge nope"):
            async with daemon(config=NetworkConfig(bridge="nope")):
                pass
        with pytest.raises(Invalid, match="is no bridge"):
            async with daemon(config=NetworkConfig(bridge="lo")):
                pass
        routing.close()

    run(main())


@isolated
def test_a_link_in_the_way_is_named() -> None:
    async def main() -> None:
        routing = Routing()
        with Namespace() as other:
            from .stage import veth

            veth("pier0", "10.1.1.1/24", other.fd, lambda: None)
            with pytest.raises(Conflict, match="pier0 is there and is no bridge"):
                async with daemon():
                    pass
        routing.close()

    run(main())


@isolated
def test_host_and_none_have_endpoints_without_addresses_and_an_unknown_network_none() -> None:
    async def main() -> None:
        async with daemon() as d:
            subscription = d.journal.subscribe({"type": ["network"]})
            endpoint = await d.networks.attach("1" * 64, "none", -1)
            assert (endpoint.network, endpoint.address, endpoint.cidr, len(endpoint.endpoint_id)) == ("none", "", "", 64)
            with pytest.raises(NotFound, match="network nope not found"):
                await d.networks.attach("2" * 64, "nope", -1)
            await d.networks.detach("1" * 64)
            await d.networks.detach("1" * 64)
            events = [await anext(subscription), await anext(subscription)]
            assert [(e.action, e.actor.attributes["type"], e.actor.attributes["name"]) for e in events] == [
                ("connect", "null", "none"),
                ("disconnect", "null", "none"),
            ]
            await d.idle()

    run(main())
