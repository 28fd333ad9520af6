"""Fields of a create request whose feature comes later: the default is accepted, any other value refused by its name.

Pure. The names are the wire's, so that a message says what to take out of the request.
"""

from msgspec import UNSET

from pier.api.models.containers import ContainerConfig, CreateRequest, HostConfig
from pier.containers import health
from pier.errors import NotImplementedByPier

_HOST_FIELDS: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("cgroup", "Cgroup", ()),
    ("cgroup_parent", "CgroupParent", ()),
    ("storage_opt", "StorageOpt", ()),
    ("userns_mode", "UsernsMode", ("host",)),
    ("blkio_weight", "BlkioWeight", ()),
    ("blkio_weight_device", "BlkioWeightDevice", ()),
    ("blkio_device_read_bps", "BlkioDeviceReadBps", ()),
    ("blkio_device_write_bps", "BlkioDeviceWriteBps", ()),
    ("blkio_device_read_iops", "BlkioDeviceReadIOps", ()),
    ("blkio_device_write_iops", "BlkioDeviceWriteIOps", ()),
    ("cpu_realtime_period", "CpuRealtimePeriod", ()),
    ("cpu_realtime_runtime", "CpuRealtimeRuntime", ()),
    ("device_requests", "DeviceRequests", ()),
    ("kernel_memory_tcp", "KernelMemoryTCP", ()),
    ("cpu_count", "CpuCount", ()),
    ("cpu_percent", "CpuPercent", ()),
    ("io_maximum_iops", "IOMaximumIOps", ()),
    ("io_maximum_bandwidth", "IOMaximumBandwidth", ()),
)
_MOUNT_KINDS = ("cluster", "npipe")


def refuse_resources(host: HostConfig) -> None:
    """Raise NotImplementedByPier for the first field of a host configuration whose feature is missing."""
    for attribute, name, harmless in _HOST_FIELDS:
        value = getattr(host, attribute)
        if value is not UNSET and value and value not in harmless:
            raise NotImplementedByPier(f"HostConfig.{name}")


def refuse(request: CreateRequest, host: HostConfig) -> None:
    """Raise NotImplementedByPier for the first field with a value that asks for a missing feature."""
    refuse_resources(host)
    if host.pid_mode.startswith("container:"):
        raise NotImplementedByPier(f"HostConfig.PidMode {host.pid_mode!r}")
    for mount in host.mounts if host.mounts is not UNSET else []:
        if mount.type in _MOUNT_KINDS:
            target = "" if mount.target is UNSET else mount.target
            raise NotImplementedByPier(f"mount type {mount.type!r} of {target!r} (HostConfig.Mounts)")


def image_warnings(config: ContainerConfig) -> list[str]:
    """What of an image's configuration is not carried out; entries for the answer's `Warnings`."""
    test = config.healthcheck.test if config.healthcheck else None
    if test and test[0] != "NONE" and health.rules(config) is None:
        return [f"The image's HEALTHCHECK begins with {test[0]!r}, which is neither CMD nor CMD-SHELL: the container runs without."]
    return []
