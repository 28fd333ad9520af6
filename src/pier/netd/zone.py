"""Which names a container sees, and what they mean: tables that the daemon pushes, and the decision for one question. Pure.

A container sees the containers of its own networks only: by name, alias, full and short ID, alone or with the network's name behind it
(`web`, `web.shop`). What a network knows is never asked of the world outside: a name of it without an address of the wanted family is
answered with none.
"""

import ipaddress
from typing import Any, NamedTuple

from pier.netd import egress, message
from pier.netd.message import Question

TTL_S = 600  # as Docker's embedded server
MOST_ORDERS = 8
_V4_SUFFIX, _V6_SUFFIX = ".in-addr.arpa", ".ip6.arpa"


class Network(NamedTuple):
    """A network's names. hosts: lower-case name -> addresses of both families; pointers: address -> name."""

    name: str
    internal: bool
    subnets: "tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]"
    hosts: dict[str, list[str]]
    pointers: dict[str, str]


class View(NamedTuple):
    """What one container sees. own: its links: alias -> (network, name)s. servers: whom to ask further, in order."""

    networks: tuple[str, ...]
    own: dict[str, list[tuple[str, str]]]
    servers: tuple[str, ...]
    held: egress.Held = egress.Held()


class Answer(NamedTuple):
    """What to do with a question: `packets` are the answer (several addresses of a name: one for each order), or it is to be asked of `servers`."""

    packets: tuple[bytes, ...] = ()
    servers: tuple[str, ...] = ()


class Zones:
    """The tables: networks by ID, views by container."""

    def __init__(self) -> None:
        self.networks: dict[str, Network] = {}
        self.views: dict[str, View] = {}
        self.version = 1  # another one with each change

    def set_network(self, identity: str, fields: dict[str, Any]) -> None:
        """A network as the daemon sends it: {"name", "internal", "subnets": [...], "hosts": {name: [address]}, "pointers": {address: name}}."""
        subnets = tuple(ipaddress.ip_network(text) for text in fields.get("subnets", ()))
        hosts = {str(name).lower(): list(found) for name, found in fields.get("hosts", {}).items()}
        self.version += 1
        self.networks[identity] = Network(str(fields["name"]).lower(), bool(fields.get("internal")), subnets, hosts, dict(fields.get("pointers", {})))

    def set_view(self, container: str, fields: dict[str, Any]) -> None:
        """A container: {"networks": [ID], "own": {alias: [[ID, name]]}, "servers": [address], "egress": see egress.view}."""
        own = {str(alias).lower(): [(str(network), str(name).lower()) for network, name in found] for alias, found in fields.get("own", {}).items()}
        held = egress.view(fields.get("egress", {}))
        self.version += 1
        self.views[container] = View(tuple(fields.get("networks", ())), own, tuple(fields.get("servers", ())), held)

    def drop_network(self, identity: str) -> None:
        """A network is gone, or was never there."""
        self.version += 1
        self.networks.pop(identity, None)

    def drop_view(self, container: str) -> None:
        """A container is gone, or was never there."""
        self.version += 1
        self.views.pop(container, None)

    def decide(self, container: str, question: Question, turn: int = 0) -> Answer:
        """What is done with a container's question. turn: rotates several addresses of one name."""
        view = self.views.get(container)
        if view is None or question.klass not in (message.IN, message.ANY):
            return Answer((message.refusal(question, message.REFUSED),))
        if question.flags & message.OPCODE:  # NOTIFY and UPDATE are not asked in a container's stead
            return Answer((message.refusal(question, message.NOTIMP),))
        networks = [self.networks[identity] for identity in view.networks if identity in self.networks]
        if question.kind == message.PTR and (address := pointed(question.name)):
            for network in networks:
                if address in network.pointers:
                    return Answer((message.names(question, [network.pointers[address]], TTL_S),))
            if any(ipaddress.ip_address(address) in subnet for network in networks for subnet in network.subnets):
                return Answer((message.refusal(question, message.NXDOMAIN),))
            return self._outside(question, view, networks)
        found = self._linked(question.name, view)
        if found is None:
            found = self._addresses(question.name, networks)
        if found is None:
            return self._outside(question, view, networks)
        if question.kind not in (message.A, message.AAAA):
            return Answer((message.refusal(question, message.NOERROR),))
        return Answer(tuple(message.addresses(question, order, TTL_S) for order in _orders(found, turn)))

    def _linked(self, name: str, view: View) -> list[str] | None:
        """Addresses of who has an alias for this container alone; None where nobody of that name is there (yet)."""
        for identity, target in view.own.get(name, ()):
            if identity in self.networks and target in self.networks[identity].hosts:
                return self.networks[identity].hosts[target]
        return None

    @staticmethod
    def _addresses(name: str, networks: list[Network]) -> list[str] | None:
        """Addresses of a name of the container's networks; None for a name that they do not have."""
        for network in networks:
            if name in network.hosts:
                return network.hosts[name]
            if name.endswith(f".{network.name}") and (short := name[: -len(network.name) - 1]) in network.hosts:
                return network.hosts[short]
        return None

    @staticmethod
    def _outside(question: Question, view: View, networks: list[Network]) -> Answer:
        """The world outside is asked, unless the container has no way there: all its networks are internal, or a list does not name it.

        A network that is not known (yet, when a new netd is told of everything) may be: nobody is asked then.
        """
        if len(networks) < len(view.networks):
            return Answer((message.refusal(question, message.SERVFAIL),))
        if networks and all(network.internal for network in networks):
            return Answer((message.refusal(question, message.NXDOMAIN),))
        if not view.servers:
            return Answer((message.refusal(question, message.SERVFAIL),))
        servers = egress.may_ask(view.held, question.name, view.servers)
        return Answer(servers=servers) if servers else Answer((message.refusal(question, message.NXDOMAIN),))


def _orders(found: list[str], turn: int) -> list[list[str]]:
    """The addresses with another one first each time: all such orders of a few, of many the one whose turn it is."""
    turns = range(turn, turn + len(found)) if 0 < len(found) <= MOST_ORDERS else (turn,)
    return [found[at % len(found) :] + found[: at % len(found)] if found else found for at in turns]


def pointed(name: str) -> str:
    """The address that a name of the reverse tree stands for, "" for another name."""
    if name.endswith(_V4_SUFFIX):
        octets = name[: -len(_V4_SUFFIX)].split(".")
        text = ".".join(reversed(octets)) if len(octets) == 4 else ""
    elif name.endswith(_V6_SUFFIX):
        digits = name[: -len(_V6_SUFFIX)].split(".")
        whole = "".join(reversed(digits))
        text = ":".join(whole[at : at + 4] for at in range(0, 32, 4)) if len(digits) == 32 and all(len(d) == 1 for d in digits) else ""
    else:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
