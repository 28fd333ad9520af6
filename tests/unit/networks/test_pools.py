"""Which network the bridge gets, and that no address is ever given twice."""

from ipaddress import IPv4Address, IPv4Network, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pier.errors import Unavailable
from pier.networks.addresses import Pool
from pier.networks.model import Subnet
from pier.networks.pools import DEFAULT_POOLS, choose, clashes


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([], "172.17.0.1/16"),
        (["0.0.0.0/0"], "172.17.0.1/16"),
        (["172.17.0.0/16"], "172.18.0.1/16"),
        (["172.17.200.0/24", "172.18.0.5/32"], "172.19.0.1/16"),
        (["172.16.0.0/12"], "192.168.0.1/20"),
        (["172.16.0.0/12", "192.168.1.0/24"], "192.168.16.1/20"),
        (["10.0.0.0/8"], "172.17.0.1/16"),
    ],
)
def test_the_first_free_pool_around_the_hosts_routes(taken: list[str], expected: str) -> None:
    assert str(choose([IPv4Network(text) for text in taken])) == expected


def test_no_pool_left_names_the_way_out() -> None:
    with pytest.raises(Unavailable, match="--bip"):
        choose([IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16")])


def test_the_pools_are_dockers() -> None:
    assert len(DEFAULT_POOLS) == 15 + 16
    assert (str(DEFAULT_POOLS[0]), str(DEFAULT_POOLS[14]), str(DEFAULT_POOLS[15]), str(DEFAULT_POOLS[-1])) == (
        "172.17.0.0/16",
        "172.31.0.0/16",
        "192.168.0.0/20",
        "192.168.240.0/20",
    )


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 32)), max_size=40))
@settings(max_examples=60)
def test_what_is_chosen_overlaps_with_nothing(raw: list[tuple[int, int]]) -> None:
    taken = [IPv4Network(pair, strict=False) for pair in raw]
    try:
        chosen = choose(taken)
    except Unavailable:
        assert all(any(pool.overlaps(other) for other in taken) for pool in DEFAULT_POOLS)
    else:
        assert not any(chosen.network.overlaps(other) for other in taken)


class Leases(RuleBasedStateMachine):
    """A pool against a plain set."""

    @initialize(prefix=st.integers(26, 30), gateway=st.integers(1, 2), taken=st.sets(st.integers(0, 70), max_size=5))
    def begin(self, prefix: int, gateway: int, taken: set[int]) -> None:
        network = IPv4Network(("10.0.0.0", prefix))
        before = [IPv4Address("10.0.0.0") + offset for offset in taken]
        usable = set(network.hosts()) - {network[gateway]}
        self.leased = set(before) & usable
        self.usable = usable
        # Reserved addresses among `taken` cannot be leased anyway.
        self.pool = Pool(Subnet(network=str(network), gateway=str(network[gateway])), [str(address) for address in before if address in usable])

    @precondition(lambda self: self.leased < self.usable)
    @rule()
    def take(self) -> None:
        address = self.pool.take()
        assert address == min(self.usable - self.leased)
        self.leased.add(address)

    @precondition(lambda self: self.leased == self.usable)
    @rule()
    def take_from_a_full_pool(self) -> None:
        with pytest.raises(Unavailable, match="is full"):
            self.pool.take()

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        if self.leased:
            address = data.draw(st.sampled_from(sorted(self.leased)))
            self.leased.discard(address)
            self.pool.give_back(str(address))

    @rule(offset=st.integers(0, 80))
    def give_back_what_nobody_has(self, offset: int) -> None:
        address = IPv4Address("10.0.0.0") + offset
        if address not in self.leased:
            self.pool.give_back(str(address))

    @invariant()
    def counts(self) -> None:
        if hasattr(self, "pool"):
            assert len(self.pool) == len(self.leased)


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=40, stateful_step_count=40)


def test_what_is_in_the_way_of_a_network_is_named() -> None:
    there = [("shop", ip_network("10.5.0.0/16")), ("six", ip_network("fd00:5::/64")), ("other", ip_network("10.6.0.0/16"))]
    taken = ["10.5.9.0/24", "0.0.0.0/0", "::/0", "fd00::/16", "10.7.0.0/16", "10.5.9.0/24"]
    told = clashes(there, [ip_network(text) for text in taken])
    assert [words.partition(":")[0] if "fd00" not in words else words.split(" (")[0] for words in told] == [
        "network shop (10.5.0.0/16) overlaps with the host's route to 10.5.9.0/24",
        "network six",
    ]
