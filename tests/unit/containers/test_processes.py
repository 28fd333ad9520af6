"""What is read of processes that may call themselves whatever they like."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from pier.containers import processes, restore
from pier.networks import placeholders

ODD = """
import ctypes, socket, sys
ctypes.CDLL(None).prctl(15, b"\\xff) 0 (\\xfe")  # PR_SET_NAME
sock = socket.create_server(("127.0.0.1", 0))
print(sock.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def odd() -> Iterator[tuple[int, int]]:
    """(pid, port) of a process whose name is no text."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ODD, "\udcff"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.communicate()


def test_it_is_listed(odd: tuple[int, int]) -> None:
    (row,) = processes.describe({odd[0]}).processes
    assert row[1] == str(odd[0]) and row[-1].endswith("\ufffd")


def test_it_is_not_taken_for_a_first_one(odd: tuple[int, int]) -> None:
    assert restore._is_first(odd[0]) is False


def test_it_is_named_as_the_one_that_has_a_port(odd: tuple[int, int]) -> None:
    assert placeholders.owner("tcp", "127.0.0.1", odd[1]).endswith(f"(pid {odd[0]})")
