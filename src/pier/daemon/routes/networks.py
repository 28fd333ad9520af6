"""/networks: list, inspect, create, remove, prune."""

import time
from typing import TYPE_CHECKING

from pier.api.models.networks import NetworkConnect, NetworkCreate, NetworkDisconnect
from pier.containers import connect, names_service
from pier.http.message import Answer, Request, empty, json
from pier.images import filters
from pier.networks import objects

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route


async def list_networks(request: Request, engine: "Engine") -> Answer:
    """GET /networks."""
    return json(engine.networks.list_networks(request.query.filters(), engine.containers.networks_in_use()))


async def inspect(request: Request, engine: "Engine") -> Answer:
    """GET /networks/{id}."""
    return json(engine.networks.inspect(request.params["id"], request.query.get("scope"), engine.containers.name_of))


async def create(request: Request, engine: "Engine") -> Answer:
    """POST /networks/create."""
    return json(await objects.create(engine.networks, await request.json_or(NetworkCreate)), 201)


async def remove(request: Request, engine: "Engine") -> Answer:
    """DELETE /networks/{id}."""
    identity = engine.networks.find(request.params["id"]).network.id
    await objects.remove(engine.networks, request.params["id"], engine.containers.name_of)
    await names_service.removed(engine.containers, identity)
    return empty(204)


async def connect_container(request: Request, engine: "Engine") -> Answer:
    """POST /networks/{id}/connect."""
    await connect.connect(engine.containers, request.params["id"], await request.json_or(NetworkConnect))
    return empty(200)


async def disconnect_container(request: Request, engine: "Engine") -> Answer:
    """POST /networks/{id}/disconnect."""
    await connect.disconnect(engine.containers, request.params["id"], await request.json_or(NetworkDisconnect))
    return empty(200)


async def prune(request: Request, engine: "Engine") -> Answer:
    """POST /networks/prune."""
    wanted = request.query.filters()
    until_ns = filters.until_ns(wanted, time.time_ns())
    before = set(engine.networks.live)
    report = await objects.prune(engine.networks, wanted, engine.containers.networks_in_use(), until_ns)
    for identity in before - engine.networks.live.keys():
        await names_service.removed(engine.containers, identity)
    return json(report)


ROUTES: "tuple[Route, ...]" = (
    ("GET", "/networks", list_networks),
    ("GET", "/networks/", list_networks),
    ("POST", "/networks/create", create),
    ("POST", "/networks/prune", prune),
    ("POST", "/networks/{id:.*}/connect", connect_container),
    ("POST", "/networks/{id:.*}/disconnect", disconnect_container),
    ("GET", "/networks/{id:.*}", inspect),
    ("DELETE", "/networks/{id:.*}", remove),
)
