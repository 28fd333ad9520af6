"""The ports of running containers: given, held, opened in the firewall, and closed again.

A container's ports go to its gateway networks. The order of opening: sockets hold the ports (`reserve`), the row that says whose they are, the
firewall (`open`); of closing: the firewall, then the sockets. The row stays for as long as the container does: ports that were given at random
are given again. Who calls hands the sockets to netd in between, which holds them while the daemon is away.
"""

import asyncio
import errno
import logging
import os
import resource
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pier.errors import Internal, Unavailable
from pier.networks import flows, placeholders
from pier.networks.endpoints import Endpoint, default_gateways
from pier.networks.explain import Facts
from pier.networks.model import BRIDGE_OPTIONS
from pier.networks.placeholders import Placeholder
from pier.networks.ports import ALL_IPV4, ALL_IPV6, Asked, Binding, Ledger, Taken, version
from pier.networks.translation import Published, by_kernel
from pier.trace import point

if TYPE_CHECKING:
    from pier.networks.networks import Networks

_log = logging.getLogger("pier.networks")
_BREATH = 64  # so many ports are bound before others have their turn
_WORDS = {errno.EADDRINUSE: "address already in use", errno.EADDRNOTAVAIL: "cannot assign requested address"}


@dataclass(frozen=True, slots=True)
class Held:
    """A socket that holds a port, the caller's to close, and where what it accepts goes: an address and a port of the container."""

    fd: int
    protocol: str
    address: str
    port: int


class Ports:
    """Which ports are whose. Use from the loop's thread."""

    def __init__(self, networks: "Networks") -> None:
        self._networks = networks
        self.ledger = Ledger(placeholders.ephemeral())
        self.active: dict[str, Published] = {}
        self._reserving = asyncio.Lock()

    def load(self) -> None:
        """As the daemon starts: the ports of containers that still have their places. Before the firewall is compared."""
        self._networks.guard.rewritten = self.reopened
        for container_id, bindings, active in self._networks.records.published():
            if active and container_id in self._networks.endpoints:
                published = self._published(container_id, bindings)
                if published is not None:
                    self.active[container_id] = published
                    self.ledger.take(container_id, bindings)

    def bindings_of(self, container_id: str) -> tuple[Binding, ...]:
        """What of a container is published now."""
        published = self.active.get(container_id)
        return published.bindings if published else ()

    def _gateways(self, container_id: str) -> tuple[Endpoint | None, Endpoint | None]:
        """Of both families; none where it is another router's (macvlan, ipvlan)."""
        four, six = default_gateways(self._networks.endpoints_of(container_id))
        return self._of_bridge(four), self._of_bridge(six)

    def _of_bridge(self, endpoint: Endpoint | None) -> Endpoint | None:
        live = self._networks.live.get(endpoint.network_id) if endpoint else None
        return endpoint if live is not None and live.bridge is not None else None

    def has_gateway(self, container_id: str) -> bool:
        """Whether a container's ports can be reached at all: internal networks publish nothing."""
        return any(self._gateways(container_id))

    def targets(self, container_id: str) -> tuple[str, str]:
        """Where a container's ports lead to, now that it has the networks that it has: its addresses of both families, "" for none."""
        four, six = self._gateways(container_id)
        return four.address if four else "", six.address6 if six else ""

    def _published(self, container_id: str, bindings: tuple[Binding, ...]) -> Published | None:
        targets, gateways = self.targets(container_id), self._gateways(container_id)
        direct = tuple(v for v, one in zip((4, 6), gateways, strict=True) if one and self._networks.live[one.network_id].network.trusted)
        return Published(bindings, *targets, direct) if bindings and any(targets) else None

    # -- opening

    async def reserve(self, container_id: str, asked: Sequence[Asked], container_name: Callable[[str], str]) -> list[Held]:
        """Give a container its ports and hold them; `open` is to follow, or `withdraw`. The container's networks are attached.

        container_name: gives a container's name for its ID. Nothing is given where no network of it has a gateway.
        Raises Internal with Docker's texts and who has the port, Unavailable; then nothing is held.
        """
        place = self._published(container_id, (Binding("tcp", 1, ALL_IPV4, 1),))
        if place is None or not asked:
            return []
        self._check_room(len(asked))
        before = {(b.protocol, b.port, b.address): b.host_port for b in self._networks.records.published_of(container_id)}
        given: list[Binding] = []
        held: list[Held] = []
        try:
            async with self._reserving:
                for number, one in enumerate(asked):
                    given_now, sockets = self._bind(container_id, one, place, before)
                    given += given_now
                    held += [Held(each.fd, one.protocol, place.target(each.addresses[-1]), one.port) for each in sockets]
                    if number % _BREATH == _BREATH - 1:
                        await asyncio.sleep(0)
            point("publish.bound")
            published = Published(tuple(given), place.address, place.address6, place.direct)
            self.active[container_id] = published
            await self._networks.records.save_published(container_id, published.bindings, active=True)
            point("publish.row")
        except BaseException as problem:
            self.active.pop(container_id, None)
            self.ledger.give_back(container_id, given)
            close(held)
            if isinstance(problem, Taken):
                raise Internal(_taken(problem, container_name)) from None
            raise
        return held

    def _check_room(self, coming: int) -> None:
        """Each port is an open file of netd and of the keeper. Raises Unavailable."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 3 // 4
        held = sum(published.sockets for published in self.active.values())
        if held + coming > most:
            words = "raise the daemon's limit of open files (LimitNOFILE), or publish fewer"
            raise Unavailable(f"{coming} ports cannot be held beside the {held} that are: {most} can be: {words}")

    def _bind(
        self, container_id: str, one: Asked, place: Published, before: Mapping[tuple[str, int, str], int]
    ) -> tuple[list[Binding], list[Placeholder]]:  # fmt: skip
        """The first port that nobody has, of those that will do. Raises Taken, Internal, Unavailable."""
        addresses = one.addresses or self._everywhere(container_id)
        if one.protocol == "sctp":
            addresses = tuple(each for each in addresses if by_kernel(Binding(one.protocol, one.port, each, 1), place))
            if not addresses or len(addresses) < len(one.addresses):
                words = "the kernel alone passes SCTP on: not on ::1, and on addresses of a family that the container has"
                raise Internal(f"port {one.port}/sctp: {words}")
        routed = [address for address in addresses if self._is_routed(container_id, address)]
        bound = [address for address in addresses if address not in routed]
        own = [Binding(one.protocol, one.port, address, 0) for address in routed]
        if not bound:
            return own, []
        last_problem: OSError | None = None
        tried = 0
        try:
            for tried in self.ledger.candidates(one, bound, before.get((one.protocol, one.port, bound[0]), 0)):
                try:
                    sockets = placeholders.bind(one.protocol, bound, tried)
                except OSError as problem:
                    if problem.errno != errno.EADDRINUSE:
                        raise
                    last_problem = problem
                    continue
                found = [Binding(one.protocol, one.port, address, tried) for address in bound]
                self.ledger.take(container_id, found)
                return sorted([*own, *found], key=lambda each: addresses.index(each.address)), sockets
        except Taken:
            if last_problem is None:
                raise
        except OSError as problem:
            last_problem = problem
        assert last_problem is not None
        raise _refused(one, last_problem, tried, place)

    def _everywhere(self, container_id: str) -> tuple[str, ...]:
        """Where a port is published for which no address of the host is named."""
        four, _ = self._gateways(container_id)
        live = self._networks.live.get(four.network_id) if four else None
        named = live.network.options.get(f"{BRIDGE_OPTIONS}host_binding_ipv4", "") if live else ""
        if named not in ("", ALL_IPV4):
            return (named,)
        return (ALL_IPV4, ALL_IPV6) if placeholders.has_ipv6() else (ALL_IPV4,)

    def _is_routed(self, container_id: str, address: str) -> bool:
        endpoint = self._gateways(container_id)[version(address) == 6]
        live = self._networks.live.get(endpoint.network_id) if endpoint else None
        return live is not None and live.network.gateway_mode(version(address)) == "routed"

    async def open(self, container_id: str) -> None:
        """Let packets in to what was reserved. Raises OSError."""
        if container_id in self.active:
            await self._networks.ask(self._networks.plumbing.open_loopback, self.bridges([container_id]))
            await self._networks.guard.publish()
            point("publish.rules")
            await self._cut(opened=[self.active[container_id]] if container_id in self.active else [])

    def bridges(self, container_ids: Iterable[str] | None = None) -> list[str]:
        """The bridges that published ports of IPv4 lead to."""
        found = []
        for container_id in list(self.active) if container_ids is None else container_ids:
            four, _ = self._gateways(container_id)
            live = self._networks.live.get(four.network_id) if four else None
            if live is not None and live.bridge is not None:
                found.append(live.bridge.name)
        return sorted(set(found))

    async def facts(self, container_id: str, *, held: bool, listening: frozenset[tuple[str, str, int]]) -> Facts:
        """What the kernel holds of a container's way in. held: netd has its sockets; listening: in the container, (protocol, address, port)."""
        four, six = self._gateways(container_id)
        endpoint = four or six
        bridge = next(iter(self.bridges([container_id])), "")
        return await self._networks.ask(self._networks.plumbing.packet_facts, bridge, endpoint.host_interface if endpoint else "", held, listening)

    # -- closing

    async def close(self, container_id: str) -> None:
        """Let no more packets in; the ports are somebody else's to take once their sockets are closed, too. Nothing open: nothing to do."""
        published = self.active.pop(container_id, None)
        if published is not None:
            self.ledger.give_back(container_id, published.bindings)
            point("withdraw.rules")
            await self._networks.guard.publish()
            await self._cut(closed=[published])

    async def reopened(self) -> None:
        """The rules were gone for a while: what began meanwhile passed them by."""
        await self._cut(opened=list(self.active.values()))

    async def _cut(self, opened: Sequence[Published] = (), closed: Sequence[Published] = ()) -> None:
        """See flows.py; a kernel that does not let us see its connections has them end by themselves."""
        opened, closed = [each for each in opened if flows.concerns(each)], [each for each in closed if flows.concerns(each)]
        if opened or closed:
            try:
                await self._networks.ask(self._networks.plumbing.cut_flows, opened, closed)
            except OSError as error:
                _log.warning("flows of UDP that are older than their ports cannot be cut, and go on where they went until they pause: %s", error)

    async def suspend(self, container_id: str) -> None:
        """The same for a container that runs on and has no gateway any more: the next daemon does not open them either."""
        bindings = self.bindings_of(container_id)
        if bindings:
            await self._networks.records.save_published(container_id, bindings, active=False)
            await self.close(container_id)

    # -- after a loss

    def hold_again(self, container_id: str) -> list[Held]:
        """New sockets for what a container has: who held them is gone. What somebody has taken meanwhile is told by Unavailable."""
        published = self.active[container_id]
        held: list[Held] = []
        for (protocol, port, host_port), addresses in _grouped(published.bindings).items():
            try:
                made = placeholders.bind(protocol, addresses, host_port)
            except OSError as problem:
                close(held)
                raise Unavailable(f"port {problem.filename}:{host_port}/{protocol} cannot be held any more: {problem.strerror}") from problem
            held += [Held(each.fd, protocol, published.target(each.addresses[-1]), port) for each in made]
        return held


def _grouped(bindings: Iterable[Binding]) -> dict[tuple[str, int, int], list[str]]:
    found: dict[tuple[str, int, int], list[str]] = {}
    for binding in bindings:
        if binding.host_port:
            found.setdefault((binding.protocol, binding.port, binding.host_port), []).append(binding.address)
    return found


def close(held: Iterable[Held]) -> None:
    """Close the sockets of ports."""
    for each in held:
        os.close(each.fd)


def _at(address: str) -> str:
    return f"[{address}]" if version(address) == 6 else address


def _taken(problem: Taken, container_name: Callable[[str], str]) -> str:
    if not problem.port:
        return "all ports are allocated"
    who = f": container {container_name(problem.container)} has it" if problem.container else ""
    return f"Bind for {_at(problem.address)}:{problem.port} failed: port is already allocated{who}"


def _refused(one: Asked, problem: OSError, port: int, place: Published) -> Internal:
    address = str(problem.filename)
    if problem.errno == errno.EADDRINUSE and one.first != one.last:
        return Internal("all ports are allocated")
    words = _WORDS.get(problem.errno or 0, problem.strerror)
    who = placeholders.owner(one.protocol, address, port) if problem.errno == errno.EADDRINUSE else ""
    target = f"{_at(place.target(address))}:{one.port}/{one.protocol}"
    return Internal(f"failed to bind host port for {_at(address)}:{port}:{target}: {words}" + (f": {who} has it" if who else ""))
