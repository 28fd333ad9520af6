"""Pier's bridge on a host where a real dockerd has set its own up: both engines' containers reach what they should."""

import os
from collections.abc import Iterator

import pytest

from tests.harness.reference import Reference, available

from .isolated import Namespace, answer, ask
from .stage import HOST, LAN, containers, daemon, lan, run
from .test_firewall import _SHORT_S, forward_comments

pytestmark = pytest.mark.skipif(not available(), reason="needs the reference engine")


@pytest.fixture(scope="module")
def docker() -> Iterator[Reference]:
    with Reference() as reference:
        reference.start_dockerd()
        yield reference


def inside(reference: Reference) -> Namespace:
    """The reference's network namespace as one that functions run in."""
    host = Namespace.__new__(Namespace)
    host.pid = 0  # not ours to end
    holder = reference.argv()[reference.argv().index("--target") + 1]
    host.fd = os.open(f"/proc/{holder}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    return host


def _story() -> None:
    async def main() -> None:
        with Namespace() as outside:
            lan(outside, "default")
            async with daemon() as d, containers(d.networks) as (c,):
                assert d.networks.host_gateway() == "172.18.0.1"  # Docker has 172.17
                assert forward_comments()[:2] == ["pier: from pier0", "pier: answers and published ports to pier0"]
                assert any("DOCKER-USER" in words for words in d.networks.warnings)
                served = outside.start(answer, LAN, 9)
                assert c.namespace(ask, LAN, 9)
                assert served() == [(HOST, b"hello")]
                assert not outside(ask, c.address, 9, timeout_s=_SHORT_S)

    run(main())


def _start_and_stop() -> None:
    async def main() -> None:
        async with daemon():
            pass

    run(main())


def test_containers_reach_the_lan_through_dockers_forward_drop(docker: Reference) -> None:
    inside(docker)(_story)


def test_dockers_own_tool_still_reads_and_changes_its_chain(docker: Reference) -> None:
    inside(docker)(_start_and_stop)
    listed = docker("iptables", "-S", "FORWARD")
    assert listed.code == 0, listed.err
    lines = listed.out.splitlines()
    assert lines[0] == "-P FORWARD DROP"
    assert '-A FORWARD -i pier0 -m comment --comment "pier: from pier0" -j ACCEPT' in lines
    states = "RELATED,ESTABLISHED,DNAT"
    assert f'-A FORWARD -o pier0 -m conntrack --ctstate {states} -m comment --comment "pier: answers and published ports to pier0" -j ACCEPT' in lines
    for action in ("-A", "-D"):
        done = docker("iptables", action, "FORWARD", "-i", "nothing0", "-j", "ACCEPT")
        assert done.code == 0, done.err
    made = docker("docker", "-H", docker.host, "network", "create", "beside")
    assert made.code == 0, made.err
    assert docker("docker", "-H", docker.host, "network", "rm", "beside").code == 0
