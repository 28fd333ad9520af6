"""No address is ever given twice, and none that is not to be given."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.errors import Conflict, Invalid, Unavailable
from pier.networks.addresses import Pool
from pier.networks.model import Subnet


def test_the_lowest_free_address_of_the_range() -> None:
    pool = Pool(Subnet(network="10.0.0.0/24", gateway="10.0.0.1", ip_range="10.0.0.64/30", auxiliary={"a": "10.0.0.66"}), ["10.0.0.64"])
    assert [str(pool.take()), str(pool.take())] == ["10.0.0.65", "10.0.0.67"]
    with pytest.raises(Unavailable, match=r"10\.0\.0\.64/30 of 10\.0\.0\.0/24 is full"):
        pool.take()
    pool.give_back("10.0.0.65")
    assert str(pool.take()) == "10.0.0.65"


def test_an_address_that_is_asked_for() -> None:
    pool = Pool(Subnet(network="10.0.0.0/24", gateway="10.0.0.1"))
    assert str(pool.claim("10.0.0.200")) == "10.0.0.200"
    for taken in ("10.0.0.200", "10.0.0.1", "10.0.0.0", "10.0.0.255"):
        with pytest.raises(Conflict):
            pool.claim(taken)
    with pytest.raises(Invalid, match="no configured subnet or ip-range contain the IP address"):
        pool.claim("10.0.1.1")


def test_ipv6() -> None:
    pool = Pool(Subnet(network="fd00:9::/64", gateway="fd00:9::1"))
    assert [str(pool.take()), str(pool.take())] == ["fd00:9::2", "fd00:9::3"]


@given(st.lists(st.one_of(st.just("take"), st.integers(0, 15)), max_size=60))
def test_never_twice(steps: list[object]) -> None:
    pool, held = Pool(Subnet(network="10.0.0.0/28", gateway="10.0.0.1")), set()
    for step in steps:
        if step == "take":
            try:
                address = str(pool.take())
            except Unavailable:
                assert len(held) == 13
                continue
            assert address not in held and address not in ("10.0.0.0", "10.0.0.1", "10.0.0.15") and ip_address(address) in ip_network("10.0.0.0/28")
            held.add(address)
        else:
            address = str(ip_network("10.0.0.0/28")[int(str(step))])
            if address in held:
                pool.give_back(address)
                held.discard(address)
    assert len(pool) == len(held)
