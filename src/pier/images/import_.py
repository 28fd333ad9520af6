"""POST /images/create?fromSrc=-: a root file system becomes an image of one layer."""

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from pier.errors import Invalid
from pier.images.changes import apply
from pier.images.commit import NewImage, NewLayer, commit
from pier.images.context import Context, uninterrupted
from pier.images.image import timestamp_text
from pier.images.job import parsed
from pier.images.names import from_request
from pier.oci import digest as digests
from pier.oci import image_config
from pier.oci import platform as platforms
from pier.oci.image_config import ContainerDefaults, History, ImageConfig, RootFS


async def import_(
    ctx: Context,
    stream: AsyncIterator[bytes],
    *,
    repo: str = "",
    tag: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    platform: str = "",
    source: str = "-",
    version: str = "",
) -> str:
    """Make the image and return its ID.

    stream: a tar, plain or compressed. repo, tag: its name, none where repo is empty. message: the comment. changes: Dockerfile
    instructions. platform: what it is for, this machine's where empty. version: of the engine, kept in the image.
    Raises Invalid before anything of the stream is read where a parameter is wrong, and where the tar is.
    """
    name = from_request(repo, tag)
    target = platforms.parse(platform) if platform else platforms.host()
    if target.os != "linux":
        raise Invalid("operating system is not supported")
    defaults = ContainerDefaults()
    apply(defaults, changes)
    async with parsed(ctx, "import", stream) as (answer, scratch):
        now = timestamp_text(time.time_ns())
        comment = message or f"Imported from {source}"
        config = ImageConfig(
            architecture=target.architecture,
            os=target.os,
            variant=target.variant,
            created=now,
            comment=comment,
            docker_version=version,
            config=defaults,
            rootfs=RootFS(diff_ids=[str(answer["diff_id"])]),
            history=[History(created=now, comment=comment)],
        )
        data = image_config.encode(config)
        layer = NewLayer(str(answer["diff_id"]), str(answer.get("dir", "layers/0")), int(answer.get("size", -1)))
        image = NewImage(digests.of(data), config, data, (layer,), references=(name,) if name else ())
        await uninterrupted(_keep(ctx, scratch, image))
    return image.id


async def _keep(ctx: Context, scratch: Path, image: NewImage) -> None:
    """Commit, and tell of it even where the client went away meanwhile."""
    await commit(ctx, scratch, [image])
    made = ctx.catalog.resolve(image.id)
    for name in image.references:
        ctx.publish("tag", made, str(name))
    ctx.publish("import", made)
