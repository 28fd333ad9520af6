"""Restart: stop if it runs, then start."""

from pier.containers import start, stop
from pier.containers.table import Containers
from pier.errors import NotModified
from pier.runtime import signals


async def restart(ctx: Containers, name: str, signal_name: str | None, timeout_s: int | None) -> None:
    """Stop a running container as `stop` does and start it; start one that does not run. Raises what those raise."""
    container = ctx.find(name)
    if signal_name:
        signals.parse_signal(signal_name)
    if container.state.running or container.state.restarting:
        container.keep += 1
        try:
            await stop.halt(ctx, container, signal_name, timeout_s)
        finally:
            container.keep -= 1
    try:
        await start.start(ctx, container.id)
    except NotModified:
        pass  # somebody else has started it meanwhile: it runs anew, as was asked for
    ctx.publish(container, "restart")
