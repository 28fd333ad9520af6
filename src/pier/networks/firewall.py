"""The firewall of all bridge networks: kept as it should be, whoever changes it."""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from operator import attrgetter

from pier.networks import respect, sysctls
from pier.networks.endpoints import Endpoint
from pier.networks.plumbing import Plumbing
from pier.networks.rules import Member, Wanted
from pier.networks.setup import Ask
from pier.networks.translation import Published
from pier.networks.watch import FirewallWatch, LinkWatch

_log = logging.getLogger("pier.networks")


async def _nothing() -> None:
    return


async def _lost(container_id: str, endpoint: Endpoint) -> None:
    return


class Guard:
    """Applies what is wanted, watches it, and knows what about this host may surprise the user (`warnings`)."""

    def __init__(
        self, plumbing: Plumbing, ask: Ask, spawn: Callable[[Coroutine[object, object, None]], None], table: str,
        members: Callable[[], Iterable[Member]], published: Callable[[], Mapping[str, Published]], firewall: str,
    ) -> None:  # fmt: skip
        """members: the networks as they are now; published: the ports of their containers; firewall: one of respect.CHOICES."""
        self._plumbing, self._ask, self._spawn, self._table, self._members = plumbing, ask, spawn, table, members
        self._published = published
        self.log_group = respect.group(table, firewall)
        """That netd takes first packets from, 0 where it takes none."""
        self._known: tuple[Member, ...] = ()
        self._watch: FirewallWatch | None = None
        self._links: LinkWatch | None = None
        self.further: Callable[[], Awaitable[None]] = _nothing
        """What else is to be compared with the kernel."""
        self.rewritten: Callable[[], Awaitable[None]] = _nothing
        """What is to be done when the rules were gone for a while."""
        self.relink: Callable[[str, Endpoint], Awaitable[None]] = _lost
        """Makes the link of a container that runs again, which is gone: what is in its namespace is not for this package."""
        self.warnings: list[str] = []
        self.clashes: list[str] = []  # of networks with routes of the host's, when somebody looked last (repair.look_around)

    async def start(self) -> None:
        """Put the rules up and begin to watch them."""
        self._watch = FirewallWatch(lambda: self._spawn(self.repair()), but_port=self._plumbing.firewall_port)
        await self.repair()

    def watch_links(self, concerned: Callable[[frozenset[str] | None], bool], again: Callable[[], Coroutine[object, object, None]]) -> None:
        """From now on links that go are heard of. concerned: whether one of these names, None for any, is ours; again: makes them again."""

        def gone(names: frozenset[str] | None) -> bool:
            if found := concerned(names):
                self._spawn(again())
            return found

        if self._links is None:
            self._links = LinkWatch(gone)

    def close(self) -> None:
        """Stop watching; the rules stay."""
        for watch in (self._watch, self._links):
            if watch is not None:
                watch.close()

    def _wanted(self) -> Wanted:
        self._known = tuple(sorted(self._members(), key=attrgetter("bridge")))
        return self._with_ports()

    def _with_ports(self) -> Wanted:
        return Wanted(self._table, self._known, dict(self._published()), self.log_group)

    async def change(self) -> None:
        """The networks have changed: one transaction. What somebody else has changed in our tables meanwhile is repaired."""
        await self._change(self._wanted)

    async def publish(self) -> None:
        """The same where only ports have changed."""
        await self._change(self._with_ports)

    async def _change(self, wanted: Callable[[], Wanted]) -> None:
        try:
            await self._ask(self._plumbing.change_rules, wanted())
        except OSError:
            await self._ask(self._plumbing.ensure_rules, wanted())

    async def repair(self) -> None:
        """Compare the kernel with what is wanted, and warn of what is in the way."""
        wanted = self._wanted()
        if not wanted.members:
            return
        done = await self._ask(self._plumbing.ensure_rules, wanted)
        for words in done:
            _log.info("%s", words)
        if self.log_group:
            await self._ask(self._plumbing.forget_accepted, wanted)  # the host may accept other things by now
        if done:
            await self.rewritten()
        await self.further()
        bridges = [member.bridge for member in wanted.members]
        found = sysctls.warnings(bridges[0])
        for chain in await self._ask(self._plumbing.foreign_drops):
            found.append(f"the firewall chain {chain!r} drops forwarded packets: accept those from and to {', '.join(bridges)} there")
        if await self._ask(self._plumbing.docker_is_here):
            found.append("another engine's firewall rules (DOCKER-USER) are on this host: they apply to Pier's containers too")
        for words in found:
            if words not in self.warnings:
                _log.warning("%s", words)
        self.warnings = found
