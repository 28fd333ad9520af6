"""A request's configuration with the image's merged in, as Docker merges them. Pure."""

from msgspec import UNSET

from pier.api.models.containers import ContainerConfig, CreateRequest, HealthConfig
from pier.containers import health
from pier.errors import Invalid
from pier.oci.image_config import ContainerDefaults, Healthcheck


def merge(request: CreateRequest, image: ContainerDefaults | None) -> ContainerConfig:
    """The configuration of the container. Raises Invalid (`no command specified`).

    A request without entrypoint takes the image's, and with it the image's command unless it has one of its own; an
    entrypoint of one empty text means none at all.
    """
    values = {name: getattr(request, name) for name in ContainerConfig.__struct_fields__}
    config = ContainerConfig(**values)
    config.cmd, config.entrypoint = _words(config.cmd), _words(config.entrypoint)
    if image is not None:
        _merge_image(config, image)
    if config.entrypoint == [""] or not config.entrypoint:
        config.entrypoint = None
    if not config.entrypoint and not config.cmd:
        raise Invalid("no command specified")
    config.labels = config.labels or {}
    return config


def command(config: ContainerConfig) -> tuple[str, list[str]]:
    """(path, args) of what a merged configuration runs."""
    words = [*(config.entrypoint or []), *(config.cmd or [])]
    return words[0], words[1:]


def _words(value: list[str] | str | None) -> list[str] | None:
    return [value] if isinstance(value, str) else value


def _merge_image(config: ContainerConfig, image: ContainerDefaults) -> None:
    config.user = config.user or image.user
    if not config.entrypoint:
        if not config.cmd:
            config.cmd = list(image.cmd) if image.cmd else None
        if config.entrypoint is None:
            config.entrypoint = list(image.entrypoint) if image.entrypoint else None
    given = {variable.partition("=")[0] for variable in config.env or []}
    inherited = [variable for variable in image.env or [] if variable.partition("=")[0] not in given]
    if inherited:
        config.env = [*(config.env or []), *inherited]
    config.labels = {**(image.labels or {}), **(config.labels or {})}
    config.working_dir = config.working_dir or image.working_dir
    if image.exposed_ports:
        config.exposed_ports = {**{port: {} for port in image.exposed_ports}, **(config.exposed_ports if config.exposed_ports is not UNSET else {})}
    if config.stop_signal is UNSET and image.stop_signal:
        config.stop_signal = image.stop_signal
    if config.shell is UNSET and image.shell:
        config.shell = list(image.shell)
    if image.volumes:
        config.volumes = {**{path: {} for path in image.volumes}, **(config.volumes or {})}
    if image.healthcheck is not None:
        config.healthcheck = health.merged(config.healthcheck, _health_config(image.healthcheck))


def _health_config(image: Healthcheck) -> HealthConfig:
    return HealthConfig(
        test=image.test or UNSET,
        interval=image.interval or UNSET,
        timeout=image.timeout or UNSET,
        start_period=image.start_period or UNSET,
        start_interval=image.start_interval or UNSET,
        retries=image.retries or UNSET,
    )
