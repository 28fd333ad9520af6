import pytest

from pier.api.models.containers import HostConfig, RestartPolicy
from pier.containers.update import merged, writes
from pier.errors import Conflict
from pier.runtime.limits import DEVICES, Write

M = 1 << 20


def test_what_is_set_replaces_what_was_and_nothing_else() -> None:
    now = HostConfig(memory=64 * M, memory_swap=128 * M, cpu_shares=7, network_mode="bridge", restart_policy=RestartPolicy(name="no"))
    after = merged(now, HostConfig(memory=100 * M, nano_cpus=5, pids_limit=9, restart_policy=RestartPolicy(name="on-failure", maximum_retry_count=2)))
    assert (after.memory, after.memory_swap, after.nano_cpus, after.cpu_shares, after.pids_limit) == (100 * M, 128 * M, 5, 7, 9)
    assert after.restart_policy.maximum_retry_count == 2 and after.network_mode == "bridge"
    assert merged(now, HostConfig()) == now
    assert merged(after, HostConfig(pids_limit=-1)).pids_limit == 0


@pytest.mark.parametrize(
    ("now", "wanted", "text"),
    [
        (
            HostConfig(),
            HostConfig(memory=64 * M),
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
        (HostConfig(cpu_period=1000), HostConfig(nano_cpus=1), "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set"),
        (HostConfig(nano_cpus=1), HostConfig(cpu_quota=5000), "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"),
        (
            HostConfig(auto_remove=True),
            HostConfig(restart_policy=RestartPolicy(name="always")),
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(now: HostConfig, wanted: HostConfig, text: str) -> None:
    with pytest.raises(Conflict) as told:
        merged(now, wanted)
    assert str(told.value) == text


def test_the_order_in_which_the_kernel_takes_limits() -> None:
    memory, both = Write("memory", "memory.limit_in_bytes", "3"), Write("memory", "memory.memsw.limit_in_bytes", "4")
    given = [Write("devices", "devices.allow", "a"), Write("", DEVICES, ""), memory, both]
    assert writes(HostConfig(memory=1, memory_swap=2), HostConfig(memory=3, memory_swap=4), given) == [both, memory]
    assert writes(HostConfig(memory=5, memory_swap=6), HostConfig(memory=3, memory_swap=4), given) == [memory, both]
    assert writes(HostConfig(pids_limit=5), HostConfig(pids_limit=0), []) == [Write("pids", "pids.max", "max")]
