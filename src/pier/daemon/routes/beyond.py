"""Routes that Docker does not have, all below /pier: what images can do here beyond its API (docs/api.md)."""

import os
from collections.abc import Generator
from typing import TYPE_CHECKING

from pier.api.models.images import IdResponse
from pier.errors import Invalid
from pier.http.message import Answer, FileSegment, Request, Segments, json

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route


async def squash(request: Request, engine: "Engine") -> Answer:
    """POST /pier/images/{name}/squash: `repo`, `tag` name the result, `from` is the lowest layer that goes into the new one."""
    query = request.query
    made = await engine.images.squash(request.params["name"], query.get("repo"), query.get("tag"), query.get("from"))
    return json(IdResponse(id=made), 201)


async def diff(request: Request, engine: "Engine") -> Answer:
    """GET /pier/images/diff: what the image `to` shows and says that the image `from` does not."""
    before, after = request.query.get("from"), request.query.get("to")
    if not before or not after:
        raise Invalid("two images are needed: from and to")
    head, fd, size = await engine.images.diff(before, after)
    head, end = head + b',"Files":[', b"]}\n"

    def parts() -> Generator[bytes | FileSegment, None, None]:
        yield head
        yield FileSegment(fd, size)
        yield end

    async def release() -> None:
        os.close(fd)

    return Segments(parts(), len(head) + size + len(end), "application/json", release)


ROUTES: "tuple[Route, ...]" = (
    ("POST", "/pier/images/{name:.*}/squash", squash),
    ("GET", "/pier/images/diff", diff),
)
