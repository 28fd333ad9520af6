"""Which namespaces a container has, and whether the pool of blank children can serve it. Pure."""

from pier.api.models.containers import HostConfig
from pier.runtime.facts import HostFacts
from pier.runtime.supervisor import Shape

_POOLED_V1 = frozenset({"mount", "uts", "ipc", "pid", "network"})


def namespaces(host: HostConfig) -> frozenset[str]:
    """The kinds of namespace that are new for a container."""
    new = {"mount"}
    if host.uts_mode != "host":
        new.add("uts")
    if host.ipc_mode in ("private", "shareable", "none"):
        new.add("ipc")
    if not host.pid_mode:
        new.add("pid")
    if host.network_mode != "host" and not host.network_mode.startswith("container:"):
        new.add("network")
    if host.cgroupns_mode == "private":
        new.add("cgroup")
    return frozenset(new)


def shape(host: HostConfig) -> Shape:
    """The shape of the blank child that the container needs."""
    return Shape(new=namespaces(host))


def pooled_namespaces(facts: HostFacts) -> frozenset[str]:
    """What the children of the pool have."""
    return _POOLED_V1 | {"cgroup"} if facts.cgroups.mode == "v2" else _POOLED_V1


def is_pooled(host: HostConfig, facts: HostFacts) -> bool:
    """Whether a child of the pool has just the namespaces that the container needs; its modes are filled in already."""
    return namespaces(host) == pooled_namespaces(facts)
