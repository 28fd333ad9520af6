"""Limits that the host cannot set: what is dropped, with which words, and what inspect shows then."""

import pytest

from pier.api.models.containers import HostConfig
from pier.containers.degrade import degrade
from pier.containers.validate import Machine
from pier.errors import Invalid

EVERYTHING = frozenset({"memory", "cpu", "cpuset", "pids"})


def machine(without: str = "", unified: bool = False, swap: bool = True) -> Machine:
    return Machine(frozenset({0, 1}), frozenset({0}), EVERYTHING - {without}, unified, swap)


def asked() -> HostConfig:
    return HostConfig(
        memory=64 << 20, memory_swap=128 << 20, memory_reservation=32 << 20, memory_swappiness=10, oom_kill_disable=True, pids_limit=9,
        cpu_shares=512, cpu_period=50000, cpu_quota=20000, cpuset_cpus="0",
    )  # fmt: skip


def test_a_host_with_everything_changes_nothing() -> None:
    host = asked()
    assert degrade(host, machine()) == []
    assert host == asked()


def test_cgroup_v2_has_no_swappiness_and_no_way_to_switch_the_oom_killer_off() -> None:
    host = asked()
    warnings = degrade(host, machine(unified=True))
    assert [line.split(" support ")[1].split(".")[0] for line in warnings] == [
        "memory swappiness capabilities or the cgroup is not mounted",
        "OomKillDisable",
    ]
    assert (host.memory_swappiness, host.oom_kill_disable, host.memory, host.memory_swap) == (None, None, 64 << 20, 128 << 20)
    silent = HostConfig(memory_swappiness=-1, oom_kill_disable=False)
    assert degrade(silent, machine(unified=True)) == []
    assert silent.oom_kill_disable is None


def test_without_swap_accounting_memory_alone_is_limited() -> None:
    host = HostConfig(memory=64 << 20)
    (warning,) = degrade(host, machine(swap=False))
    assert warning == "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap."
    assert (host.memory, host.memory_swap) == (64 << 20, -1)
    unlimited = HostConfig(memory=64 << 20, memory_swap=-1)
    assert degrade(unlimited, machine(swap=False)) == []


@pytest.mark.parametrize(
    ("controller", "left"),
    [
        ("memory", {"memory": 0, "memory_swap": -1, "memory_reservation": 0, "memory_swappiness": None, "oom_kill_disable": None}),
        ("pids", {"pids_limit": None}),
        ("cpu", {"cpu_shares": 0, "cpu_period": 0, "cpu_quota": 0}),
        ("cpuset", {"cpuset_cpus": ""}),
    ],
)
def test_what_a_missing_controller_takes_away_is_said(controller: str, left: dict[str, object]) -> None:
    host, before = asked(), asked()
    warnings = degrade(host, machine(controller))
    assert warnings
    assert all("discarded" in line for line in warnings)
    changed = {name: getattr(host, name) for name in HostConfig.__struct_fields__ if getattr(host, name) != getattr(before, name)}
    assert changed == left


def test_cpus_without_cpu_limits_are_refused() -> None:
    with pytest.raises(Invalid, match="NanoCPUs can not be set"):
        degrade(HostConfig(nano_cpus=500_000_000), machine("cpu"))
