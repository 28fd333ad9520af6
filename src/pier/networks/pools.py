"""Which network a bridge gets, pure. The addresses in it: addresses.py."""

from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv4Network, IPv6Network, ip_network

from pier.errors import Unavailable

IPNetwork = IPv4Network | IPv6Network
# Docker's default pools: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in pieces of /20.
DEFAULT_POOLS = (
    *(IPv4Network((f"172.{second}.0.0", 16)) for second in range(17, 32)),
    *IPv4Network("192.168.0.0/16").subnets(new_prefix=20),
)


def overlapping(network: IPv4Network, taken: Iterable[IPv4Network]) -> list[IPv4Network]:
    """Those of `taken` that overlap with `network`; a default route overlaps with nothing."""
    return [other for other in taken if other.prefixlen and other.overlaps(network)]


def choose(taken: Iterable[IPv4Network]) -> IPv4Interface:
    """The gateway, with its prefix, of the first default pool that nothing on the host overlaps with.

    taken: the host's routes, addresses and name servers. Raises Unavailable where every pool is taken.
    """
    known = list(taken)
    for pool in DEFAULT_POOLS:
        if not overlapping(pool, known):
            return IPv4Interface((pool[1], pool.prefixlen))
    raise Unavailable(
        "no address pool is free for the bridge: the host's routes overlap with 172.17.0.0/16 to 172.31.0.0/16 and with 192.168.0.0/16: "
        "name a free one with --bip, as in --bip 10.200.0.1/24"
    )


def choose_network(pools: Iterable[tuple[IPNetwork, int]], taken: Iterable[IPNetwork], version: int = 4) -> IPNetwork:
    """The first free network of the pools. pools: (pool, prefix length of the networks in it), both families; none of IPv4: the default ones.

    taken: what overlaps with none of it may be chosen. Raises Unavailable, which names what stands in the way of the last pool.
    """
    own = [(pool, prefix) for pool, prefix in pools if pool.version == version]
    if not own and version == 4:
        own = [(pool, pool.prefixlen) for pool in DEFAULT_POOLS]
    known = sorted((int(n.network_address), int(n.broadcast_address)) for n in taken if n.version == version and n.prefixlen)
    for pool, prefix in own:
        step = 1 << (pool.max_prefixlen - prefix)
        at, end = int(pool.network_address), int(pool.broadcast_address)
        while at + step - 1 <= end:
            clash = max((last for first, last in known if first < at + step and last >= at), default=-1)
            if clash < 0:
                return ip_network((at, prefix)) if version == 4 else IPv6Network((at, prefix))
            at = (clash // step + 1) * step
    where = ", ".join(str(pool) for pool, _ in own) or f"IPv{version} (there are no pools of it)"
    way_out = "name a free subnet with --subnet, or larger pools with default-address-pools"
    raise Unavailable(f"all predefined address pools have been fully subnetted: {where}: {way_out}")
