"""Which layout a host has, from the text of its mounts."""

import pytest

from pier.linux.cgroups import CgroupLayout

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
V1 = """31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 31 0:30 / /elsewhere/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
"""
UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def test_v2() -> None:
    layout = CgroupLayout.detect("x", V2, lambda path: "cpu memory pids\n")
    assert (layout.mode, layout.parent) == ("v2", "pier-x")
    assert layout.path("id", "memory") == layout.path("id") == "/sys/fs/cgroup/pier-x/id"
    with pytest.raises(OSError, match="no such cgroup controller"):
        layout.path("id", "rdma")


def test_v1_and_hybrid() -> None:
    layout = CgroupLayout.detect("x", V1)
    assert layout.mode == "v1" and [tree.name for tree in layout.hierarchies] == ["cpu,cpuacct", "memory", "systemd"]
    assert layout.path("id", "cpuacct") == "/sys/fs/cgroup/cpu,cpuacct/pier-x/id"
    hybrid = CgroupLayout.detect("x", V1 + UNIFIED, lambda path: "")
    assert hybrid.mode == "hybrid" and hybrid.path("id") == "/sys/fs/cgroup/unified/pier-x/id"
    assert hybrid.path("id", "memory") == "/sys/fs/cgroup/memory/pier-x/id"


def test_a_host_without_cgroups() -> None:
    with pytest.raises(OSError, match="no cgroup file system"):
        CgroupLayout.detect("x", "1 0 0:1 / / rw - ext4 /dev/sda rw\n")
