"""Shapes of blank children, exit statuses, IDs."""

import os
import signal
from pathlib import Path

import pytest

from pier.linux import namespaces
from pier.runtime import exits, launcher
from pier.runtime.shape import Shape


def test_the_cgroup_namespace_is_no_part_of_the_clone() -> None:
    assert Shape.default(unified=True).clone_flags() == Shape.default(unified=False).clone_flags()
    assert "cgroup" in Shape.default(unified=True).new and "cgroup" not in Shape.default(unified=False).new
    assert Shape(("pid",)).clone_flags() == namespaces.CLONE_NEWPID


def test_shapes_are_values() -> None:
    assert Shape(("pid", "mount")) == Shape({"mount", "pid"}) and hash(Shape(())) == hash(Shape(()))
    assert Shape(("pid", "mount")).encode() == ["mount", "pid"]
    with pytest.raises(AttributeError):
        Shape(()).new = frozenset()
    with pytest.raises(ValueError, match="no such kind of namespace: nope"):
        Shape(("nope",))


@pytest.mark.parametrize(("status", "ended"), [(0, (0, 0)), (7 << 8, (7, 0)), (9, (137, 9)), (139, (139, 11)), (255 << 8, (255, 0))])
def test_wait_statuses(status: int, ended: exits.Ended) -> None:
    assert exits.from_wait_status(status) == ended


@pytest.mark.parametrize("way", ["exit", "kill"])
def test_reaping_says_what_waitid_and_the_kernel_say(way: str) -> None:
    pid = os.fork()
    if pid == 0:
        if way == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(5)
    pidfd = os.pidfd_open(pid)
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    assert exits.reap(pid) == ((5, 0) if way == "exit" else (137, 9))
    asked = exits.ask_kernel(pidfd)
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    assert asked == (((5, 0) if way == "exit" else (137, 9)) if release >= (6, 15) else None)
    os.close(pidfd)
    with pytest.raises(ChildProcessError):
        exits.reap(pid)


def test_the_start_time_is_field_22_also_for_names_with_brackets() -> None:
    assert exits.start_time(os.getpid()) == int(Path("/proc/self/stat").read_text().rpartition(") ")[2].split()[19])
    with pytest.raises(OSError):
        exits.start_time(0)


def test_ids_are_64_hex_and_never_begin_as_a_number() -> None:
    ids = {launcher.new_id() for _ in range(2000)}
    assert len(ids) == 2000
    assert all(len(id) == 64 and int(id, 16) >= 0 and not id[:12].isdigit() for id in ids)
