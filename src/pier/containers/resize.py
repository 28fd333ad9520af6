"""The size of a container's terminal."""

from pier.containers.table import Containers
from pier.errors import Conflict


async def resize(ctx: Containers, name: str, height: int, width: int) -> None:
    """Set rows and columns; without a terminal nothing happens, as in Docker. Raises NotFound, Conflict (not running)."""
    container = ctx.find(name)
    if not await container.is_running():
        raise Conflict(f"container {container.id} is not running")
    if container.record.terminal:
        await ctx.pump.resize(container.id, height, width)
    ctx.publish(container, "resize", height=str(height), width=str(width))
