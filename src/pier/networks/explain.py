"""A packet for a published port, followed from the host's address to the program in the container: where it would stop, and why. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pier.linux.nftables import FAMILY_IPV4, FAMILY_IPV6
from pier.networks.ports import ALL_IPV4, ALL_IPV6, Binding, version
from pier.networks.respect import TIMEOUT_S
from pier.networks.translation import Published, by_kernel, elements

LOOPBACK = "127."
_NAMED = 8  # clients


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a packet's way. passed: it goes on."""

    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Respected:
    """With `firewall: respect`, what is known of the host's INPUT."""

    chains: tuple[tuple[int, str], ...] = ()  # those that drop what no rule accepts: IP version (0: both), name
    unread: tuple[str, ...] = ()  # tools that have rules which nf_tables does not know of
    accepted: frozenset[tuple[str, str, int, str]] = frozenset()  # of late: (protocol, address, port, client)


@dataclass(frozen=True)
class Facts:
    """What there is, as read from the kernel. maps: elements of our maps by (family, name), None for one that is gone."""

    table: str
    held: bool  # netd holds the port's socket
    maps: Mapping[tuple[int, str], set[tuple[bytes, ...]] | None] = field(default_factory=dict)
    drops: tuple[str, ...] = ()  # foreign chains that drop what is forwarded
    forwarding: Mapping[int, bool] = field(default_factory=dict)  # by IP version
    route_localnet: bool = True
    bridge: str = ""
    link: str = ""  # the host's end of the container's
    linked: bool = True  # it is in the bridge
    listening: frozenset[tuple[str, str, int]] = frozenset()  # in the container: (protocol, address, port)
    respect: Respected | None = None


def steps(binding: Binding, published: Published, facts: Facts) -> list[Step]:
    """The way of a packet to a binding, up to where it stops."""
    found: list[Step] = []
    target = published.target(binding.address)
    way = _by_kernel(binding, published, facts) if by_kernel(binding, published) else _by_netd(binding, facts)
    for step in [*way, Step(facts.linked, f"link {facts.link or '?'} is {'' if facts.linked else 'not '}in bridge {facts.bridge}"),
                 _listens(binding, target, facts)]:  # fmt: skip
        found.append(step)
        if not step.passed:
            break
    return found


def _at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if version(address) == 6 else f"{address}:{port}"


def _by_netd(binding: Binding, facts: Facts) -> list[Step]:
    port = _at(binding.address, binding.host_port)
    return [Step(facts.held, f"pier-netd {'listens' if facts.held else 'does not listen'} on {port} and passes on what the kernel cannot translate")]


def _by_kernel(binding: Binding, published: Published, facts: Facts) -> list[Step]:
    family = FAMILY_IPV4 if version(binding.address) == 4 else FAMILY_IPV6
    target = published.target(binding.address)
    (name, wanted), = elements(Published((binding,), published.address, published.address6), family).items()
    table = f"{'ip' if family == FAMILY_IPV4 else 'ip6'} {facts.table}"
    kinds = [name, name.replace("ports", "ranges")]
    there = any(_covered(next(iter(wanted)), facts.maps.get((family, kind)) or set()) for kind in kinds)
    what = f"sends {_at(binding.address, binding.host_port)} to" if binding.host_port else "lets in what is for"
    asked = facts.respect is not None and binding.host_port and not binding.address.startswith(LOOPBACK)
    found = [_asked(binding, facts.respect)] if facts.respect is not None and asked else []
    found.append(Step(there, f"the firewall {what if there else 'does not know the way to'} {_at(target, binding.port)} (table {table})"))
    if binding.address.startswith(LOOPBACK) or binding.address == ALL_IPV4:
        stops = binding.address != ALL_IPV4 and not facts.route_localnet
        if stops or not facts.route_localnet:
            found.append(Step(not stops, f"net.ipv4.conf.{facts.bridge}.route_localnet is 0: not from 127.0.0.1"))
    forwards = facts.forwarding.get(version(binding.address), True)
    found.append(Step(forwards, f"the host {'forwards' if forwards else 'does not forward'} IPv{version(binding.address)}"))
    if facts.drops:
        words = "drops forwarded packets (those of the host itself go on): accept `ct status dnat` there"
        found.append(Step(False, f"the firewall chain {facts.drops[0]!r} {words}"))
    return found


def _asked(binding: Binding, respected: Respected) -> Step:
    """What INPUT would say of a packet that has not come nobody can tell: what is said is who was let in, and what to look at."""
    here = {client for protocol, address, port, client in respected.accepted
            if (protocol, port) == (binding.protocol, binding.host_port) and version(address) == version(binding.address)
            and binding.address in (ALL_IPV4, ALL_IPV6, address)}  # fmt: skip
    others = f" and {len(here) - _NAMED} others" if len(here) > _NAMED else ""
    late = f"in the last {TIMEOUT_S} s it let in {', '.join(sorted(here)[:_NAMED]) or 'nobody'}{others}"
    chains = ", ".join(repr(name) for number, name in respected.chains if number in (0, version(binding.address)))
    drops = f"; what no rule accepts is dropped by {chains}" if chains else ""
    unread = f"; rules of {', '.join(respected.unread)} are not read here" if respected.unread else ""
    return Step(True, f"from outside, the host's INPUT decides on {binding.host_port}/{binding.protocol} (firewall: respect): {late}{drops}{unread}")


def _covered(wanted: tuple[bytes, ...], there: "set[tuple[bytes, ...]]") -> bool:
    """Whether an element, or a range with it, is in a map."""
    key, address = wanted[0], wanted[2][: len(wanted[2]) - 4] if len(wanted) > 2 else b""
    return wanted in there or any(len(e) > 2 and e[1] and e[0] <= key <= e[1] and e[2] == address for e in there)


def _listens(binding: Binding, target: str, facts: Facts) -> Step:
    heard = [(address, port) for protocol, address, port in facts.listening if protocol == binding.protocol and port == binding.port]
    wild = (ALL_IPV6,) if version(target) == 6 else (ALL_IPV4, ALL_IPV6)
    if binding.protocol == "sctp" or any(address in (target, *wild) for address, _ in heard):
        return Step(True, f"a program in the container listens on {binding.port}/{binding.protocol}")
    only = ", ".join(sorted(_at(*each) for each in heard))
    why = f" but on {only}: let it listen on {ALL_IPV4 if version(target) == 4 else ALL_IPV6}" if heard else ""
    return Step(False, f"no program in the container listens on {binding.port}/{binding.protocol}{why}")
