"""Renaming a container."""

import msgspec

from pier import trace
from pier.containers import names_service, validate
from pier.containers.table import Containers
from pier.errors import Conflict, Invalid, NotFound


async def rename(ctx: Containers, name: str, new: str) -> None:
    """Give a container another name. Raises NotFound, Invalid, Conflict with Docker's texts."""
    container = ctx.find(name)
    if not new:
        raise Invalid("Neither old nor new names may be empty")
    new = new.removeprefix("/")
    async with container.lock:
        if container.removed:
            raise NotFound(f"No such container: {name}")
        old = container.name
        if old == new:
            raise Invalid("Renaming a container with the same name as its current name")
        try:
            validate.check_name("/" + new)
            ctx.take_name(new, container.id)
        except (Invalid, Conflict) as problem:
            raise type(problem)(f"Error when allocating new name: {problem}") from None
        try:
            trace.point("rename.record")
            await ctx.save_record(container, msgspec.structs.replace(container.record, name=new))
        except BaseException:
            del ctx.names[new]
            raise
        del ctx.names[old]
        ctx.publish(container, "rename", oldName="/" + old)
        if container.state.running:
            await names_service.joined(ctx, container)
