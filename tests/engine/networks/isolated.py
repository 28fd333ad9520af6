"""Network namespaces of the test's own, and functions that run inside them in a process of their own."""

import ctypes
import functools
import os
import pickle
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _fork(work: Callable[[], Any]) -> tuple[int, int]:
    """Run `work` in a child; returns (pid, fd that its pickled outcome comes from)."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        outcome = (True, work())
    except BaseException:
        outcome = (False, traceback.format_exc())
    with os.fdopen(writing, "wb") as pipe:
        pickle.dump(outcome, pipe)
    os._exit(0)


def _result(pid: int, reading: int) -> Any:
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    assert data, "the process in the namespace died without a word"
    good, value = pickle.loads(data)
    assert good, value
    return value


class Namespace:
    """A network namespace, kept by a process that sleeps; `lo` is up."""

    def __init__(self) -> None:
        ready, told = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if not self.pid:
            try:
                _check(_LIBC.unshare(_CLONE_NEWNET))
                link_up("lo")
                os.write(told, b"x")
                os.closerange(3, 4096)  # nothing of the daemon's may live on here, its lock for one
                signal.pause()
            finally:
                os._exit(0)
        os.close(told)
        assert os.read(ready, 1), "no network namespace could be made"
        os.close(ready)
        self.fd = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def enter(self) -> None:
        """Move the calling thread inside, for good."""
        _check(_LIBC.setns(self.fd, _CLONE_NEWNET))

    def start(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[[], Any]:
        """Start a function inside; the returned function waits for its result."""

        def inside() -> Any:
            self.enter()
            return work(*args, **kwargs)

        return functools.partial(_result, *_fork(inside))

    def __call__(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function inside and return its result."""
        return self.start(work, *args, **kwargs)()

    def end(self) -> None:
        """Kill the sleeping process: the namespace goes unless somebody else holds it."""
        if self.pid:
            os.close(self.fd)
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def __enter__(self) -> "Namespace":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def isolated(test: Callable[[], None]) -> Callable[[], None]:
    """A test whose whole body runs in a network namespace of its own: nothing can be left behind."""

    @functools.wraps(test)
    def wrapper() -> None:
        with Namespace() as host:
            host(test)

    return wrapper


def _ioctl_flags(name: str) -> None:
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh22x", name.encode(), 0)
        flags = struct.unpack_from("=h", fcntl.ioctl(sock, 0x8913, request), 16)[0]  # SIOCGIFFLAGS
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh22x", name.encode(), flags | 1))  # SIOCSIFFLAGS, IFF_UP


def link_up(name: str) -> None:
    """Bring a link up without netlink, so that the tests do not rest on what they test."""
    _ioctl_flags(name)


def answer(address: str, port: int, count: int = 1, timeout_s: float = 20.0) -> list[tuple[str, bytes]]:
    """Answer `count` UDP packets with what they said; returns (who, what)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, port))
        sock.settimeout(timeout_s)
        got = []
        for _ in range(count):
            data, who = sock.recvfrom(2000)
            sock.sendto(data, who)
            got.append((who[0], data))
        return got


def ask(address: str, port: int, what: bytes = b"hello", *, source: str = "", timeout_s: float = 20.0, tries: int = 1) -> bool:
    """Send a UDP packet and wait for its echo; whether it came. A refusal (nobody listens yet) is tried again."""
    import time

    end = time.monotonic() + timeout_s
    for _ in range(tries):
        while time.monotonic() < end:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                if source:
                    sock.bind((source, 0))
                sock.settimeout(timeout_s / tries)
                try:
                    sock.connect((address, port))
                    sock.send(what)
                    return sock.recv(2000) == what
                except ConnectionRefusedError:
                    time.sleep(0.01)
                except TimeoutError:
                    break
    return False
