"""The answers of GET /version and GET /info: complete, in Docker's shape, and true of this host and this daemon."""

import os
import platform
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import pier
from pier.api import versions
from pier.api.fields import LOG_DRIVERS, NETWORK_DRIVERS, VERSION
from pier.api.models.system import (
    AddressPool,
    Commit,
    ComponentVersion,
    Containerd,
    FirewallInfo,
    InstalledPlugins,
    PlatformName,
    RuntimeInfo,
    SwarmInfo,
    SystemInfo,
    SystemVersion,
)
from pier.daemon import host, registries
from pier.networks import respect
from pier.registry.proxies import masked

if TYPE_CHECKING:
    from pier.daemon.config import Config
    from pier.daemon.engine import Engine

RUNTIME = "pier"


def rfc3339(time_ns: int) -> str:
    """A time in UTC with nanoseconds."""
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanos:09d}Z"


@cache
def version() -> SystemVersion:
    """What this daemon is. `GoVersion` is the interpreter's: clients print it, and there is no Go here."""
    python = f"python{platform.python_version()}"
    commit, built = _commit(), rfc3339(Path(pier.__file__).stat().st_mtime_ns)
    kernel, arch = platform.release(), host.architecture()
    newest, oldest = versions.text(versions.NEWEST), versions.text(versions.OLDEST)
    details = {
        "ApiVersion": newest, "Arch": arch, "BuildTime": built, "Experimental": "false", "GitCommit": commit, "GoVersion": python,
        "KernelVersion": kernel, "MinAPIVersion": oldest, "Os": "linux",
    }  # fmt: skip
    return SystemVersion(
        platform=PlatformName(name="Pier"),
        components=[
            ComponentVersion(name="Engine", version=VERSION, details=details),
            ComponentVersion(name="Python", version=platform.python_version(), details={"Implementation": sys.implementation.name}),
        ],
        version=VERSION,
        api_version=newest,
        min_api_version=oldest,
        git_commit=commit,
        go_version=python,
        os="linux",
        arch=arch,
        kernel_version=kernel,
        build_time=built,
    )


def _commit() -> str:
    """The commit of a checkout that the daemon runs from, else nothing."""
    git = Path(pier.__file__).parents[2] / ".git"
    head = host.read(str(git / "HEAD"))
    if not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    packed = (line.split(" ", 1) for line in host.read(str(git / "packed-refs")).splitlines() if not line.startswith(("#", "^")))
    return host.read(str(git / name)) or next((commit for commit, ref in packed if ref == name), "")


def info(engine: "Engine", version: tuple[int, int]) -> dict[str, Any]:
    """The state of this daemon and its host, in the words of an API version."""
    states = [container.state.status for container in engine.containers.table.values()]
    mode = engine.facts.cgroups.mode
    controllers = engine.containers.machine.controllers
    swap = engine.containers.machine.swap_accounting
    config = engine.config
    registry = registries.registry_config(config, os.environ)
    answer = SystemInfo(
        id=engine.id,
        containers=len(states),
        containers_running=sum(status in ("running", "restarting") for status in states),
        containers_paused=states.count("paused"),
        containers_stopped=sum(status in ("created", "exited", "dead", "removing") for status in states),
        images=engine.images.count(),
        driver=engine.snapshots.kind,
        driver_status=[list(pair) for pair in engine.snapshots.status()],
        plugins=InstalledPlugins(
            volume=["local", *engine.volumes.plugins.active], network=list(NETWORK_DRIVERS), authorization=None, log=list(LOG_DRIVERS)
        ),
        memory_limit="memory" in controllers,
        swap_limit=swap,
        kernel_memory_tcp=False,
        cpu_cfs_period="cpu" in controllers,
        cpu_cfs_quota="cpu" in controllers,
        cpu_shares="cpu" in controllers,
        cpu_set="cpuset" in controllers,
        pids_limit="pids" in controllers,
        ipv4_forwarding=host.forwards_ipv4(),
        debug=config.debug,
        n_fd=host.open_fds(),
        oom_kill_disable=mode != "v2" and "memory" in controllers,
        n_goroutines=_tasks(),
        system_time=rfc3339(time.time_ns()),
        logging_driver=config.log_driver,
        cgroup_driver="cgroupfs",
        cgroup_version="2" if mode == "v2" else "1",
        n_events_listener=engine.journal.listeners,
        kernel_version=platform.release(),
        operating_system=host.operating_system(),
        os_version="",
        os_type="linux",
        architecture=platform.machine(),
        index_server_address=registries.INDEX_SERVER,
        registry_config=registries.service_config(registry),
        ncpu=engine.facts.cpus,
        mem_total=host.memory_bytes(),
        docker_root_dir=str(config.data_root),
        http_proxy=masked(registry.proxies.http),
        https_proxy=masked(registry.proxies.https),
        no_proxy=registry.proxies.no_proxy,
        name=platform.node(),
        labels=list(config.labels),
        experimental_build=False,
        server_version=VERSION,
        runtimes={RUNTIME: RuntimeInfo(path="", status={"org.opencontainers.runtime-spec.version": "1.2.1"})},
        default_runtime=RUNTIME,
        swarm=SwarmInfo(),
        live_restore_enabled=config.live_restore,
        isolation="",
        init_binary=engine.containers.defaults.init_path,
        containerd_commit=Commit(),
        runc_commit=Commit(),
        init_commit=Commit(),
        security_options=security_options(mode, labels=engine.containers.labelling is not None),
        default_address_pools=[AddressPool(base=str(pool), size=size) for pool, size in engine.config.default_address_pools] or msgspec.UNSET,
        firewall_backend=FirewallInfo(driver="nftables", info=_firewall(config)),
        cdi_spec_dirs=[],
        containerd=Containerd(namespaces={"Containers": "", "Plugins": ""}),
        warnings=[*warnings(mode, controllers, swap), *(f"WARNING: {text}" for text in engine.networks.warnings)] or None,
    )
    return info_at(answer, version)


def _firewall(config: "Config") -> list[list[str]] | msgspec.UnsetType:
    return [["Published ports", "obey the host's INPUT rules"]] if config.firewall == respect.RESPECT else msgspec.UNSET


def info_at(answer: SystemInfo, version: tuple[int, int]) -> dict[str, Any]:
    """The answer as a client of `version` expects it: 1.49 and 1.50 brought and dropped some."""
    body: dict[str, Any] = msgspec.to_builtins(answer)
    if version < (1, 50):
        body["BridgeNfIptables"] = body["BridgeNfIp6tables"] = False
    if version < (1, 49):
        del body["FirewallBackend"]
        body["RegistryConfig"] |= {"AllowNondistributableArtifactsCIDRs": None, "AllowNondistributableArtifactsHostnames": None}
        for commit in ("ContainerdCommit", "RuncCommit", "InitCommit"):
            body[commit]["Expected"] = body[commit]["ID"]
    if version < (1, 46):
        del body["Containerd"]
    return body


def security_options(cgroup_mode: str, labels: bool) -> list[str]:
    """What confines containers here."""
    options = ["name=apparmor"] if host.apparmor_enabled() else []
    options.append("name=seccomp,profile=builtin")
    if labels:
        options.append("name=selinux")
    return [*options, "name=cgroupns"] if cgroup_mode == "v2" else options


def warnings(cgroup_mode: str, controllers: frozenset[str], swap: bool) -> list[str]:
    """What this host cannot limit, in Docker's words."""
    lines = []
    if "memory" not in controllers:
        lines.append("WARNING: No memory limit support")
    if not swap:
        lines.append("WARNING: No swap limit support")
    if "cpu" not in controllers:
        lines += ["WARNING: No cpu cfs quota support", "WARNING: No cpu cfs period support", "WARNING: No cpu shares support"]
    if "cpuset" not in controllers:
        lines.append("WARNING: No cpuset support")
    if "pids" not in controllers:
        lines.append("WARNING: No pids limit support")
    if not host.forwards_ipv4():
        lines.append("WARNING: IPv4 forwarding is disabled")
    return lines


def _tasks() -> int:
    import asyncio

    return len(asyncio.all_tasks())
