"""What a container uses, on the wire (GET /containers/{id}/stats, Engine API 1.51): snake_case, times in ns, sizes in bytes."""

import msgspec
from msgspec import UNSET, UnsetType


class PidsStats(msgspec.Struct, kw_only=True):
    current: int | UnsetType = UNSET
    limit: int | UnsetType = UNSET


class BlkioEntry(msgspec.Struct):
    """`op` is `Read`, `Write` ... of cgroup v1, `read` and `write` of v2."""

    major: int
    minor: int
    op: str
    value: int


class BlkioStats(msgspec.Struct, kw_only=True):
    """Lists are null for a container that does not run."""

    io_service_bytes_recursive: list[BlkioEntry] | None = None
    io_serviced_recursive: list[BlkioEntry] | None = None
    io_queue_recursive: list[BlkioEntry] | None = None
    io_service_time_recursive: list[BlkioEntry] | None = None
    io_wait_time_recursive: list[BlkioEntry] | None = None
    io_merged_recursive: list[BlkioEntry] | None = None
    io_time_recursive: list[BlkioEntry] | None = None
    sectors_recursive: list[BlkioEntry] | None = None


class CpuUsage(msgspec.Struct, kw_only=True):
    total_usage: int = 0
    percpu_usage: list[int] | UnsetType = UNSET
    usage_in_kernelmode: int = 0
    usage_in_usermode: int = 0


class ThrottlingData(msgspec.Struct, kw_only=True):
    periods: int = 0
    throttled_periods: int = 0
    throttled_time: int = 0


class CpuStats(msgspec.Struct, kw_only=True):
    """`system_cpu_usage` is the time of all CPUs of the host together."""

    cpu_usage: CpuUsage = msgspec.field(default_factory=CpuUsage)
    system_cpu_usage: int | UnsetType = UNSET
    online_cpus: int | UnsetType = UNSET
    throttling_data: ThrottlingData = msgspec.field(default_factory=ThrottlingData)


class MemoryStats(msgspec.Struct, kw_only=True):
    """`stats` is the kernel's memory.stat; `limit` the host's memory where there is no other."""

    usage: int | UnsetType = UNSET
    max_usage: int | UnsetType = UNSET
    stats: dict[str, int] | UnsetType = UNSET
    failcnt: int | UnsetType = UNSET
    limit: int | UnsetType = UNSET


class NetworkStats(msgspec.Struct, kw_only=True):
    """Of one interface, as the container sees it."""

    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


class StatsResponse(msgspec.Struct, kw_only=True):
    """One sample; `precpu_stats` and `preread` are of the sample before."""

    name: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    read: str = "0001-01-01T00:00:00Z"
    preread: str = "0001-01-01T00:00:00Z"
    pids_stats: PidsStats = msgspec.field(default_factory=PidsStats)
    blkio_stats: BlkioStats = msgspec.field(default_factory=BlkioStats)
    num_procs: int = 0
    storage_stats: dict[str, int] = msgspec.field(default_factory=dict)
    cpu_stats: CpuStats = msgspec.field(default_factory=CpuStats)
    precpu_stats: CpuStats = msgspec.field(default_factory=CpuStats)
    memory_stats: MemoryStats = msgspec.field(default_factory=MemoryStats)
    networks: dict[str, NetworkStats] | UnsetType = UNSET
