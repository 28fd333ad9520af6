"""What requests of older clients mean today: fields that came later are unset, defaults that changed are spelled out.

Source: the version history of Docker's Engine API, and its engine's answers.
"""

from msgspec import UNSET, UnsetType

from pier.api.models.containers import CreateRequest, HostConfig, Mount
from pier.errors import Invalid

Version = tuple[int, int]


def adapt_create(body: CreateRequest, version: Version) -> None:
    """Change the body of a create into what a client of today would have sent.

    Raises Invalid for a field of a mount that its version does not have, where Docker does.
    """
    if version >= (1, 42) and body.host_config:
        body.host_config.kernel_memory = UNSET  # left the API in 1.42: ignored
    if version < (1, 44) and not isinstance(body.healthcheck, UnsetType):
        body.healthcheck.start_interval = UNSET
    if body.host_config:
        _adapt_host(body.host_config, version)


def _adapt_host(host: HostConfig, version: Version) -> None:
    if version < (1, 40) and not host.ipc_mode:
        host.ipc_mode = "shareable"
    if version < (1, 41) and not host.cgroupns_mode:
        host.cgroupns_mode = "host"
    if version < (1, 43):
        host.annotations = UNSET
    if host.pids_limit is not None and host.pids_limit <= 0:
        host.pids_limit = None
    for mount in [] if isinstance(host.mounts, UnsetType) else host.mounts:
        _adapt_mount(mount, version)


def _adapt_mount(mount: Mount, version: Version) -> None:
    if version < (1, 48) and mount.type == "image":
        raise Invalid('Mount type "Image" needs API v1.48 or newer')
    bind = mount.bind_options
    if not isinstance(bind, UnsetType):
        if version < (1, 40):
            bind.non_recursive = UNSET
        if version < (1, 42):
            bind.create_mountpoint = UNSET
        if version < (1, 44):
            if not isinstance(bind.read_only_non_recursive, UnsetType) and bind.read_only_non_recursive:
                raise Invalid("BindOptions.ReadOnlyNonRecursive needs API v1.44 or newer")
            if not isinstance(bind.read_only_force_recursive, UnsetType) and bind.read_only_force_recursive:
                raise Invalid("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
    volume = mount.volume_options
    if version < (1, 45) and not isinstance(volume, UnsetType) and not isinstance(volume.subpath, UnsetType) and volume.subpath:
        raise Invalid("VolumeOptions.Subpath needs API v1.45 or newer")
