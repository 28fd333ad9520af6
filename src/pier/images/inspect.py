"""GET /images/{name}/json. Pure but for the catalog."""

from typing import Any

import msgspec

from pier.api.models.images import GraphDriver, ImageInspect, Metadata, RootFS
from pier.images.catalog import Catalog
from pier.images.image import timestamp_text
from pier.oci.image_config import ContainerDefaults, Healthcheck
from pier.oci.platform import Platform


def inspect(catalog: Catalog, name: str, driver: str, platform: Platform | None = None) -> ImageInspect:
    """What is known of an image. driver: the kind of layers. Raises NotFound, Invalid."""
    image = catalog.resolve(name, platform)
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
