"""Where packets are sent from and what answers them: servers in containers that say who asked, a LAN beside the host, clients anywhere."""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence

from tests.harness.commands import eventually
from tests.harness.engine import Engine

from .isolated import Namespace

HOST4, LAN4, HOST6, LAN6 = "203.0.113.1", "203.0.113.2", "2001:db8::1", "2001:db8::2"


class Entered(Namespace):
    """The network namespace of a process that somebody else started."""

    def __init__(self, pid: int) -> None:
        self.pid = 0
        self.fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def end(self) -> None:
        os.close(self.fd)


def _serve(ports: Sequence[int]) -> None:
    """Tell everybody, over TCP and UDP, whom he seems to be; forever."""
    poll = selectors.DefaultSelector()
    for port in ports:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            sock = socket.socket(socket.AF_INET6, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                sock.listen(100)
            poll.register(sock, selectors.EVENT_READ, (kind, port))
    while True:
        for key, _ in poll.select():
            kind, port = key.data
            listener = key.fileobj
            assert isinstance(listener, socket.socket)
            if kind == socket.SOCK_STREAM:
                with listener.accept()[0] as client:
                    client.sendall(f"{port} {client.getpeername()[0].removeprefix('::ffff:')}".encode())
            else:
                _, who = listener.recvfrom(100)
                listener.sendto(f"{port} {who[0].removeprefix('::ffff:')}".encode(), who)


@contextlib.contextmanager
def server(engine: Engine, container: str, ports: Sequence[int]) -> Iterator[Namespace]:
    """Serve in a container's network; its namespace."""
    pid = engine.api.get(f"/containers/{container}/json")["State"]["Pid"]
    with Entered(pid) as inside:
        child = os.fork()
        if not child:
            try:
                inside.enter()
                _serve(ports)
            finally:
                os._exit(1)
        try:
            eventually(lambda: inside(who, "127.0.0.1", ports[-1], "udp"), says=f"the server in {container}")
            yield inside
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def who(address: str, port: int, protocol: str = "tcp", timeout_s: float = 5.0) -> str:
    """Ask a server: "PORT ADDRESS" as it saw them, "" where no answer comes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect((address, port))
            if protocol == "udp":
                sock.send(b"?")
            return sock.recv(100).decode()
        except OSError:
            return ""


def ip(namespace_pid: int, *words: str) -> None:
    """ip(8) in a network namespace."""
    subprocess.run(["nsenter", "--target", str(namespace_pid), "--net", "--", "ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def lan(engine: Engine) -> Iterator[Namespace]:
    """A neighbour of the engine's host, which is his way to everywhere, and who believes that 127.0.0.1 is elsewhere, too."""
    with Namespace() as outside:
        host = engine.namespaces.pid
        ip(host, "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", str(outside.pid))
        ip(host, "addr", "add", f"{HOST4}/24", "dev", "lan0")
        ip(host, "addr", "add", f"{HOST6}/64", "dev", "lan0", "nodad")
        ip(host, "link", "set", "lan0", "up")
        ip(outside.pid, "addr", "add", f"{LAN4}/24", "dev", "eth0")
        ip(outside.pid, "addr", "add", f"{LAN6}/64", "dev", "eth0", "nodad")
        ip(outside.pid, "link", "set", "eth0", "up")
        ip(outside.pid, "route", "add", "default", "via", HOST4)
        ip(outside.pid, "-6", "route", "add", "default", "via", HOST6)
        try:
            yield outside
        finally:
            ip(host, "link", "del", "lan0")
