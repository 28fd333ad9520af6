"""The daemon as a process: sockets, pid file, log lines, systemd."""

import logging
import os
import resource
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pier.daemon import listeners, process
from pier.daemon.initprogram import find_init
from pier.errors import Conflict, Invalid

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives the socket to root")


@needs_root
def test_a_socket_is_for_its_group_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "s"
    with listeners.listen(path, 12345) as sock:
        status = path.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o660, 0, 12345)
        listeners.remove([(sock, path, status.st_ino)])
    assert not path.exists()


@needs_root
def test_a_socket_left_by_a_dead_daemon_is_replaced_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = listeners.listen(path, 0)
    with pytest.raises(Conflict, match="another daemon answers there"):
        listeners.listen(path, 0)
    inode = path.stat().st_ino
    first.close()
    with listeners.listen(path, 0) as second, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        listeners.remove([(first, path, inode + 1)])
        assert path.exists(), "the socket of another daemon is left alone"
        assert second.fileno() >= 0


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(Conflict, match="is no socket"):
        listeners.listen(tmp_path / "s", 0)
    assert (tmp_path / "s").read_text() == "precious"


def test_a_missing_group_is_roots_unless_it_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    assert listeners.group_id("no-such-group", given=False) == 0
    assert "groupadd" in caplog.text
    with pytest.raises(Invalid, match="there is no such group"):
        listeners.group_id("no-such-group", given=True)
    assert listeners.group_id("1234", given=True) == 1234
    assert listeners.group_id("root", given=True) == 0


def test_a_pid_file_is_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "exec" / "pierd.pid"
    path.parent.mkdir()
    path.write_text("99999999 left by a dead daemon")
    held = process.PidFile(path)
    assert path.read_text() == f"{os.getpid()}\n"
    with pytest.raises(Conflict, match=rf"pid {os.getpid()}"):
        process.PidFile(path)
    held.remove()
    assert not path.exists()


def test_a_log_line_is_one_line_whatever_is_in_it() -> None:
    record = logging.LogRecord("pier.x", logging.WARNING, "f", 1, 'name "%s"', ("a\nb\x1b[31m",), None)
    record.created, record.msecs = 0.0, 5.0
    assert process.LineFormatter().format(record) == (
        'time="1970-01-01T00:00:00.005Z" level=warning msg="name \\"a\\nb\\x1b[31m\\"" component=pier.x'
    )


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        process.notify("READY=1")
        assert sock.recv(100) == b"READY=1"
    process.notify("READY=1")  # nobody there: no reason to end
    monkeypatch.delenv("NOTIFY_SOCKET")
    process.notify("READY=1")


def test_the_configured_init_wins() -> None:
    assert find_init("/opt/tini") == "/opt/tini"
    found = find_init()
    assert found == "" or os.access(found, os.X_OK)


@needs_root
def test_this_host_will_do() -> None:
    process.check_host()


def table_of_a_process(soft: int, hard: int) -> tuple[int, int, set[int], set[int]]:
    """In a process with those limits: how long its table of descriptors is before and after room is made, and which are open before and after.

    It begins as long as the table of this process needs to be.
    """
    script = (
        "import os, resource; from pier.daemon import process;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard})); opened = lambda: sorted(map(int, os.listdir('/proc/self/fd')));"
        "size = lambda: [line.split()[1] for line in open('/proc/self/status') if line.startswith('FDSize')][0];"
        "before = opened(); was = size(); process.make_room_for_descriptors(); after = opened();"
        "print(was, size()); print(*before); print(*after)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    sizes, before, after = done.stdout.splitlines()
    was, length = map(int, sizes.split())
    return was, length, {int(fd) for fd in before.split()}, {int(fd) for fd in after.split()}


def test_the_table_of_descriptors_is_made_long_at_once_and_nothing_stays_open() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    _, length, before, after = table_of_a_process(hard, hard)
    assert length >= min(16_384, hard)
    assert before == after


def test_a_low_limit_of_descriptors_is_no_reason_to_end() -> None:
    was, length, before, after = table_of_a_process(200, 200)
    assert 200 <= length <= max(256, was)
    assert before == after
