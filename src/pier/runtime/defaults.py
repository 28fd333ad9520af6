"""The hardening that a container gets when nobody asks, as tables, and the specification made of them: pure.

Numbers and names are Docker's current defaults. What a container's own settings change is added by `containers`.
"""

import msgspec

from pier.linux import capabilities as caps
from pier.oci.runtime_spec import (
    Capabilities,
    Device,
    DeviceCgroup,
    Linux,
    Mount,
    Namespace,
    NamespaceKind,
    Process,
    Resources,
    Spec,
)
from pier.runtime import seccomp_profile
from pier.runtime.facts import APPARMOR, SECCOMP, HostFacts

_CAPABILITY_TABLE = (
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_MKNOD CAP_NET_RAW CAP_SETGID CAP_SETUID CAP_SETFCAP CAP_SETPCAP "
    "CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_KILL CAP_AUDIT_WRITE"
)
CAPABILITIES = tuple(_CAPABILITY_TABLE.split())
MASKED_PATHS = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
DEVICES = tuple(
    Device(path=f"/dev/{name}", type="c", major=major, minor=minor, file_mode=0o666)
    for name, major, minor in (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
)
DEVICE_RULES = (
    DeviceCgroup(allow=False, access="rwm"),
    DeviceCgroup(allow=True, type="c", access="m"),
    DeviceCgroup(allow=True, type="b", access="m"),
    *(
        DeviceCgroup(allow=True, type="c", major=major, minor=minor, access="rwm")
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
    ),
)
SHM_BYTES = 64 << 20
APPARMOR_PROFILE = "pier-default"
PRIVATE_NETWORK_SYSCTLS = {"net.ipv4.ping_group_range": "0 2147483647", "net.ipv4.ip_unprivileged_port_start": "0"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def capability_sets(names: tuple[str, ...]) -> Capabilities:
    """Bounding, permitted and effective of these full names; inheritable and ambient stay empty (CVE-2022-24769)."""
    return Capabilities(bounding=names, permitted=names, effective=names)


def tweak_capabilities(add: tuple[str, ...], drop: tuple[str, ...], privileged: bool = False) -> tuple[str, ...]:
    """--cap-add and --cap-drop upon the defaults, in the kernel's order. Raises ValueError for an unknown name.

    ALL in `add` takes everything but what `drop` names; ALL in `drop` leaves just what `add` names.
    """
    if privileged:
        return caps.NAMES
    adding = {name if name.upper() == "ALL" else caps.parse(name) for name in add}
    dropping = {name if name.upper() == "ALL" else caps.parse(name) for name in drop}
    add_all, drop_all = (any(name.upper() == "ALL" for name in names) for names in (adding, dropping))
    if add_all:
        wanted = set(caps.NAMES) - dropping
    elif drop_all:
        wanted = adding
    else:
        wanted = (set(CAPABILITIES) - dropping) | adding
    return tuple(name for name in caps.NAMES if name in wanted)


def masked_paths(cpus: int) -> tuple[str, ...]:
    """What is hidden on a host of `cpus` possible processors: their throttle counters are a side channel."""
    return (*MASKED_PATHS, *(f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in range(cpus)))


def default_mounts(shm_bytes: int = SHM_BYTES, privileged: bool = False, cgroup_writable: bool = False) -> tuple[Mount, ...]:
    """/proc, /dev and what belongs in it, /sys, the cgroups; `shm_bytes` 0 leaves /dev/shm to the caller (--ipc host)."""
    locked = ("nosuid", "noexec", "nodev")
    access = "rw" if privileged else "ro"
    found = [
        Mount(destination="/proc", type="proc", source="proc", options=locked),
        Mount(destination="/dev", type="tmpfs", source="tmpfs", options=("nosuid", "strictatime", "mode=755", "size=65536k")),
        Mount(
            destination="/dev/pts", type="devpts", source="devpts", options=("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
        ),
        Mount(destination="/sys", type="sysfs", source="sysfs", options=(*locked, access)),
        Mount(
            destination="/sys/fs/cgroup",
            type="cgroup",
            source="cgroup",
            options=(*locked, "rw" if privileged or cgroup_writable else "ro"),
        ),
        Mount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=locked),
    ]
    if shm_bytes:
        found.append(Mount(destination="/dev/shm", type="tmpfs", source="shm", options=(*locked, "mode=1777", f"size={shm_bytes}")))
    return tuple(found)


def namespaces(private_cgroup: bool, without: frozenset[str] = frozenset()) -> tuple[Namespace, ...]:
    """The namespaces of a container; `without` names those that it shares with the host or another container."""
    kinds: tuple[NamespaceKind, ...] = ("mount", "uts", "ipc", "pid", "network", *(("cgroup",) if private_cgroup else ()))
    return tuple(Namespace(type=kind) for kind in kinds if kind not in without)


def default_spec(facts: HostFacts, args: tuple[str, ...] = ("sh",), cgroups_path: str = "") -> Spec:
    """A container with every default of security.md and nothing else; callers replace what they were asked to."""
    return Spec(
        process=Process(
            args=args,
            env=(f"PATH={PATH}",),
            capabilities=capability_sets(CAPABILITIES),
            oom_score_adj=0,
            apparmor_profile=APPARMOR_PROFILE if facts.has(APPARMOR) else "",
        ),
        mounts=default_mounts(),
        linux=Linux(
            sysctl=dict(PRIVATE_NETWORK_SYSCTLS),
            resources=Resources(devices=DEVICE_RULES),
            cgroups_path=cgroups_path,
            namespaces=namespaces(facts.cgroups.mode == "v2"),
            devices=DEVICES,
            seccomp=seccomp_profile.default(CAPABILITIES, facts.machine, facts.kernel) if facts.has(SECCOMP) else None,
            masked_paths=masked_paths(facts.cpus),
            readonly_paths=READONLY_PATHS,
        ),
    )


def privileged_spec(facts: HostFacts, spec: Spec, devices: tuple[Device, ...] = ()) -> Spec:
    """`spec` with nothing hidden, held back or filtered: all capabilities and `devices` (the host's), /sys and cgroups writable."""
    process = msgspec.structs.replace(spec.process, capabilities=capability_sets(caps.NAMES), apparmor_profile="")
    writable = tuple(
        msgspec.structs.replace(mount, options=tuple("rw" if word == "ro" else word for word in mount.options))
        if mount.destination in ("/sys", "/sys/fs/cgroup")
        else mount
        for mount in spec.mounts
    )
    everything = Resources(devices=(DeviceCgroup(allow=True, access="rwm"),))
    kept = msgspec.structs.replace(spec.linux.resources, devices=everything.devices)
    linux = msgspec.structs.replace(
        spec.linux, seccomp=None, masked_paths=(), readonly_paths=(), resources=kept, devices=(*spec.linux.devices, *devices)
    )
    return msgspec.structs.replace(spec, process=process, mounts=writable, linux=linux)
