"""The /images routes that send images away: archives of them, and pushes to registries."""

import os
import stat
from collections.abc import Generator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from pier.daemon.routes.images import lines, platform_parameter
from pier.daemon.routes.registries import user_of
from pier.errors import Invalid
from pier.http.message import Answer, FileSegment, Request, Segments, Stream
from pier.images import push_plan
from pier.oci.digest import is_sha256

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route
    from pier.images import Images
    from pier.images.save import Archive


async def save(request: Request, engine: "Engine") -> Answer:
    """GET /images/{name}/get."""
    return await _archive(request, engine, [request.params["name"]])


async def save_several(request: Request, engine: "Engine") -> Answer:
    """GET /images/get."""
    return await _archive(request, engine, request.query.get_all("names"))


async def _archive(request: Request, engine: "Engine", names: list[str]) -> Answer:
    given = request.query.get_all("platform") if request.version >= (1, 48) else []
    if len(given) > 1:
        raise Invalid("multiple platform parameters not supported")
    platforms = [found for text in given if (found := platform_parameter(text))]
    without = frozenset(request.query.get_all("without"))
    if bad := next((digest for digest in sorted(without) if not is_sha256(digest)), None):
        raise Invalid(f"without: {bad!r} is no diff ID of a layer (sha256: and 64 hexadecimal digits)")
    async with AsyncExitStack() as stack:
        archive = await stack.enter_async_context(engine.images.save(names, platforms, without))
        return Segments(_parts(engine.images, archive), archive.size, "application/x-tar", stack.pop_all().aclose)


async def push(request: Request, engine: "Engine") -> Answer:
    """POST /images/{name}/push: what goes wrong is told in the stream, as its status was sent before."""
    query = request.query
    asked = push_plan.asked(request.params["name"], query.get("tag"))
    platform = platform_parameter(query.get("platform")) if request.version >= (1, 46) else None
    return Stream(lines(engine.images.push(asked, platform, user_of(request))), "application/json")


def _parts(images: "Images", archive: "Archive") -> Generator[bytes | FileSegment, None, None]:
    for piece in archive.pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        fd = images.open_tar(piece.diff_id)
        try:
            yield FileSegment(fd, piece.size, pipe=stat.S_ISFIFO(os.fstat(fd).st_mode))
        finally:
            os.close(fd)


ROUTES: "tuple[Route, ...]" = (
    ("GET", "/images/get", save_several),
    ("GET", "/images/{name:.*}/get", save),
    ("POST", "/images/{name:.*}/push", push),
)
