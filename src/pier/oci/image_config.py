"""The image configuration: what an image says about itself (OCI image-spec config.md, with Docker's further fields).

Reading is tolerant where Docker is: a field may be null or missing, unknown ones are ignored. The bytes are never written again
for an image that exists: its ID is their digest. Times are kept as the text that the document has.
"""

from typing import Any

import msgspec

from pier.errors import Invalid
from pier.oci import digest as digests
from pier.oci.platform import Platform, normalise

MAX_CONFIG_BYTES = 8 << 20
MAX_LAYERS = 500


class Healthcheck(msgspec.Struct, kw_only=True, rename="pascal", omit_defaults=True):
    """How to see whether a container is well; durations in ns."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerDefaults(msgspec.Struct, kw_only=True, rename="pascal"):
    """The `config` object: what a container of the image runs as, unless asked otherwise. None is JSON's null or a missing field."""

    user: str = ""
    exposed_ports: dict[str, Any] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, Any] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    stop_timeout: int | None = None
    healthcheck: Healthcheck | None = None
    on_build: list[str] | None = None
    shell: list[str] | None = None
    args_escaped: bool = False
    hostname: str = ""
    domainname: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    image: str = ""


class History(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One step of how the image was made."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class RootFS(msgspec.Struct, kw_only=True):
    """The layers, the bottom one first."""

    type: str = "layers"
    diff_ids: list[str] = msgspec.field(default_factory=list)


class ImageConfig(msgspec.Struct, kw_only=True):
    """A whole image configuration."""

    architecture: str = ""
    os: str = "linux"
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: list[str] = msgspec.field(default_factory=list, name="os.features")
    created: str | None = None
    author: str = ""
    comment: str = ""
    docker_version: str = ""
    parent: str = ""
    config: ContainerDefaults = msgspec.field(default_factory=ContainerDefaults)
    rootfs: RootFS = msgspec.field(default_factory=RootFS)
    history: list[History] = msgspec.field(default_factory=list)

    @property
    def platform(self) -> Platform:
        """What the image runs on, in normalised words."""
        return normalise(self.os or "linux", self.architecture, self.variant)

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The layers, the bottom one first."""
        return tuple(self.rootfs.diff_ids)


def parse(data: bytes) -> ImageConfig:
    """The configuration in `data`. Raises Invalid that says where it is wrong."""
    if len(data) > MAX_CONFIG_BYTES:
        raise Invalid(f"image configuration of {len(data)} bytes: the limit is {MAX_CONFIG_BYTES}")
    try:
        config = msgspec.convert(_without_nulls(msgspec.json.decode(data)), ImageConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"image configuration: {error}") from None
    if config.rootfs.type not in ("layers", ""):
        raise Invalid(f"image configuration: rootfs of type {config.rootfs.type!r}, only 'layers' is known")
    if len(config.rootfs.diff_ids) > MAX_LAYERS:
        raise Invalid(f"image configuration: {len(config.rootfs.diff_ids)} layers: the limit is {MAX_LAYERS}")
    for diff_id in config.rootfs.diff_ids:
        if not digests.is_sha256(diff_id):
            raise Invalid(f"image configuration: {diff_id!r} is not a sha256 diff ID")
    filled = sum(1 for step in config.history if not step.empty_layer)
    if config.history and filled > len(config.rootfs.diff_ids):
        raise Invalid(f"image configuration: its history has {filled} steps with a layer, but there are {len(config.rootfs.diff_ids)} layers")
    return config


def _without_nulls(value: Any) -> Any:
    """A null object member is a missing one, at every depth, as Go reads it; nulls in arrays stay and are refused by type."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def encode(config: ImageConfig) -> bytes:
    """The JSON text of a new image, fields in the OCI document's names, empty ones left out; the same value gives the same bytes."""
    document = msgspec.to_builtins(config)
    inner = document.pop("config")
    for name in ("Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce", "Image"):
        if not inner[name]:
            del inner[name]
    inner = {key: item for key, item in inner.items() if item not in (None, "", False)}
    kept = {key: item for key, item in document.items() if item not in (None, "", [])}
    kept["rootfs"] = document["rootfs"]
    return msgspec.json.encode({**kept, "config": inner}, order="sorted")
