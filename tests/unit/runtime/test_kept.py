"""What the keeper holds, by key, by pid and by name."""

import os

import pytest

from pier.runtime.kept import KeptChild, KeptTable


def child(key: str, pid: int) -> KeptChild:
    return KeptChild(key, pid, 1, -1, -1, spare=False, cgroup=True, adopted=False)


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_a_key_and_a_pid_are_kept_once() -> None:
    table = KeptTable()
    table.add(child("a", 10))
    for twice in (child("a", 11), child("b", 10)):
        with pytest.raises(ValueError, match="kept already"):
            table.add(twice)


def test_after_the_end_the_pid_may_be_somebody_elses() -> None:
    table = KeptTable()
    first = child("a", 10)
    table.add(first)
    table.finish(first, 3, 0, 99, True)
    second = child("b", 10)
    table.add(second)
    assert table.forget("a") is first
    assert table.by_pid[10] is second
    assert first.describe()["code"] == 3


def test_holding_under_a_name_again_closes_the_earlier_one_and_release_closes_all() -> None:
    table, fds = KeptTable(), [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    table.hold("k", "stdin", fds[0])
    table.hold("k", "stdin", fds[1])
    table.hold("k", "console", fds[2])
    table.notes["k"] = ("pump", {})
    assert [is_open(fd) for fd in fds] == [False, True, True]
    assert table.names("k") == ["console", "stdin"] and table.find("k", "stdin") == fds[1]
    table.release("k", "stdin")
    assert not is_open(fds[1]) and "k" in table.notes
    table.release("k")
    assert not is_open(fds[2]) and table.held == {} and table.notes == {}
    table.release("k")


def test_what_is_not_held_is_minus_one() -> None:
    table = KeptTable()
    table.add(child("a", 10))
    assert table.find("a", "console") == table.find("nobody", "x") == table.find("a", "pidfd") == -1
