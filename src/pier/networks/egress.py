"""Egress allow-lists, pure: what a network or a container may reach, as a firewall table of its own that is there while somebody has such a list.

    filter forward, input   answers pass; what comes from a network or an address with a list goes through the chain of either
    chain network           within its own bridge, or in a set of what the network may reach: back; else drop
    chain container         the same for the addresses of one container
Addresses are elements, with or without a port; those of names are put there by netd (pier.netd.egress) for as long as its answer may be kept,
before the container has the answer. The rules are constant. What a list does not name is dropped, the host's own addresses included; the name
server 127.0.0.11 is in the container's namespace and needs no entry.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pier.errors import Invalid
from pier.linux import nftables as nft
from pier.linux import nftchains, nftsets
from pier.linux.netlink import Message
from pier.linux.nftables import FAMILY_IPV4, FAMILY_IPV6
from pier.linux.nftchains import Key
from pier.networks.model import IPNetwork

OPTION = "com.pier.egress"
"""The option of a network, and the annotation of a container, that hold a list: entries separated by commas or spaces, or "none"."""
VERSIONS = {FAMILY_IPV4: 4, FAMILY_IPV6: 6}
_PRIORITY = -10  # before what accepts
_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)


class Allowed(NamedTuple):
    """One entry: a network or a name, and a port of TCP and UDP, 0 for all traffic."""

    network: IPNetwork | None
    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Restricted:
    """Who has a list: a bridge, or the addresses of a container. bridges: within which it is not asked."""

    allowed: tuple[Allowed, ...]
    bridges: tuple[str, ...]
    addresses: tuple[str, ...] = ()  # of a container; () for the network of the bridge


def parse(text: str) -> tuple[Allowed, ...]:
    """A list. Raises Invalid that names the entry."""
    entries = text.replace(",", " ").split()
    if not entries:
        raise Invalid(f"{OPTION} is empty: name what may be reached (10.0.0.0/8, 192.0.2.1:443, example.com, *.example.com:443), or none")
    if entries == ["none"]:
        return ()
    return tuple(dict.fromkeys(map(_entry, entries)))


def _entry(text: str) -> Allowed:
    where, port = text, 0
    if text.startswith("["):
        where, _, rest = text[1:].partition("]")
        port = _port(rest[1:], text) if rest else 0
    elif text.count(":") == 1:
        where, _, number = text.partition(":")
        port = _port(number, text)
    try:
        return Allowed(ipaddress.ip_network(where), "", port)
    except ValueError as error:
        if (where[:1].isdigit() and not where.rpartition(".")[2].isalpha()) or "/" in where or ":" in where:
            raise Invalid(f"invalid egress {text!r}: {error}") from None
    name = where.lower().rstrip(".")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise Invalid(f"invalid egress {text!r}: it is neither a network (10.0.0.0/8) nor a name, with or without a port (example.com:443)")
    return Allowed(None, name, port)


def _port(text: str, whole: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise Invalid(f"invalid egress {whole!r}: the port {text!r} is not from 1 to 65535")
    return int(text)


def names(allowed: Iterable[Allowed]) -> list[list[object]]:
    """[name, port] of the entries that are names, as netd takes them."""
    return [[entry.name, entry.port] for entry in allowed if entry.name]


def reaches(allowed: Iterable[Allowed], server: str) -> bool:
    """Whether a list lets a name server be asked: "192.0.2.53", "192.0.2.53:5353", "[2001:db8::53]:53"; what is none of these it does not."""
    host, port = server, "53"
    if server.startswith("["):
        host, _, rest = server[1:].partition("]")
        port = rest[1:] or port
    elif server.count(":") == 1:
        host, _, port = server.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(entry.network is not None and address in entry.network and str(entry.port or port) == port for entry in allowed)


def _collapsed(allowed: Iterable[Allowed], port: int, version: int) -> Iterable[IPNetwork]:
    """The networks of a port, none within another: ranges of a set do not overlap."""
    found = [entry.network for entry in allowed if entry.port == port and entry.network is not None and entry.network.version == version]
    return ipaddress.collapse_addresses(found)  # type: ignore[type-var]  # they are of one version


class Tables:
    """The table of each family as messages. name: of the table."""

    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def sets(family: int) -> dict[str, tuple[Key, bool, bool]]:
        """name: (key, whether elements are ranges, whether they end by themselves)."""
        found = {"networks": (Key(family, "ifname"), False, False), "containers": (Key(family, "saddr"), False, False)}
        found["within"] = (Key(family, "ifname", "oifname"), False, False)
        for scope, who in (("network", "ifname"), ("container", "saddr")):
            for kind, timed in (("allowed", False), ("named", True)):
                found[f"{scope}_{kind}"] = (Key(family, who, "daddr"), not timed, timed)
                found[f"{scope}_{kind}_ports"] = (Key(family, who, "daddr", "protocol", "port"), not timed, timed)
        return found

    def rules(self, family: int) -> list[tuple[str, Sequence[nft.Expression], str]]:
        """(chain, expressions, comment)."""
        known = nft.ct_state(nft.CT_ESTABLISHED | nft.CT_RELATED)
        keys = {name: key for name, (key, _, _) in self.sets(family).items()}
        found: list[tuple[str, Sequence[nft.Expression], str]] = []
        for chain in ("forward", "input"):
            found.append((chain, [*known, *nft.verdict(nft.ACCEPT)], f"{chain}: answers"))
            if family == FAMILY_IPV6 and chain == "input":
                found.append((chain, [*nftsets.is_icmp(family), *nft.verdict(nft.ACCEPT)], "input: neighbours"))
            for scope in ("network", "container"):
                found.append((chain, [*nftchains.lookup(keys[f"{scope}s"], f"{scope}s"), nftchains.jump(scope)], f"{chain}: a {scope} with a list"))
        for scope in ("network", "container"):
            for name in ("within", *(f"{scope}_{kind}{ports}" for kind in ("allowed", "named") for ports in ("", "_ports"))):
                found.append((scope, [*nftchains.lookup(keys[name], name), nftchains.leave()], f"{scope}: {name}"))
            found.append((scope, [*nft.counter(), *nft.verdict(nft.DROP)], f"{scope}: nothing else"))
        return found

    def elements(self, restricted: Iterable[Restricted], family: int) -> dict[str, set[nftsets.Element]]:
        """What is in each set but those that netd fills."""
        version = VERSIONS[family]
        sets = self.sets(family)
        found: dict[str, set[nftsets.Element]] = {name: set() for name, (_, _, timed) in sets.items() if not timed}
        for one in restricted:
            bridges = [nftsets.ifname(bridge) for bridge in one.bridges]
            found["within"] |= {(bridge + bridge, b"") for bridge in bridges}
            own = [address.packed for address in map(ipaddress.ip_address, one.addresses) if address.version == version]
            scope, keys = ("container", own) if one.addresses else ("network", bridges)
            found[f"{scope}s"] |= {(key, b"") for key in keys}
            for port in {entry.port for entry in one.allowed}:
                for network in _collapsed(one.allowed, port, version):
                    first, last = network.network_address.packed, network.broadcast_address.packed
                    for key in keys:
                        if not port:
                            found[f"{scope}_allowed"].add((key + first, key + last))
                            continue
                        for number in nftchains.PROTOCOLS.values():
                            end = bytes((number, 0, 0, 0)) + port.to_bytes(2, "big") + b"\0\0"
                            found[f"{scope}_allowed_ports"].add((key + first + end, key + last + end))
        return found

    def ruleset(self, restricted: Sequence[Restricted], family: int) -> list[Message]:
        """The transaction that makes the table anew."""
        messages = [*self.remove(family), nft.add_table(family, self.name)]
        for chain, hook in (("forward", nft.HOOK_FORWARD), ("input", nft.HOOK_INPUT)):
            messages.append(nft.add_base_chain(family, self.name, chain, "filter", hook, _PRIORITY))
        messages += [nftchains.add_chain(family, self.name, scope) for scope in ("network", "container")]
        for number, (name, (key, ranges, timed)) in enumerate(self.sets(family).items(), 1):
            messages.append(nftchains.add_set(self.name, name, number, key, ranges=ranges, timed=timed))
        for name, each in self.elements(restricted, family).items():
            messages += nftsets.add_elements(family, self.name, name, each)
        return [*messages, *(nft.add_rule(family, self.name, chain, expressions, comment) for chain, expressions, comment in self.rules(family))]

    def change(self, old: Sequence[Restricted], new: Sequence[Restricted], family: int) -> list[Message]:
        """The transaction from one state to another."""
        before, after = self.elements(old, family), self.elements(new, family)
        gone = [m for name in before for m in nftsets.delete_elements(family, self.name, name, before[name] - after[name])]
        return [*gone, *(m for name in after for m in nftsets.add_elements(family, self.name, name, after[name] - before[name]))]

    def remove(self, family: int) -> list[Message]:
        """The transaction that takes the table away, there or not."""
        return [nft.add_table(family, self.name), nft.delete_table(family, self.name)]

    def intact(
        self, restricted: Sequence[Restricted], family: int, chains: Iterable[nft.Chain], found: Iterable[nft.Rule],
        held: Mapping[str, "set[nftsets.Element] | None"],
    ) -> bool:  # fmt: skip
        """Whether the kernel holds just these rules and elements. held: of the sets that `elements` names."""
        hooked = {chain.name for chain in chains if chain.family == family and chain.table == self.name}
        have = sorted((rule.chain, rule.comment) for rule in found)
        wanted = sorted((chain, comment) for chain, _, comment in self.rules(family))
        return hooked == {"forward", "input"} and have == wanted and held == self.elements(restricted, family)
