"""A container's output and input in the pump."""

import logging
import os

from pier.containers.record import Container
from pier.containers.table import Containers
from pier.logs import fifos
from pier.logs.client import LogConfig

_log = logging.getLogger("pier.containers")


def log_config(ctx: Containers, container: Container) -> LogConfig:
    """Where and how the pump logs a container."""
    chosen = container.record.host.log_config
    return LogConfig(driver=chosen.type, directory=str(ctx.folder(container.id)), options=dict(chosen.config or {}))


async def open_fifos(ctx: Containers, key: str, io: fifos.Fifos, log: LogConfig | None, stdin_once: bool) -> None:
    """Let the pump serve a container's or exec's FIFOs."""
    ends = io.open()
    try:
        await ctx.pump.open(key, stdin=ends.stdin, stdout=ends.stdout, stderr=ends.stderr, log=log, stdin_once=stdin_once)
    finally:
        ends.close()


async def open_console(ctx: Containers, key: str, console_fd: int, log: LogConfig | None, stdin_once: bool) -> None:
    """Let the pump serve a terminal, and own its master."""
    try:
        await ctx.pump.open(key, console=console_fd, log=log, stdin_once=stdin_once)
    finally:
        os.close(console_fd)


async def reopen(ctx: Containers, container: Container) -> None:
    """Open the FIFOs of a running container anew: pump and keeper, which held them, are both gone.

    Raises OSError where they are gone. A terminal is lost with the keeper; so is what was open of stdin.
    """
    if not container.record.terminal:
        ends = fifos.find(ctx.exec_root, container.id).open(stdin=False)
        try:
            log = log_config(ctx, container)
            await ctx.pump.open(container.id, stdout=ends.stdout, stderr=ends.stderr, log=log, stdin_once=container.record.config.stdin_once)
        finally:
            ends.close()


async def close(ctx: Containers, key: str) -> None:
    """`finish`, and the FIFOs go."""
    await finish(ctx, key)
    remove_fifos(ctx, key)


async def finish(ctx: Containers, key: str) -> None:
    """Everything that was written is in the log and with the clients, and the pump forgets the key."""
    try:
        await ctx.pump.drain(key, close=True)
    except ConnectionError:
        _log.warning("%s: the pump died while it drained the output, and did not come back; its next one forgets these streams", key[:12])


def remove_fifos(ctx: Containers, key: str) -> None:
    """The FIFOs go; harmless when they have."""
    fifos.find(ctx.exec_root, key).remove()
