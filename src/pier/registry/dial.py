"""A TCP connection to a name: all its addresses, IPv6 and IPv4 raced as RFC 8305 has it, each with a limit of its own; through SOCKS where asked.

Errors are in the words of Go's net package, which Docker's users know: `dial tcp 127.0.0.1:5000: connect: connection refused`.
"""

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from pier.registry.cancel import Cancel, Watched
from pier.registry.proxies import Proxy

CONNECT_S = 10.0  # for each address
HEAD_START_S = 0.25  # before the next address is tried beside it

Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


class DialFailed(Exception):
    """No connection. passing: another time it may be there."""

    def __init__(self, cause: str, *, passing: bool = True) -> None:
        self.passing = passing
        super().__init__(cause)


def dial(host: str, port: int, cancel: Cancel, limit_s: float = CONNECT_S) -> socket.socket:
    """A connected socket with TCP_NODELAY and a timeout of `limit_s`, watched by nobody. Raises DialFailed, Cancelled."""
    return _Race(resolve(host, port, cancel), cancel, limit_s).run()


def dial_socks(proxy: Proxy, host: str, port: int, cancel: Cancel, limit_s: float = CONNECT_S) -> socket.socket:
    """The same through a SOCKS5 proxy, which resolves the name. Raises DialFailed, Cancelled."""
    import socks  # type: ignore[import-untyped]  # PySocks has no stubs

    way = f"socks connect tcp {proxy.host}:{proxy.port}->{host}:{port}"
    failed = DialFailed(f"{way}: no address")
    for family, _ in resolve(proxy.host, proxy.port, cancel):
        sock = socks.socksocket(family)
        sock.set_proxy(socks.SOCKS5, proxy.host, proxy.port, True, proxy.username or None, proxy.password or None)
        sock.settimeout(limit_s)
        watched = cancel.watch(sock)
        try:
            sock.connect((host, port))
        except (OSError, socks.ProxyError) as error:
            sock.close()
            cancel.check()
            failed = DialFailed(f"{way}: {error}")
            continue
        finally:
            watched.end()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected: socket.socket = sock
        return connected
    raise failed


def resolve(host: str, port: int, cancel: Cancel) -> list[Address]:
    """The addresses of a name, in the order in which they are tried. Raises DialFailed, Cancelled.

    The C library's resolver cannot be interrupted, so that a thread of its own waits for it.
    """
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        pass
    answers: SimpleQueue[list[Address] | BaseException | None] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_addresses(host, port, 0))
        except BaseException as error:
            answers.put(error)

    with cancel.waking(lambda: answers.put(None)):
        threading.Thread(target=ask, name="pier-resolver", daemon=True).start()
        answer = answers.get()
    cancel.check()
    match answer:
        case list():
            return answer
        case socket.gaierror():
            words = "no such host" if answer.errno in (socket.EAI_NONAME, socket.EAI_NODATA) else answer.strerror
            raise DialFailed(f"dial tcp: lookup {host}: {words}", passing=answer.errno == socket.EAI_AGAIN)
        case _:
            raise DialFailed(f"dial tcp: lookup {host}: {answer}", passing=False)


def _addresses(host: str, port: int, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return alternate([(family, address) for family, _, _, _, address in found])


def alternate(addresses: Sequence[Address]) -> list[Address]:
    """The families in turn, beginning with that of the first address; within a family the resolver's order (RFC 8305, section 4)."""
    rows = [[a for a in addresses if a[0] == family] for family in dict.fromkeys(a[0] for a in addresses)]
    return [row[i] for i in range(max(map(len, rows), default=0)) for row in rows if i < len(row)]


@dataclass
class _Attempt:
    sock: socket.socket
    watched: Watched
    name: str
    deadline_s: float

    def end(self) -> None:
        self.watched.end()
        self.sock.close()


class _Race:
    """Attempts at all the addresses, a new one each HEAD_START_S or as soon as one fails; the first that connects wins."""

    def __init__(self, addresses: list[Address], cancel: Cancel, limit_s: float) -> None:
        self._waiting = addresses
        self._cancel = cancel
        self._limit_s = limit_s
        self._running: list[_Attempt] = []
        self._failure = "dial tcp: no address"
        self._next_s = 0.0

    def run(self) -> socket.socket:
        try:
            while self._waiting or self._running:
                if self._waiting and (not self._running or time.monotonic() >= self._next_s):
                    self._begin(*self._waiting.pop(0))
                    continue
                won = self._look()
                if won is not None:
                    return won
            raise DialFailed(self._failure)
        finally:
            for attempt in self._running:
                attempt.end()

    def _begin(self, family: socket.AddressFamily, address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> None:
        name = f"[{address[0]!s}]:{address[1]!s}" if family == socket.AF_INET6 else f"{address[0]!s}:{address[1]!s}"
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._failure = f"dial tcp {name}: socket: {error.strerror}"
            return
        try:
            attempt = _Attempt(sock, self._cancel.watch(sock), name, time.monotonic() + self._limit_s)
        except BaseException:
            sock.close()
            raise
        self._running.append(attempt)
        self._next_s = time.monotonic() + HEAD_START_S
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self._lost(attempt, f"connect: {os.strerror(code).lower()}")

    def _look(self) -> socket.socket | None:
        """Wait until one connects or fails, or it is time for the next."""
        now_s = time.monotonic()
        until_s = min([a.deadline_s for a in self._running] + ([self._next_s] if self._waiting else []))
        poll = select.poll()
        for attempt in self._running:
            poll.register(attempt.sock, select.POLLOUT)
        ready = {fd for fd, _ in poll.poll(max(0.0, until_s - now_s) * 1000 + 1)}
        self._cancel.check()
        for attempt in list(self._running):
            if attempt.sock.fileno() not in ready:
                if time.monotonic() >= attempt.deadline_s:
                    self._lost(attempt, "i/o timeout")
                continue
            code = attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                self._running.remove(attempt)
                attempt.watched.end()
                attempt.sock.settimeout(self._limit_s)
                attempt.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return attempt.sock
            self._lost(attempt, f"connect: {os.strerror(code).lower()}")
        return None

    def _lost(self, attempt: _Attempt, why: str) -> None:
        self._running.remove(attempt)
        attempt.end()
        self._failure = f"dial tcp {attempt.name}: {why}"
        self._next_s = 0.0
