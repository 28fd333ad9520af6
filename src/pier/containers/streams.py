"""A container's output and input in the pump."""

from pier.containers.record import Container
from pier.containers.table import Containers
from pier.logs import fifos
from pier.logs.client import LogConfig


def log_config(ctx: Containers, container: Container) -> LogConfig:
    """Where and how the pump logs a container."""
    chosen = container.record.host.log_config
    return LogConfig(driver=chosen.type, directory=str(ctx.folder(container.id)), options=dict(chosen.config or {}))


async def reopen(ctx: Containers, container: Container) -> None:
    """Give the pump the streams of a container that runs already; harmless where it has them.

    Raises KeyError, OSError where the console or the FIFOs are gone.
    """
    config, once = log_config(ctx, container), container.record.config.stdin_once
    if container.record.terminal:
        await ctx.pump.open(container.id, console=await ctx.supervisor.fetch(container.id, "console"), log=config, stdin_once=once)
    else:
        io = fifos.existing(ctx.exec_root, container.id)
        await ctx.pump.open(container.id, **io.take(), log=config, stdin_once=once)
