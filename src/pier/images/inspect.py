"""GET /images/{name}/json."""

import asyncio
from typing import Any

import msgspec

from pier.api.models.images import GraphDriver, ImageInspect, Metadata, RootFS
from pier.errors import Invalid
from pier.images import manifests
from pier.images.context import Context, Users
from pier.images.image import Image, timestamp_text
from pier.images.usage import Disk
from pier.oci.image_config import ContainerDefaults, Healthcheck
from pier.oci.platform import Platform


async def inspect(ctx: Context, name: str, platform: Platform | None, whole: bool, users: Users) -> ImageInspect:
    """What is known of an image.

    platform: which of a name's images, None for the one that suits this machine best. whole: with all manifests of what the name stands
    for; not together with a platform. Raises NotFound, Invalid.
    """
    if whole and platform:
        raise Invalid("conflicting options: manifests and platform options cannot both be set")
    target = manifests.of_text(ctx.catalog, name, platform)
    disk = Disk(ctx.content, ctx.layers)
    described = manifests.descriptor(disk, target)
    found = answer(target.images[0][0], ctx.layers.kind)
    found.descriptor = described or msgspec.UNSET
    if whole:
        containers = {image.id: [container for container, _ in users(image.id)] for image, _ in target.images}
        found.manifests = await asyncio.to_thread(manifests.describe, disk, target, containers)
    return found


def answer(image: Image, driver: str) -> ImageInspect:
    """What the image says of itself, and its names. driver: the kind of layers."""
    config = image.config
    return ImageInspect(
        id=image.id,
        repo_tags=list(image.tags),
        repo_digests=list(image.digests),
        parent=image.parent,
        comment=config.comment or (config.history[-1].comment if config.history else ""),
        created=config.created if config.created else msgspec.UNSET,
        docker_version=config.docker_version,
        author=config.author,
        architecture=config.architecture,
        variant=config.variant or msgspec.UNSET,
        os=config.os,
        os_version=config.os_version or msgspec.UNSET,
        size=image.size,
        graph_driver=GraphDriver(data=None, name=driver),
        root_fs=RootFS(type="layers", layers=list(image.diff_ids)),
        metadata=Metadata(last_tag_time=timestamp_text(image.last_tag_ns)),
        config=config_fields(config.config),
    )


def config_fields(config: ContainerDefaults) -> dict[str, Any]:
    """`Config` as API 1.50 and later write it: eight members always, the others where they say something."""
    fields: dict[str, Any] = {
        "Cmd": config.cmd, "Entrypoint": config.entrypoint, "Env": config.env, "Labels": config.labels, "OnBuild": config.on_build,
        "User": config.user, "Volumes": config.volumes, "WorkingDir": config.working_dir,
    }  # fmt: skip
    optional: dict[str, Any] = {
        "ArgsEscaped": config.args_escaped, "ExposedPorts": config.exposed_ports, "Healthcheck": _healthcheck(config.healthcheck),
        "Shell": config.shell, "StopSignal": config.stop_signal, "StopTimeout": config.stop_timeout,
    }  # fmt: skip
    fields.update({name: value for name, value in optional.items() if value})
    return dict(sorted(fields.items()))


def _healthcheck(check: Healthcheck | None) -> dict[str, Any] | None:
    return None if check is None else msgspec.to_builtins(check)
