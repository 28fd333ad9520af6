"""`pier port --explain`: what the kernel holds of a container's ports, and where a packet would stop (pier.networks.explain)."""

from pier.api.models.ports import PortPath, PortStep
from pier.containers.table import Containers
from pier.errors import Conflict
from pier.networks import placeholders
from pier.networks.explain import steps
from pier.networks.ports import version


async def explain(ctx: Containers, name: str) -> list[PortPath]:
    """The way of a packet to each published port of a running container. Raises NotFound, Conflict (it does not run)."""
    container = ctx.find(name)
    if not container.state.running:
        raise Conflict(f"container {container.name} is not running: nothing of it is published")
    published = ctx.networks.ports.active.get(container.id)
    if published is None:
        return []
    facts = await ctx.networks.ports.facts(container.id, held=container.id in ctx.holding, listening=placeholders.listening(container.state.pid))
    found = []
    for binding in published.bindings:
        shown = f"[{binding.address}]" if version(binding.address) == 6 else binding.address
        way = [PortStep(passed=step.passed, text=step.text) for step in steps(binding, published, facts)]
        found.append(PortPath(port=f"{shown}:{binding.host_port or binding.port}->{binding.key}", private=binding.key, steps=way))
    return found
