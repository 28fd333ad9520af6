"""Hears of changes to the host's firewall that somebody else made, and of links that go."""

import asyncio
import time
from collections.abc import Callable

from pier.linux.netlink import NETLINK_NETFILTER, Netlink
from pier.linux.nftables import GROUP_NFTABLES, NEWGEN, changed_element, changed_table
from pier.linux.rtnetlink import deleted_link, listen_for_deleted_links

_QUIET_S = 0.2  # a reload is many changes: look when it is over
_AGAIN_S = 2.0  # who deletes what is made again, in a loop, keeps nobody busy


class FirewallWatch:
    """Calls back once, 0.2 s after the first of a burst of changes."""

    def __init__(self, on_change: Callable[[], None], but_port: int) -> None:
        """on_change: called on the running loop. but_port: of our own socket, whose changes are none."""
        self._on_change, self._but_port = on_change, but_port
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._netlink = Netlink(NETLINK_NETFILTER, groups=[GROUP_NFTABLES])
        self._loop.add_reader(self._netlink.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            foreign = [True for kind, port, body in self._netlink.listen() if port != self._but_port and not _is_netds(kind, body)]
        except OSError:
            foreign = [True]  # ENOBUFS: too many at once, some were lost
        if foreign and self._timer is None:
            self._timer = self._loop.call_later(_QUIET_S, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._on_change()

    def close(self) -> None:
        """Stop listening."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._netlink.fileno())
        self._netlink.close()


def _is_netds(kind: int, body: bytes) -> bool:
    """Whether an address of a name has come or gone (egress.py), or a transaction is over: what it held was told before."""
    return kind & 0xFF == NEWGEN or (changed_element(kind) and changed_table(kind, body).endswith("-egress"))


class LinkWatch:
    """Calls back with the names of links that went, 0.2 s after the first of a burst: those of containers that have ended are nobody's by then."""

    def __init__(self, on_gone: Callable[[frozenset[str] | None], bool]) -> None:
        """on_gone: called on the running loop, with None where names were lost; says whether one is ours: then the next burst waits longer."""
        self._on_gone, self._names, self._lost = on_gone, set[str](), False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._busy_until_s = 0.0
        self._netlink = listen_for_deleted_links()
        self._loop.add_reader(self._netlink.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            self._names.update(deleted_link(body) for _, _, body in self._netlink.listen())
        except OSError:
            self._lost = True
        if self._timer is None:
            self._timer = self._loop.call_later(_QUIET_S + max(0.0, self._busy_until_s - time.monotonic()), self._fire)

    def _fire(self) -> None:
        self._timer, names, lost = None, frozenset(self._names), self._lost
        self._names.clear()
        self._lost = False
        if self._on_gone(None if lost else names):
            self._busy_until_s = time.monotonic() + _AGAIN_S

    def close(self) -> None:
        """Stop listening."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._netlink.fileno())
        self._netlink.close()
