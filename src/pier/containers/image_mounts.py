"""Images that are mounted into containers (`--mount type=image`): chosen at create, shown read-only from the start on."""

from collections.abc import Sequence
from contextlib import ExitStack

from msgspec import UNSET

from pier.api.models.containers import HostConfig
from pier.containers import mounts
from pier.containers.record import Container, MountedImage
from pier.containers.table import Containers
from pier.runtime.plan import ImageMount


def choose(
    ctx: Containers, host: HostConfig, wishes: Sequence[mounts.Wish], others: dict[str, MountedImage], held: ExitStack
) -> dict[str, MountedImage]:
    """What the images mean that a request wants to mount, by destination. others: of `--volumes-from`.

    held: keeps them from being removed. Raises NotFound with Docker's text.
    """
    chosen = {}
    asked = {mounts.target_of(mount): mount for mount in (host.mounts if host.mounts is not UNSET else []) if mount.type == "image"}
    for point in [wish.point for wish in wishes if wish.point.type == "image"]:
        if point.destination in asked:
            image = ctx.images.resolve(point.name or "")
            subpath = mounts.image_subpath(asked[point.destination])
            chosen[point.destination] = MountedImage(image_id=image.id, diff_ids=list(image.diff_ids), subpath=subpath)
        else:
            chosen[point.destination] = others[point.destination]
        held.enter_context(ctx.images.hold(chosen[point.destination].image_id))
        point.source = chosen[point.destination].image_id
    return chosen


async def compose(ctx: Containers, container: Container, fds: list[int]) -> dict[str, ImageMount]:
    """What the mounted images are made of, by destination; descriptors that are handed over for it are added to `fds`.

    They are let go with the container's root. Raises NotFound, Unavailable.
    """
    made = {}
    for destination, mounted in container.record.mounted_images.items():
        root = await ctx.snapshots.image(container.id, mounted.diff_ids)
        lowers = handed(root.lowers, fds)
        fds += [root.space] if root.space >= 0 and root.space not in fds else []
        made[destination] = ImageMount(lowers, mounted.subpath, fds.index(root.space) if root.space >= 0 else None)
    return made


def handed(lowers: Sequence[str | int], fds: list[int]) -> tuple[str | int, ...]:
    """Lowers with the place of each descriptor in `fds`, to which new ones are added."""
    fds += [lower for lower in dict.fromkeys(lowers) if isinstance(lower, int) and lower not in fds]
    return tuple(fds.index(lower) if isinstance(lower, int) else lower for lower in lowers)
