"""The daemon on the wire: GET /version and GET /info (Engine API 1.51)."""

import msgspec

from pier.api.models.base import Model


class PlatformName(Model, kw_only=True):
    name: str


class ComponentVersion(Model, kw_only=True):
    """A part of the engine; the client prints each with its details."""

    name: str
    version: str
    details: dict[str, str]


class SystemVersion(Model, kw_only=True):
    """Answer of GET /version."""

    platform: PlatformName
    components: list[ComponentVersion]
    version: str
    api_version: str
    min_api_version: str = msgspec.field(name="MinAPIVersion")
    git_commit: str
    go_version: str
    os: str
    arch: str
    kernel_version: str
    build_time: str


class InstalledPlugins(Model, kw_only=True):
    volume: list[str]
    network: list[str]
    authorization: list[str] | None
    log: list[str]


class IndexInfo(Model, kw_only=True):
    name: str
    mirrors: list[str]
    secure: bool
    official: bool


class RegistryServiceConfig(Model, kw_only=True):
    index_configs: dict[str, IndexInfo]
    insecure_registry_cidrs: list[str] = msgspec.field(name="InsecureRegistryCIDRs")
    mirrors: list[str] | None


class RuntimeInfo(msgspec.Struct, kw_only=True):
    """A runtime; lower-case on the wire."""

    path: str
    status: dict[str, str]


class SwarmInfo(Model, kw_only=True):
    node_id: str = msgspec.field(name="NodeID", default="")
    node_addr: str = ""
    local_node_state: str = "inactive"
    control_available: bool = False
    error: str = ""
    remote_managers: None = None


class Commit(Model, kw_only=True):
    id: str = msgspec.field(name="ID", default="")


class FirewallInfo(Model, kw_only=True):
    driver: str
    info: list[list[str]] | msgspec.UnsetType = msgspec.UNSET


class Containerd(Model, kw_only=True):
    """Where other engines keep theirs; Pier has none, so all is empty."""

    address: str = ""
    namespaces: dict[str, str] = msgspec.field(default_factory=dict)


class AddressPool(Model, kw_only=True):
    """A pool that networks without a subnet of their own get one from."""

    base: str
    size: int


class SystemInfo(Model, kw_only=True):
    """Answer of GET /info."""

    id: str = msgspec.field(name="ID")
    containers: int
    containers_running: int
    containers_paused: int
    containers_stopped: int
    images: int
    driver: str
    driver_status: list[list[str]]
    plugins: InstalledPlugins
    memory_limit: bool
    swap_limit: bool
    kernel_memory_tcp: bool = msgspec.field(name="KernelMemoryTCP")
    cpu_cfs_period: bool
    cpu_cfs_quota: bool
    cpu_shares: bool = msgspec.field(name="CPUShares")
    cpu_set: bool = msgspec.field(name="CPUSet")
    pids_limit: bool
    ipv4_forwarding: bool = msgspec.field(name="IPv4Forwarding")
    bridge_nf_iptables: bool | msgspec.UnsetType = msgspec.UNSET  # until API 1.49
    bridge_nf_ip6tables: bool | msgspec.UnsetType = msgspec.field(name="BridgeNfIp6tables", default=msgspec.UNSET)
    debug: bool
    n_fd: int = msgspec.field(name="NFd")
    oom_kill_disable: bool
    n_goroutines: int = msgspec.field(name="NGoroutines")
    system_time: str
    logging_driver: str
    cgroup_driver: str
    cgroup_version: str
    n_events_listener: int = msgspec.field(name="NEventsListener")
    kernel_version: str
    operating_system: str
    os_version: str = msgspec.field(name="OSVersion")
    os_type: str = msgspec.field(name="OSType")
    architecture: str
    index_server_address: str
    registry_config: RegistryServiceConfig
    ncpu: int = msgspec.field(name="NCPU")
    mem_total: int
    generic_resources: None = None
    docker_root_dir: str
    http_proxy: str
    https_proxy: str
    no_proxy: str
    name: str
    labels: list[str]
    experimental_build: bool
    server_version: str
    runtimes: dict[str, RuntimeInfo]
    default_runtime: str
    swarm: SwarmInfo
    live_restore_enabled: bool
    isolation: str
    init_binary: str
    containerd_commit: Commit
    runc_commit: Commit
    init_commit: Commit
    security_options: list[str]
    default_address_pools: list[AddressPool] | msgspec.UnsetType = msgspec.UNSET
    firewall_backend: FirewallInfo | msgspec.UnsetType = msgspec.UNSET  # from API 1.49
    cdi_spec_dirs: list[str] = msgspec.field(name="CDISpecDirs")
    containerd: Containerd | msgspec.UnsetType = msgspec.UNSET
    warnings: list[str] | None
