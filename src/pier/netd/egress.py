"""Lists of what containers may reach, and names: which of them may be asked of the world outside, and that their addresses are let in.

A question can tell somebody something, so a name is asked outside only where every list names it, or lets the container reach the server itself.
The addresses of an answer go into the firewall's sets before the container has the answer.

The sets are of the daemon's table (pier.networks.egress); an element stays for as long as the answer may be kept, a little longer, so that who keeps
an answer to its end can still connect. A container can have addresses of allowed names let in only, and only for itself or its network.
"""

from typing import Any, NamedTuple

from pier.linux import nftchains
from pier.linux.netlink import NetlinkError
from pier.linux.nftables import FAMILY_IPV4, FAMILY_IPV6, Firewall
from pier.netd import message
from pier.netd.message import Malformed, Question

LEAST_S, GRACE_S, MOST_S = 60, 30, 24 * 3600
_MOST_ADDRESSES = 64


class Scope(NamedTuple):
    """A list: of a network (key: its bridge) or of a container (keys: its addresses, by IP version)."""

    kind: str  # "network", "container"
    keys: "dict[int, tuple[bytes, ...]]"
    names: "tuple[tuple[str, int], ...]"  # (name or *.name, port or 0)
    servers: "tuple[str, ...]" = ()  # name servers that it lets the container reach


class Held(NamedTuple):
    """What a container is held to. table: "" where it is to nothing."""

    table: str = ""
    scopes: "tuple[Scope, ...]" = ()


def view(fields: "dict[str, Any]") -> Held:
    """As the daemon sends it: {"table", "scopes": [[kind, {"4": [hex], "6": [hex]}, [[name, port]], [server]]]}."""
    scopes = []
    for kind, keys, names, *servers in fields.get("scopes", ()):  # what a daemon from before there were servers left at the keeper has none
        packed = {int(version): tuple(bytes.fromhex(key) for key in found) for version, found in keys.items()}
        scopes.append(Scope(str(kind), packed, tuple((str(name), int(port)) for name, port in names), tuple(*servers)))
    return Held(str(fields.get("table", "")), tuple(scopes))


def fits(name: str, wanted: str) -> bool:
    """Whether a name is meant: `*.example.com` means all below it."""
    return name.endswith(wanted[1:]) and len(name) > len(wanted) - 1 if wanted.startswith("*.") else name == wanted


def may_ask(held: Held, name: str, servers: "tuple[str, ...]") -> "tuple[str, ...]":
    """Those of the servers that may be asked for a name. Pure."""
    for scope in held.scopes:
        if not any(fits(name, wanted) for wanted, _ in scope.names):
            servers = tuple(server for server in servers if server in scope.servers)
    return servers


class Fill(NamedTuple):
    """Keys for one set of one family."""

    family: int
    set: str
    keys: "tuple[bytes, ...]"
    timeout_s: int


def fills(held: Held, question: Question, answer: bytes) -> "list[Fill]":
    """What an answer from outside adds. Pure."""
    if question.kind not in (message.A, message.AAAA):
        return []
    meant = [(scope, port) for scope in held.scopes for name, port in scope.names if fits(question.name, name)]
    if not meant:
        return []
    try:
        found = message.found_addresses(answer)[:_MOST_ADDRESSES]
        life_s = min(max(message.lifetime_s(answer), LEAST_S), MOST_S) + GRACE_S
    except Malformed:
        return []
    version, family = (4, FAMILY_IPV4) if question.kind == message.A else (6, FAMILY_IPV6)
    addresses = [packed for packed in found if len(packed) == (4 if version == 4 else 16)]
    result = []
    for scope, port in meant:
        keys = [key + address for key in scope.keys.get(version, ()) for address in addresses]
        if port:
            ends = [bytes((number, 0, 0, 0)) + port.to_bytes(2, "big") + b"\0\0" for number in nftchains.PROTOCOLS.values()]
            keys = [key + end for key in keys for end in ends]
        if keys:
            result.append(Fill(family, f"{scope.kind}_named" + ("_ports" if port else ""), tuple(keys), life_s))
    return result


class Gate:
    """Fills the sets; opens its socket when it is needed first."""

    def __init__(self) -> None:
        self._firewall: Firewall | None = None
        self.failed = 0

    def open(self, held: Held, question: Question, answer: bytes) -> None:
        """Before an answer is given. A table that is gone just now is the daemon's to make again: the next answer finds it."""
        for fill in fills(held, question, answer) if held.scopes else ():
            if self._firewall is None:
                self._firewall = Firewall()
            try:
                self._firewall.apply(nftchains.add_timed(fill.family, held.table, fill.set, fill.keys, fill.timeout_s), "addresses of a name")
            except NetlinkError:
                self.failed += 1
