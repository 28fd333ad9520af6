"""The /containers routes that answer with one value. Those that stream are in streams.py."""

from typing import TYPE_CHECKING

from msgspec import UNSET

from pier.api.models.containers import CreateRequest, HostConfig, UpdateResponse
from pier.containers import create as _create
from pier.containers import inspect as _inspect
from pier.containers import kill as _kill
from pier.containers import listing as _listing
from pier.containers import pause as _pause
from pier.containers import prune as _prune
from pier.containers import remove as _remove
from pier.containers import rename as _rename
from pier.containers import resize as _resize
from pier.containers import restart as _restart
from pier.containers import start as _start
from pier.containers import stop as _stop
from pier.containers import top as _top
from pier.containers import update as _update
from pier.daemon.routes.old_clients import adapt_create
from pier.daemon.routes.query import terminal_size
from pier.http.message import Answer, Request, empty, json

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route

READS_JSON_FILE_ONLY = "docker-sdk-python"
"""docker-py's `containers.run` gives no output unless the log driver is json-file or journald: what it makes gets that by default."""


async def list_containers(request: Request, engine: "Engine") -> Answer:
    """GET /containers/json."""
    query = request.query
    limit = query.int_("limit", 0) or 0
    found = await _listing.list_containers(
        engine.containers, query.bool_("all") or limit > 0, limit, query.bool_("size"), query.filters()
    )
    return json(found)


async def create(request: Request, engine: "Engine") -> Answer:
    """POST /containers/create."""
    body = await request.json(CreateRequest)
    adapt_create(body, request.version)
    if request.headers.get("user-agent", "").startswith(READS_JSON_FILE_ONLY):
        body.host_config = body.host_config or HostConfig()
        body.host_config.log_config.type = body.host_config.log_config.type or "json-file"
    name, platform = request.query.get("name"), request.query.get("platform")
    # the platform parameter came with API 1.41
    return json(await _create.create(engine.containers, body, name or None, (platform or None) if request.version >= (1, 41) else None), 201)


async def inspect(request: Request, engine: "Engine") -> Answer:
    """GET /containers/{name}/json."""
    found = await _inspect.inspect(engine.containers, request.params["name"], request.query.bool_("size"))
    return json(found)


async def start(request: Request, engine: "Engine") -> Answer:
    """POST /containers/{name}/start."""
    await _start.start(engine.containers, request.params["name"], request.query.get("detachKeys"))
    return empty()


async def stop(request: Request, engine: "Engine") -> Answer:
    """POST /containers/{name}/stop."""
    await _stop.stop(engine.containers, request.params["name"], _signal(request), request.query.int_("t"))
    return empty()


async def restart(request: Request, engine: "Engine") -> Answer:
    """POST /containers/{name}/restart."""
    await _restart.restart(engine.containers, request.params["name"], _signal(request), request.query.int_("t"))
    return empty()


def _signal(request: Request) -> str | None:
    """The `signal` of stop and restart came with API 1.42; older clients' is ignored, as Docker does."""
    return (request.query.get("signal") or None) if request.version >= (1, 42) else None


async def kill(request: Request, engine: "Engine") -> Answer:
    """POST /containers/{name}/kill."""
    await _kill.kill(engine.containers, request.params["name"], request.query.get("signal") or None)
    return empty()


async def pause(request: Request, engine: "Engine") -> Answer:
    """POST /containers/{name}/pause."""
    await _pause.pause(engine.containers, request.params["name"])
    return empty()


async def unpause(request: Request, engine: "Engine") -> Answer:
    """POST /containers/{name}/unpause."""
    await _pause.unpause(engine.containers, request.params["name"])
    return empty()


async def update(request: Request, engine: "Engine") -> Answer:
    """POST /containers/{name}/update."""
    wanted = await request.json_or(HostConfig)
    wanted.kernel_memory = UNSET  # left the API in 1.42; nobody's kernel has it
    warnings = await _update.update(engine.containers, request.params["name"], wanted)
    return json(UpdateResponse(warnings=warnings or None))


async def rename(request: Request, engine: "Engine") -> Answer:
    """POST /containers/{name}/rename."""
    await _rename.rename(engine.containers, request.params["name"], request.query.get("name"))
    return empty()


async def resize(request: Request, engine: "Engine") -> Answer:
    """POST /containers/{name}/resize."""
    rows, columns = terminal_size(request)
    await _resize.resize(engine.containers, request.params["name"], rows, columns)
    return empty(200)


async def top(request: Request, engine: "Engine") -> Answer:
    """GET /containers/{name}/top."""
    return json(await _top.top(engine.containers, request.params["name"], request.query.get("ps_args")))


async def remove(request: Request, engine: "Engine") -> Answer:
    """DELETE /containers/{name}."""
    query = request.query
    await _remove.remove(engine.containers, request.params["name"], query.bool_("force"), query.bool_("v"), query.bool_("link"))
    return empty()


async def prune(request: Request, engine: "Engine") -> Answer:
    """POST /containers/prune."""
    return json(await _prune.prune(engine.containers, request.query.filters()))


ROUTES: "tuple[Route, ...]" = (
    ("GET", "/containers/json", list_containers),
    ("POST", "/containers/create", create),
    ("POST", "/containers/prune", prune),
    ("GET", "/containers/{name:.*}/json", inspect),
    ("POST", "/containers/{name:.*}/start", start),
    ("POST", "/containers/{name:.*}/stop", stop),
    ("POST", "/containers/{name:.*}/restart", restart),
    ("POST", "/containers/{name:.*}/kill", kill),
    ("POST", "/containers/{name:.*}/pause", pause),
    ("POST", "/containers/{name:.*}/unpause", unpause),
    ("POST", "/containers/{name:.*}/update", update),
    ("POST", "/containers/{name:.*}/rename", rename),
    ("POST", "/containers/{name:.*}/resize", resize),
    ("GET", "/containers/{name:.*}/top", top),
    ("DELETE", "/containers/{name:.*}", remove),
)
