"""A TCP connection to a name: all its addresses, IPv6 and IPv4 raced as RFC 8305 has it, each with a limit of its own; through SOCKS where asked.

Errors are in the words of Go's net package, which Docker's users know: `dial tcp 127.0.0.1:5000: connect: connection refused`.
"""

import errno
import os
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pier.registry.cancel import Cancel
from pier.registry.proxies import Proxy

CONNECT_S = 10.0  # for each address, unless something else is said
HEAD_START_S = 0.25  # before the next address is tried beside it

Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


class DialFailed(Exception):
    """No connection. passing: another time it may be there."""

    def __init__(self, cause: str, *, passing: bool = True) -> None:
        self.passing = passing
        super().__init__(cause)


def dial(host: str, port: int, cancel: Cancel, limit_s: float = CONNECT_S) -> socket.socket:
    """A connected socket with TCP_NODELAY and a timeout of `limit_s`, watched by nobody. Raises DialFailed, Cancelled."""
    return _race(_resolve(host, port), cancel, limit_s)


def dial_socks(proxy: Proxy, host: str, port: int, cancel: Cancel, limit_s: float = CONNECT_S) -> socket.socket:
    """The same through a SOCKS5 proxy, which resolves the name. Raises DialFailed, Cancelled."""
    import socks  # type: ignore[import-untyped]  # PySocks has no stubs

    failed = DialFailed(f"socks connect tcp {proxy.host}:{proxy.port}->{host}:{port}: no address")
    for family, _ in _resolve(proxy.host, proxy.port):
        sock = socks.socksocket(family)
        sock.set_proxy(socks.SOCKS5, proxy.host, proxy.port, True, proxy.username or None, proxy.password or None)
        sock.settimeout(limit_s)
        own = cancel.watch(sock)
        try:
            sock.connect((host, port))
        except (OSError, socks.ProxyError) as error:
            sock.close()
            cancel.check()
            failed = DialFailed(f"socks connect tcp {proxy.host}:{proxy.port}->{host}:{port}: {error}")
            continue
        finally:
            cancel.forget(own)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected: socket.socket = sock
        return connected
    raise failed


def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        passing = error.errno == socket.EAI_AGAIN
        words = "no such host" if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA) else error.strerror
        raise DialFailed(f"dial tcp: lookup {host}: {words}", passing=passing) from None
    except (OSError, UnicodeError) as error:
        raise DialFailed(f"dial tcp: lookup {host}: {error}", passing=False) from None
    return alternate([(family, address) for family, _, _, _, address in found])


def alternate(addresses: Sequence[Address]) -> list[Address]:
    """The families in turn, beginning with that of the first address; within a family the resolver's order (RFC 8305, section 4)."""
    rows = [[a for a in addresses if a[0] == family] for family in dict.fromkeys(a[0] for a in addresses)]
    return [row[i] for i in range(max(map(len, rows), default=0)) for row in rows if i < len(row)]


@dataclass
class _Attempt:
    sock: socket.socket
    own: socket.socket
    name: str
    deadline: float


def _race(addresses: list[Address], cancel: Cancel, limit_s: float) -> socket.socket:
    waiting = list(addresses)
    running: list[_Attempt] = []
    failure = "dial tcp: no address"
    next_start = 0.0
    try:
        while waiting or running:
            now = time.monotonic()
            if waiting and (now >= next_start or not running):
                family, address = waiting.pop(0)
                attempt = _begin(family, address, cancel, limit_s)
                next_start = now + HEAD_START_S
                if isinstance(attempt, str):
                    failure = attempt
                    continue
                running.append(attempt)
            until = min([a.deadline for a in running] + ([next_start] if waiting else []))
            ready = _poll(running, until - now)
            cancel.check()
            for attempt in list(running):
                problem = _state(attempt, attempt in ready)
                if problem is None:
                    continue
                running.remove(attempt)
                cancel.forget(attempt.own)
                if not problem:
                    attempt.sock.settimeout(limit_s)
                    attempt.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return attempt.sock
                attempt.sock.close()
                failure, next_start = problem, 0.0
        raise DialFailed(failure)
    finally:
        for attempt in running:
            cancel.forget(attempt.own)
            attempt.sock.close()


def _begin(family: socket.AddressFamily, address: tuple[object, ...], cancel: Cancel, limit_s: float) -> _Attempt | str:
    """An attempt that is under way, or why it is not."""
    name = f"[{address[0]}]:{address[1]}" if family == socket.AF_INET6 else f"{address[0]}:{address[1]}"
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        return f"dial tcp {name}: socket: {error.strerror}"
    own = cancel.watch(sock)
    code = sock.connect_ex(address)
    if code not in (0, errno.EINPROGRESS):
        cancel.forget(own)
        sock.close()
        return f"dial tcp {name}: connect: {os.strerror(code).lower()}"
    return _Attempt(sock, own, name, time.monotonic() + limit_s)


def _poll(running: list[_Attempt], seconds: float) -> list[_Attempt]:
    poll = select.poll()
    for attempt in running:
        poll.register(attempt.sock, select.POLLOUT)
    found = {fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)}
    return [attempt for attempt in running if attempt.sock.fileno() in found]


def _state(attempt: _Attempt, ready: bool) -> str | None:
    """None: still under way; "": connected; else what went wrong."""
    if ready:
        code = attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return f"dial tcp {attempt.name}: connect: {os.strerror(code).lower()}" if code else ""
    return f"dial tcp {attempt.name}: i/o timeout" if time.monotonic() >= attempt.deadline else None
