"""What is done in a namespace of a running container: by a child that joins it, does its steps and ends.

The daemon itself joins nothing. The child lives in the host's pid namespace: no container sees or traces it.
"""

import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pier.containers.record import Container
from pier.containers.table import Containers
from pier.errors import Conflict, Internal
from pier.linux import namespaces, pidfd
from pier.runtime.plan import InterfaceSetup, Step
from pier.runtime.supervisor import Child, Shape, StartFailed


def namespace(container: Container, kind: str) -> int:
    """A descriptor of the namespace `kind` (as in /proc/PID/ns) of a running container, the caller's to close. Raises Conflict where it has ended.

    The process is asked after the opening: the pid may be somebody else's by now, and the namespace the host's.
    """
    space = -1
    try:
        space = os.open(f"/proc/{container.state.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
        if container.child is None:
            raise ProcessLookupError(container.id)
        pidfd.send_signal(container.child.pidfd, 0)
    except OSError as error:
        if space >= 0:
            os.close(space)
        raise Conflict(f"container {container.name} has ended") from error
    return space


def network_step(interfaces: Sequence[InterfaceSetup], withdrawn: Sequence[str] = ()) -> Step:
    """Configure interfaces; see linux.netlink.configure_inside."""
    return Step("network", {"loopback": False, "interfaces": [asdict(one) for one in interfaces], "withdrawn": list(withdrawn)})


async def run(ctx: Containers, container: Container, steps: Sequence[Step]) -> list[int]:
    """Carry out steps in a container's network namespace. Returns the sockets that they handed over, the caller's to close.

    Raises Conflict where the container has ended, Internal where a step failed.
    """
    joining = Step("join", {"spaces": [[0, namespaces.FLAGS["network"], "network"]]})
    return (await _carry_out(ctx, container, "net", [joining, *steps, Step("leave", {})], [])).take_sockets()


async def change_mounts(ctx: Containers, container: Container, steps: Sequence[Step], fds: Sequence[int]) -> None:
    """Carry out steps of runtime.plan_live; fds: what they count on behind the mount namespace. Raises as `run`."""
    await _carry_out(ctx, container, "mnt", steps, fds)


async def _carry_out(ctx: Containers, container: Container, kind: str, steps: Sequence[Step], fds: Sequence[int]) -> Child:
    """A child with the container's namespace as its first descriptor does the steps; returns it, ended."""
    if container.child is None or not container.state.running:
        raise Conflict(f"container {container.name} is not running")
    space = namespace(container, kind)
    try:
        child = await ctx.supervisor.spawn(secrets.token_hex(32), Shape(()), join_cgroup=False)
        plan: dict[str, Any] = {"steps": [[step.name, step.arguments] for step in steps]}
        try:
            await child.run(plan, [space, *fds])
        except StartFailed as error:
            raise Internal(f"container {container.name}: {error.message}") from None
        finally:
            child.close()
        return child
    finally:
        os.close(space)
