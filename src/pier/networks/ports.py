"""Published ports as values: what is asked for, which port of the host may be whose, and what came of it. Pure.

A port of a container is published on addresses of the host, "" standing for all of both families, under a number, the first free one of a
range, or any of the host's ephemeral ones. Texts are those of Docker Engine 28, since clients match on them.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from pier.api.models.containers import PortBinding
from pier.errors import Invalid

PROTOCOLS = ("tcp", "udp", "sctp")
ALL_IPV4, ALL_IPV6 = "0.0.0.0", "::"
EVERYWHERE = (ALL_IPV4, ALL_IPV6)
_WILD = frozenset(EVERYWHERE)


@dataclass(frozen=True, slots=True)
class Asked:
    """One port of a container that is to be published."""

    protocol: str
    port: int
    addresses: tuple[str, ...] = ()  # of the host; () for all
    first: int = 0  # 0: any of the ephemeral ports
    last: int = 0


@dataclass(frozen=True, slots=True)
class Binding:
    """One port of a container as it is published on one address of the host."""

    protocol: str
    port: int
    address: str  # of the host: "0.0.0.0", "::", "127.0.0.1"
    host_port: int  # 0 in gateway mode `routed`: the container's own port, at its own address

    @property
    def key(self) -> str:
        """How the API calls the container's port: "80/tcp"."""
        return f"{self.port}/{self.protocol}"


class Taken(Exception):
    """No port is free. address: the first that was asked for; port: 0 as of several; container: the ID of who has it, "" where none of ours."""

    def __init__(self, protocol: str, address: str, port: int, container: str = "") -> None:
        super().__init__(f"{protocol} {address} {port}")
        self.protocol, self.address, self.port, self.container = protocol, address, port, container


def number(text: str) -> int:
    """A port number of 0 to 65535. Raises Invalid with Docker's text."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) > 65535:
        raise Invalid(f'invalid port specification: "{text}"')
    return int(text)


def container_port(key: str) -> tuple[int, str]:
    """(number, protocol) of "80/tcp", "80". Raises Invalid: for a port that cannot be published."""
    text, slash, protocol = key.partition("/")
    port = number(text)
    protocol = protocol.lower() if slash else "tcp"
    if not port:
        raise Invalid(f'invalid port specification: "{key}": nothing listens on port 0')
    if protocol not in PROTOCOLS:
        raise Invalid(f'invalid port specification: "{key}": unknown protocol: use {", ".join(PROTOCOLS)}')
    return port, protocol


def exposed(keys: Iterable[str]) -> list[tuple[int, str]]:
    """The ports of ExposedPorts, in their order; ranges as an image may have them, what is none left out."""
    found: set[tuple[int, str]] = set()
    for key in keys:
        text, slash, protocol = key.partition("/")
        first, dash, last = text.partition("-")
        try:
            low, high = number(first), number(last if dash else first)
        except Invalid:
            continue
        found.update((port, protocol.lower() if slash else "tcp") for port in range(low, high + 1))
    return sorted(found)


def _host_ports(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    try:
        low, high = number(first or "0"), number(last if dash else first or "0")
    except Invalid:
        raise Invalid(f'invalid port specification: "{text}"') from None
    if low > high or (dash and not low):
        raise Invalid(f'invalid port specification: "{text}"')
    return low, high


def _host_address(text: str, key: str) -> tuple[str, ...]:
    if not text:
        return ()
    try:
        address = ip_address(text)
    except ValueError:
        raise Invalid(f"invalid host address {text!r} for port {key}: it is no IP address") from None
    if getattr(address, "scope_id", None) or (address.version == 6 and address.is_link_local):
        raise Invalid(f"invalid host address {text!r} for port {key}: a link-local address cannot be published on")
    return (str(address),)


def asked(bindings: Mapping[str, Sequence[PortBinding] | None], exposed_ports: Collection[str], publish_all: bool) -> tuple[Asked, ...]:
    """What HostConfig.PortBindings, and PublishAllPorts with the exposed ports, ask for. Raises Invalid.

    Several addresses for one port and one range of the host's share a number, as in Docker.
    """
    found: list[Asked] = []
    named: set[tuple[int, str]] = set()
    for key, values in bindings.items():
        port, protocol = container_port(key)
        groups: dict[tuple[int, int], list[list[str]]] = {}
        for value in values or ():
            low, high = _host_ports(value.host_port)
            addresses = _host_address(value.host_ip, key)
            same = groups.setdefault((low, high), [])
            group = next((group for group in same if group and addresses and addresses[0] not in group), None)
            if group is not None:
                group.append(addresses[0])
            else:
                same.append(list(addresses))
            named.add((port, protocol))
        found += [Asked(protocol, port, tuple(group), low, high) for (low, high), same in groups.items() for group in same]
    if publish_all:
        further = [one for one in exposed(exposed_ports) if one not in named and one[0] and one[1] in PROTOCOLS]
        found += [Asked(protocol, port) for port, protocol in further]
    return tuple(sorted(found, key=lambda one: (one.first == 0, one.first != one.last, one.protocol, one.port)))


def wild(address: str) -> bool:
    """Whether it stands for every address of its family."""
    return address in _WILD


def version(address: str) -> int:
    """4 or 6."""
    return 6 if ":" in address else 4


class Ledger:
    """Whose the ports of the host are, as far as containers have them."""

    def __init__(self, ephemeral: tuple[int, int] = (32768, 60999)) -> None:
        """ephemeral: the first and the last port that may be given where none is asked for."""
        self.ephemeral = ephemeral
        self._held: dict[tuple[str, int], dict[str, str]] = {}  # (protocol, port): {address: container}
        self._next: dict[str, int] = {}

    def holder(self, protocol: str, address: str, port: int) -> str:
        """The ID of the container that has a port, or one that overlaps with it; "" where none has."""
        for theirs, container in self._held.get((protocol, port), {}).items():
            if theirs == address or (version(theirs) == version(address) and (wild(theirs) or wild(address))):
                return container
        return ""

    def take(self, container: str, bindings: Iterable[Binding]) -> None:
        """Note what a container has from now on."""
        for binding in bindings:
            if binding.host_port:
                self._held.setdefault((binding.protocol, binding.host_port), {})[binding.address] = container

    def give_back(self, container: str, bindings: Iterable[Binding]) -> None:
        """The same is free again."""
        for binding in bindings:
            held = self._held.get((binding.protocol, binding.host_port), {})
            if held.get(binding.address) == container:
                del held[binding.address]
                if not held:
                    del self._held[binding.protocol, binding.host_port]

    def candidates(self, one: Asked, addresses: Sequence[str], before: int = 0) -> Iterator[int]:
        """The ports to try, in order, those of containers left out. before: the one it had last, for any will do. Raises Taken at the end."""
        holder = ""
        for port in self._numbers(one, before):
            holder = next((held for address in addresses if (held := self.holder(one.protocol, address, port))), "")
            if not holder:
                if not one.first:
                    self._next[one.protocol] = port + 1
                yield port
        raise Taken(one.protocol, addresses[0], one.first if one.first == one.last else 0, holder)

    def _numbers(self, one: Asked, before: int) -> Iterator[int]:
        if one.first:
            yield from range(one.first, one.last + 1)
            return
        first, last = self.ephemeral
        if before:
            yield before
        begin = self._next.get(one.protocol, first)
        begin = begin if first <= begin <= last else first
        yield from range(begin, last + 1)
        yield from range(first, begin)


def port_map(exposed_ports: Collection[str], bindings: Iterable[Binding]) -> dict[str, list[PortBinding] | None]:
    """NetworkSettings.Ports: every exposed port, with where it is published."""
    found: dict[str, list[PortBinding] | None] = {f"{port}/{protocol}": None for port, protocol in exposed(exposed_ports)}
    for binding in bindings:
        places = found.get(binding.key)
        if places is None:
            places = found[binding.key] = []
        places.append(PortBinding(host_ip=binding.address, host_port=str(binding.host_port or "")))
    return dict(sorted(found.items()))


def summaries(exposed_ports: Collection[str], bindings: Iterable[Binding]) -> list[dict[str, str | int]]:
    """`Ports` of a list of containers."""
    shown: list[dict[str, str | int]] = []
    published = set()
    for binding in bindings:
        published.add((binding.port, binding.protocol))
        place: dict[str, str | int] = {"IP": binding.address, "PrivatePort": binding.port}
        if binding.host_port:
            place["PublicPort"] = binding.host_port
        shown.append({**place, "Type": binding.protocol})
    shown += [{"PrivatePort": port, "Type": protocol} for port, protocol in exposed(exposed_ports) if (port, protocol) not in published]
    return shown
