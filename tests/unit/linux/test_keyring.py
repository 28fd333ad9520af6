"""The user's keyring: what is written is read, by this process and by one that does not possess it."""

import os
from collections.abc import Iterator

import pytest

from pier.linux import keyring
from pier.linux.processes import join_session_keyring


@pytest.fixture
def name() -> Iterator[str]:
    found = f"pier-test:{os.getpid()}:{os.urandom(4).hex()}"
    try:
        keyring.read(found)
    except OSError as error:
        pytest.skip(f"no keyring here: {error}")
    yield found
    keyring.remove(found)


def test_write_read_replace_remove(name: str) -> None:
    assert keyring.read(name) is None
    keyring.write(name, b"\0one\0")
    assert keyring.read(name) == b"\0one\0"
    keyring.write(name, b"x" * 1000)
    assert keyring.read(name) == b"x" * 1000
    keyring.remove(name)
    assert keyring.read(name) is None
    keyring.remove(name)


def test_a_process_without_a_link_to_it(name: str) -> None:
    """As after `sudo`, in a service, in a new session: the session keyring knows nothing of the user's."""
    keyring.write(name, b"here")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            join_session_keyring(None)
            status = 0 if keyring.read(name) == b"here" else 2
            keyring.write(name, b"there")
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert keyring.read(name) == b"there"


def test_what_the_kernel_refuses(name: str) -> None:
    with pytest.raises(OSError):
        keyring.write(name, b"")
    with pytest.raises(OSError):
        keyring.write(name, b"x" * (keyring.MAX_BYTES + 1))
