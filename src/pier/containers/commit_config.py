"""What the image of a committed container runs as: the container's own configuration, a request's, and changes. Pure; the rules are Docker's."""

from collections.abc import Sequence

import msgspec

from pier.api.models.containers import ContainerConfig
from pier.images.changes import apply
from pier.oci.image_config import ContainerDefaults


def committed(container: ContainerConfig, given: ContainerConfig | None, changes: Sequence[str]) -> ContainerDefaults:
    """The `config` of the new image. given: the body of the request, in place of the container's configuration; changes: instructions.

    What is missing after that is the container's, but for what a body leaves out of hostname, terminal, shell and triggers.
    Raises Invalid with Docker's texts for a wrong instruction.
    """
    own = as_defaults(container)
    config = as_defaults(given if given is not None else container)
    apply(config, changes)
    return merged(config, own)


def as_defaults(config: ContainerConfig) -> ContainerDefaults:
    """The same fields, as an image has them."""
    fields = msgspec.to_builtins(config)
    for name in ("Cmd", "Entrypoint"):
        if isinstance(fields.get(name), str):
            fields[name] = [fields[name]]
    return msgspec.convert(fields, ContainerDefaults)


def merged(config: ContainerDefaults, own: ContainerDefaults) -> ContainerDefaults:
    """`config` with the gaps filled from `own`: what both have as lists or maps is joined, `config` first."""
    cmd, entrypoint = config.cmd, config.entrypoint
    if not entrypoint:
        cmd = cmd or own.cmd
        entrypoint = own.entrypoint if entrypoint is None else entrypoint
    known = {variable.partition("=")[0] for variable in config.env or ()}
    return msgspec.structs.replace(
        config,
        user=config.user or own.user,
        exposed_ports={**(own.exposed_ports or {}), **(config.exposed_ports or {})} or None,
        env=[*(config.env or ()), *(variable for variable in own.env or () if variable.partition("=")[0] not in known)],
        labels={**(own.labels or {}), **(config.labels or {})},
        cmd=cmd or None,
        entrypoint=entrypoint or None,
        healthcheck=config.healthcheck or own.healthcheck,
        working_dir=config.working_dir or own.working_dir,
        volumes={**(own.volumes or {}), **(config.volumes or {})} or None,
        stop_signal=config.stop_signal or own.stop_signal,
    )
