"""Sockets of published ports: they keep the ports taken, and pass on what the kernel cannot translate.

That is what comes for ::1, for link-local addresses, and over IPv6 for a container without IPv6; everything else is translated before it gets
here. A connection is accepted, another one made to the container, and bytes copied both ways; of UDP each client has a socket of its own.
"""

import errno
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

MOST_CONNECTIONS = 4096
MOST_CLIENTS = 1024  # of one UDP port
UDP_IDLE_S = 90.0
OUT_OF_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Why a connection that is there cannot be accepted now: it waits, and its listener is polled again later."""
_PIECE, _MOST_UNSENT = 65536, 262144
_ROUNDS = 32
_IN, _OUT, _GONE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the close is a reset

Watch = Callable[[int, int, Callable[[int], None]], None]
Target = tuple[str, str, int]  # protocol, address, port


class Side:
    """One end of a relayed connection. unsent: what it did not take yet; over: it sends no more; told: it knows that nothing more comes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.unsent, self.over, self.told = sock, bytearray(), False, False


class Relay:
    """A connection to a port, and the one to the container."""

    def __init__(self, owner: "Published", client: socket.socket, target: Target) -> None:
        """Raises OSError where no connection can even be begun."""
        self.owner, self.connecting, self.closed = owner, True, False
        server = socket.socket(_family(target[1]), socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.client, self.server = Side(client), Side(server)
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = server.connect_ex(target[1:])
        if began not in (0, errno.EINPROGRESS):
            server.close()
            raise OSError(began, "connect")
        owner.watch(server.fileno(), _OUT, self._connected)

    def _connected(self, mask: int) -> None:
        if self.server.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.end()
            return
        self.connecting = False
        self._look(self.client, self.server)
        self._look(self.server, self.client)

    def _moved(self, side: Side, other: Side, mask: int) -> None:
        try:
            if mask & _OUT and side.unsent:
                del side.unsent[: side.sock.send(side.unsent)]
            if mask & (_IN | _GONE) and not side.over and len(other.unsent) < _MOST_UNSENT:
                data = side.sock.recv(_PIECE)
                side.over = not data
                other.unsent += data
                if data and len(other.unsent) == len(data):
                    del other.unsent[: other.sock.send(other.unsent)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.end()
            return
        for one, its in ((side, other), (other, side)):
            if its.over and not one.unsent and not one.told:
                one.told = True
                try:
                    one.sock.shutdown(socket.SHUT_WR)
                except OSError:
                    self.end()
                    return
        if side.told and other.told:
            self.end()
            return
        self._look(side, other)
        self._look(other, side)

    def _look(self, side: Side, other: Side) -> None:
        mask = (_OUT if side.unsent else 0) | (_IN if not side.over and len(other.unsent) < _MOST_UNSENT else 0)
        self.owner.watch(side.sock.fileno(), mask, lambda got: self._moved(side, other, got))

    def end(self) -> None:
        """Close both connections."""
        if not self.closed:
            self.closed = True
            for side in (self.client, self.server):
                self.owner.watch(side.sock.fileno(), 0, _nothing)
                side.sock.close()
            self.owner.relays.discard(self)


class Client:
    """Who sends datagrams to a port: his own socket to the container."""

    def __init__(self, sock: socket.socket, now_s: float) -> None:
        self.sock, self.last_s = sock, now_s


class Listener:
    """A socket that holds a port."""

    def __init__(self, owner: "Published", fd: int, target: Target) -> None:
        self.owner, self.target, self.sock = owner, target, socket.socket(fileno=fd)
        self.clients: dict[tuple[Any, bytes], Client] = {}
        self.sock.setblocking(False)
        if target[0] != "sctp":
            owner.watch(fd, _IN, self._connections if target[0] == "tcp" else self._datagrams)

    def _connections(self, mask: int) -> None:
        for _ in range(_ROUNDS):
            try:
                sock, _ = self.sock.accept()
            except OSError as error:
                if error.errno in OUT_OF_ROOM:
                    self.owner.rest(self.sock.fileno())
                return
            sock.setblocking(False)
            if len(self.owner.relays) >= MOST_CONNECTIONS:
                sock.close()
                continue
            try:
                self.owner.relays.add(Relay(self.owner, sock, self.target))
            except OSError:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.close()

    def _datagrams(self, mask: int) -> None:
        for _ in range(_ROUNDS):
            try:
                data, control, _, source = self.sock.recvmsg(_PIECE, socket.CMSG_SPACE(20))
            except BlockingIOError:
                return
            except OSError:
                continue
            local = next((info for level, kind, info in control if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)), b"")
            client = self._client(source, local)
            try:
                if client is not None:
                    client.last_s = time.monotonic()
                    client.sock.send(data)
            except OSError:
                pass  # nobody listens there, or his queue is full: it is UDP

    def _client(self, source: Any, local: bytes) -> Client | None:
        client = self.clients.get((source, local))
        if client is None and len(self.clients) < MOST_CLIENTS:
            try:
                sock = socket.socket(_family(self.target[1]), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            except OSError:
                return None  # no descriptors left: it is UDP
            try:
                sock.connect(self.target[1:])
            except OSError:
                sock.close()
                return None
            client = self.clients[source, local] = Client(sock, time.monotonic())
            self.owner.clients += 1
            self.owner.watch(sock.fileno(), _IN, lambda mask, made=client: self._answers(made, source, local))  # type: ignore[misc]
        return client

    def _answers(self, client: Client, source: Any, local: bytes) -> None:
        for _ in range(_ROUNDS):
            try:
                data = client.sock.recv(_PIECE)
                client.last_s = time.monotonic()
                # from the very address that was asked
                self.sock.sendmsg([data], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local)] if local else [], 0, source)
            except OSError:
                return

    def tick(self, now_s: float) -> None:
        """Forget clients that have been silent."""
        for key, client in [(key, client) for key, client in self.clients.items() if now_s - client.last_s > UDP_IDLE_S]:
            self._forget(client)
            del self.clients[key]

    def _forget(self, client: Client) -> None:
        self.owner.watch(client.sock.fileno(), 0, _nothing)
        self.owner.clients -= 1
        client.sock.close()

    def close(self) -> None:
        """Give the port up. Connections that were accepted go on."""
        for client in self.clients.values():
            self._forget(client)
        self.clients.clear()
        self.owner.watch(self.sock.fileno(), 0, _nothing)
        self.sock.close()


class Published:
    """All ports that are held, by key: a container, or a part of its ports."""

    def __init__(self, watch: Watch, rest: Callable[[int], None]) -> None:
        """watch, rest: the loop's (ipc.loop): poll a descriptor for events, 0 stops it; do not for a moment."""
        self.watch, self.rest = watch, rest
        self.listeners: dict[str, list[Listener]] = {}
        self.relays: set[Relay] = set()
        self.clients = 0  # of all UDP ports

    @property
    def waiting(self) -> bool:
        """Whether a client may have to be forgotten."""
        return self.clients > 0

    def tick(self) -> None:
        """Forget clients of UDP that have been silent."""
        if not self.clients:
            return
        now_s = time.monotonic()
        for held in self.listeners.values():
            for listener in held:
                listener.tick(now_s)

    def hold(self, key: str, targets: "list[Target]", fds: "list[int]") -> None:
        """Hold ports (the descriptors are owned), in place of what the key held before."""
        self.release(key)
        self.listeners[key] = [Listener(self, fd, (target[0], target[1], target[2])) for fd, target in zip(fds, targets, strict=True)]

    def release(self, key: str) -> int:
        """Close the sockets of a key; how many there were."""
        held = self.listeners.pop(key, [])
        for listener in held:
            listener.close()
        return len(held)

    def keys_of(self, container: str) -> "list[str]":
        """The keys that a container's ports have."""
        return [key for key in self.listeners if key.partition("/")[0] == container]


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _nothing(mask: int) -> None:
    return
