"""Removing every container that does not run."""

import time

from pier.api.models.containers import PruneReport
from pier.containers import filters, remove
from pier.containers.table import Containers
from pier.errors import Conflict, NotFound


async def prune(ctx: Containers, wanted: dict[str, list[str]]) -> PruneReport:
    """Remove stopped containers that fit the filters (`label`, `label!`, `until`). Raises Invalid for another filter."""
    fits = filters.for_prune(wanted, time.time_ns())
    deleted: list[str] = []
    reclaimed = 0
    for container in list(ctx.table.values()):
        if container.state.status in ("running", "restarting", "removing", "paused") or not fits(container):
            continue
        size = ctx.snapshots.usage(container.id)
        try:
            await remove.remove(ctx, container.id)
        except (NotFound, Conflict):
            continue
        deleted.append(container.id)
        reclaimed += size
    ctx.journal.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
    return PruneReport(containers_deleted=deleted or None, space_reclaimed=reclaimed)
