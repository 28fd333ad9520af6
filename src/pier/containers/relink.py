"""The link of a running container that somebody deleted, on the host or inside: made again, as it was."""

import os
from functools import partial

from pier.containers import errand
from pier.containers.spec import interfaces
from pier.containers.table import Containers, log
from pier.errors import Conflict
from pier.networks import Endpoint, repair


def attend(ctx: Containers) -> None:
    """From now on links that are gone are made again."""
    ctx.networks.guard.relink = partial(_again, ctx)


async def _again(ctx: Containers, container_id: str, endpoint: Endpoint) -> None:
    """With its address, MAC, routes and neighbours; what else somebody had set inside is lost. Raises NetlinkError, Internal, Unavailable."""
    container = ctx.table.get(container_id)
    if container is None:
        return
    async with container.lock:
        if not container.state.running or endpoint.endpoint_id not in {place.endpoint_id for place in container.places}:
            return
        try:
            space = errand.namespace(container, "net")
        except Conflict:
            return  # it has ended, and its link with it
        try:
            if not await repair.plug_again(ctx.networks, endpoint, space):
                return
            setups = [setup for setup in interfaces(container.places, container.record.endpoints) if setup.name == endpoint.interface]
            for fd in await errand.run(ctx, container, [errand.network_step(setups)]):
                os.close(fd)
        finally:
            os.close(space)
        await ctx.networks.settle(container_id)
    log.warning("container %s: its link in network %s was gone: made again", container.record.short_id, endpoint.network)
