"""One switch for sockets, sleeps and whatever else waits."""

import signal
import socket
import threading
import time
from collections.abc import Callable

import pytest

from pier.registry.cancel import Cancel, Cancelled


def test_a_read_ends_at_once() -> None:
    one, other = socket.socketpair()
    with one, other:
        cancel = Cancel()
        watched = cancel.watch(one)
        threading.Timer(0.05, cancel.cancel).start()
        one.settimeout(30)
        assert one.recv(1) == b""
        watched.end()


def test_a_sleep_ends_at_once() -> None:
    cancel = Cancel()
    threading.Timer(0.05, cancel.cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        cancel.wait(30)
    assert time.monotonic() - began < 20


def test_all_who_sleep_wake() -> None:
    cancel, woken = Cancel(), []

    def sleep() -> None:
        try:
            cancel.wait(30)
        except Cancelled:
            woken.append(1)

    threads = [threading.Thread(target=sleep) for _ in range(4)]
    for thread in threads:
        thread.start()
    cancel.cancel()
    for thread in threads:
        thread.join(10)
    assert len(woken) == 4


def test_a_sleep_that_nobody_ends_is_over_in_time() -> None:
    Cancel().wait(0.01)


@pytest.mark.parametrize(
    "begin", [lambda c, s: c.check(), lambda c, s: c.wait(30), lambda c, s: c.watch(s), lambda c, s: c.waking(print).__enter__()]
)
def test_after_it_nothing_begins(begin: Callable[[Cancel, socket.socket], object]) -> None:
    cancel = Cancel()
    cancel.cancel()
    cancel.cancel()
    one, other = socket.socketpair()
    with one, other, pytest.raises(Cancelled):
        begin(cancel, one)


def test_a_socket_that_is_not_watched_any_more_is_left_alone() -> None:
    one, other = socket.socketpair()
    with one, other:
        cancel = Cancel()
        cancel.watch(one).end()
        cancel.cancel()
        one.send(b"x")
        assert other.recv(1) == b"x"


def test_a_number_that_became_another_file_is_left_alone() -> None:
    cancel = Cancel()
    one, other = socket.socketpair()
    watched = cancel.watch(one)
    number = one.fileno()
    one.close()
    third, fourth = socket.socketpair()
    with other, third, fourth:
        assert number in (third.fileno(), fourth.fileno())
        cancel.cancel()
        third.send(b"x")
        assert fourth.recv(1) == b"x"
    watched.end()


def test_from_a_signal_handler_while_the_lock_is_held() -> None:
    cancel = Cancel()
    before = signal.signal(signal.SIGUSR1, lambda *_: cancel.cancel())
    try:
        with cancel._lock:
            signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(Cancelled):
            cancel.wait(30)
    finally:
        signal.signal(signal.SIGUSR1, before)
