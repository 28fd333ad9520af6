"""pier-netd: answers the name questions of containers in users' networks, and holds published ports (published.py).

One thread, one epoll loop (pier.ipc.loop). Each container has two sockets in its own network namespace, which its child bound there and handed
over: a datagram socket and a listening one. Requests of the daemon:
  network {key: ID, fields}, network-gone {key}        a network's names (zone.py)
  open {key: container, view} + [datagram, listener]   view {key, view}      close {key}
  publish {key: container, part, targets: [[protocol, address, port], ...]} + a socket each      withdraw {key}
  firsts {group}                                       first packets to send again (firsts.py); 0: none
  stats {} -> {ready: answered as before, asked: the others, of those outside, cached, refused}
The keeper gets a duplicate of every socket with the container's view, and every network, as notes: a netd that takes over goes on by itself.
"""

import contextlib
import gc
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from pier import trace
from pier.ipc import Channel
from pier.ipc.channel import Message
from pier.ipc.loop import Loop
from pier.ipc.polled import PolledChannel
from pier.netd import message as wire
from pier.netd.cache import Cache
from pier.netd.egress import Gate
from pier.netd.firsts import Firsts
from pier.netd.message import Malformed, Question
from pier.netd.published import OUT_OF_ROOM, Published
from pier.netd.ready import FOREVER, Ready
from pier.netd.upstream import Exchange
from pier.netd.zone import Zones

MOST_UNDER_WAY = 1024
MOST_OF_ONE = 256  # questions of one container that are under way
MOST_CONNECTIONS = 64  # of one container
IDLE_S = 10.0
_MOST_QUERY_BYTES = 4096
_MOST_ASKED = 16  # questions of one connection that are under way
_MOST_UNSENT = 128 << 10
_ROUNDS = 32  # datagrams of one container taken at a time
_TICK_S = 0.05
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_NETWORK = "network:"
_SESSION = "names:"
_PORTS = "ports:"
_FIRSTS = "firsts:"
# What is said to a question: one answer, or some of which any will do; what it is cut to; until when it may be said again (0: not again).
Reply = Callable[[Sequence[bytes], Question | None, float], None]


class Session:
    """A container's sockets and open connections."""

    def __init__(self, key: str, datagram: socket.socket, listener: socket.socket) -> None:
        self.key, self.datagram, self.listener = key, datagram, listener
        self.connections: set[Connection] = set()
        self.ready = Ready()
        self.under_way = 0


class Connection:
    """A client of the listening socket. unsent: answers that it did not take yet; asked: its questions without an answer.

    It is read no further while there is much of either: who asks and does not listen must not fill the memory.
    """

    def __init__(self, sock: socket.socket, now_s: float) -> None:
        self.sock, self.last_s = sock, now_s
        self.received = bytearray()
        self.unsent = bytearray()
        self.asked = 0
        self.reading = False


class Netd(Loop):
    """The sessions, the tables, and what is asked outside."""

    def __init__(self, keeper: PolledChannel) -> None:
        super().__init__(keeper)
        self.zones, self.cache = Zones(), Cache()
        self.sessions: dict[str, Session] = {}
        self.published = Published(self.watch, self.rest)
        self.gate = Gate()
        self.firsts = Firsts(self.watch)
        self.under_way: set[Exchange] = set()
        self.connected = 0  # open connections of all sessions
        self.next_tick_s = 0.0
        self.turn = 0
        self.counts = {"asked": 0, "outside": 0, "cached": 0, "refused": 0, "ready": 0}

    @property
    def waiting(self) -> bool:
        """Whether something may time out."""
        return bool(self.under_way) or self.connected > 0 or self.published.waiting

    def tick(self) -> None:
        """Servers that do not answer, connections that say nothing: looked at now and then, however often the loop turns."""
        now_s = time.monotonic()
        if now_s < self.next_tick_s:
            return
        self.next_tick_s = now_s + _TICK_S
        self.published.tick()
        for exchange in list(self.under_way):
            exchange.tick(now_s)
        for session in self.sessions.values() if self.connected else ():
            for connection in [c for c in session.connections if now_s - c.last_s > IDLE_S]:
                self._hang_up(session, connection)

    def finish(self) -> None:
        """The keeper is gone, and with it all containers' sockets."""

    # --- messages

    def hear_keeper(self, message: Message, fds: list[int]) -> None:
        if message["op"] != "resume":
            return
        key, note = str(message["key"]), message["note"]
        if key.startswith(_NETWORK):
            self.zones.set_network(key.removeprefix(_NETWORK), note)
        elif key.startswith(_PORTS):
            order = sorted(zip(map(int, message["names"]), fds, strict=True))
            self.published.hold(key.removeprefix(_PORTS), note, [fd for _, fd in order])
        elif key == _FIRSTS:
            with contextlib.suppress(OSError):  # the daemon says it again, and tells what is in the way
                self.firsts.take(int(note["group"]))
        elif len(fds) == 2:
            named = dict(zip(message["names"], fds, strict=True))
            self._open(key.removeprefix(_SESSION), note, named["datagram"], named["listener"])

    def answer(self, channel: PolledChannel, message: Message, fds: list[int]) -> None:
        """Carry out a request; takes the descriptors out of `fds` when it owns them."""
        op, key = message["op"], str(message.get("key"))
        trace.point(f"netd.{op}")
        if op == "network":
            self.zones.set_network(key, message["fields"])
            self.keeper.send({"op": "hold", "key": _NETWORK + key, "names": [], "note": message["fields"]})
        elif op == "network-gone":
            self.zones.drop_network(key)
            self.keeper.send({"op": "release", "key": _NETWORK + key, "names": []})
        elif op == "open":
            self.keeper.send({"op": "hold", "key": _SESSION + key, "names": ["datagram", "listener"], "note": message["view"]}, fds)
            self._open(key, message["view"], *fds)
            fds.clear()
        elif op == "view":
            self.zones.set_view(key, message["view"])
            self.keeper.send({"op": "hold", "key": _SESSION + key, "names": [], "note": message["view"]})
        elif op == "close":
            self._close(key)
        elif op == "publish":
            held = f"{key}/{message['part']}"
            self.keeper.send({"op": "hold", "key": _PORTS + held, "names": [str(n) for n in range(len(fds))], "note": message["targets"]}, fds)
            self.published.hold(held, message["targets"], fds)
            fds.clear()
        elif op == "withdraw":
            for held in self.published.keys_of(key):
                names = [str(n) for n in range(self.published.release(held))]
                self.keeper.send({"op": "release", "key": _PORTS + held, "names": names})
        elif op == "firsts":
            self.firsts.take(int(message["group"]))
            keeping = {"op": "hold", "note": {"group": self.firsts.group}} if self.firsts.group else {"op": "release"}
            self.keeper.send({**keeping, "key": _FIRSTS, "names": []})
        elif op == "ping":
            pass
        elif op == "stats":
            channel.answer(message, counts={**self.counts, "kept": len(self.cache), "sessions": len(self.sessions)})
            return
        else:
            raise ValueError(f"netd: unknown request {op}")
        channel.answer(message)

    def _open(self, key: str, view: dict[str, Any], datagram: int, listener: int) -> None:
        if key in self.sessions:
            self._drop(key)
        session = self.sessions[key] = Session(key, socket.socket(fileno=datagram), socket.socket(fileno=listener))
        session.datagram.setblocking(False)
        session.listener.setblocking(False)
        self.zones.set_view(key, view)
        self.watch(datagram, _IN, lambda mask: self._datagrams(session))
        self.watch(listener, _IN, lambda mask: self._connected(session))

    def _close(self, key: str) -> None:
        self._drop(key)
        self.zones.drop_view(key)
        self.keeper.send({"op": "release", "key": _SESSION + key, "names": ["datagram", "listener"]})

    def _drop(self, key: str) -> None:
        session = self.sessions.pop(key, None)
        if session is None:
            return
        for connection in list(session.connections):
            self._hang_up(session, connection)
        for sock in (session.datagram, session.listener):
            self.watch(sock.fileno(), 0, _nothing)
            sock.close()

    # --- datagrams

    def _datagrams(self, session: Session) -> None:
        receive, ready, version = session.datagram.recvfrom, session.ready, self.zones.version
        for _ in range(_ROUNDS):
            try:
                data, client = receive(4096)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an answer that its asker did not wait for
            if answer := ready.find(data, version):
                self.counts["ready"] += 1
                _send(session.datagram, client, answer)
            else:
                self._datagram(session, data, client)

    def _datagram(self, session: Session, data: bytes, client: Any) -> None:
        """A question for which nothing is ready; what is said at once and may be said again is."""

        def reply(answers: Sequence[bytes], question: Question | None, until_s: float) -> None:
            packets = [wire.fitted(answer, question) for answer in answers] if question else answers
            if until_s:
                session.ready.keep(data, packets, until_s)
            _send(session.datagram, client, packets[0])

        self._asked(session, data, reply, tcp=False)

    def _asked(self, session: Session, data: bytes, reply: Reply, *, tcp: bool) -> None:
        self.counts["asked"] += 1
        try:
            question = wire.parse(data)
        except Malformed:
            if answer := wire.malformed(data):
                reply([answer], None, 0)
            return
        self.turn += 1
        decided = self.zones.decide(session.key, question, self.turn)
        if decided.packets:
            reply(decided.packets, question, FOREVER)
            return
        now_s, held = time.monotonic(), self.zones.views[session.key].held
        if kept := self.cache.get(question, decided.servers, now_s):
            self.counts["cached"] += 1
            self.gate.open(held, question, kept.packet)
            reply([kept.packet], question, 0 if held.scopes else kept.until_s)
            return
        if len(self.under_way) >= MOST_UNDER_WAY or session.under_way >= MOST_OF_ONE:
            self.counts["refused"] += 1
            reply([wire.refusal(question, wire.SERVFAIL)], question, 0)
            return
        self.counts["outside"] += 1
        session.under_way += 1

        def done(exchange: Exchange, answer: bytes) -> None:
            self.under_way.discard(exchange)
            session.under_way -= 1
            if answer:
                self.cache.put(question, decided.servers, answer, time.monotonic())
                self.gate.open(held, question, answer)
            reply([answer or wire.refusal(question, wire.SERVFAIL)], question, 0)

        exchange = Exchange(question, decided.servers, tcp, self.watch, done, now_s)
        if exchange.open:
            self.under_way.add(exchange)

    # --- connections

    def _connected(self, session: Session) -> None:
        while True:
            try:
                sock, _ = session.listener.accept()
            except OSError as error:
                if error.errno in OUT_OF_ROOM:
                    self.rest(session.listener.fileno())
                return
            if len(session.connections) >= MOST_CONNECTIONS:
                sock.close()
                continue
            sock.setblocking(False)
            connection = Connection(sock, time.monotonic())
            session.connections.add(connection)
            self.connected += 1
            self.watch(sock.fileno(), _IN, lambda mask, c=connection: self._spoken(session, c, mask))  # type: ignore[misc]

    def _spoken(self, session: Session, connection: Connection, mask: int) -> None:
        connection.last_s = time.monotonic()
        try:
            if connection.unsent:
                del connection.unsent[: connection.sock.send(connection.unsent)]
                self._read_on(session, connection)
                return
            data = connection.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up(session, connection)
            return
        connection.received += data
        self._read_on(session, connection)

    def _read_on(self, session: Session, connection: Connection) -> None:
        """Ask what has come, as far as there is room for the answers."""
        if connection.reading:
            return
        connection.reading = True
        while connection in session.connections and connection.asked < _MOST_ASKED and len(connection.unsent) < _MOST_UNSENT:
            size = int.from_bytes(connection.received[:2], "big")
            if len(connection.received) < 2 or (size <= _MOST_QUERY_BYTES and len(connection.received) < 2 + size):
                break
            packet = bytes(connection.received[2 : 2 + size])
            del connection.received[: 2 + size]
            if size > _MOST_QUERY_BYTES or not wire.is_query(packet):
                self._hang_up(session, connection)
                return
            connection.asked += 1
            self._asked(session, packet, lambda answers, question, until_s: self._reply(session, connection, answers[0]), tcp=True)
        connection.reading = False
        if connection in session.connections:
            self._listen_again(session, connection)

    def _reply(self, session: Session, connection: Connection, answer: bytes) -> None:
        connection.asked -= 1
        if connection not in session.connections:
            return
        connection.unsent += struct.pack("!H", len(answer)) + answer
        try:
            del connection.unsent[: connection.sock.send(connection.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up(session, connection)
            return
        self._read_on(session, connection)

    def _listen_again(self, session: Session, connection: Connection) -> None:
        full = connection.asked >= _MOST_ASKED or len(connection.received) > _MOST_QUERY_BYTES + 2
        mask = _OUT if connection.unsent else 0 if full else _IN
        self.watch(connection.sock.fileno(), mask, lambda got: self._spoken(session, connection, got))

    def _hang_up(self, session: Session, connection: Connection) -> None:
        if connection in session.connections:
            session.connections.discard(connection)
            self.connected -= 1
            self.watch(connection.sock.fileno(), 0, _nothing)
            connection.sock.close()


def _send(sock: socket.socket, client: Any, answer: bytes) -> None:
    try:
        sock.sendto(answer, client)
    except OSError:
        pass  # the container has ended, or its queue is full: its resolver asks again


def _nothing(mask: int) -> None:
    return


def main(channel: Channel) -> None:
    """Be netd until the keeper's channel ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    Netd(PolledChannel(channel.sock)).run()

