import os

from msgspec import UNSET

from pier.api.models.stats import BlkioEntry, MemoryStats, NetworkStats, PidsStats
from pier.containers import usage

TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


def files(**texts: str) -> usage.Read:
    """A reader of cgroup files; dots of a name are written as two underscores."""
    return lambda _, file: texts.get(file.replace(".", "__"), "")


def test_cpu_of_both_versions() -> None:
    found = usage.cpu_v1(
        files(
            cpuacct__usage="57\n", cpuacct__usage_percpu="10 47 \n", cpuacct__stat="user 2\nsystem 3\n",
            cpu__stat="nr_periods 4\nnr_throttled 5\nthrottled_time 6\n",
        )
    )  # fmt: skip
    assert (found.cpu_usage.total_usage, found.cpu_usage.percpu_usage, found.cpu_usage.usage_in_usermode) == (57, [10, 47], 2 * TICK_NS)
    assert (found.throttling_data.periods, found.throttling_data.throttled_periods, found.throttling_data.throttled_time) == (4, 5, 6)
    found = usage.cpu_v2("usage_usec 9\nuser_usec 4\nsystem_usec 5\nnr_periods 1\nnr_throttled 2\nthrottled_usec 3\n")
    assert (found.cpu_usage.total_usage, found.cpu_usage.percpu_usage, found.throttling_data.throttled_time) == (9000, UNSET, 3000)


def test_memory_of_both_versions_and_of_a_host_without() -> None:
    found = usage.memory_v1(files(memory__usage_in_bytes="7", memory__max_usage_in_bytes="9", memory__limit_in_bytes="9223372036854771712",
                                  memory__failcnt="0", memory__stat="cache 1\nrss 2\n"), 1000)  # fmt: skip
    assert found == MemoryStats(usage=7, max_usage=9, stats={"cache": 1, "rss": 2}, limit=1000)
    found = usage.memory_v2(files(memory__current="7", memory__max="max", memory__events="low 0\noom 2\n", memory__stat="anon 1\n"), 1000)
    assert found == MemoryStats(usage=7, stats={"anon": 1}, failcnt=2, limit=1000)
    assert usage.memory_v2(files(memory__current="7", memory__max="500"), 1000).limit == 500
    assert usage.memory_v1(files(), 1000) == usage.memory_v2(files(), 1000) == MemoryStats()


def test_disks_of_both_versions() -> None:
    text = "8:0 Read 4096\n8:0 Write 10\nTotal 4106\n"
    found = usage.blkio_v1(files(blkio__throttle__io_service_bytes_recursive=text))
    assert found.io_service_bytes_recursive == [BlkioEntry(8, 0, "Read", 4096), BlkioEntry(8, 0, "Write", 10)]
    assert found.io_serviced_recursive == [] and found.io_time_recursive == []
    found = usage.blkio_v2("8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n")
    assert found.io_service_bytes_recursive == [BlkioEntry(8, 16, "read", 1), BlkioEntry(8, 16, "write", 2)]
    assert found.io_serviced_recursive == [BlkioEntry(8, 16, "read", 3), BlkioEntry(8, 16, "write", 4)]
    assert usage.blkio_v2("").io_service_bytes_recursive == []


def test_processes_network_and_the_host() -> None:
    assert usage.pids("3\n", "max\n") == PidsStats(current=3)
    assert usage.pids("3\n", "50\n") == PidsStats(current=3, limit=50)
    assert usage.pids("", "") == PidsStats()
    assert usage.system_usage("cpu  1 2 3 4 5 6 7 8 9 10\n") == 28 * TICK_NS
    line = " 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0"
    text = f"Inter-|   Receive\n face |bytes\n    lo:{line}\n  eth0:{line}\n"
    sample = NetworkStats(rx_bytes=1, rx_packets=2, rx_errors=3, rx_dropped=4, tx_bytes=5, tx_packets=6, tx_errors=7, tx_dropped=8)
    assert usage.network(text, frozenset({"eth0", "eth7"})) == {"eth0": sample}
