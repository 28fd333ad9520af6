"""The namespace of a container that has ended, whose pid is another process's by now."""

import os
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from pier.containers import errand
from pier.errors import Conflict


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def container(pid: int, pidfd: int) -> Any:
    return SimpleNamespace(id="x", name="it", state=SimpleNamespace(pid=pid), child=SimpleNamespace(pidfd=pidfd))


def test_only_the_containers_own_is_opened() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        pidfd = os.pidfd_open(process.pid)
        space = errand.namespace(container(process.pid, pidfd), "net")
        assert os.fstat(space).st_ino == os.stat("/proc/self/ns/net").st_ino
        os.close(space)
        process.kill()
    before = descriptors()
    for pid in (os.getpid(), process.pid):
        with pytest.raises(Conflict, match=r"^container it has ended$"):
            errand.namespace(container(pid, pidfd), "net")
    assert descriptors() == before
    os.close(pidfd)
