"""Connections to names: races, failures in Go's words, cancelling."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from pier.registry import dial as dialling
from pier.registry.cancel import Cancel, Cancelled
from pier.registry.dial import Address, DialFailed, alternate, dial, resolve

FOUR, SIX = socket.AF_INET, socket.AF_INET6


@contextlib.contextmanager
def listening(address: str = "127.0.0.1", backlog: int = 8) -> Iterator[int]:
    with socket.socket(SIX if ":" in address else FOUR) as sock:
        sock.bind((address, 0))
        sock.listen(backlog)
        yield sock.getsockname()[1]


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A port of loopback that answers no one: its queue is full."""
    with listening(backlog=0) as port, contextlib.ExitStack() as full:
        for _ in range(8):
            sock = full.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        yield port


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Address]]:
    """What names mean: filled by the test."""
    known: dict[str, list[Address]] = {}

    def addresses(host: str, port: int, flags: int) -> list[Address]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known[host]

    monkeypatch.setattr(dialling, "_addresses", addresses)
    return known


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_both_families(address: str) -> None:
    with listening(address) as port, dial(address, port, Cancel()) as sock:
        assert sock.getpeername()[:2] == (address, port)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) and sock.gettimeout() == dialling.CONNECT_S


def test_nobody_listens() -> None:
    with listening() as port:
        pass
    with pytest.raises(DialFailed) as raised:
        dial("127.0.0.1", port, Cancel())
    assert str(raised.value) == f"dial tcp 127.0.0.1:{port}: connect: connection refused" and raised.value.passing


def test_no_such_name(names: dict[str, list[Address]]) -> None:
    with pytest.raises(DialFailed) as raised:
        dial("nope.example.com", 443, Cancel())
    assert str(raised.value) == "dial tcp: lookup nope.example.com: no such host" and not raised.value.passing


@pytest.mark.parametrize("name", ["", "a" * 300 + ".example.com", "..", "\udcff"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(DialFailed):
        resolve(name + "\x00", 443, Cancel())


def test_the_next_address_is_tried_at_once_when_one_fails(names: dict[str, list[Address]]) -> None:
    with listening() as gone:
        pass
    with listening() as port:
        names["reg"] = [(SIX, ("::1", gone, 0, 0)), (FOUR, ("127.0.0.1", port))]
        with dial("reg", port, Cancel()) as sock:
            assert sock.getpeername() == ("127.0.0.1", port)


def test_an_address_that_says_nothing_is_overtaken(names: dict[str, list[Address]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "HEAD_START_S", 0.05)
    with silent() as dead, listening() as port:
        names["reg"] = [(FOUR, ("127.0.0.1", dead)), (FOUR, ("127.0.0.1", port))]
        with dial("reg", port, Cancel()) as sock:
            assert sock.getpeername() == ("127.0.0.1", port)


def test_an_address_that_says_nothing_has_its_limit() -> None:
    with silent() as dead, pytest.raises(DialFailed) as raised:
        dial("127.0.0.1", dead, Cancel(), 0.2)
    assert str(raised.value) == f"dial tcp 127.0.0.1:{dead}: i/o timeout"


def test_connecting_can_be_cancelled() -> None:
    cancel = Cancel()
    threading.Timer(0.1, cancel.cancel).start()
    with silent() as dead, pytest.raises(Cancelled):
        dial("127.0.0.1", dead, cancel, 30)


def test_looking_a_name_up_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    cancel, go_on = Cancel(), threading.Event()

    def addresses(host: str, port: int, flags: int) -> list[Address]:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "")
        go_on.wait(30)
        return []

    monkeypatch.setattr(dialling, "_addresses", addresses)
    threading.Timer(0.1, cancel.cancel).start()
    with pytest.raises(Cancelled):
        dial("slow.example.com", 443, cancel)
    go_on.set()


def test_families_take_turns() -> None:
    sixes: list[Address] = [(SIX, (f"::{n}", 1, 0, 0)) for n in range(3)]
    fours: list[Address] = [(FOUR, (f"127.0.0.{n}", 1)) for n in range(2)]
    assert alternate([*sixes, *fours]) == [sixes[0], fours[0], sixes[1], fours[1], sixes[2]]
    assert alternate([]) == []
