"""CgroupLayout on the cgroups of this host, whichever layout it has, in a parent of the test's own."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from pier.linux import device_filter
from pier.linux.cgroups import CgroupLayout
from pier.linux.device_filter import DeviceRule
from tests.harness.commands import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def layout() -> Iterator[CgroupLayout]:
    found = CgroupLayout.detect(f"contract{os.getpid()}")
    found.prepare()
    yield found
    for id in found.ids():
        found.kill(id)
        assert found.remove(id)
    found.remove_parent()
    assert not any(os.path.exists(f"{tree.folder}/{found.parent}") for tree in found.hierarchies)


class Sleeper:
    """A shell in the cgroups of `id`, which forks two more only when it is in all of them."""

    def __init__(self, layout: CgroupLayout, id: str) -> None:
        self.layout, self.id = layout, id
        self.process = subprocess.Popen(["sh", "-c", "read x; sleep 60 & sleep 60 & wait"], stdin=subprocess.PIPE)
        self.pid = self.process.pid
        layout.join(id, self.pid)

    def fork(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        eventually(lambda: len(self.layout.pids(self.id)) == 3, says="three processes")

    def dies(self) -> None:
        """It was killed, and all that it had forked are gone, too."""
        assert self.process.wait() == -9
        eventually(lambda: not self.layout.pids(self.id), says="everything in the cgroup is dead")


def test_a_cgroup_is_made_joined_and_removed(layout: CgroupLayout) -> None:
    layout.create("a")
    assert layout.ids() == {"a"} and layout.exists("a") and layout.pids("a") == [] and layout.oom_kills("a") == 0
    process = Sleeper(layout, "a")
    process.fork()
    assert process.pid in layout.pids("a")
    assert layout.remove("a") is False  # not while somebody lives in it
    layout.kill("a")
    process.dies()
    assert layout.remove("a") is True and not layout.exists("a")


def test_making_it_twice_and_removing_what_is_gone_do_nothing(layout: CgroupLayout) -> None:
    layout.create("a")
    layout.create("a")
    assert layout.remove("a") and layout.remove("a")
    layout.kill("a")
    assert layout.pids("a") == []


def test_kill_reaches_frozen_processes_and_those_below(layout: CgroupLayout) -> None:
    layout.create("a")
    process = Sleeper(layout, "a")
    for tree in layout.hierarchies:
        if "freezer" in tree.controllers or tree.v2:
            below = f"{tree.folder}/{layout.parent}/a/below"
            os.mkdir(below)
            if layout.mode != "v2" or tree.v2:
                with open(f"{below}/cgroup.procs", "w") as file:
                    file.write(str(process.pid))
    process.fork()
    assert process.pid in layout.pids("a")
    layout.freeze("a")
    layout.kill("a")
    process.dies()
    assert layout.remove("a")


@pytest.mark.parametrize("id", ["", "..", "a/b", ".hidden", "a\0b"])
def test_names_that_are_paths_are_refused(layout: CgroupLayout, id: str) -> None:
    with pytest.raises(ValueError):
        layout.create(id)


def test_the_device_program_is_taken_by_the_kernel_and_holds(layout: CgroupLayout) -> None:
    tree = next((tree for tree in layout.hierarchies if tree.v2), None)
    if tree is None:
        pytest.skip("no cgroup2 here")
    layout.create("a")
    folder = f"{tree.folder}/{layout.parent}/a"
    device_filter.apply(folder, (DeviceRule(False), DeviceRule(True, "c", 1, 3), DeviceRule(True, "c", 1, 5, "r")))
    script = (
        f"echo $$ > {folder}/cgroup.procs; echo x > /dev/null && echo null; head -c1 /dev/zero | wc -c; "
        "(echo x > /dev/zero) 2>&1; head -c1 /dev/full 2>&1"
    )
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout
    assert said.splitlines()[:2] == ["null", "1"] and said.count("not permitted") == 2
    assert layout.remove("a")
