"""Attaching a client to a container's streams."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pier.api.stream import frame
from pier.containers import detach, logs
from pier.containers.record import Container
from pier.containers.table import Containers
from pier.errors import Conflict
from pier.http.message import Hijacked


@dataclass(frozen=True)
class AttachOptions:
    """What the client asked for; without `stream` only the log so far is sent."""

    logs: bool = False
    stream: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    detach_keys: str = ""


def check(ctx: Containers, name: str, options: AttachOptions) -> Container:
    """The container that can be attached to. Raises NotFound, Conflict, Invalid (detach keys)."""
    detach.parse(options.detach_keys)
    container = ctx.find(name)
    if container.state.status == "paused":
        raise Conflict(f"container {name} is paused, unpause the container before attach")
    if container.state.restarting:
        raise Conflict(f"container {name} is restarting, wait until the container is running")
    return container


async def attach(ctx: Containers, name: str, options: AttachOptions, hijack: Callable[[], Awaitable[Hijacked]]) -> None:
    """Hand the client's connection to the pump; returns when it has it.

    Errors raised before `hijack` was called are answered in the ordinary way.
    """
    container = check(ctx, name, options)
    connection = await hijack()
    multiplexed = not container.record.terminal
    try:
        running, run_number = container.state.running, container.run_number
        if options.logs or running:
            await connection.head_is_read()
        if options.logs:
            wanted = logs.LogsOptions(stdout=options.stdout, stderr=options.stderr)
            async for entry in logs.entries(ctx, container, wanted):
                await connection.send(frame(entry.stream, entry.data) if multiplexed else entry.data)
        if not options.stream or container.removed:
            return
        if running and not (container.state.running and container.run_number == run_number):
            return  # it ended meanwhile: a session that is begun now would wait for its next start
        ctx.publish(container, "attach")
        container.streams = True
        handle = await ctx.pump.attach(
            container.id,
            connection.sock.fileno(),
            stdin=options.stdin and container.record.config.open_stdin,
            stdout=options.stdout,
            stderr=options.stderr,
            multiplexed=multiplexed,
            detach_keys=b"" if multiplexed else detach.parse(options.detach_keys),  # nobody types where there is no terminal
            initial=connection.initial,
        )
    finally:
        connection.sock.close()
    handle.done.add_done_callback(lambda done: _ended(ctx, container, done))


def _ended(ctx: Containers, container: Container, done: "asyncio.Future[str]") -> None:
    if not done.cancelled() and done.exception() is None and done.result() == "detached":
        ctx.publish(container, "detach")
