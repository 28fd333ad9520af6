"""What a container uses: one sample, or one each second. A stream of a container that ends goes on with empty samples until it is removed."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

from pier.api.models.stats import CpuStats, StatsResponse
from pier.containers.phrases import rfc3339
from pier.containers.record import Container
from pier.containers.table import Containers
from pier.containers.usage import collect
from pier.linux import pidfd

EVERY_S = 1.0
_NEVER = "0001-01-01T00:00:00Z"


async def once(ctx: Containers, name: str, one_shot: bool) -> StatsResponse:
    """One sample: at once with `one_shot`, else after a second, with the one at its beginning as what was before. Raises NotFound."""
    container = ctx.find(name)
    first = await _sample(ctx, container)
    if one_shot and first is not None:
        return first
    if first is None:
        return _named(container, StatsResponse())
    await asyncio.sleep(EVERY_S)
    second = await _sample(ctx, container)
    return _named(container, _after(second or StatsResponse(), first))


async def stream(ctx: Containers, container: Container) -> AsyncGenerator[StatsResponse]:
    """A sample each second, the first at once; ends with the container's removal."""
    before: StatsResponse | None = None
    due = time.monotonic()
    while not container.removed:
        now = await _sample(ctx, container) or StatsResponse()
        yield _named(container, _after(now, before))
        before = now
        due = max(due + EVERY_S, time.monotonic())
        await asyncio.sleep(max(due - time.monotonic(), 0.01))


def _named(container: Container, sample: StatsResponse) -> StatsResponse:
    sample.name, sample.id = f"/{container.name}", container.id
    return sample


def _after(now: StatsResponse, before: StatsResponse | None) -> StatsResponse:
    now.precpu_stats = before.cpu_stats if before is not None else CpuStats()
    now.preread = before.read if before is not None else _NEVER
    return now


async def _sample(ctx: Containers, container: Container) -> StatsResponse | None:
    """None where it does not run."""
    if not container.state.running or container.child is None:
        return None
    owner, mode = container, container.record.host.network_mode
    if mode.startswith("container:"):
        owner = ctx.table.get(mode.partition(":")[2], container)
    interfaces = frozenset(place.interface for place in owner.places if place.interface)
    child, pid = container.child, container.state.pid

    def read() -> StatsResponse:
        sample = collect(ctx.facts.cgroups, container.id, pid, interfaces)
        pidfd.send_signal(child.pidfd, 0)  # nobody else has that pid by now
        return sample

    with contextlib.suppress(OSError):
        sample = await asyncio.to_thread(read)
        sample.read = rfc3339(time.time_ns())
        return sample
    return None
