"""What volumes, and mounts of containers, can do here beyond Docker's API, all below /pier (docs/api.md)."""

import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from pier.api.models.mounts import MountsChange
from pier.api.models.volumes import VolumeRemoved, VolumeSize, VolumeSnapshot, VolumesPruned
from pier.containers import live_mounts
from pier.errors import Invalid
from pier.http.message import Answer, Request, Stream, empty, json
from pier.volumes import resizing

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route


async def rename(request: Request, engine: "Engine") -> Answer:
    """POST /pier/volumes/{name}/rename: `to` is the new name."""
    await engine.copies.rename(request.params["name"], _wanted(request, "to"))
    return empty(204)


async def clone(request: Request, engine: "Engine") -> Answer:
    """POST /pier/volumes/{name}/clone: `to` is the new volume's name."""
    made = await engine.copies.clone(request.params["name"], _wanted(request, "to"))
    return json(await engine.volumes.inspect(made.name), 201)


async def size(request: Request, engine: "Engine") -> Answer:
    """GET /pier/volumes/{name}/size."""
    name = request.params["name"]
    return json(VolumeSize(name=name, size=await engine.volumes.size(name), limit=engine.volumes.quotas.limit(name)))


async def resize(request: Request, engine: "Engine") -> Answer:
    """POST /pier/volumes/{name}/size: `to` is the new limit, as the option `size` says it."""
    changed = await resizing.resize(engine.volumes, request.params["name"], _wanted(request, "to"))
    return json(await engine.volumes.inspect(changed.name))


async def export(request: Request, engine: "Engine") -> Answer:
    """GET /pier/volumes/{name}/export: a tar, compressed as `form` says (gzip, zstd)."""
    pieces = engine.copies.export(request.params["name"], request.query.get("form"))
    first = await anext(pieces)  # what is wrong before it has a status of its own

    async def all_of_them() -> AsyncIterator[bytes]:
        try:
            yield first
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]  # it is a generator

    return Stream(all_of_them(), "application/x-tar")


async def import_(request: Request, engine: "Engine") -> Answer:
    """POST /pier/volumes/{name}/import: the body is a tar, plain or compressed, and becomes a new volume."""
    made = await engine.copies.import_(request.params["name"], request.chunks())
    return json(await engine.volumes.inspect(made.name), 201)


async def snapshots(request: Request, engine: "Engine") -> Answer:
    """GET /pier/volumes/{name}/snapshots."""
    found = engine.copies.snapshots(request.params["name"])
    return json([VolumeSnapshot(name=name, created_at=_time(ns)) for name, ns in found])


async def snapshot(request: Request, engine: "Engine") -> Answer:
    """POST /pier/volumes/{name}/snapshots: `snapshot` is its name, by default the time."""
    made = await engine.copies.snapshot(request.params["name"], request.query.get("snapshot"))
    return json(VolumeSnapshot(name=made, created_at=""), 201)


async def remove_snapshot(request: Request, engine: "Engine") -> Answer:
    """DELETE /pier/volumes/{name}/snapshots/{snapshot}."""
    await engine.copies.remove_snapshot(request.params["name"], request.params["snapshot"])
    return empty(204)


async def restore(request: Request, engine: "Engine") -> Answer:
    """POST /pier/volumes/{name}/restore: the volume gets the files of `snapshot`."""
    await engine.copies.restore(request.params["name"], _wanted(request, "snapshot"))
    return empty(204)


async def trash(request: Request, engine: "Engine") -> Answer:
    """GET /pier/volumes/trash: what was removed and can come back."""
    return json([VolumeRemoved(one.record.name, _time(one.removed_ns), one.size, dict(one.record.labels or {})) for one in engine.bin.removed()])


async def empty_trash(request: Request, engine: "Engine") -> Answer:
    """POST /pier/volumes/trash/empty."""
    return json(VolumesPruned(space_reclaimed=await engine.bin.empty()))


async def recover(request: Request, engine: "Engine") -> Answer:
    """POST /pier/volumes/{name}/recover: what was removed last of that name is back, as `to`."""
    made = await engine.bin.recover(request.params["name"], request.query.get("to"))
    return json(await engine.volumes.inspect(made.name), 201)


async def change_mounts(request: Request, engine: "Engine") -> Answer:
    """POST /pier/containers/{name}/mounts: mounts of a container, running or not, are taken away and added."""
    wanted = await request.json(MountsChange)
    await live_mounts.change(engine.containers, request.params["name"], wanted.add, wanted.remove)
    return empty(204)


def _time(ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // 10**9))


def _wanted(request: Request, key: str) -> str:
    value = request.query.get(key)
    if not value:
        raise Invalid(f"the parameter {key!r} is missing")
    return value


ROUTES: "tuple[Route, ...]" = (
    ("GET", "/pier/volumes/trash", trash),
    ("POST", "/pier/volumes/trash/empty", empty_trash),
    ("POST", "/pier/volumes/{name}/recover", recover),
    ("POST", "/pier/volumes/{name}/rename", rename),
    ("POST", "/pier/volumes/{name}/clone", clone),
    ("GET", "/pier/volumes/{name}/size", size),
    ("POST", "/pier/volumes/{name}/size", resize),
    ("GET", "/pier/volumes/{name}/export", export),
    ("POST", "/pier/volumes/{name}/import", import_),
    ("GET", "/pier/volumes/{name}/snapshots", snapshots),
    ("POST", "/pier/volumes/{name}/snapshots", snapshot),
    ("DELETE", "/pier/volumes/{name}/snapshots/{snapshot}", remove_snapshot),
    ("POST", "/pier/volumes/{name}/restore", restore),
    ("POST", "/pier/containers/{name}/mounts", change_mounts),
)
