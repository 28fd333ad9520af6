"""/_ping, /version, /info, /events."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from pier.daemon import about
from pier.daemon.routes.times import unix_ns
from pier.http.message import Answer, Request, Response, Stream, encode, json
from pier.networks.repair import look_around

if TYPE_CHECKING:
    from pier.api.models.events import EventMessage
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route

_PING_HEADERS = (
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Pragma", "no-cache"),
    ("Swarm", "inactive"),
)


async def ping(request: Request, engine: "Engine") -> Answer:
    """GET, HEAD /_ping. There is no Builder-Version header: there is no builder yet, and clients take that as told."""
    return Response(200, b"OK" if request.method == "GET" else b"", "text/plain; charset=utf-8", _PING_HEADERS)


async def version(request: Request, engine: "Engine") -> Answer:
    """GET /version."""
    return json(about.version())


async def info(request: Request, engine: "Engine") -> Answer:
    """GET /info."""
    await look_around(engine.networks)
    return json(about.info(engine, request.version))


async def events(request: Request, engine: "Engine") -> Answer:
    """GET /events: what was kept since `since`, then what happens, until `until` or the client goes."""
    since, until = unix_ns(request.query.get("since")), unix_ns(request.query.get("until"))
    subscription = engine.journal.subscribe(request.query.filters(), since, until)
    return Stream(_lines(subscription), "application/json")


async def _lines(subscription: "AsyncIterator[EventMessage]") -> AsyncIterator[bytes]:
    try:
        async for event in subscription:
            yield encode(event) + b"\n"
    finally:
        if close := getattr(subscription, "aclose", None):
            await close()


ROUTES: "tuple[Route, ...]" = (
    ("GET", "/_ping", ping),
    ("HEAD", "/_ping", ping),
    ("GET", "/version", version),
    ("GET", "/info", info),
    ("GET", "/events", events),
)
