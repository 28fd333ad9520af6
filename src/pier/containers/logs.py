"""Reading a container's log back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from pier.api.stream import frame
from pier.containers.phrases import rfc3339
from pier.containers.record import Container
from pier.containers.table import Containers
from pier.errors import Invalid
from pier.logs import reader

BATCH_BYTES = 256 << 10


@dataclass(frozen=True)
class LogsOptions:
    """What to read: times in nanoseconds since 1970 (0: no bound), `tail` in lines (None: all)."""

    stdout: bool = False
    stderr: bool = False
    follow: bool = False
    timestamps: bool = False
    details: bool = False
    since_ns: int = 0
    until_ns: int = 0
    tail: int | None = None


def check(ctx: Containers, name: str, options: LogsOptions) -> Container:
    """The container whose log can be read so. Raises NotFound, Invalid with Docker's texts."""
    if not (options.stdout or options.stderr):
        raise Invalid("Bad parameters: you must choose at least one stream")
    container = ctx.find(name)
    if container.record.host.log_config.type == "none":
        raise Invalid("configured logging driver does not support reading")
    return container


async def logs(ctx: Containers, name: str, options: LogsOptions) -> AsyncIterator[bytes]:
    """The log as the client gets it: multiplexed frames, or the bare output of a terminal."""
    container = check(ctx, name, options)
    batch = bytearray()
    async for entry in entries(ctx, container, options):
        data = b" " + entry.data if options.details else entry.data  # the attributes of the driver, of which there are none, and Docker's space
        data = f"{_stamp(entry.time_ns)} ".encode() + data if options.timestamps else data
        batch += data if container.record.terminal else frame(entry.stream, data)
        if options.follow or len(batch) >= BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
            await asyncio.sleep(0)
    if batch:
        yield bytes(batch)


def entries(ctx: Containers, container: Container, options: LogsOptions) -> "AsyncIterator[reader.Entry]":
    """The entries of a container's log; with `follow` until it ends or is removed."""
    host = container.record.host
    return reader.read(
        str(ctx.folder(container.id)),
        host.log_config.type,
        stdout=options.stdout,
        stderr=options.stderr,
        since_ns=options.since_ns,
        until_ns=options.until_ns,
        tail=options.tail,
        follow=ctx.log_changes if options.follow else None,
        lines=options.timestamps or options.details,
        running=lambda: (container.state.running or container.state.restarting) and not container.removed,
    )


def _stamp(time_ns: int) -> str:
    """Nine digits always, as Docker writes log times."""
    whole = rfc3339(time_ns - time_ns % 1_000_000_000).removesuffix("Z")
    return f"{whole}.{time_ns % 1_000_000_000:09d}Z"
