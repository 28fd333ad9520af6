"""Publishing and withdrawing ports of a container that is there already, running or not.

The record comes first: what a killed daemon leaves between it and the ports, the next one opens as the record says (published.restored).
"""

import msgspec

from pier import trace
from pier.api.models.containers import PortBinding
from pier.api.models.ports import PortsChange
from pier.containers import preparing
from pier.containers.published import asked, publish, withdraw
from pier.containers.record import Record
from pier.containers.table import Containers
from pier.errors import Conflict, PierError


def changed(record: Record, change: PortsChange) -> Record:
    """A record with ports added and removed. Pure. Raises Invalid (a bad port), Conflict for one to be removed that is not published by -p."""
    bindings = {key: list(places or ()) for key, places in (record.host.port_bindings or {}).items()}
    for key, going in (change.remove or {}).items():
        for place in going or [PortBinding()]:
            there = bindings.get(key, [])
            left = [each for each in there if each != place] if place.host_ip or place.host_port else []
            if len(left) == len(there):
                raise Conflict(f"port {place.host_port or 'any'}:{key} is not published by -p: `pier port {record.name}` shows what is")
            bindings[key] = left
    for key, coming in (change.add or {}).items():
        bindings.setdefault(key, []).extend(coming or ())
    host = msgspec.structs.replace(record.host, port_bindings={key: places for key, places in bindings.items() if places})
    exposed = {**(record.config.exposed_ports or {}), **{key: {} for key in change.add or {}}}
    found = msgspec.structs.replace(record, host=host, config=msgspec.structs.replace(record.config, exposed_ports=exposed))
    asked(found)
    return found


async def change(ctx: Containers, name: str, wanted: PortsChange) -> None:
    """Publish and withdraw ports of a container, running or not; connections that are open go on.

    Raises NotFound, Invalid, Conflict (nothing to remove; a network of another container's or the host's), Internal where a port is taken:
    then everything is as it was.
    """
    container = ctx.find(name)
    async with container.lock:
        before = container.record
        if before.host.network_mode == "host" or before.host.network_mode.startswith("container:"):
            raise Conflict(f"container {container.name} has no network of its own: its ports cannot be published")
        after = changed(before, wanted)
        await preparing.drop_locked(ctx, container)
        await ctx.save_record(container, after)
        trace.point("ports.recorded")
        if not container.state.running:
            return
        await withdraw(ctx, container.id)
        try:
            await publish(ctx, container)
        except (PierError, OSError):
            await withdraw(ctx, container.id)
            await ctx.save_record(container, before)
            await publish(ctx, container)
            raise
    ctx.publish(container, "update")
