"""Which network the default bridge gets, pure; those of users: spans.py. The addresses in it: addresses.py."""

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv4Network, IPv6Network

from pier.errors import Unavailable
from pier.networks.model import IPNetwork

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


def clashes(networks: Iterable[tuple[str, IPNetwork]], taken: Iterable[IPNetwork]) -> list[str]:
    """What of the host's is in the way of which network, in words. networks: (name, subnet) of bridges; taken: the host's routes and addresses."""
    known = sorted({other for other in taken if other.prefixlen}, key=lambda other: (other.version, int(other.network_address), other.prefixlen))
    return [
        f"network {name} ({subnet}) overlaps with the host's route to {other}: what is there and its containers cannot both be reached: "
        "remove that route, or make the network anew with another --subnet"
        for name, subnet in networks for other in known if other.version == subnet.version and other.overlaps(subnet)
    ]  # fmt: skip


def of_host(identity: str) -> tuple[tuple[IPNetwork, int], ...]:
    """The pool of IPv6 that a daemon has where none is configured: a /48 of fd00::/8 (RFC 4193) by its ID, in networks of /64; none without an ID."""
    if not identity:
        return ()
    return ((IPv6Network((b"\xfd" + hashlib.sha256(identity.encode()).digest()[:5] + bytes(10), 48)), 64),)
