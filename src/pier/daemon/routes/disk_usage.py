"""What is on the disk, and what of it is in use: GET /system/df; and the cache of builds, of which there is none yet."""

from typing import TYPE_CHECKING, Any

from pier.api.models.images import summary_at
from pier.containers import listing
from pier.errors import Invalid
from pier.http.message import Answer, Request, json

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route

_KINDS = ("container", "image", "volume", "build-cache")


async def disk_usage(request: Request, engine: "Engine") -> Answer:
    """GET /system/df. `LayersSize` is what `du` says of layers and blobs; sizes of images are theirs on the disk, shared ones in full."""
    kinds = frozenset(request.query.get_all("type") if request.version >= (1, 42) else ()) or frozenset(_KINDS)
    for kind in kinds:
        if kind not in _KINDS:
            raise Invalid(f"unknown object type: {kind}")
    body: dict[str, Any] = {"LayersSize": 0, "Images": None, "Containers": None, "Volumes": None, "BuildCache": None}
    if "image" in kinds:
        body["LayersSize"], images = await engine.images.disk_usage(engine.containers.users_of)
        body["Images"] = [{**summary_at(image, request.version), "Containers": image.containers} for image in images]
    if "container" in kinds:
        body["Containers"] = await listing.list_containers(engine.containers, all=True, size=True)
    if "volume" in kinds:
        body["Volumes"] = await engine.volumes.usage(engine.containers.users_of_volume)
        if removed := engine.bin.removed():
            body["VolumesTrash"] = {"Count": len(removed), "Size": sum(one.size for one in removed)}
    if "build-cache" in kinds:
        body["BuildCache"] = []  # nothing builds here yet
    if request.version < (1, 42):
        body["BuilderSize"] = 0
    return json(body)


async def prune_build_cache(request: Request, engine: "Engine") -> Answer:
    """POST /build/prune: nothing builds here yet, and nothing is left of builds. Docker's `system prune` ends with it."""
    return json({"CachesDeleted": None, "SpaceReclaimed": 0})


ROUTES: "tuple[Route, ...]" = (("GET", "/system/df", disk_usage), ("POST", "/build/prune", prune_build_cache))
