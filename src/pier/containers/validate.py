"""What a create request may ask for: every check that needs nothing but the request and facts about the host.

Pure. Texts and statuses are Docker's (Engine 28.5), since clients match on them.
"""

import os
import re
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec import UNSET

from pier.api.models.containers import ContainerConfig, HostConfig
from pier.containers import security
from pier.errors import Invalid
from pier.linux import capabilities, selinux
from pier.linux.cgroups import CgroupLayout
from pier.networks import ports
from pier.runtime.signals import parse_signal

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
MIN_MEMORY_BYTES = 6 << 20
LOG_OPTIONS = {
    "local": {"max-size", "max-file", "compress"},
    "json-file": {"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"},
    "none": set[str](),
}
_LOG_OPTIONS_LATER = {"labels", "labels-regex", "env", "env-regex", "tag"}
_MOST_DIGITS = 18
_COUNT = re.compile(r"0*[1-9][0-9]{0,8}")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Machine:
    """What of the host decides about a request: online CPUs and memory nodes, the cgroup controllers that containers can have.

    `unified` is cgroup v2.
    `least_oom_score_adj` is the lowest that a process of ours may set (without CAP_SYS_RESOURCE: what it has).
    `selinux`: files have labels.
    `fixed_limits` are the hard limits (setrlimit(2)) that this process may not raise, by the names of ulimits; empty where it may.
    """

    cpus: frozenset[int]
    memory_nodes: frozenset[int]
    controllers: frozenset[str] = frozenset({"memory", "cpu", "cpuset", "pids"})
    unified: bool = False
    swap_accounting: bool = True
    fixed_limits: Mapping[str, int] = field(default_factory=dict)
    least_oom_score_adj: int = -1000
    selinux: bool = False

    @classmethod
    def read(cls, cgroups: CgroupLayout) -> "Machine":
        """The machine this process runs on (sysfs; sched_getaffinity where sysfs has nothing); `cgroups` are prepared."""
        return cls(
            frozenset(_sysfs_list("/sys/devices/system/cpu/online") or os.sched_getaffinity(0)),
            frozenset(_sysfs_list("/sys/devices/system/node/online") or {0}),
            controllers=cgroups.controllers(),
            unified=cgroups.mode == "v2",
            swap_accounting=cgroups.accounts_swap(),
            fixed_limits=_fixed_limits(),
            least_oom_score_adj=_least_oom_score_adj(),
            selinux=selinux.enabled(),
        )


def _least_oom_score_adj() -> int:
    effective, _, _ = capabilities.get()
    if effective >> capabilities.NUMBERS["CAP_SYS_RESOURCE"] & 1:
        return -1000
    with open("/proc/self/oom_score_adj") as file:
        return int(file.read())


def _fixed_limits() -> dict[str, int]:
    effective, _, _ = capabilities.get()
    if effective >> capabilities.NUMBERS["CAP_SYS_RESOURCE"] & 1:
        return {}
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    limits = {name.removeprefix("RLIMIT_").lower(): resource.getrlimit(getattr(resource, name))[1] for name in names}
    return {name: hard for name, hard in limits.items() if hard != resource.RLIM_INFINITY}


def _sysfs_list(path: str) -> set[int]:
    try:
        with open(path) as file:
            return parse_set(file.read().strip())
    except (OSError, ValueError):
        return set()


def parse_set(text: str) -> set[int]:
    """The numbers of a list such as `0-2,7`. Raises ValueError (`invalid format: X`)."""
    numbers: set[int] = set()
    for part in text.split(",") if text else []:
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"invalid format: {part}")
        if int(last or first) > 8192:
            raise ValueError(f"value out of range, maximum is 8192: {part}")
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def parse_size(text: str) -> int:
    """Bytes of a size as Docker's units write it (`20m`, `1g`, `512`). Raises ValueError."""
    match = _SIZE.match(text)
    if not match or len(text) > _MOST_DIGITS:
        raise ValueError(f"invalid size: '{text}'")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def check_name(name: str) -> None:
    """Raise Invalid unless `name` can be a container's."""
    if not NAME.match(name.removeprefix("/")):
        raise Invalid(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def check(config: ContainerConfig, host: HostConfig, machine: Machine) -> list[str]:
    """Check a request whose image has been merged in. Returns warnings; raises Invalid, or Internal where Docker answers 500, with Docker's text."""
    _check_config(config)
    _check_nul(host)
    _check_modes(host)
    _check_restart(host)
    _check_security(host)
    return _check_ports(config, host) + _check_resources(host, machine)


def check_update(host: HostConfig, machine: Machine) -> list[str]:
    """Check what an update asks for, or what comes of it. Returns warnings; raises Invalid with Docker's text."""
    _check_restart(host)
    swap = host.memory_swap if host.memory else 0  # alone it goes with the memory that the container has
    return _check_resources(msgspec.structs.replace(host, memory_swap=swap), machine)


def check_conflicts(request: ContainerConfig, host: HostConfig) -> None:
    """Raise Invalid for what a mode leaves no room for; only what was asked for counts, not what the image brings."""
    if host.network_mode.startswith("container:"):
        for there, what in (
            (request.hostname, "hostname and the network mode"),
            (host.dns, "dns and the network mode"),
            (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
            (host.port_bindings or host.publish_all_ports, "port publishing and the container type network mode"),
            (request.exposed_ports is not UNSET and request.exposed_ports, "port exposing and the container type network mode"),
        ):
            if there:
                raise Invalid(f"conflicting options: {what}")
    if host.uts_mode == "host" and request.hostname:
        raise Invalid("conflicting options: hostname and the UTS mode")


def _check_ports(config: ContainerConfig, host: HostConfig) -> list[str]:
    ports.asked(host.port_bindings or {}, config.exposed_ports or {}, host.publish_all_ports)
    discarded = host.network_mode == "host" and host.port_bindings
    return ["Published ports are discarded when using host network mode"] if discarded else []


def _check_config(config: ContainerConfig) -> None:
    if config.working_dir and not config.working_dir.startswith("/"):
        raise Invalid(f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path")
    for variable in config.env or []:
        if not variable or variable.startswith("="):
            raise Invalid(f"invalid environment variable: {variable}")
    if config.stop_signal is not UNSET and config.stop_signal:
        parse_signal(config.stop_signal)
    for text in (
        config.hostname,
        config.domainname,
        config.user,
        config.working_dir,
        *(config.cmd or ()),
        *(config.entrypoint or ()),
        *(config.env or ()),
    ):
        if "\0" in text:
            raise Invalid(f"invalid NUL byte in {text!r}")


def _check_nul(host: HostConfig) -> None:
    """Paths and words of the kernel end at a NUL byte: one inside is nobody's wish. Raises Invalid with the field."""
    if rb"\u0000" not in msgspec.json.encode(host):
        return

    def look(value: object, where: str) -> None:
        if isinstance(value, str) and "\0" in value:
            raise Invalid(f"invalid NUL byte in HostConfig.{where}: {value!r}")
        if isinstance(value, dict):
            for key, member in value.items():
                look(key, where)
                look(member, f"{where}.{key}" if where else key)
        elif isinstance(value, list):
            for member in value:
                look(member, where)

    look(msgspec.to_builtins(host), "")


def _check_modes(host: HostConfig) -> None:
    mode = host.network_mode
    if mode.startswith("container:") and not mode.partition(":")[2]:
        raise Invalid("invalid network mode: invalid container format container:<name|id>")
    for label, value, plain in (("IPC", host.ipc_mode, ("", "private", "shareable", "host", "none")), ("PID", host.pid_mode, ("", "host"))):
        if value not in plain and not (value.startswith("container:") and value != "container:"):
            raise Invalid(f"invalid {label} mode: {value}")
    if host.uts_mode not in ("", "host"):
        raise Invalid(f"invalid UTS mode: {host.uts_mode}")
    if host.cgroupns_mode not in ("", "private", "host"):
        raise Invalid(f"invalid cgroup namespace mode: {host.cgroupns_mode}")
    if host.isolation not in ("", "default"):
        raise Invalid(f"invalid isolation ({host.isolation}): linux only supports 'default'")
    if host.runtime not in ("", "pier", "runc"):
        raise Invalid(f"unknown or invalid runtime name: {host.runtime}")
    for entry in host.extra_hosts or []:
        name, colon, address = entry.partition(":")
        if not colon or not name or not address:
            raise Invalid(f'bad format for add-host: "{entry}"')
    if host.annotations is not UNSET and "" in host.annotations:
        raise Invalid("invalid Annotations: the empty string is not permitted as an annotation key")


def _check_restart(host: HostConfig) -> None:
    policy = host.restart_policy
    if policy.name not in ("", "no", "always", "on-failure", "unless-stopped"):
        raise Invalid(f"invalid restart policy: unknown policy '{policy.name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'")
    if policy.maximum_retry_count < 0:
        raise Invalid("invalid restart policy: maximum retry count cannot be negative")
    if policy.maximum_retry_count and policy.name != "on-failure":
        raise Invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if host.auto_remove and policy.name not in ("", "no"):
        raise Invalid("can't create 'AutoRemove' container with restart policy")


def check_log(host: HostConfig, default: str) -> None:
    """Check the log driver and its options. default: the driver where none is named. Raises Invalid."""
    driver, options = host.log_config.type or default, host.log_config.config or {}
    if driver not in LOG_OPTIONS:
        raise Invalid(f'error looking up logging plugin {driver}: plugin "{driver}" not found')
    for key, value in options.items():
        if key not in LOG_OPTIONS[driver]:
            raise Invalid(f"unknown log opt '{key}' for {driver} log driver")
        if key in _LOG_OPTIONS_LATER:
            raise Invalid(f"log opt '{key}' is not supported by Pier yet")
        if key == "max-size" and value != "-1":
            try:
                parse_size(value)
            except ValueError as problem:
                raise Invalid(f"invalid value for max-size: {problem}") from None
        if key == "max-file" and not _COUNT.fullmatch(value):
            least = value.startswith("-") or not value.strip("0")
            raise Invalid("max-file cannot be less than 1" if least else f"invalid value for max-file: {value!r}")


def _check_security(host: HostConfig) -> None:
    security.parse(host.security_opt or [], host.privileged)
    for rule in host.device_cgroup_rules or []:
        security.device_rule(rule)
    for device in host.devices or []:
        if not set(device.cgroup_permissions) <= set("rwm"):
            raise Invalid(f"invalid CgroupPermissions {device.cgroup_permissions!r} of device {device.path_on_host}: of r, w and m")
    for what, names in (("CapAdd", host.cap_add), ("CapDrop", host.cap_drop)):
        for name in names or []:
            if name.upper() in ("ALL", "CAP_ALL"):
                continue
            try:
                capabilities.parse(name)
            except ValueError:
                raise Invalid(f'invalid {what}: unknown capability: "CAP_{name.upper().removeprefix("CAP_")}"') from None


def _check_resources(host: HostConfig, machine: Machine) -> list[str]:
    warnings: list[str] = []
    if host.memory and host.memory < MIN_MEMORY_BYTES:
        raise Invalid("Minimum memory limit allowed is 6MB")
    if host.memory and host.memory_swap > 0 and host.memory_swap < host.memory:
        raise Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
    if not host.memory and host.memory_swap > 0:
        raise Invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
    if host.memory_swappiness is not None and host.memory_swappiness not in range(-1, 101):
        raise Invalid(f"Invalid value: {host.memory_swappiness}, valid memory swappiness range is 0-100")
    if host.memory_reservation and host.memory_reservation < MIN_MEMORY_BYTES:
        raise Invalid("Minimum memory reservation allowed is 6MB")
    if host.memory and host.memory_reservation > host.memory:
        raise Invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
    if host.oom_kill_disable and not host.memory:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources."
        )
    count = len(machine.cpus)
    if host.nano_cpus and (host.cpu_quota or host.cpu_period):
        raise Invalid(f"Conflicting options: Nano CPUs and CPU {'Period' if host.cpu_period else 'Quota'} cannot both be set")
    if host.nano_cpus < 0 or host.nano_cpus > count * 1_000_000_000:
        raise Invalid(f"range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available")
    if host.cpu_period and not 1000 <= host.cpu_period <= 1_000_000:
        raise Invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < host.cpu_quota < 1000:
        raise Invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    for what, noun, text, there in (
        ("cpus", "CPUs", host.cpuset_cpus, machine.cpus),
        ("mems", "memory nodes", host.cpuset_mems, machine.memory_nodes),
    ):
        try:
            wanted = parse_set(text)
        except ValueError as problem:
            raise Invalid(f"Invalid value {text} for cpuset {what}: {problem}") from None
        if not wanted <= there:
            low, high = min(there), max(there)
            available = f"{low}-{high}" if high > low else str(low)
            raise Invalid(f"Requested {noun} are not available - requested {text}, available: {available}")
    for limit in host.ulimits or []:
        fixed = machine.fixed_limits.get(limit.name)
        if fixed is not None and (limit.hard < 0 or limit.hard > fixed):
            warnings.append(
                f"ulimit {limit.name}: this host's hard limit of {fixed} cannot be raised: the container gets {fixed} instead of {limit.hard}."
            )
    if any(not 0 <= side <= 0xFFFF for side in host.console_size):
        raise Invalid(f"invalid ConsoleSize {host.console_size}: rows and columns are from 0 to 65535")
    if host.shm_size < 0:
        raise Invalid("SHM size can not be less than 0")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise Invalid(f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if host.oom_score_adj < machine.least_oom_score_adj:
        warnings.append(
            f"oom_score_adj {host.oom_score_adj}: this host does not let Pier go below {machine.least_oom_score_adj}: the container keeps that one."
        )
    return warnings
