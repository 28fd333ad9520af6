"""The kernel's connections: seen with the addresses that they are translated to, and forgotten one by one. In a network namespace of its own."""

import contextlib
import os
import socket
import subprocess
from ipaddress import ip_address

import pytest

from pier.linux.conntrack import UDP, Conntrack
from pier.linux.nftables import FAMILY_IPV4, FAMILY_IPV6
from tests.engine.networks.isolated import Namespace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces")
RULES = """
table inet t {
    chain output { type nat hook output priority -100; udp dport 9000 dnat ip to 127.0.0.1:9001; }
    chain watched { type filter hook input priority 0; ct state new accept; }
}
"""


def test_flows_are_seen_and_forgotten() -> None:
    with Namespace() as space:
        space(_seen_and_forgotten)


def _seen_and_forgotten() -> None:
    subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True)
    table = Conntrack()
    assert table.flows(FAMILY_IPV4, UDP) == []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.enter_context(socket.create_connection(server.getsockname()))  # of TCP: not asked for
        one, six = (stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for family in (socket.AF_INET, socket.AF_INET6))
        one.sendto(b"?", ("127.0.0.1", 9000))
        one.sendto(b"?", ("127.0.0.1", 9002))
        six.sendto(b"?", ("::1", 9003))
        home = ip_address("127.0.0.1").packed
        flows = table.flows(FAMILY_IPV4, UDP)
        seen = {(flow.destination, flow.port, flow.answers_from, flow.answers_from_port) for flow in flows}
        assert seen == {(home, 9000, home, 9001), (home, 9002, home, 9002)}
        assert [flow.port for flow in table.flows(FAMILY_IPV6, UDP)] == [9003]
    going = next(flow for flow in flows if flow.port == 9000)
    assert table.forget(going) and not table.forget(going)
    assert [flow.port for flow in table.flows(FAMILY_IPV4, UDP)] == [9002]
    table.close()
