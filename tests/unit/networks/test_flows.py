"""Which flows of UDP are forgotten when a port comes or goes, and which go on."""

from ipaddress import ip_address

import pytest

from pier.linux.conntrack import Flow
from pier.linux.nftables import FAMILY_IPV4, FAMILY_IPV6
from pier.networks.flows import concerns, older, through
from pier.networks.ports import Binding
from pier.networks.translation import Published

HERE = {ip_address(text).packed for text in ("192.0.2.1", "2001:db8::1")}
WEB = Published(
    (Binding("udp", 53, "0.0.0.0", 5353), Binding("udp", 53, "::", 5353), Binding("udp", 54, "192.0.2.1", 5454), Binding("tcp", 80, "0.0.0.0", 8080)),
    "10.0.0.2", "fd00::2",
)  # fmt: skip


def flow(to: str, port: int, answers_from: str, answers_from_port: int) -> Flow:
    family = FAMILY_IPV6 if ":" in to else FAMILY_IPV4
    return Flow(family, ip_address(to).packed, port, ip_address(answers_from).packed, answers_from_port, b"")


@pytest.mark.parametrize(
    ("one", "is_older", "is_through"),
    [
        (flow("192.0.2.1", 5353, "192.0.2.1", 5353), True, False),  # from before the port was published
        (flow("127.0.0.1", 5353, "127.0.0.1", 5353), True, False),
        (flow("192.0.2.1", 5353, "10.0.0.9", 53), True, False),  # to the container that had the port before
        (flow("192.0.2.1", 5353, "10.0.0.2", 54), True, False),  # to another port of this one
        (flow("192.0.2.1", 5353, "10.0.0.2", 53), False, True),  # as it should be
        (flow("198.51.100.7", 5353, "198.51.100.7", 5353), False, False),  # somebody else's port of that number, which we forward to
        (flow("192.0.2.1", 5454, "192.0.2.1", 5454), True, False),
        (flow("127.0.0.1", 5454, "127.0.0.1", 5454), False, False),  # published on another address
        (flow("192.0.2.1", 8080, "192.0.2.1", 8080), False, False),  # TCP is published there
        (flow("10.0.0.2", 53, "10.0.0.2", 53), False, False),  # a neighbour's, who asks the container itself
        (flow("2001:db8::1", 5353, "2001:db8::1", 5353), True, False),
        (flow("2001:db8::1", 5353, "fd00::2", 53), False, True),
    ],
)
def test_what_is_forgotten(one: Flow, is_older: bool, is_through: bool) -> None:
    assert (older([one], [WEB], HERE, one.family) == [one], through([one], [WEB], one.family) == [one]) == (is_older, is_through)


def test_only_what_has_udp_is_looked_at() -> None:
    assert concerns(WEB) and not concerns(Published((Binding("tcp", 80, "0.0.0.0", 8080),), "10.0.0.2"))
    without_six = Published(WEB.bindings, "10.0.0.2")  # netd passes on what comes over IPv6: its own flows
    assert not older([flow("2001:db8::1", 5353, "2001:db8::1", 5353)], [without_six], HERE, FAMILY_IPV6)
