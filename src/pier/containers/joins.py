"""Namespaces of other containers that a container joins (`container:X` of network and IPC modes)."""

import os
from dataclasses import dataclass, field

from pier.api.models.containers import HostConfig
from pier.containers.table import Containers
from pier.errors import Conflict, Internal, NotFound
from pier.linux import pidfd

_KINDS = {"network": "net", "ipc": "ipc", "mount": "mnt"}


@dataclass
class Joins:
    """Open namespace descriptors; `indexes` maps a kind to its place in `fds`, "mount" being the one whose /dev/shm is shared."""

    fds: list[int] = field(default_factory=list)
    indexes: dict[str, int] = field(default_factory=dict)

    def close(self) -> None:
        """Close what is open; once is enough."""
        fds, self.fds = self.fds, []
        for fd in fds:
            os.close(fd)


def open_joins(ctx: Containers, host: HostConfig) -> Joins:
    """Open the namespaces that a container joins.

    Raises Internal (no such container, as Docker), Conflict (it does not run). The pidfd is asked after the opening, so that a
    reused pid is never joined.
    """
    joins = Joins()
    try:
        for kind, mode in (("network", host.network_mode), ("ipc", host.ipc_mode)):
            if not mode.startswith("container:"):
                continue
            name = mode.partition(":")[2]
            try:
                other = ctx.find(name)
            except NotFound as problem:
                raise Internal(f"joining {kind} namespace of container: {problem}") from None
            if not other.state.running or other.child is None:
                raise Conflict(f"cannot join {kind} namespace of a non running container: container {other.name} is {other.state.status}")
            if kind == "ipc" and other.record.host.ipc_mode not in ("shareable", "host") and not other.record.host.ipc_mode.startswith("container:"):
                raise Conflict(f"non-shareable IPC (hint: use IpcMode:shareable for the donor container): {other.name}")
            for wanted in (kind, "mount") if kind == "ipc" else (kind,):
                joins.indexes[wanted] = len(joins.fds)
                joins.fds.append(os.open(f"/proc/{other.state.pid}/ns/{_KINDS[wanted]}", os.O_RDONLY | os.O_CLOEXEC))
            pidfd.send_signal(other.child.pidfd, 0)
    except BaseException:
        joins.close()
        raise
    return joins
