"""GET /networks and /networks/{id}: the predefined three, to be looked at only. User networks come later."""

from typing import TYPE_CHECKING

from pier.http.message import Answer, Request, json

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route


async def list_networks(request: Request, engine: "Engine") -> Answer:
    """GET /networks."""
    return json(engine.networks.list_networks(request.query.filters()))


async def inspect(request: Request, engine: "Engine") -> Answer:
    """GET /networks/{id}."""
    table = engine.containers.table

    def name(container_id: str) -> str:
        return table[container_id].name if container_id in table else container_id

    return json(engine.networks.inspect(request.params["id"], request.query.get("scope"), name))


ROUTES: "tuple[Route, ...]" = (
    ("GET", "/networks", list_networks),
    ("GET", "/networks/", list_networks),
    ("GET", "/networks/{id:.*}", inspect),
)
