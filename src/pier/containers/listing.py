"""Lists of containers."""

import asyncio
import contextlib
import time
from functools import cache
from itertools import islice

from msgspec import UNSET

from pier.api.models.containers import ContainerSummary, SummaryHostConfig, SummaryNetworkSettings
from pier.containers import filters, health, links
from pier.containers.inspect import endpoints
from pier.containers.phrases import status
from pier.containers.record import Container
from pier.containers.table import Containers
from pier.errors import NotFound
from pier.networks import ports


async def list_containers(
    ctx: Containers, all: bool = False, limit: int | None = None, size: bool = False, wanted: dict[str, list[str]] | None = None
) -> list[ContainerSummary]:
    """Containers that fit, the newest first; only running ones unless `all`, `limit` or a filter of states asks for others.

    Raises Invalid, NotFound for filters.
    """
    wanted = wanted or {}
    fits = filters.for_list(ctx, wanted)
    everything = all or bool(limit and limit > 0) or any(key in wanted for key in ("status", "exited", "before", "since", "id"))
    newest_first = sorted(ctx.table.values(), key=lambda c: c.record.created_ns, reverse=True)
    now_ns = time.time_ns()
    fitting = (c for c in newest_first if (everything or c.state.running or c.state.restarting) and fits(c))
    chosen = list(islice(fitting, limit if limit and limit > 0 else None))
    sizes = await asyncio.to_thread(_sizes, ctx, chosen) if size else {}
    labels = cache(ctx.image_label)  # for this list only: many containers come of few images
    return [summary(ctx, c, labels(c.record.image_name, c.record.image_id), now_ns, sizes.get(c.id)) for c in chosen]


def _sizes(ctx: Containers, containers: list[Container]) -> dict[str, tuple[int, int]]:
    """(bytes of the writable layer, bytes with all layers) of each; blocking, as it walks what the containers wrote."""
    found = {}
    for container in containers:
        with contextlib.suppress(NotFound):  # removed meanwhile
            writable = ctx.snapshots.usage(container.id)
            found[container.id] = writable, writable + sum(ctx.snapshots.layers.size(d)[0] for d in container.record.diff_ids)
    return found


def summary(ctx: Containers, container: Container, label: str, now_ns: int, sizes: tuple[int, int] | None = None) -> ContainerSummary:
    """One item of a list. label: what its image is called; sizes: of the writable layer and of everything, in bytes."""
    record, state = container.record, container.state
    shown: list[dict[str, str | int]] = []
    bindings = ctx.networks.ports.bindings_of(record.id)
    if state.running and (bindings or record.config.exposed_ports) and ctx.networks.ports.has_gateway(record.id):
        shown = ports.summaries(record.config.exposed_ports or {}, bindings)
    return ContainerSummary(
        id=record.id,
        names=[*(links.names_of(ctx, record.id) if record.id in ctx.linked else ()), "/" + record.name],
        image=label,
        image_id=record.image_id,
        command=command_line(record.path, record.args),
        created=record.created_ns // 1_000_000_000,
        ports=shown,
        size_rw=sizes[0] if sizes and sizes[0] else UNSET,
        size_root_fs=sizes[1] if sizes else UNSET,
        labels=record.config.labels or {},
        state=state.status,
        status=status(state.status, state.exit_code, state.started_ns, state.finished_ns, now_ns, health.label(state.health) if state.health else ""),
        host_config=SummaryHostConfig(network_mode=record.host.network_mode, annotations=record.host.annotations),
        network_settings=SummaryNetworkSettings(networks=endpoints(ctx, container)),
        mounts=record.mounts,
    )


def command_line(path: str, args: list[str]) -> str:
    """The command as one text, arguments with blanks in single quotes, as Docker shows it."""
    return " ".join([path, *(f"'{a}'" if " " in a else a for a in args)])
