"""Images made of containers: POST /commit, and what a container changed."""

import os
from collections.abc import Generator
from typing import TYPE_CHECKING

from pier.api.fields import VERSION
from pier.api.models.containers import ContainerConfig
from pier.api.models.images import IdResponse
from pier.containers import changes as _changes
from pier.containers import commit as _commit
from pier.http.message import Answer, FileSegment, Request, Segments, json

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route


async def commit(request: Request, engine: "Engine") -> Answer:
    """POST /commit. The body, a container's configuration, may be missing or null.

    Beyond Docker's: `pier-timestamp`, seconds since 1970, for an image whose bytes depend on nothing but its content.
    """
    query = request.query
    text = (await request.body()).strip()
    created = query.int_("pier-timestamp")
    wanted = _commit.Wanted(
        repo=query.get("repo"),
        tag=query.get("tag"),
        author=query.get("author"),
        comment=query.get("comment"),
        pause=query.bool_("pause", True),
        changes=query.get_all("changes"),
        config=await request.json(ContainerConfig) if text and text != b"null" else None,
        version=VERSION,
        created_ns=None if created is None else created * 1_000_000_000,
    )
    return json(IdResponse(id=await _commit.commit(engine.containers, query.get("container"), wanted)), 201)


async def changes(request: Request, engine: "Engine") -> Answer:
    """GET /containers/{name}/changes."""
    fd, size = await _changes.changes(engine.containers, request.params["name"])

    def parts() -> Generator[bytes | FileSegment, None, None]:
        yield FileSegment(fd, size)
        yield b"\n"

    async def release() -> None:
        os.close(fd)

    return Segments(parts(), size + 1, "application/json", release)


ROUTES: "tuple[Route, ...]" = (
    ("POST", "/commit", commit),
    ("GET", "/containers/{name:.*}/changes", changes),
)
