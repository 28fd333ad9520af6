"""Asking the world outside: one exchange at a time for one question, server after server, over UDP or TCP; never blocking.

A question goes out under a number and from a port of its own, so that an answer can hardly be forged.
"""

import errno
import secrets
import select
import socket
import struct
from collections.abc import Callable

from pier.netd import message
from pier.netd.message import Question

TRY_S = 2.0  # one server
MOST_S = 10.0  # all of them
PORT = 53
_MOST_BYTES = 65535
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
Watch = Callable[[int, int, Callable[[int], None]], None]


class Exchange:
    """One question under way. `done(answer)` is called once, with b"" where nobody answered."""

    def __init__(
        self, question: Question, servers: tuple[str, ...], tcp: bool, watch: Watch, done: Callable[["Exchange", bytes], None], now_s: float
    ) -> None:
        """servers: "192.0.2.53", "192.0.2.53:5353", "[2001:db8::53]:53". watch: registers a descriptor with the loop (mask 0 ends it)."""
        self.question = question
        self._servers, self._tcp, self._watch, self._done = servers, tcp, watch, done
        self._number = 0
        self._sock: socket.socket | None = None
        self._received = bytearray()
        self._unsent = b""
        self._last = b""
        self._deadline_s = now_s + MOST_S
        self.next_s = now_s
        self._turn = -1
        self._advance(now_s)

    @property
    def open(self) -> bool:
        """Whether an answer is still waited for."""
        return self._sock is not None

    def tick(self, now_s: float) -> None:
        """Go on to the next server where the one asked takes too long."""
        if self._sock is not None and now_s >= self.next_s:
            self._advance(now_s)

    def close(self) -> None:
        """Give up, without a word."""
        if self._sock is not None:
            self._watch(self._sock.fileno(), 0, _nothing)
            self._sock.close()
            self._sock = None

    def _advance(self, now_s: float) -> None:
        self.close()
        self._turn += 1
        if now_s >= self._deadline_s or self._turn >= 2 * len(self._servers):  # each is asked twice
            self._finish(self._last)
            return
        self.next_s = now_s + TRY_S
        try:
            self._open(self._servers[self._turn % len(self._servers)])
        except (OSError, ValueError):
            self._advance(now_s)

    def _open(self, server: str) -> None:
        family, where = target(server)
        self._number = secrets.randbelow(65536)
        packet = message.asked_outside(self.question, self._number)
        self._sock = socket.socket(family, (socket.SOCK_STREAM if self._tcp else socket.SOCK_DGRAM) | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._received.clear()
        if self._tcp:
            self._unsent = struct.pack("!H", len(packet)) + packet
            code = self._sock.connect_ex(where)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
            self._watch(self._sock.fileno(), _OUT, self._ready)
        else:
            self._sock.connect(where)
            self._sock.send(packet)
            self._watch(self._sock.fileno(), _IN, self._ready)

    def _ready(self, mask: int) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            if self._tcp:
                self._stream(sock, mask)
            else:
                self._take(sock.recv(_MOST_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self._advance(self.next_s - TRY_S)

    def _stream(self, sock: socket.socket, mask: int) -> None:
        if self._unsent:
            self._unsent = self._unsent[sock.send(self._unsent) :]
            if not self._unsent:
                self._watch(sock.fileno(), _IN, self._ready)
            return
        data = sock.recv(_MOST_BYTES)
        if not data:
            raise OSError(errno.ECONNRESET, "closed")
        self._received += data
        if len(self._received) >= 2 and len(self._received) >= 2 + int.from_bytes(self._received[:2], "big"):
            self._take(bytes(self._received[2 : 2 + int.from_bytes(self._received[:2], "big")]))

    def _take(self, answer: bytes) -> None:
        if not message.fits(answer, self.question, self._number):
            return  # forged, or late: the right one may still come
        answer = message.renumbered(answer, self.question.number)
        if answer[3] & 0xF in (message.SERVFAIL, message.REFUSED, message.NOTIMP) and self._turn + 1 < len(self._servers):
            self._last = answer
            self._advance(self.next_s - TRY_S)
            return
        self._finish(answer)

    def _finish(self, answer: bytes) -> None:
        self.close()
        done, self._done = self._done, _told
        done(self, answer)


def target(server: str) -> tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]:
    """What a socket is connected to for a server; of a link-local address (`fe80::1%eth0`) on its link.

    Raises ValueError, OSError for what is no address: nobody waits for a name to be looked up.
    """
    host, port = split(server)
    bare, _, link = host.partition("%")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    socket.inet_pton(family, bare)
    if not 0 < port < 65536:
        raise ValueError(f"{server}: no port")
    return family, ((bare, port, 0, int(link) if link.isdecimal() else socket.if_nametoindex(link)) if link else (bare, port))


def split(server: str) -> tuple[str, int]:
    """(address, port) of a server. Raises ValueError."""
    if server.startswith("["):
        host, _, port = server[1:].partition("]")
        return host, int(port.lstrip(":") or PORT)
    if server.count(":") == 1:
        host, _, port = server.partition(":")
        return host, int(port)
    return server, PORT


def _nothing(mask: int) -> None:
    return


def _told(exchange: Exchange, answer: bytes) -> None:
    return
