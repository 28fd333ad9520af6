"""Limits that this host cannot set: taken out of the request, with the warning that Docker gives, so that the same Compose file runs here too.

Pure but for the request, which it changes before it becomes a record: inspect shows what holds. What would change the
meaning of a container rather than its share of the machine is refused elsewhere (pier.runtime.limits), never dropped.
"""

from pier.api.models.containers import HostConfig
from pier.containers.validate import Machine
from pier.errors import Invalid

_NO_CGROUP = "or the cgroup is not mounted"


def degrade(host: HostConfig, machine: Machine) -> list[str]:
    """Drop what cannot be had; returns Docker's warnings. Raises Invalid for --cpus without CPU limits, as Docker does."""
    warnings: list[str] = []
    have = machine.controllers
    if host.memory and "memory" not in have:
        warnings.append(f"Your kernel does not support memory limit capabilities {_NO_CGROUP}. Limitation discarded.")
        host.memory, host.memory_swap = 0, -1
    if host.memory and host.memory_swap != -1 and not machine.swap_accounting:
        warnings.append(f"Your kernel does not support swap limit capabilities {_NO_CGROUP}. Memory limited without swap.")
        host.memory_swap = -1
    if host.memory_swappiness not in (None, -1) and (machine.unified or "memory" not in have):
        warnings.append(f"Your kernel does not support memory swappiness capabilities {_NO_CGROUP}. Memory swappiness discarded.")
        host.memory_swappiness = None
    if host.memory_reservation and "memory" not in have:
        warnings.append(f"Your kernel does not support memory soft limit capabilities {_NO_CGROUP}. Limitation discarded.")
        host.memory_reservation = 0
    if machine.unified or "memory" not in have:
        if host.oom_kill_disable:
            warnings.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
        host.oom_kill_disable = None
    if host.pids_limit is not None and host.pids_limit > 0 and "pids" not in have:
        warnings.append(f"Your kernel does not support PIDs limit capabilities {_NO_CGROUP}. PIDs limit discarded.")
        host.pids_limit = None
    if "cpu" not in have:
        _without_cpu(host, warnings)
    if (host.cpuset_cpus or host.cpuset_mems) and "cpuset" not in have:
        warnings.append(f"Your kernel does not support cpuset {_NO_CGROUP}. Cpuset discarded.")
        host.cpuset_cpus = host.cpuset_mems = ""
    return warnings


def _without_cpu(host: HostConfig, warnings: list[str]) -> None:
    if host.nano_cpus:
        raise Invalid(f"NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler {_NO_CGROUP}")
    if host.cpu_shares:
        warnings.append(f"Your kernel does not support CPU shares {_NO_CGROUP}. Shares discarded.")
        host.cpu_shares = 0
    if host.cpu_period or host.cpu_quota:
        warnings.append("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.")
        host.cpu_period = host.cpu_quota = 0
