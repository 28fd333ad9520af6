"""The OCI runtime specification 1.2 (config.json), as far as Pier makes and runs it: what is not here is refused when it is read.

Attributes are snake_case, the wire is the specification's camelCase. The pure types: what they mean to the kernel is
`pier.runtime`'s business. Source: opencontainers/runtime-spec, config.md and config-linux.md.
"""

from typing import Literal

import msgspec


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A JSON object of the specification; fields that have their default are not written."""


class Root(Document, frozen=True):
    """The root filesystem: `path` is not used by Pier itself, which hands an overlay over instead."""

    path: str = "rootfs"
    readonly: bool = False


class User(Document, frozen=True):
    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()
    username: str = ""


class Capabilities(Document, frozen=True):
    """Full names (CAP_CHOWN) in each set."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Rlimit(Document, frozen=True):
    """`type` is RLIMIT_NOFILE and the like; -1 of a resource is given as 2**64-1, as in the specification."""

    type: str
    soft: int
    hard: int


class ConsoleSize(Document, frozen=True):
    height: int = 0
    width: int = 0


class Process(Document, frozen=True):
    terminal: bool = False
    console_size: ConsoleSize | None = None
    user: User = User()
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = "/"
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    oom_score_adj: int | None = None
    selinux_label: str = ""


class Mount(Document, frozen=True):
    """`options` are mount(8) words; a bind has `bind` or `rbind` among them."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()


NamespaceKind = Literal["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]


class Namespace(Document, frozen=True):
    type: NamespaceKind
    path: str = ""


class Device(Document, frozen=True):
    """`type` is c, b, u or p; `file_mode` the permission bits."""

    path: str
    type: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = None
    uid: int = 0
    gid: int = 0


class DeviceCgroup(Document, frozen=True):
    """A rule of device access: `type` a, b or c; None for any number; `access` letters of "rwm"."""

    allow: bool
    type: str = "a"
    major: int | None = None
    minor: int | None = None
    access: str = "rwm"


class Memory(Document, frozen=True):
    """Bytes; -1 for no limit; `swap` is memory and swap together, as in the specification."""

    limit: int | None = None
    reservation: int | None = None
    swap: int | None = None
    kernel: int | None = None
    swappiness: int | None = None
    disable_oom_killer: bool | None = msgspec.field(default=None, name="disableOOMKiller")


class Cpu(Document, frozen=True):
    """`quota` and `period` in microseconds."""

    shares: int | None = None
    quota: int | None = None
    period: int | None = None
    realtime_runtime: int | None = None
    realtime_period: int | None = None
    cpus: str = ""
    mems: str = ""


class Pids(Document, frozen=True):
    """The most processes; -1 for no limit."""

    limit: int


class WeightDevice(Document, frozen=True):
    major: int
    minor: int
    weight: int


class ThrottleDevice(Document, frozen=True):
    """`rate` in bytes or operations a second."""

    major: int
    minor: int
    rate: int


class BlockIo(Document, frozen=True):
    weight: int | None = None
    weight_device: tuple[WeightDevice, ...] = ()
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = ()
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = msgspec.field(default=(), name="throttleReadIOPSDevice")
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = msgspec.field(default=(), name="throttleWriteIOPSDevice")


class Resources(Document, frozen=True):
    devices: tuple[DeviceCgroup, ...] = ()
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    block_io: BlockIo | None = msgspec.field(default=None, name="blockIO")
    unified: dict[str, str] = {}


class SeccompArg(Document, frozen=True):
    index: int
    value: int
    value_two: int = 0
    op: str = "SCMP_CMP_EQ"


class SeccompRule(Document, frozen=True):
    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[SeccompArg, ...] = ()


class Seccomp(Document, frozen=True):
    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    syscalls: tuple[SeccompRule, ...] = ()


class Linux(Document, frozen=True):
    sysctl: dict[str, str] = {}
    resources: Resources = Resources()
    cgroups_path: str = ""
    namespaces: tuple[Namespace, ...] = ()
    devices: tuple[Device, ...] = ()
    seccomp: Seccomp | None = None
    rootfs_propagation: str = ""
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    mount_label: str = ""


class Spec(Document, frozen=True):
    """A container, whole."""

    oci_version: str = "1.2.0"
    process: Process = Process()
    root: Root = Root()
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    annotations: dict[str, str] = {}
    linux: Linux = Linux()


def decode(text: bytes | str) -> Spec:
    """Read a config.json. Raises msgspec.ValidationError naming the field."""
    return msgspec.json.decode(text, type=Spec)


def encode(spec: Document) -> bytes:
    """Write it, keys in the specification's order."""
    return msgspec.json.encode(spec)
