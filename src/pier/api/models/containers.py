"""Containers on the wire: requests and answers of the /containers routes (Engine API 1.51).

A field whose type includes UNSET is left out of answers while nothing was given, as Docker's `omitempty` fields are.
"""

import msgspec
from msgspec import UNSET, UnsetType

from pier.api.models.base import Model
from pier.api.models.networks import EndpointSettings


class HealthConfig(Model, kw_only=True):
    test: list[str] | UnsetType = UNSET
    interval: int | UnsetType = UNSET
    timeout: int | UnsetType = UNSET
    start_period: int | UnsetType = UNSET
    start_interval: int | UnsetType = UNSET
    retries: int | UnsetType = UNSET


class ContainerConfig(Model, kw_only=True):
    """The part of a container's configuration that does not depend on the host."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, dict[str, str]] | UnsetType = UNSET
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: list[str] | str | None = None
    healthcheck: HealthConfig | UnsetType = UNSET
    args_escaped: bool | UnsetType = UNSET
    image: str = ""
    volumes: dict[str, dict[str, str]] | None = None
    working_dir: str = ""
    entrypoint: list[str] | str | None = None
    network_disabled: bool | UnsetType = UNSET
    mac_address: str | UnsetType = UNSET
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | UnsetType = UNSET
    stop_timeout: int | UnsetType = UNSET
    shell: list[str] | UnsetType = UNSET


class LogConfig(Model, kw_only=True):
    type: str = ""
    config: dict[str, str] | None = None


class PortBinding(Model, kw_only=True):
    host_ip: str = ""
    host_port: str = ""


class RestartPolicy(Model, kw_only=True):
    name: str = ""
    maximum_retry_count: int = 0


class DeviceMapping(Model, kw_only=True):
    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Model, kw_only=True):
    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = msgspec.field(name="DeviceIDs", default=None)
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class Ulimit(Model, kw_only=True):
    name: str = ""
    hard: int = 0
    soft: int = 0


class WeightDevice(Model, kw_only=True):
    path: str = ""
    weight: int = 0


class ThrottleDevice(Model, kw_only=True):
    path: str = ""
    rate: int = 0


class BindOptions(Model, kw_only=True):
    propagation: str | UnsetType = UNSET
    non_recursive: bool | UnsetType = UNSET
    create_mountpoint: bool | UnsetType = UNSET
    read_only_non_recursive: bool | UnsetType = UNSET
    read_only_force_recursive: bool | UnsetType = UNSET


class DriverConfig(Model, kw_only=True):
    name: str | UnsetType = UNSET
    options: dict[str, str] | UnsetType = UNSET


class VolumeOptions(Model, kw_only=True):
    no_copy: bool | UnsetType = UNSET
    labels: dict[str, str] | UnsetType = UNSET
    driver_config: DriverConfig | UnsetType = UNSET
    subpath: str | UnsetType = UNSET


class ImageOptions(Model, kw_only=True):
    subpath: str | UnsetType = UNSET


class TmpfsOptions(Model, kw_only=True):
    size_bytes: int | UnsetType = UNSET
    mode: int | UnsetType = UNSET
    options: list[list[str]] | UnsetType = UNSET


class Mount(Model, kw_only=True):
    """A mount as asked for (`--mount`)."""

    type: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    target: str | UnsetType = UNSET
    read_only: bool | UnsetType = UNSET
    consistency: str | UnsetType = UNSET
    bind_options: BindOptions | UnsetType = UNSET
    volume_options: VolumeOptions | UnsetType = UNSET
    image_options: ImageOptions | UnsetType = UNSET
    tmpfs_options: TmpfsOptions | UnsetType = UNSET
    id_map: str | UnsetType = msgspec.field(name="IDMap", default=UNSET)
    """Pier's own: `[u:|g:]DISK:SHOWN[:COUNT]`, several with `;` between."""


class HostConfig(Model, kw_only=True):
    """The part of a container's configuration that depends on the host."""

    binds: list[str] | None = None
    container_id_file: str = msgspec.field(name="ContainerIDFile", default="")
    log_config: LogConfig = msgspec.field(default_factory=LogConfig)
    network_mode: str = ""
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    restart_policy: RestartPolicy = msgspec.field(default_factory=RestartPolicy)
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    console_size: list[int] = msgspec.field(default_factory=lambda: [0, 0])
    annotations: dict[str, str] | UnsetType = UNSET
    mounts: list[Mount] | UnsetType = UNSET
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | UnsetType = UNSET
    tmpfs: dict[str, str] | UnsetType = UNSET
    uts_mode: str = msgspec.field(name="UTSMode", default="")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] | UnsetType = UNSET
    runtime: str = ""
    isolation: str = ""
    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = msgspec.field(name="BlkioDeviceReadIOps", default=None)
    blkio_device_write_iops: list[ThrottleDevice] | None = msgspec.field(name="BlkioDeviceWriteIOps", default=None)
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    kernel_memory: int | UnsetType = UNSET
    kernel_memory_tcp: int | UnsetType = msgspec.field(name="KernelMemoryTCP", default=UNSET)
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: int = 0
    cpu_percent: int = 0
    io_maximum_iops: int = msgspec.field(name="IOMaximumIOps", default=0)
    io_maximum_bandwidth: int = msgspec.field(name="IOMaximumBandwidth", default=0)
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    init: bool | UnsetType | None = UNSET


class NetworkingConfig(Model, kw_only=True):
    endpoints_config: dict[str, EndpointSettings | None] | None = None


class CreateRequest(ContainerConfig, kw_only=True):
    """Body of POST /containers/create."""

    host_config: HostConfig | None = None
    networking_config: NetworkingConfig | None = None


class CreateResponse(Model, kw_only=True):
    id: str
    warnings: list[str]


class HealthcheckResult(Model):
    """One check that was made: RFC 3339 times, the exit code, the output."""

    start: str
    end: str
    exit_code: int
    output: str


class HealthState(Model, kw_only=True):
    status: str
    failing_streak: int
    log: list[HealthcheckResult]


class ContainerState(Model, kw_only=True):
    status: str
    running: bool
    paused: bool
    restarting: bool
    oom_killed: bool = msgspec.field(name="OOMKilled")
    dead: bool
    pid: int
    exit_code: int
    error: str
    started_at: str
    finished_at: str
    health: HealthState | UnsetType = UNSET


class UpdateResponse(Model, kw_only=True):
    warnings: list[str] | None


class MountPoint(Model, kw_only=True):
    """A mount as the container has it."""

    type: str
    name: str | UnsetType = UNSET
    source: str
    destination: str
    driver: str | UnsetType = UNSET
    mode: str
    rw: bool = msgspec.field(name="RW")
    propagation: str


class NetworkSettings(Model, kw_only=True):
    bridge: str = ""
    sandbox_id: str = msgspec.field(name="SandboxID", default="")
    sandbox_key: str = ""
    ports: dict[str, list[PortBinding] | None] = msgspec.field(default_factory=dict)
    hairpin_mode: bool = False
    link_local_ipv6_address: str = msgspec.field(name="LinkLocalIPv6Address", default="")
    link_local_ipv6_prefix_len: int = msgspec.field(name="LinkLocalIPv6PrefixLen", default=0)
    secondary_ip_addresses: None = msgspec.field(name="SecondaryIPAddresses", default=None)
    secondary_ipv6_addresses: None = msgspec.field(name="SecondaryIPv6Addresses", default=None)
    endpoint_id: str = msgspec.field(name="EndpointID", default="")
    gateway: str = ""
    global_ipv6_address: str = msgspec.field(name="GlobalIPv6Address", default="")
    global_ipv6_prefix_len: int = msgspec.field(name="GlobalIPv6PrefixLen", default=0)
    ip_address: str = msgspec.field(name="IPAddress", default="")
    ip_prefix_len: int = msgspec.field(name="IPPrefixLen", default=0)
    ipv6_gateway: str = msgspec.field(name="IPv6Gateway", default="")
    mac_address: str = ""
    networks: dict[str, EndpointSettings] = msgspec.field(default_factory=dict)


class GraphDriver(Model, kw_only=True):
    name: str
    data: dict[str, str] | None


class ContainerInspect(Model, kw_only=True):
    """Answer of GET /containers/{id}/json."""

    id: str
    created: str
    path: str
    args: list[str]
    state: ContainerState
    image: str
    resolv_conf_path: str
    hostname_path: str
    hosts_path: str
    log_path: str
    name: str
    restart_count: int
    driver: str
    platform: str
    mount_label: str
    process_label: str
    app_armor_profile: str
    exec_ids: list[str] | None = msgspec.field(name="ExecIDs")
    host_config: HostConfig
    graph_driver: GraphDriver
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    mounts: list[MountPoint]
    config: ContainerConfig
    network_settings: NetworkSettings


class SummaryHostConfig(Model, kw_only=True):
    network_mode: str
    annotations: dict[str, str] | UnsetType = UNSET


class SummaryNetworkSettings(Model, kw_only=True):
    networks: dict[str, EndpointSettings]


class ContainerSummary(Model, kw_only=True):
    """One item of GET /containers/json."""

    id: str
    names: list[str]
    image: str
    image_id: str = msgspec.field(name="ImageID")
    command: str
    created: int
    ports: list[dict[str, str | int]]
    size_rw: int | UnsetType = UNSET
    size_root_fs: int | UnsetType = UNSET
    labels: dict[str, str]
    state: str
    status: str
    host_config: SummaryHostConfig
    network_settings: SummaryNetworkSettings
    mounts: list[MountPoint]


class WaitError(Model, kw_only=True):
    message: str


class WaitResponse(Model, kw_only=True):
    status_code: int
    error: WaitError | UnsetType = UNSET


class TopResponse(Model, kw_only=True):
    titles: list[str]
    processes: list[list[str]]


class PruneReport(Model, kw_only=True):
    containers_deleted: list[str] | None
    space_reclaimed: int
