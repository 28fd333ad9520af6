"""Resources as the writes of each layout of cgroups."""

import pytest

from pier.errors import Invalid
from pier.linux.cgroups import CgroupLayout, Hierarchy
from pier.linux.device_filter import DeviceRule
from pier.oci.runtime_spec import BlockIo, Cpu, DeviceCgroup, Memory, Pids, Resources, ThrottleDevice
from pier.runtime.limits import DEVICES, Write, limits, v2_cpu_weight

V2 = CgroupLayout("v2", "p", (Hierarchy("", "/c", ("cpuset", "cpu", "io", "memory", "pids"), True),))
V1 = CgroupLayout("v1", "p", tuple(Hierarchy(name, f"/c/{name}", (name,), False) for name in ("memory", "cpu", "cpuset", "pids", "devices", "blkio")))
BARE = CgroupLayout("hybrid", "p", (Hierarchy("unified", "/c/unified", (), True),))


def texts(resources: Resources, layout: CgroupLayout) -> list[tuple[str, str]]:
    """(file, text) of each write."""
    return [(write.file, write.text) for write in limits(resources, layout)]


def test_memory() -> None:
    wanted = Resources(memory=Memory(limit=64 << 20, swap=128 << 20, reservation=32 << 20))
    assert texts(wanted, V2) == [("memory.max", "67108864"), ("memory.swap.max", "67108864"), ("memory.low", "33554432")]
    assert texts(wanted, V1) == [
        ("memory.limit_in_bytes", "67108864"), ("memory.memsw.limit_in_bytes", "134217728"), ("memory.soft_limit_in_bytes", "33554432"),
    ]  # fmt: skip
    assert texts(Resources(memory=Memory(limit=-1, swap=-1)), V2) == [("memory.max", "max"), ("memory.swap.max", "max")]
    with pytest.raises(Invalid, match="smaller"):
        limits(Resources(memory=Memory(limit=2, swap=1)), V2)


def test_cpu() -> None:
    wanted = Resources(cpu=Cpu(shares=512, quota=50000, period=100000, cpus="0-1"))
    assert texts(wanted, V1) == [("cpuset.cpus", "0-1"), ("cpu.shares", "512"), ("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")]
    assert texts(wanted, V2) == [("cpuset.cpus", "0-1"), ("cpu.weight", "59"), ("cpu.max", "50000 100000")]
    assert texts(Resources(cpu=Cpu(period=20000)), V2) == [("cpu.max", "max 20000")]


def test_shares_become_weights_through_the_three_fixed_points() -> None:
    assert [v2_cpu_weight(shares) for shares in (0, 2, 1024, 262144, 10**9)] == [0, 1, 100, 10000, 10000]
    weights = [v2_cpu_weight(shares) for shares in range(2, 4096)]
    assert weights == sorted(weights)


def test_pids_and_disks() -> None:
    assert texts(Resources(pids=Pids(100)), V1) == [("pids.max", "100")] and texts(Resources(pids=Pids(-1)), V2) == [("pids.max", "max")]
    throttled = Resources(block_io=BlockIo(throttle_read_bps_device=(ThrottleDevice(8, 0, 1000),)))
    assert texts(throttled, V1) == [("blkio.throttle.read_bps_device", "8:0 1000")] and texts(throttled, V2) == [("io.max", "8:0 rbps=1000")]


def test_devices_are_files_in_v1_and_a_program_in_v2() -> None:
    rules = Resources(devices=(DeviceCgroup(allow=False), DeviceCgroup(allow=True, type="c", major=1, minor=3, access="rw")))
    assert texts(rules, V1) == [("devices.deny", "a"), ("devices.allow", "c 1:3 rw")]
    assert limits(rules, V2) == [Write("", DEVICES, "", (DeviceRule(False), DeviceRule(True, "c", 1, 3, "rw")))]


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        (Resources(memory=Memory(limit=1)), "memory"), (Resources(cpu=Cpu(shares=2)), "cpu"), (Resources(pids=Pids(1)), "pids"),
        (Resources(unified={"memory.high": "1"}), "cgroup v2"), (Resources(memory=Memory(kernel=1)), "kernel memory"),
    ],
)  # fmt: skip
def test_a_limit_that_the_host_cannot_set_is_refused_by_name(wanted: Resources, word: str) -> None:
    with pytest.raises(Invalid, match=word):
        limits(wanted, BARE)


def test_unified_files_are_files_of_controllers() -> None:
    assert texts(Resources(unified={"memory.high": "1000"}), V2) == [("memory.high", "1000")]
    for name in ("cgroup.procs", "../x", "a/b"):
        with pytest.raises(Invalid):
            limits(Resources(unified={name: "1"}), V2)
