"""The kernel's counters of a container -> what the API tells. Parsing is pure; `collect` reads the files (cgroups v1 and v2, proc(5))."""

import os
from collections.abc import Callable

from msgspec import UNSET

from pier.api.models.stats import BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, StatsResponse, ThrottlingData
from pier.linux.cgroups import CgroupLayout

Read = Callable[[str, str], str]
"""(controller, file) -> its text, "" where there is none."""
_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


def collect(cgroups: CgroupLayout, container_id: str, pid: int, interfaces: frozenset[str]) -> StatsResponse:
    """One sample, without names, times and what was before; blocking. What the host does not count is left out.

    pid: of the container's first process, whose network namespace has the `interfaces` that count. Raises OSError where it has ended.
    """

    def read(controller: str, file: str) -> str:
        try:
            with open(f"{cgroups.path(container_id, controller)}/{file}", encoding="ascii", errors="replace") as found:
                return found.read()
        except OSError:
            return ""

    if not cgroups.exists(container_id):
        raise ProcessLookupError(container_id)
    with open("/proc/stat", encoding="ascii") as file:
        system_ns = system_usage(file.readline())
    with open("/proc/meminfo", encoding="ascii") as file:
        host_bytes = int(file.readline().split()[1]) * 1024
    sample = StatsResponse(
        pids_stats=pids(read("pids", "pids.current"), read("pids", "pids.max")),
        blkio_stats=blkio_v2(read("io", "io.stat")) if _is_v2(cgroups, "io") else blkio_v1(read),
        cpu_stats=cpu_v2(read("cpu", "cpu.stat")) if _is_v2(cgroups, "cpu") else cpu_v1(read),
        memory_stats=memory_v2(read, host_bytes) if _is_v2(cgroups, "memory") else memory_v1(read, host_bytes),
    )
    sample.cpu_stats.system_cpu_usage, sample.cpu_stats.online_cpus = system_ns, os.cpu_count() or 1
    if interfaces:
        with open(f"/proc/{pid}/net/dev", encoding="ascii", errors="replace") as file:
            sample.networks = network(file.read(), interfaces)
    return sample


def _is_v2(cgroups: CgroupLayout, controller: str) -> bool:
    tree = cgroups.hierarchy(controller)
    return tree.v2 if tree is not None else cgroups.mode == "v2"


def numbers(text: str) -> dict[str, int]:
    """`name value` lines."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.isdigit():
            found[name] = int(value)
    return found


def system_usage(line: str) -> int:
    """The first line of /proc/stat: user, nice, system, idle, iowait, irq and softirq, in ns, as Docker adds them."""
    return sum(int(value) for value in line.split()[1:8]) * _TICK_NS


def pids(current: str, limit: str) -> PidsStats:
    """`max` is no limit."""
    return PidsStats(
        current=int(current) if current.strip().isdigit() else UNSET,
        limit=int(limit) if limit.strip().isdigit() else UNSET,
    )


def cpu_v1(read: Read) -> CpuStats:
    """cpuacct and cpu.stat."""
    mode, throttled = numbers(read("cpuacct", "cpuacct.stat")), numbers(read("cpu", "cpu.stat"))
    usage = CpuUsage(
        total_usage=int(read("cpuacct", "cpuacct.usage") or 0),
        percpu_usage=[int(value) for value in read("cpuacct", "cpuacct.usage_percpu").split()],
        usage_in_kernelmode=mode.get("system", 0) * _TICK_NS,
        usage_in_usermode=mode.get("user", 0) * _TICK_NS,
    )
    throttling = ThrottlingData(
        periods=throttled.get("nr_periods", 0), throttled_periods=throttled.get("nr_throttled", 0), throttled_time=throttled.get("throttled_time", 0)
    )
    return CpuStats(cpu_usage=usage, throttling_data=throttling)


def cpu_v2(text: str) -> CpuStats:
    """cpu.stat, whose times are microseconds."""
    found = numbers(text)
    usage = CpuUsage(
        total_usage=found.get("usage_usec", 0) * 1000,
        usage_in_kernelmode=found.get("system_usec", 0) * 1000,
        usage_in_usermode=found.get("user_usec", 0) * 1000,
    )
    throttling = ThrottlingData(
        periods=found.get("nr_periods", 0), throttled_periods=found.get("nr_throttled", 0), throttled_time=found.get("throttled_usec", 0) * 1000
    )
    return CpuStats(cpu_usage=usage, throttling_data=throttling)


def memory_v1(read: Read, host_bytes: int) -> MemoryStats:
    """memory.usage_in_bytes and its like; empty where the host has no such controller."""
    usage = read("memory", "memory.usage_in_bytes").strip()
    if not usage:
        return MemoryStats()
    failures = int(read("memory", "memory.failcnt") or 0)
    return MemoryStats(
        usage=int(usage),
        max_usage=int(read("memory", "memory.max_usage_in_bytes") or 0),
        stats=numbers(read("memory", "memory.stat")),
        failcnt=failures or UNSET,
        limit=_limit(read("memory", "memory.limit_in_bytes"), host_bytes),
    )


def memory_v2(read: Read, host_bytes: int) -> MemoryStats:
    """memory.current and its like; empty where the controller is not on."""
    usage = read("memory", "memory.current").strip()
    if not usage:
        return MemoryStats()
    failures = numbers(read("memory", "memory.events")).get("oom", 0)
    limit = _limit(read("memory", "memory.max"), host_bytes)
    return MemoryStats(usage=int(usage), stats=numbers(read("memory", "memory.stat")), failcnt=failures or UNSET, limit=limit)


def _limit(text: str, host_bytes: int) -> int:
    return min(int(text), host_bytes) if text.strip().isdigit() else host_bytes


def blkio_v1(read: Read) -> BlkioStats:
    """The throttling layer's counters: they are there whatever the scheduler is."""

    def entries(file: str) -> list[BlkioEntry]:
        found = []
        for line in read("blkio", file).splitlines():
            fields = line.split()
            if len(fields) == 3:
                major, _, minor = fields[0].partition(":")
                found.append(BlkioEntry(int(major), int(minor), fields[1], int(fields[2])))
        return found

    return _blkio(entries("blkio.throttle.io_service_bytes_recursive"), entries("blkio.throttle.io_serviced_recursive"))


def blkio_v2(text: str) -> BlkioStats:
    """io.stat: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 ...`."""
    sizes, counts = [], []
    for line in text.splitlines():
        device, *fields = line.split()
        major, _, minor = device.partition(":")
        values = {key: value for key, _, value in (field.partition("=") for field in fields)}
        for op in ("read", "write"):
            sizes.append(BlkioEntry(int(major), int(minor), op, int(values.get(f"{op[0]}bytes", 0))))
            counts.append(BlkioEntry(int(major), int(minor), op, int(values.get(f"{op[0]}ios", 0))))
    return _blkio(sizes, counts)


def _blkio(sizes: list[BlkioEntry], counts: list[BlkioEntry]) -> BlkioStats:
    return BlkioStats(
        io_service_bytes_recursive=sizes, io_serviced_recursive=counts, io_queue_recursive=[], io_service_time_recursive=[],
        io_wait_time_recursive=[], io_merged_recursive=[], io_time_recursive=[], sectors_recursive=[],
    )  # fmt: skip


def network(text: str, interfaces: frozenset[str]) -> dict[str, NetworkStats]:
    """/proc/PID/net/dev: sixteen columns, eight for each direction."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        values = [int(value) for value in rest.split()]
        if name.strip() in interfaces and len(values) >= 16:
            found[name.strip()] = NetworkStats(
                rx_bytes=values[0], rx_packets=values[1], rx_errors=values[2], rx_dropped=values[3],
                tx_bytes=values[8], tx_packets=values[9], tx_errors=values[10], tx_dropped=values[11],
            )  # fmt: skip
    return found
