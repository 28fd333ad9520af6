"""UDP that goes on where it used to: the kernel asks the rules about the first packet of a flow only, and a flow that never pauses has no other.

So flows that are older than a port are forgotten when it is published, and those that came through it when it is withdrawn: their next packet is a
first one. TCP ends by itself: nobody answers any more, or with a reset. Pure but for `cut`.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from ipaddress import ip_address

from pier.linux.conntrack import UDP, Conntrack, Flow
from pier.linux.nftables import FAMILY_IPV4, FAMILY_IPV6
from pier.networks.ports import Binding, version, wild
from pier.networks.translation import Published, by_kernel

_LOOPBACK = b"\x7f"


def concerns(published: Published) -> bool:
    """Whether anything of it is UDP."""
    return any(binding.protocol == "udp" and binding.host_port for binding in published.bindings)


def _translated(published: Iterable[Published], family: int) -> Iterable[tuple[Binding, bytes]]:
    """What the kernel translates of UDP, and the container's address."""
    number = 4 if family == FAMILY_IPV4 else 6
    for each in published:
        for binding in each.bindings:
            if binding.protocol == "udp" and binding.host_port and version(binding.address) == number and by_kernel(binding, each):
                yield binding, ip_address(each.target(binding.address)).packed


def older(flows: Iterable[Flow], opened: Sequence[Published], here: Collection[bytes], family: int) -> list[Flow]:
    """Flows to ports that were published, which go elsewhere than these lead. here: the host's own addresses, packed."""
    found: dict[int, list[tuple[bytes, bytes, int]]] = {}
    for binding, target in _translated(opened, family):
        address = b"" if wild(binding.address) else ip_address(binding.address).packed
        found.setdefault(binding.host_port, []).append((address, target, binding.port))
    return [
        flow for flow in flows
        for address, *leads_to in found.get(flow.port, ())
        if leads_to != [flow.answers_from, flow.answers_from_port] and (flow.destination == address if address else _is_here(flow, here))
    ]  # fmt: skip


def _is_here(flow: Flow, here: Collection[bytes]) -> bool:
    return flow.destination in here or (flow.family == FAMILY_IPV4 and flow.destination.startswith(_LOOPBACK))


def through(flows: Iterable[Flow], closed: Sequence[Published], family: int) -> list[Flow]:
    """Flows that came through ports that were withdrawn."""
    gone = {(binding.host_port, target, binding.port) for binding, target in _translated(closed, family)}
    return [flow for flow in flows if (flow.port, flow.answers_from, flow.answers_from_port) in gone and flow.destination != flow.answers_from]


def cut(
    conntrack: Conntrack, opened: Sequence[Published], closed: Sequence[Published], here: Callable[[int], Collection[bytes]]
) -> int:  # fmt: skip
    """Forget what is older than `opened` or went through `closed`; how many that were. here: tells the host's addresses of a family.

    Blocks; raises OSError. The rules have been changed before.
    """
    count = 0
    for family in (FAMILY_IPV4, FAMILY_IPV6):
        if not any(True for _ in _translated((*opened, *closed), family)):
            continue
        flows = conntrack.flows(family, UDP)
        going = {*older(flows, opened, here(family) if flows and opened else (), family), *through(flows, closed, family)}
        count += sum(conntrack.forget(flow) for flow in going)
    return count
