"""The servers of one registry, and going from one to the next when it fails."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pier.errors import Invalid, PierError
from pier.registry import redirect
from pier.registry.config import RegistryConfig
from pier.registry.errors import Unreachable
from pier.registry.hosts import Host, Op, hosts

REMEMBERED_S = 600.0  # whether a server of which TLS is not demanded speaks it
SHUNNED_S = 60.0  # a mirror that could not be reached
MIRROR_TRIES = 2

MOST_SERVERS = 1000  # of which something is remembered

T = TypeVar("T")


@dataclass(frozen=True)
class Endpoint:
    """A host as it is spoken to now. base: its URL, by http:// where it speaks no TLS and need not. tries: for one request, None as configured."""

    host: Host
    base: str
    tries: int | None = None

    @property
    def insecure(self) -> bool:
        """Whether plain http will do, for it and for what it names."""
        return self.host.plain_http or self.base.startswith("http://")

    @property
    def origin(self) -> redirect.Origin:
        """(scheme, host, port): where its credentials may go."""
        return redirect.origin(self.base)


class Learnt:
    """What a process knows of servers: which scheme they speak, which could not be reached just now. Thread-safe, and bounded: an image's name
    can name any host."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bases: dict[str, tuple[str, float]] = {}  # URL of a host -> the base that answered, until when that is believed
        self._shunned: dict[str, float] = {}

    def base(self, host: Host) -> str:
        """The base that answered last, "" where that is not known."""
        with self._lock:
            base, until_s = self._bases.get(host.url, ("", 0.0))
            return base if until_s > time.monotonic() else ""

    def shunned(self, host: Host) -> bool:
        """Whether a mirror failed so lately that it is not asked."""
        with self._lock:
            return self._shunned.get(host.url, 0.0) > time.monotonic()

    def answered(self, endpoint: Endpoint) -> None:
        """The endpoint spoke HTTP to us."""
        if endpoint.host.plain_http and self.base(endpoint.host) != endpoint.base:
            with self._lock:
                self._prune()
                self._bases[endpoint.host.url] = endpoint.base, time.monotonic() + REMEMBERED_S

    def failed(self, endpoint: Endpoint) -> None:
        """The endpoint could not be reached."""
        with self._lock:
            self._bases.pop(endpoint.host.url, None)
            if endpoint.host.mirror:
                self._prune()
                self._shunned[endpoint.host.url] = time.monotonic() + SHUNNED_S

    def _prune(self) -> None:
        """Under the lock: where it has become much, what is not true any more goes, and all of it where that is not enough."""
        if len(self._bases) + len(self._shunned) < MOST_SERVERS:
            return
        now_s = time.monotonic()
        self._bases = {url: known for url, known in self._bases.items() if known[1] > now_s}
        self._shunned = {url: until_s for url, until_s in self._shunned.items() if until_s > now_s}
        if len(self._bases) + len(self._shunned) >= MOST_SERVERS:
            self._bases.clear()
            self._shunned.clear()


class Endpoints:
    """The endpoints of one registry. What they are is read when they are first needed."""

    def __init__(self, domain: str, config: RegistryConfig, learnt: Learnt, notice: Callable[[str], None]) -> None:
        self._domain = domain
        self._config = config
        self._learnt = learnt
        self._notice = notice
        self._hosts: dict[Op, tuple[Host, ...]] = {}

    def of(self, op: Op, *, mirrors: bool = True) -> tuple[Endpoint, ...]:
        """Those that may do an operation, in the order in which they are asked; a push goes to one host. Raises Invalid for a bad configuration."""
        if op not in self._hosts:
            found = hosts(self._domain, self._config, op)
            self._hosts[op] = found[:1] if op == "push" else found
        asked = [host for host in self._hosts[op] if not host.mirror or (mirrors and not self._learnt.shunned(host))]
        return tuple(endpoint for host in asked or self._hosts[op] for endpoint in self._ways(host))

    def each(self, op: Op, work: Callable[[Endpoint], T], *, mirrors: bool = True) -> T:
        """What the first endpoint gives that can do it. A mirror that fails in any way is told of and passed by; the registry's word is the last."""
        left = list(self.of(op, mirrors=mirrors))
        while left:
            endpoint = left.pop(0)
            try:
                return work(endpoint)
            except Unreachable as error:
                spoke = self._learnt.base(endpoint.host) == endpoint.base  # then its scheme is right, and something else is wrong
                self._learnt.failed(endpoint)
                if not spoke and left and left[0].host is endpoint.host:
                    continue
                left = self._after(endpoint, left, error)
            except PierError as error:
                left = self._after(endpoint, left, error)
        raise Invalid(f"{self._domain}: no host is configured that allows to {op}")

    def _after(self, endpoint: Endpoint, left: list[Endpoint], error: PierError) -> list[Endpoint]:
        """Who is asked after an endpoint failed; raises the error if nobody is."""
        left = [other for other in left if other.host is not endpoint.host]
        if not endpoint.host.mirror or not left:
            raise error
        self._notice(f"mirror {endpoint.host.name} is passed by: {error}")
        return left

    def _ways(self, host: Host) -> tuple[Endpoint, ...]:
        tries = MIRROR_TRIES if host.mirror else None
        known = self._learnt.base(host)
        if known or not host.plain_http or not host.url.startswith("https://"):
            return (Endpoint(host, known or host.url, tries),)
        return Endpoint(host, host.url, 1), Endpoint(host, "http" + host.url.removeprefix("https"), tries)
