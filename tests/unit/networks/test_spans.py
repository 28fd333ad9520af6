"""Which subnet is free: beside thousands of networks with as few looks as beside one, and always as a plain search says."""

from ipaddress import IPv4Network, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pier.errors import Unavailable
from pier.networks.model import IPNetwork, Network, Subnet
from pier.networks.spans import Spans

POOL = ((IPv4Network("10.0.0.0/12"), 24),)


def network(subnet: str) -> Network:
    return Network(id=subnet, name=f"net {subnet}", created_ns=0, driver="bridge", subnets=(Subnet(network=subnet),))


def networks(*subnets: str) -> dict[str, Network]:
    return {subnet: network(subnet) for subnet in subnets}


@pytest.mark.parametrize(
    ("there", "wanted", "found"),
    [
        (("10.1.0.0/16",), "10.1.2.0/24", "10.1.0.0/16"),
        (("10.1.2.0/24",), "10.1.0.0/16", "10.1.2.0/24"),
        (("10.1.2.0/24",), "10.1.2.0/24", "10.1.2.0/24"),
        (("10.1.2.0/24",), "10.1.3.0/24", ""),
        (("10.0.0.0/24", "10.0.1.0/24"), "10.0.2.0/23", ""),
        (("fd00:1::/64",), "fd00::/16", "fd00:1::/64"),
        (("fd00::/16",), "fd00:1::/64", "fd00::/16"),
        (("fd00::/16",), "10.0.0.0/8", ""),
        (("0.0.0.0/1",), "127.0.0.0/8", "0.0.0.0/1"),
    ],
)
def test_what_overlaps(there: tuple[str, ...], wanted: str, found: str) -> None:
    overlapping = Spans().follow(networks(*there)).overlapping(ip_network(wanted))
    assert overlapping == ((ip_network(found), f"net {found}") if found else None)


def test_one_more_network_beside_thousands_takes_a_few_looks() -> None:
    spans, made, most = Spans(), dict[str, Network](), 0
    lan: list[IPNetwork] = [IPv4Network("10.0.3.7/32"), IPv4Network("0.0.0.0/0")]
    for _ in range(3000):
        before = spans.looks
        subnet = str(spans.follow(made).choose(POOL, lan))
        made[subnet] = network(subnet)
        most = max(most, spans.looks - before)
    assert most <= 3 and "10.0.3.0/24" not in made and len(made) == 3000
    del made["10.0.9.0/24"]
    before = spans.looks
    assert str(spans.follow(made).choose(POOL, lan)) == "10.0.9.0/24" and spans.looks - before == 1
    assert str(spans.follow(made).choose(POOL, [])) == "10.0.3.0/24"  # the host does not have it any more


def test_no_pool_left_names_the_way_out() -> None:
    spans = Spans().follow(networks("10.0.0.0/13", "10.8.0.0/13"))
    with pytest.raises(Unavailable, match=r"10\.0\.0\.0/12: name a free subnet with --subnet"):
        spans.choose(POOL, [])
    with pytest.raises(Unavailable, match="there are no pools of it"):
        spans.choose(POOL, [], 6)


SUBNETS = st.tuples(st.integers(0, 63), st.integers(26, 32)).map(lambda pair: str(IPv4Network((0x0A000000 + pair[0], pair[1]), strict=False)))


@given(st.lists(st.tuples(st.booleans(), SUBNETS), max_size=30), st.lists(SUBNETS, max_size=2), st.integers(27, 30))
@settings(max_examples=200)
def test_the_same_as_a_plain_search_whatever_comes_and_goes(steps: list[tuple[bool, str]], lan: list[str], prefix: int) -> None:
    pool, spans, made = IPv4Network("10.0.0.0/26"), Spans(), dict[str, Network]()
    taken: list[IPNetwork] = [IPv4Network(text) for text in lan]
    for come, text in steps:
        mine = [IPv4Network(each) for each in made]
        clash = [each for each in mine if each.overlaps(IPv4Network(text))]
        overlapping = spans.follow(made).overlapping(IPv4Network(text))
        assert (overlapping is not None) == bool(clash) and (overlapping is None or overlapping[0] in clash)
        free = [each for each in pool.subnets(new_prefix=prefix) if not any(each.overlaps(other) for other in (*mine, *taken))]
        try:
            assert spans.choose([(pool, prefix)], taken) == free[0]
        except Unavailable:
            assert not free
        if come and not clash:
            made[text] = network(text)
        elif not come:
            made.pop(text, None)
