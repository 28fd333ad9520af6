"""Resources -> what is written into which cgroup file: pure, but for `apply`.

The numbers are the specification's (bytes, microseconds); a limit that this host cannot set is refused by its name.
"""

import math
import os
from typing import NamedTuple

from pier.errors import Invalid
from pier.linux import device_filter
from pier.linux.cgroups import CgroupLayout
from pier.linux.device_filter import DeviceRule
from pier.oci.runtime_spec import BlockIo, Cpu, Memory, Resources, ThrottleDevice

DEVICES = "bpf:device"  # not a file: the rules of v2, a program
_NO_SWAP = {("memory.swap.max", "max"), ("memory.swap.max", "0"), ("memory.memsw.limit_in_bytes", "-1")}
"""Writes that say nothing where swap is not accounted: the file is missing then."""


class Write(NamedTuple):
    """`text` goes into `file` of the container's cgroup in the tree of `controller`; `rules` only with DEVICES."""

    controller: str
    file: str
    text: str
    rules: tuple[DeviceRule, ...] = ()


def limits(resources: Resources, cgroup: CgroupLayout) -> list[Write]:
    """The writes in the order in which the kernel accepts them. Raises Invalid for a limit that this host's cgroups cannot set."""
    writes: list[Write] = []
    if resources.devices:
        writes += _devices(tuple(DeviceRule(d.allow, d.type, _number(d.major), _number(d.minor), d.access) for d in resources.devices), cgroup)
    if resources.memory is not None:
        writes += _memory(resources.memory, cgroup)
    if resources.cpu is not None:
        writes += _cpu(resources.cpu, cgroup)
    if resources.pids is not None and resources.pids.limit != 0:
        _tree(cgroup, "pids", "a limit of processes (--pids-limit)")
        writes.append(Write("pids", "pids.max", "max" if resources.pids.limit < 0 else str(resources.pids.limit)))
    if resources.block_io is not None:
        writes += _block_io(resources.block_io, cgroup)
    if resources.unified:
        if cgroup.mode != "v2":
            raise Invalid("cgroup settings by file name (unified) need cgroup v2")
        for file, text in resources.unified.items():
            if "/" in file or file.startswith("cgroup."):
                raise Invalid(f"unified cgroup setting {file!r} is not a file of a controller")
            writes.append(Write(file.partition(".")[0], file, text))
    return writes


def apply(id: str, writes: list[Write], cgroup: CgroupLayout) -> None:
    """Write them into the cgroups of `id`. Raises OSError naming the file: what was written before stays."""
    for write in writes:
        folder = cgroup.path(id, write.controller)
        if write.file == DEVICES:
            device_filter.apply(folder, write.rules)
            continue
        try:
            fd = os.open(f"{folder}/{write.file}", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if (write.file, write.text) in _NO_SWAP:
                continue
            raise
        try:
            os.write(fd, write.text.encode())
        except OSError as error:
            error.filename = f"{folder}/{write.file}"
            raise
        finally:
            os.close(fd)


def v2_cpu_weight(shares: int) -> int:
    """cpu.shares (2..262144, 1024 usual) -> cpu.weight (1..10000, 100 usual): the curve of runc 1.3, through those three points."""
    if shares == 0:
        return 0
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612.0 - 7.0 / 34.0))


def _number(value: int | None) -> int | None:
    return None if value is None or value < 0 else value


def _tree(cgroup: CgroupLayout, controller: str, what: str) -> bool:
    """Whether the controller is on v2. Raises Invalid where the host has none."""
    tree = cgroup.hierarchy(controller)
    if tree is None:
        raise Invalid(f"{what} is not possible: this host has no cgroup controller {controller!r}")
    return tree.v2


def _devices(rules: tuple[DeviceRule, ...], cgroup: CgroupLayout) -> list[Write]:
    tree = cgroup.hierarchy("devices")
    if tree is None:
        return [Write("", DEVICES, "", rules)]
    writes = []
    for rule in rules:
        writes.append(Write("devices", "devices.allow" if rule.allow else "devices.deny", rule.v1()))
    return writes


def _memory(memory: Memory, cgroup: CgroupLayout) -> list[Write]:
    if memory.kernel:
        raise Invalid("a limit of kernel memory is not possible: Linux has none any more")
    if memory.limit is None and memory.swap is None and memory.reservation is None and memory.swappiness is None and not memory.disable_oom_killer:
        return []
    v2 = _tree(cgroup, "memory", "a limit of memory (--memory)")
    if v2:
        return _memory_v2(memory)
    writes = []
    if memory.limit is not None and memory.limit != 0:
        # memory and swap together may never be below memory: going up, the sum goes first.
        pair = [Write("memory", "memory.limit_in_bytes", str(memory.limit))]
        if memory.swap:
            pair.append(Write("memory", "memory.memsw.limit_in_bytes", str(memory.swap)))
        writes += pair
    elif memory.swap:
        writes.append(Write("memory", "memory.memsw.limit_in_bytes", str(memory.swap)))
    if memory.reservation:
        writes.append(Write("memory", "memory.soft_limit_in_bytes", str(memory.reservation)))
    if memory.swappiness is not None and memory.swappiness >= 0:
        writes.append(Write("memory", "memory.swappiness", str(memory.swappiness)))
    if memory.disable_oom_killer:
        writes.append(Write("memory", "memory.oom_control", "1"))
    return writes


def _memory_v2(memory: Memory) -> list[Write]:
    writes = []
    if memory.limit:
        writes.append(Write("memory", "memory.max", _max(memory.limit)))
    if memory.swap is not None and memory.swap != 0:
        if memory.swap < 0:
            writes.append(Write("memory", "memory.swap.max", "max"))
        elif memory.limit is None or memory.limit <= 0:
            raise Invalid("a limit of memory and swap needs a limit of memory as well")
        elif memory.swap < memory.limit:
            raise Invalid("the limit of memory and swap is smaller than the limit of memory")
        else:
            writes.append(Write("memory", "memory.swap.max", str(memory.swap - memory.limit)))
    if memory.reservation:
        writes.append(Write("memory", "memory.low", _max(memory.reservation)))
    if memory.disable_oom_killer:
        raise Invalid("the OOM killer cannot be disabled with cgroup v2")
    return writes


def _max(value: int) -> str:
    return "max" if value < 0 else str(value)


def _cpu(cpu: Cpu, cgroup: CgroupLayout) -> list[Write]:
    writes = []
    if cpu.cpus or cpu.mems:
        _tree(cgroup, "cpuset", "a choice of CPUs or memory nodes (--cpuset-cpus, --cpuset-mems)")
        writes += [Write("cpuset", file, text) for file, text in (("cpuset.cpus", cpu.cpus), ("cpuset.mems", cpu.mems)) if text]
    if not (cpu.shares or cpu.quota or cpu.period or cpu.realtime_period or cpu.realtime_runtime):
        return writes
    if _tree(cgroup, "cpu", "a limit of CPU time (--cpus, --cpu-shares)"):
        if cpu.realtime_period or cpu.realtime_runtime:
            raise Invalid("real-time scheduling limits are not possible with cgroup v2")
        if cpu.shares:
            writes.append(Write("cpu", "cpu.weight", str(v2_cpu_weight(cpu.shares))))
        if cpu.quota or cpu.period:
            quota = "max" if not cpu.quota or cpu.quota < 0 else str(cpu.quota)
            writes.append(Write("cpu", "cpu.max", f"{quota} {cpu.period or 100000}"))
        return writes
    if cpu.shares:
        writes.append(Write("cpu", "cpu.shares", str(cpu.shares)))
    if cpu.period:
        writes.append(Write("cpu", "cpu.cfs_period_us", str(cpu.period)))
    if cpu.quota:
        writes.append(Write("cpu", "cpu.cfs_quota_us", str(cpu.quota)))
    if cpu.realtime_period:
        writes.append(Write("cpu", "cpu.rt_period_us", str(cpu.realtime_period)))
    if cpu.realtime_runtime:
        writes.append(Write("cpu", "cpu.rt_runtime_us", str(cpu.realtime_runtime)))
    return writes


def _block_io(block: BlockIo, cgroup: CgroupLayout) -> list[Write]:
    v2 = cgroup.mode == "v2"
    _tree(cgroup, "io" if v2 else "blkio", "a limit of disk input and output (--blkio-*, --device-*)")
    writes = []
    if block.weight:
        writes.append(Write("io", "io.bfq.weight", str(block.weight)) if v2 else Write("blkio", "blkio.bfq.weight", str(block.weight)))
    for device in block.weight_device:
        text = f"{device.major}:{device.minor} {device.weight}"
        writes.append(Write("io", "io.bfq.weight", text) if v2 else Write("blkio", "blkio.bfq.weight_device", text))
    throttles: tuple[tuple[tuple[ThrottleDevice, ...], str, str], ...] = (
        (block.throttle_read_bps_device, "rbps", "read_bps_device"),
        (block.throttle_write_bps_device, "wbps", "write_bps_device"),
        (block.throttle_read_iops_device, "riops", "read_iops_device"),
        (block.throttle_write_iops_device, "wiops", "write_iops_device"),
    )
    for devices, key, file in throttles:
        for throttle in devices:
            number = f"{throttle.major}:{throttle.minor}"
            if v2:
                writes.append(Write("io", "io.max", f"{number} {key}={throttle.rate}"))
            else:
                writes.append(Write("blkio", f"blkio.throttle.{file}", f"{number} {throttle.rate}"))
    return writes
