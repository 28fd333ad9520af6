"""A container's output and input in the pump."""

import os

from pier.containers.record import Container
from pier.containers.table import Containers
from pier.logs import fifos
from pier.logs.client import LogConfig


def log_config(ctx: Containers, container: Container) -> LogConfig:
    """Where and how the pump logs a container."""
    chosen = container.record.host.log_config
    return LogConfig(driver=chosen.type, directory=str(ctx.folder(container.id)), options=dict(chosen.config or {}))


async def open_fifos(ctx: Containers, key: str, io: fifos.Fifos, log: LogConfig | None, stdin_once: bool) -> None:
    """Let the pump serve a container's or exec's FIFOs; the keeper holds the writing end of stdin, should the pump die."""
    ends = io.open()
    try:
        if ends.stdin >= 0:
            await ctx.supervisor.hold(key, "stdin", ends.stdin)
        await ctx.pump.open(key, stdin=ends.stdin, stdout=ends.stdout, stderr=ends.stderr, log=log, stdin_once=stdin_once)
    finally:
        ends.close()


async def open_console(ctx: Containers, key: str, console_fd: int, log: LogConfig | None, stdin_once: bool) -> None:
    """Let the pump serve a terminal; the keeper holds a duplicate of its master, so that no hang-up reaches the container."""
    try:
        await ctx.supervisor.hold(key, "console", console_fd)
        await ctx.pump.open(key, console=console_fd, log=log, stdin_once=stdin_once)
    finally:
        os.close(console_fd)


async def reopen(ctx: Containers, container: Container) -> None:
    """Give the pump the streams of a container that runs already; harmless where it has them.

    Raises KeyError, OSError where the console or the FIFOs are gone.
    """
    config, once = log_config(ctx, container), container.record.config.stdin_once
    if container.record.terminal:
        await open_console(ctx, container.id, await ctx.supervisor.fetch(container.id, "console"), config, once)
    else:
        ends = fifos.find(ctx.exec_root, container.id).open(stdin=False)
        try:
            stdin = await ctx.supervisor.fetch(container.id, "stdin") if container.record.config.open_stdin else -1
        except KeyError:
            stdin = -1  # closed for good: the container has seen its end
        try:
            await ctx.pump.open(container.id, stdin=stdin, stdout=ends.stdout, stderr=ends.stderr, log=config, stdin_once=once)
        finally:
            ends.close()
            if stdin >= 0:
                os.close(stdin)
