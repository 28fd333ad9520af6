"""Veths made ahead of the start: taken by their container, by nobody else, and gone with their namespace."""

import asyncio

from pier.linux.rtnetlink import Routing
from pier.networks import prepared

from .isolated import Namespace, answer, ask, isolated
from .stage import Container, daemon, run
from .test_bridge import link_names


def veths() -> set[str]:
    return {name for name in link_names() if name not in ("lo", "pier0")}


@isolated
def test_the_container_takes_what_was_made_for_it_and_is_reached() -> None:
    async def main() -> None:
        async with daemon() as d:
            c = Container(1)
            d.networks.prepare(c.id, c.namespace.fd)
            d.networks.prepare(c.id, c.namespace.fd)
            await d.networks.prepared.settle()
            ahead = veths()
            assert len(ahead) == 1
            await d.networks.reconcile(set())
            assert veths() == ahead, "what waits for its container belongs to somebody"
            endpoint = await c.attach(d.networks)
            assert {endpoint.host_interface} == ahead == veths()
            served = c.namespace.start(answer, c.address, 7)
            assert ask(c.address, 7)
            served()
            c.namespace.end()

    run(main())


@isolated
def test_a_given_mac_replaces_the_one_made_ahead() -> None:
    def own_mac() -> str:
        routing = Routing()
        link = routing.link("eth0")
        assert link is not None
        return link.mac

    async def main() -> None:
        async with daemon() as d:
            c = Container(1)
            d.networks.prepare(c.id, c.namespace.fd)
            endpoint = await c.attach(d.networks, mac="92:d0:c6:0a:29:33")
            assert endpoint.mac == c.namespace(own_mac) == "92:d0:c6:0a:29:33"
            served = c.namespace.start(answer, c.address, 7)
            assert ask(c.address, 7)
            served()
            c.namespace.end()

    run(main())


@isolated
def test_another_namespace_gets_a_veth_of_its_own() -> None:
    async def main() -> None:
        async with daemon() as d:
            c, discarded = Container(1), Namespace()
            d.networks.prepare(c.id, discarded.fd)
            await d.networks.prepared.settle()
            ahead = veths()
            discarded.end()
            endpoint = await c.attach(d.networks)
            assert endpoint.host_interface not in ahead
            c.namespace.end()

    run(main())


@isolated
def test_a_bridge_deleted_in_between_is_repaired() -> None:
    async def main() -> None:
        async with daemon() as d:
            c = Container(1)
            d.networks.prepare(c.id, c.namespace.fd)
            await d.networks.prepared.settle()
            routing = Routing()
            late = Container(2)
            d.networks.prepare(late.id, late.namespace.fd)
            await d.networks.prepared.settle()
            routing.delete_link("pier0")
            for container in (c, late):  # the first finds the bridge gone, the second one that is new
                await container.attach(d.networks)
                served = container.namespace.start(answer, container.address, 7)
                assert ask(container.address, 7), container.address
                served()
                container.namespace.end()
            routing.close()

    run(main())


@isolated
def test_nobody_hears_of_a_place_before_it_is_announced() -> None:
    async def main() -> None:
        async with daemon() as d:
            subscription = d.journal.subscribe({"type": ["network"]})
            c = Container(1)
            d.networks.prepare(c.id, c.namespace.fd)
            endpoint, attaching = d.networks.begin_attach(c.id, "bridge", c.namespace.fd)
            assert endpoint.address and not d.networks.inspect("bridge").containers
            await attaching
            await d.networks.announce(c.id)
            await d.networks.announce(c.id)
            assert list(d.networks.inspect("bridge").containers or {}) == [c.id]
            await d.networks.detach(c.id)
            d.networks.begin_attach(c.id, "none", -1)
            await d.networks.detach(c.id)
            d.networks.begin_attach(c.id, "host", -1)
            await d.networks.announce(c.id)
            await d.networks.detach(c.id)
            events = [await anext(subscription) for _ in range(4)]
            told = [(e.action, e.actor.attributes["name"]) for e in events]
            assert told == [("connect", "bridge"), ("disconnect", "bridge"), ("connect", "host"), ("disconnect", "host")]
            c.namespace.end()

    run(main())


@isolated
def test_a_place_that_is_given_up_while_the_kernel_is_at_work_is_taken_back() -> None:
    async def main() -> None:
        async with daemon() as d:
            c = Container(1)
            for ahead in (False, True):
                if ahead:
                    d.networks.prepare(c.id, c.namespace.fd)
                d.networks.begin_attach(c.id, "bridge", c.namespace.fd)
                await d.networks.detach(c.id)
                while veths():
                    await asyncio.sleep(0.01)
            await d.idle()
            c.namespace.end()

    run(main())


@isolated
def test_what_nobody_takes_dies_with_its_namespace() -> None:
    async def main() -> None:
        async with daemon() as d:
            with Namespace() as namespace:
                d.networks.prepare("1" * 64, namespace.fd)
                await d.networks.prepared.settle()
                d.networks.forget("1" * 64)
                assert d.networks.prepared.names() == set()
            while veths():
                await asyncio.sleep(0.01)

    run(main())


@isolated
def test_only_so_many_wait() -> None:
    async def main() -> None:
        async with daemon() as d:
            prepared.MOST = 2  # this process is the test's own
            with Namespace() as one, Namespace() as two, Namespace() as three:
                for number, namespace in enumerate((one, two, three)):
                    d.networks.prepare(f"{number:064}", namespace.fd)
                assert len(d.networks.prepared.names()) == 2

    run(main())
