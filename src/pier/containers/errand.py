"""What is done in the network namespace of a running container: by a child that joins it, does its steps and ends.

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
from pier.runtime.supervisor import Shape, StartFailed


def network_step(interfaces: Sequence[InterfaceSetup], withdrawn: Sequence[str] = ()) -> Step:
    """Configure interfaces; see linux.netlink.configure_inside."""
    return Step("network", {"loopback": False, "interfaces": [asdict(one) for one in interfaces], "withdrawn": list(withdrawn)})


async def run(ctx: Containers, container: Container, steps: Sequence[Step]) -> list[int]:
    """Carry out steps in a container's network namespace. Returns the sockets that they handed over, the caller's to close.

    Raises Conflict where the container has ended, Internal where a step failed.
    """
    if container.child is None or not container.state.running:
        raise Conflict(f"container {container.name} is not running")
    try:
        space = os.open(f"/proc/{container.state.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        pidfd.send_signal(container.child.pidfd, 0)  # asked after the opening, so that a reused pid is never joined
    except OSError as error:
        raise Conflict(f"container {container.name} has ended") from error
    try:
        child = await ctx.supervisor.spawn(secrets.token_hex(32), Shape(()), join_cgroup=False)
        joining = Step("join", {"spaces": [[0, namespaces.FLAGS["network"], "network"]]})
        plan: dict[str, Any] = {"steps": [[step.name, step.arguments] for step in (joining, *steps, Step("leave", {}))]}
        try:
            await child.run(plan, [space])
        except StartFailed as error:
            raise Internal(f"container {container.name}: {error.message}") from None
        finally:
            child.close()
        return child.take_sockets()
    finally:
        os.close(space)
