"""Answers and requests as clients of other versions know them. What is expected was seen from a 28.5 engine, or read in the API's version history."""

import msgspec
import pytest
from msgspec import UNSET

from pier.api.models.containers import BindOptions, CreateRequest, HealthConfig, HostConfig, Mount, VolumeOptions
from pier.api.models.system import (
    Commit,
    Containerd,
    FirewallInfo,
    InstalledPlugins,
    RegistryServiceConfig,
    SwarmInfo,
    SystemInfo,
)
from pier.daemon import about, host
from pier.daemon.routes.old_clients import adapt_create
from pier.daemon.routes.times import unix_ns
from pier.errors import Internal, Invalid

INFO = SystemInfo(
    id="x", containers=0, containers_running=0, containers_paused=0, containers_stopped=0, images=0, driver="erofs", driver_status=[],
    plugins=InstalledPlugins(volume=[], network=[], authorization=None, log=[]), memory_limit=True, swap_limit=True, kernel_memory_tcp=False,
    cpu_cfs_period=True, cpu_cfs_quota=True, cpu_shares=True, cpu_set=True, pids_limit=True, ipv4_forwarding=True, debug=False, n_fd=1,
    oom_kill_disable=True, n_goroutines=1, system_time="t", logging_driver="local", cgroup_driver="cgroupfs", cgroup_version="1",
    n_events_listener=0, kernel_version="6", operating_system="o", os_version="", os_type="linux", architecture="x86_64", index_server_address="",
    registry_config=RegistryServiceConfig(index_configs={}, insecure_registry_cidrs=[], mirrors=None), ncpu=2, mem_total=1, docker_root_dir="/",
    http_proxy="", https_proxy="", no_proxy="", name="n", labels=[], experimental_build=False, server_version="1", runtimes={},
    default_runtime="pier", swarm=SwarmInfo(), live_restore_enabled=True, isolation="", init_binary="", containerd_commit=Commit(),
    runc_commit=Commit(), init_commit=Commit(), security_options=[], firewall_backend=FirewallInfo(driver="nftables"), cdi_spec_dirs=[],
    containerd=Containerd(), warnings=None,
)  # fmt: skip
KEYS = frozenset(
    """ID Containers ContainersRunning ContainersPaused ContainersStopped Images Driver DriverStatus Plugins MemoryLimit SwapLimit
KernelMemoryTCP CpuCfsPeriod CpuCfsQuota CPUShares CPUSet PidsLimit IPv4Forwarding Debug NFd OomKillDisable NGoroutines SystemTime LoggingDriver
CgroupDriver CgroupVersion NEventsListener KernelVersion OperatingSystem OSVersion OSType Architecture IndexServerAddress RegistryConfig NCPU
MemTotal GenericResources DockerRootDir HttpProxy HttpsProxy NoProxy Name Labels ExperimentalBuild ServerVersion Runtimes DefaultRuntime Swarm
LiveRestoreEnabled Isolation InitBinary ContainerdCommit RuncCommit InitCommit SecurityOptions FirewallBackend CDISpecDirs Containerd
Warnings""".split()  # noqa: SIM905
)


def test_info_has_every_key_of_1_51() -> None:
    body = about.info_at(INFO, (1, 51))
    assert set(body) == KEYS
    assert set(body["RegistryConfig"]) == {"IndexConfigs", "InsecureRegistryCIDRs", "Mirrors"}
    assert set(body["Swarm"]) == {"NodeID", "NodeAddr", "LocalNodeState", "ControlAvailable", "Error", "RemoteManagers"}
    assert body["ContainerdCommit"] == {"ID": ""}


def test_info_of_1_44() -> None:
    body = about.info_at(INFO, (1, 44))
    assert KEYS ^ set(body) == {"BridgeNfIptables", "BridgeNfIp6tables", "Containerd", "FirewallBackend"}
    assert body["RuncCommit"] == {"ID": "", "Expected": ""}
    assert body["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"] is None


def test_version_has_the_shape_that_clients_print() -> None:
    body = msgspec.to_builtins(about.version())
    assert set(body) == {
        "Platform", "Components", "Version", "ApiVersion", "MinAPIVersion", "GitCommit", "GoVersion", "Os", "Arch", "KernelVersion", "BuildTime",
    }  # fmt: skip
    engine = body["Components"][0]
    assert (engine["Name"], engine["Version"], engine["Details"]["ApiVersion"]) == ("Engine", body["Version"], "1.51")
    assert (body["ApiVersion"], body["MinAPIVersion"]) == ("1.51", "1.24")


def test_what_a_host_cannot_do_is_a_warning() -> None:
    everything = {"memory", "cpu", "cpuset", "pids"}
    assert not [line for line in about.warnings("v2", everything, True) if "forwarding" not in line]
    lines = about.warnings("v1", {"pids"}, False)
    assert "WARNING: No memory limit support" in lines
    assert "WARNING: No cpuset support" in lines
    assert "WARNING: No pids limit support" not in lines


def test_what_the_host_says() -> None:
    assert host.operating_system('NAME=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n') == "Debian GNU/Linux 12 (bookworm)"
    assert host.operating_system("") != ""
    assert host.memory_bytes("MemTotal:       1024 kB\nMemFree: 1 kB") == 1 << 20
    assert host.memory_bytes("") == 0


def test_older_clients_have_older_defaults() -> None:
    body = CreateRequest(host_config=HostConfig(annotations={"a": "b"}, pids_limit=-1, kernel_memory=5), healthcheck=HealthConfig(start_interval=9))
    adapt_create(body, (1, 39))
    assert body.host_config is not None
    assert (body.host_config.ipc_mode, body.host_config.cgroupns_mode) == ("shareable", "host")
    assert (body.host_config.annotations, body.host_config.pids_limit, body.host_config.kernel_memory) == (UNSET, None, 5)
    assert isinstance(body.healthcheck, HealthConfig)
    assert body.healthcheck.start_interval is UNSET


def test_todays_clients_keep_what_they_sent() -> None:
    body = CreateRequest(host_config=HostConfig(annotations={"a": "b"}, pids_limit=7, kernel_memory=5))
    adapt_create(body, (1, 51))
    assert body.host_config is not None
    assert (body.host_config.ipc_mode, body.host_config.cgroupns_mode, body.host_config.annotations) == ("", "", {"a": "b"})
    assert (body.host_config.pids_limit, body.host_config.kernel_memory) == (7, UNSET)


@pytest.mark.parametrize(
    ("mount", "version", "text"),
    [
        (Mount(type="image"), (1, 47), 'Mount type "Image" needs API v1.48 or newer'),
        (
            Mount(type="bind", bind_options=BindOptions(read_only_non_recursive=True)),
            (1, 43),
            "BindOptions.ReadOnlyNonRecursive needs API v1.44 or newer",
        ),
        (Mount(type="volume", volume_options=VolumeOptions(subpath="x")), (1, 44), "VolumeOptions.Subpath needs API v1.45 or newer"),
    ],
)
def test_fields_that_a_version_does_not_have(mount: Mount, version: tuple[int, int], text: str) -> None:
    with pytest.raises(Invalid) as caught:
        adapt_create(CreateRequest(host_config=HostConfig(mounts=[mount])), version)
    assert str(caught.value) == text
    adapt_create(CreateRequest(host_config=HostConfig(mounts=[mount])), (1, 51))


def test_times() -> None:
    assert unix_ns("") is None
    assert unix_ns("0") == 0
    assert unix_ns("1795246831") == 1795246831 * 10**9
    assert unix_ns("1.000000005") == 1_000_000_005
    assert unix_ns("1.5") == 1_500_000_000
    assert unix_ns("-1.5") == -1_500_000_000


@pytest.mark.parametrize(("text", "part"), [("abc", "abc"), ("1.x", "x"), ("2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z"), ("1.", "")])
def test_times_that_are_none(text: str, part: str) -> None:
    with pytest.raises(Internal) as caught:
        unix_ns(text)
    assert str(caught.value) == f'strconv.ParseInt: parsing "{part}": invalid syntax'
