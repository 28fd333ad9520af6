"""Which subnets the networks have, by address: thousands of them cost one that is made next to nothing. Pure.

Two networks of the CIDR kind are apart, or one is within the other. So what overlaps with one lies in it, or is one of its few prefixes.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network

from pier.errors import Unavailable
from pier.networks.model import IPNetwork, Network
from pier.networks.pools import DEFAULT_POOLS


class Spans:
    """Filled by `follow`, which looks only at what has come and gone."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[IPNetwork, ...]] = {}  # by ID
        self._names: dict[int, dict[tuple[int, int], str]] = {4: {}, 6: {}}  # (first address, prefix length): name of the network
        self._firsts: dict[int, list[int]] = {4: [], 6: []}
        self._prefixes: dict[int, dict[int, int]] = {4: {}, 6: {}}  # prefix length: how many
        self._full: dict[tuple[IPNetwork, int], int] = {}  # pool and prefix length: below this address each of its networks is taken
        self._foreign: list[tuple[int, int]] = []  # by the host, as far as that goes for _full: first and last addresses
        self.looks = 0
        """How often an address was looked up: tests count."""

    def follow(self, networks: Mapping[str, Network]) -> "Spans":
        """Be what the networks (by ID) have; those that take their settings from others, and nothing else, have none."""
        for identity in self._known.keys() - networks.keys():
            for subnet in self._known.pop(identity):
                self._drop(subnet)
        for identity in networks.keys() - self._known.keys():
            network = networks[identity]
            self._known[identity] = () if network.config_only else tuple(subnet.parsed for subnet in network.subnets)
            for subnet in self._known[identity]:
                self._add(subnet, network.name)
        return self

    def _add(self, subnet: IPNetwork, name: str) -> None:
        version, first = subnet.version, int(subnet.network_address)
        if (first, subnet.prefixlen) in self._names[version]:
            return  # --bip may say what a network has
        self._names[version][first, subnet.prefixlen] = name
        insort(self._firsts[version], first)
        self._prefixes[version][subnet.prefixlen] = self._prefixes[version].get(subnet.prefixlen, 0) + 1

    def _drop(self, subnet: IPNetwork) -> None:
        version, first = subnet.version, int(subnet.network_address)
        if self._names[version].pop((first, subnet.prefixlen), None) is None:
            return
        del self._firsts[version][bisect_left(self._firsts[version], first)]
        self._prefixes[version][subnet.prefixlen] -= 1
        for pool, prefix in [key for key, full in self._full.items() if key[0].version == version and full > first]:
            step = 1 << (pool.max_prefixlen - prefix)
            self._full[pool, prefix] = max(first // step * step, int(pool.network_address))

    def overlapping(self, wanted: IPNetwork) -> tuple[IPNetwork, str] | None:
        """A subnet that overlaps, and the name of its network."""
        version = wanted.version
        found = self._within(version, int(wanted.network_address), wanted.max_prefixlen - wanted.prefixlen)
        if found is None:
            return None
        first, prefix = found
        kind = type(wanted.network_address)
        return ip_network(f"{kind(first)}/{prefix}"), self._names[version][found]

    def _within(self, version: int, first: int, free_bits: int) -> tuple[int, int] | None:
        """(first address, prefix length) of one that lies around the block of 2**free_bits addresses, or in it."""
        self.looks += 1
        bits, names = (32 if version == 4 else 128), self._names[version]
        for prefix, count in self._prefixes[version].items():
            start = first >> (bits - prefix) << (bits - prefix)
            if count and bits - prefix >= free_bits and (start, prefix) in names:
                return start, prefix
        firsts = self._firsts[version]
        at = bisect_left(firsts, first)
        if at < len(firsts) and firsts[at] < first + (1 << free_bits):
            return next((firsts[at], prefix) for prefix, count in self._prefixes[version].items() if count and (firsts[at], prefix) in names)
        return None

    def choose(self, pools: Iterable[tuple[IPNetwork, int]], taken: Iterable[IPNetwork], version: int = 4) -> IPNetwork:
        """The first network of the pools that is free of these subnets and of `taken`, the host's.

        pools: (pool, prefix length of the networks in it), both families; none of IPv4: the default ones. Raises Unavailable.
        """
        own = [(pool, prefix) for pool, prefix in pools if pool.version == version]
        if not own and version == 4:
            own = [(pool, pool.prefixlen) for pool in DEFAULT_POOLS]
        foreign = [(int(n.network_address), int(n.broadcast_address)) for n in taken if n.version == version and n.prefixlen]
        if foreign != self._foreign:
            self._foreign = foreign
            self._full.clear()
        for pool, prefix in own:
            found = self._free(pool, prefix, foreign)
            if found is not None:
                return found
        where = ", ".join(str(pool) for pool, _ in own) or f"IPv{version} (there are no pools of it)"
        way_out = "name a free subnet with --subnet, or larger pools with default-address-pools"
        raise Unavailable(f"all predefined address pools have been fully subnetted: {where}: {way_out}")

    def _free(self, pool: IPNetwork, prefix: int, foreign: Sequence[tuple[int, int]]) -> IPNetwork | None:
        bits = pool.max_prefixlen - prefix
        step, end = 1 << bits, int(pool.broadcast_address)
        at = self._full.get((pool, prefix), int(pool.network_address))
        while at + step - 1 <= end:
            mine = self._within(pool.version, at, bits)
            if mine is not None:
                at = mine[0] + (1 << (pool.max_prefixlen - mine[1])) if mine[1] < prefix else at + step
            else:
                clash = max((last for first, last in foreign if first < at + step and last >= at), default=-1)
                if clash < 0:
                    kind = type(pool.network_address)
                    return ip_network(f"{kind(at)}/{prefix}")
                at = (clash // step + 1) * step
            self._full[pool, prefix] = at
        return None
