"""/containers/{name}/exec and /exec."""

from typing import TYPE_CHECKING

from pier.api.models.execs import ExecCreateRequest, ExecCreateResponse, ExecStartRequest
from pier.containers import execs as _execs
from pier.daemon.dispatch import COMMON_HEADERS
from pier.daemon.routes.query import terminal_size
from pier.http.message import Answer, Hijacked, Request, Taken, empty, json

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route


async def create(request: Request, engine: "Engine") -> Answer:
    """POST /containers/{name}/exec."""
    body = await request.json_or(ExecCreateRequest)
    if request.version < (1, 42):
        body.console_size = None  # came with API 1.42
    return json(ExecCreateResponse(id=await _execs.create(engine.containers, request.params["name"], body)), 201)


async def start(request: Request, engine: "Engine") -> Answer:
    """POST /exec/{id}/start: detached, or the connection becomes the process's streams."""
    body = await request.json_or(ExecStartRequest)
    if request.version < (1, 42):
        body.console_size = None
    if body.detach:
        await _execs.start(engine.containers, request.params["id"], body, None)
        return empty(200)

    async def hijack() -> Hijacked:
        return await request.hijack(not body.tty, COMMON_HEADERS)

    await _execs.start(engine.containers, request.params["id"], body, hijack)
    return Taken()


async def inspect(request: Request, engine: "Engine") -> Answer:
    """GET /exec/{id}/json."""
    return json(await _execs.inspect(engine.containers, request.params["id"]))


async def resize(request: Request, engine: "Engine") -> Answer:
    """POST /exec/{id}/resize."""
    rows, columns = terminal_size(request)
    await _execs.resize(engine.containers, request.params["id"], rows, columns)
    return empty(200)


ROUTES: "tuple[Route, ...]" = (
    ("POST", "/containers/{name:.*}/exec", create),
    ("POST", "/exec/{id:.*}/start", start),
    ("GET", "/exec/{id:.*}/json", inspect),
    ("POST", "/exec/{id:.*}/resize", resize),
)
