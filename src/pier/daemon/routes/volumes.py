"""/volumes: list, inspect, create, remove, prune, update."""

from typing import TYPE_CHECKING

from pier.api.models.volumes import VolumeCreate
from pier.errors import Invalid, Unavailable
from pier.http.message import Answer, Request, empty, json

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route


async def list_volumes(request: Request, engine: "Engine") -> Answer:
    """GET /volumes."""
    return json(await engine.volumes.list_volumes(request.query.filters(), engine.containers.users_of_volume))


async def create(request: Request, engine: "Engine") -> Answer:
    """POST /volumes/create: the volume of that name, whether it was there before or not."""
    wanted = await request.json_or(VolumeCreate)
    if wanted.cluster_volume_spec:
        raise Invalid("cluster volumes need a swarm, which Pier does not have: create the volume without ClusterVolumeSpec")
    record = await engine.volumes.create(wanted.name, wanted.driver, wanted.driver_opts, wanted.labels)
    return json(await engine.volumes.inspect(record.name), 201)


async def inspect(request: Request, engine: "Engine") -> Answer:
    """GET /volumes/{name}."""
    return json(await engine.volumes.inspect(request.params["name"]))


async def remove(request: Request, engine: "Engine") -> Answer:
    """DELETE /volumes/{name}."""
    await engine.volumes.remove(request.params["name"], engine.containers.users_of_volume, force=request.query.bool_("force"))
    return empty(204)


async def update(request: Request, engine: "Engine") -> Answer:
    """PUT /volumes/{name}: for cluster volumes only, as in Docker, which does not look whether there is such a volume."""
    raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")


async def prune(request: Request, engine: "Engine") -> Answer:
    """POST /volumes/prune; before API 1.42 named volumes went, too."""
    filters = dict(request.query.filters())
    if request.version < (1, 42):
        filters["all"] = ["true"]
    return json(await engine.volumes.prune(filters, engine.containers.users_of_volume))


ROUTES: "tuple[Route, ...]" = (
    ("GET", "/volumes", list_volumes),
    ("POST", "/volumes/create", create),
    ("POST", "/volumes/prune", prune),
    ("GET", "/volumes/{name:.*}", inspect),
    ("PUT", "/volumes/{name:.*}", update),
    ("DELETE", "/volumes/{name:.*}", remove),
)
