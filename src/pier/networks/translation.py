"""Published ports in the firewall: which elements of which maps send a packet for this host to a container. Pure.

Constant rules, in a chain that packets for addresses of this host go through, from outside and from the host itself:

    ports_at   address . protocol . port          -> container . port     published on one address of the host
    ranges_at  address . protocol . first-last    -> container            several ports that follow one another and stay the same
    ports      protocol . port                    -> container . port     published on all of them
    ranges     protocol . first-last              -> container
    opened     container . protocol . port                                gateway mode `routed`: reached at its own address
    direct     container . protocol . port                                the same, from links that its network trusts

::1 leads nowhere but to the host itself, and link-local addresses to their link: netd's listener takes those connections (pier.netd.published).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address

from pier.linux import nftables as nft
from pier.linux import nftnat, nftsets
from pier.linux.nftables import FAMILY_IPV4, FAMILY_IPV6
from pier.linux.nftsets import Element
from pier.networks.ports import Binding, version, wild

CHAIN = "publish"
LOOPBACK_IPV6 = "::1"
_TARGET, _ADDRESS = ("address", "port"), ("address",)
# name: (fields, whether its elements are ranges, what it maps to)
MAPS: Mapping[str, tuple[tuple[str, ...], bool, tuple[str, ...]]] = {
    "ports_at": (("address", "protocol", "port"), False, _TARGET),
    "ranges_at": (("address", "protocol", "port"), True, _ADDRESS),
    "ports": (("protocol", "port"), False, _TARGET),
    "ranges": (("protocol", "port"), True, _ADDRESS),
    "opened": (("address", "protocol", "port"), False, ()),
    "direct": (("address", "protocol", "port"), False, ()),
}
_VERSIONS = {FAMILY_IPV4: 4, FAMILY_IPV6: 6}


@dataclass(frozen=True)
class Published:
    """The ports of a running container, and its addresses in the networks that its gateways are in; "" where it has none of that family."""

    bindings: tuple[Binding, ...]
    address: str = ""
    address6: str = ""
    direct: tuple[int, ...] = ()  # IP versions in which links that are trusted reach what is published at its own address
    _elements: dict[int, dict[str, set[Element]]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def sockets(self) -> int:
        """How many sockets hold them, at most."""
        return len({(each.protocol, each.port, each.host_port) for each in self.bindings if each.host_port})

    def elements(self, family: int) -> dict[str, set[Element]]:
        """What the maps of a family hold of it."""
        if family not in self._elements:
            self._elements[family] = elements(self, family)
        return self._elements[family]

    def target(self, address: str) -> str:
        """Where a listener of the host's leads: to the container's address of the same family where it has one."""
        own, other = (self.address6, self.address) if version(address) == 6 else (self.address, self.address6)
        return own or other


def by_kernel(binding: Binding, published: Published) -> bool:
    """Whether the kernel translates what comes to a binding; otherwise netd's listener passes it on."""
    return bool(published.address6 if version(binding.address) == 6 else published.address) and binding.address != LOOPBACK_IPV6


def elements(published: Published, family: int) -> dict[str, set[Element]]:
    """What the maps of a family hold of a container's ports."""
    found: dict[str, set[Element]] = {}
    text = published.address if family == FAMILY_IPV4 else published.address6
    if not text:
        return found
    target = ip_address(text).packed
    same: dict[tuple[str, str], list[int]] = {}
    for binding in published.bindings:
        if version(binding.address) != _VERSIONS[family]:
            continue
        protocol = nftsets.protocol_key(binding.protocol)
        if _VERSIONS[family] in published.direct:
            found.setdefault("direct", set()).add((target + protocol + nftsets.port_key(binding.port), b""))
        if not by_kernel(binding, published):
            continue
        if not binding.host_port:
            found.setdefault("opened", set()).add((target + protocol + nftsets.port_key(binding.port), b""))
        elif binding.host_port == binding.port:
            same.setdefault((binding.address, binding.protocol), []).append(binding.port)
        else:
            name, key = _where(binding.address, protocol)
            value = target + nftsets.port_key(binding.port)
            found.setdefault(name.replace("*", "ports"), set()).add((key + nftsets.port_key(binding.host_port), b"", value))
    for (address, text), numbers in same.items():
        name, key = _where(address, nftsets.protocol_key(text))
        for first, last in runs(numbers):
            begin, end = key + nftsets.port_key(first), key + nftsets.port_key(last)
            if first == last:
                found.setdefault(name.replace("*", "ports"), set()).add((begin, b"", target + nftsets.port_key(first)))
            else:
                found.setdefault(name.replace("*", "ranges"), set()).add((begin, end, target))
    return found


def _where(address: str, protocol: bytes) -> tuple[str, bytes]:
    """(name of the map with * for its kind, beginning of the key)."""
    return ("*", protocol) if wild(address) else ("*_at", ip_address(address).packed + protocol)


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """The numbers as runs without gaps: (first, last)."""
    found: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def load_target(family: int) -> list[nft.Expression]:
    """The packet's destination: address . protocol . port."""
    after = _after(family)
    return [nftsets.load_daddr(family), nftsets.load_protocol(after), nftsets.load_dport(after + 1)]


def _after(family: int) -> int:
    """The register of four bytes behind an address in the first one."""
    return 9 if family == FAMILY_IPV4 else 12


def load_service() -> list[nft.Expression]:
    """protocol . port."""
    return [nftsets.load_protocol(), nftsets.load_dport(9)]


def rules(family: int, known: Sequence[nft.Expression] = ()) -> list[tuple[str, Sequence[nft.Expression], str]]:
    """(chain, expressions, comment) of the translation. known: what of the packets from outside it is for, all by default (respect.py)."""
    service, to_ports = load_service(), [*nftnat.to_this_host(), *nftnat.jump(CHAIN)]
    both, address = nftnat.dnat(family, _after(family)), nftnat.dnat(family)
    found: list[tuple[str, Sequence[nft.Expression], str]] = [
        ("dstnat", [*known, *to_ports], "to published ports" + (", once the host has accepted it" if known else "")),
        ("output", to_ports, "to published ports, from here"),
    ]
    if known:
        found.append(("dstnat", [nftsets.load_iifname(), nftsets.lookup("bridges"), *to_ports], "to published ports, from containers"))
    if family == FAMILY_IPV6:
        found += [
            (CHAIN, [*nftnat.is_link_local_source(), *nftnat.back()], "link-local addresses stay on their link"),
            (CHAIN, [*nftnat.is_to_loopback_ipv6(), *nftnat.back()], "::1 stays here"),
        ]
    return [
        *found,
        (CHAIN, [*load_target(family), nftsets.mapped("ports_at"), *both], "a port of one address"),
        (CHAIN, [*load_target(family), nftsets.mapped("ranges_at"), *address], "ports of one address"),
        (CHAIN, [*service, nftsets.mapped("ports"), *both], "a port of all addresses"),
        (CHAIN, [*service, nftsets.mapped("ranges"), *address], "ports of all addresses"),
    ]
