"""A record -> the OCI runtime specification and the extras that the runtime's plan is made of. Pure, but for the devices' numbers.

What nobody asked for is `runtime.defaults`; here is only what a request changes.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace

from msgspec import UNSET

from pier.api.models.containers import BindOptions, HostConfig, MountPoint
from pier.api.models.containers import Mount as AskedMount
from pier.api.models.networks import EndpointSettings
from pier.containers import endpoint_options, links, naming, security
from pier.containers import mounts as points
from pier.containers.files import Bound
from pier.containers.record import Container, Record
from pier.containers.shapes import namespaces
from pier.containers.table import Containers
from pier.containers.volumes import Ready, counted
from pier.errors import Internal
from pier.logs.fifos import Fifos
from pier.networks.endpoints import Endpoint, default_gateways
from pier.oci.runtime_spec import (
    Cpu,
    Device,
    DeviceCgroup,
    Linux,
    Memory,
    Mount,
    Namespace,
    Pids,
    Process,
    Resources,
    Rlimit,
    Root,
    Spec,
)
from pier.runtime import defaults
from pier.runtime import facts as features
from pier.runtime.plan import Extras, ImageMount, InterfaceSetup, NetworkSetup, RootMount, StdioSetup

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CPU_PERIOD_US = 100_000
_SHM = "/dev/shm"
UNLIMITED = 2**64 - 1
_RLIMITS = {
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
}  # fmt: skip
_OWN_FOLDERS = ("/dev/pts/", "/dev/shm/", "/dev/mqueue/", "/dev/console", "/dev/ptmx")
_IPC_SYSCTLS = {
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
}


def spec(
    record: Record, kinds: frozenset[str], bound: Bound, profiles: security.Profiles, cgroups_path: str, recursive_readonly: bool,
    linked: Sequence[str] = (),
) -> Spec:  # fmt: skip
    """The specification of a container. `recursive_readonly`: the host can make all that lies below a bind read-only, too.

    linked: variables that its links give it.

    Raises Internal or Invalid with what cannot be done.
    """
    host, config = record.host, record.config
    options = security.parse(host.security_opt or [], host.privileged)
    capability_names = defaults.tweak_capabilities(tuple(host.cap_add or ()), tuple(host.cap_drop or ()), host.privileged)
    devices, rules = _devices(host)
    hide = not host.privileged and not options.systempaths_unconfined
    process = Process(
        terminal=config.tty,
        args=(record.path, *record.args),
        env=environment(record, linked),
        cwd=config.working_dir or "/",
        capabilities=defaults.capability_sets(capability_names),
        rlimits=rlimits(host),
        no_new_privileges=options.no_new_privileges,
        apparmor_profile=profiles.apparmor(options, host.privileged),
        oom_score_adj=host.oom_score_adj,
        selinux_label=record.process_label,
    )
    linux = Linux(
        sysctl=_sysctls(host, kinds),
        resources=resources(host, rules),
        namespaces=tuple(Namespace(type=kind) for kind in sorted(kinds)),  # type: ignore[arg-type]
        devices=(*defaults.DEVICES, *devices),
        seccomp=profiles.seccomp(options, host.privileged, capability_names),
        masked_paths=tuple(host.masked_paths or ()) if hide else (),
        readonly_paths=tuple(host.readonly_paths or ()) if hide else (),
        cgroups_path=cgroups_path,
        mount_label=record.mount_label,
        # a slave everywhere, where a bind asks to see what is mounted later: mounts that are private stay so
        rootfs_propagation="rslave" if any(point.propagation in ("slave", "rslave") for point in record.mounts) else "",
    )
    return Spec(
        process=process,
        root=Root(readonly=host.readonly_rootfs),
        hostname=config.hostname if "uts" in kinds else "",
        domainname=config.domainname if "uts" in kinds else "",
        mounts=_mounts(record, bound, recursive_readonly),
        annotations=dict(host.annotations) if host.annotations is not UNSET else {},
        linux=linux,
    )


def build(
    ctx: Containers,
    container: Container,
    root: RootMount,
    bound: Bound,
    io: Fifos,
    joins: dict[str, int],
    volumes: Ready,
    images: Mapping[str, ImageMount],
) -> tuple[Spec, Extras]:
    """Specification and extras of a container that is about to start; its endpoint is there."""
    record, host = container.record, container.record.host
    kinds = namespaces(host)
    network = NetworkSetup(interfaces=interfaces(container.places, record.endpoints)) if "network" in kinds else None
    rows, columns = host.console_size
    stdio = StdioSetup(terminal=record.terminal, rows=rows, cols=columns, stdin=io.stdin, stdout=io.stdout, stderr=io.stderr)
    init = f"host:{ctx.defaults.init_path}" if ctx.defaults.init_path else "builtin"
    cgroups_path = f"{ctx.facts.cgroups.parent}/{container.id}"
    linked = links.environment(ctx, record) if host.links else ()
    document = spec(record, kinds, bound, ctx.profiles, cgroups_path, ctx.facts.has(features.MOUNT_SETATTR), linked)
    made = extras(record, root, network, stdio, joins, init)
    if naming.serves(record):
        made = replace(made, names=True)
    if images:
        made = replace(made, images=images)
    if mapped := {points.target_of(m): found for m in host.mounts or [] if (found := points.id_map(m)) is not None}:
        made = replace(made, idmaps=mapped)
    if volumes.sources:
        made = replace(made, sources=volumes.sources, copy_up=frozenset(volumes.copy_up), counted=counted(ctx, record) and not host.privileged)
    return document, made


def interfaces(places: Sequence[Endpoint], asked: Mapping[str, EndpointSettings] = {}) -> tuple[InterfaceSetup, ...]:
    """What the child configures for the places of a container in its networks; one of them has the default gateway of each family.

    asked: what it wants of each network, by name.
    """
    wired = [endpoint for endpoint in places if endpoint.interface]
    gateways = default_gateways(wired)
    found = []
    for endpoint in wired:
        own = tuple(g for g, chosen in ((endpoint.gateway, gateways[0]), (endpoint.gateway6, gateways[1])) if g and chosen is endpoint)
        known = tuple((g, endpoint.gateway_mac) for g in (endpoint.gateway, endpoint.gateway6) if g and endpoint.gateway_mac)
        addresses = tuple(cidr for cidr in (endpoint.cidr, endpoint.cidr6) if cidr)
        setup = InterfaceSetup(endpoint.interface, addresses, endpoint.mac, own, known)
        given = asked.get(endpoint.network)
        if given is not None and (given.driver_opts or given.ipam_config):
            further = endpoint_options.link_local(given)
            setup = replace(setup, addresses=(*addresses, *further), sysctls=endpoint_options.sysctls(given, endpoint.interface))
        found.append(setup)
    return tuple(found)


def extras(record: Record, root: RootMount, network: NetworkSetup | None, stdio: StdioSetup, joins: dict[str, int], init: str | None) -> Extras:
    """The extras of a container's plan."""
    donor = joins.get("mount")
    return Extras(
        root=root,
        network=network,
        stdio=stdio,
        user=record.config.user,
        groups=tuple(record.host.group_add or ()),
        init=init if record.host.init is True and record.host.pid_mode != "host" else None,  # with the host's processes there is one
        join={kind: index for kind, index in joins.items() if kind != "mount"},
        create_workdir=True,
        keyring=record.id,
        borrowed={_SHM: donor} if donor is not None and _SHM not in _taken(record) else {},
    )


def environment(record: Record, linked: Sequence[str] = ()) -> tuple[str, ...]:
    """PATH, HOSTNAME and TERM as Docker sets them, what links give, then what was given; HOME is added where the user is known."""
    given = list(record.config.env or [])
    names = {variable.partition("=")[0] for variable in given}
    env = [DEFAULT_PATH] if "PATH" not in names else []
    if "HOSTNAME" not in names and record.config.hostname:
        env.append(f"HOSTNAME={record.config.hostname}")
    if record.config.tty and "TERM" not in names:
        env.append("TERM=xterm")
    env += [variable for variable in linked if variable.partition("=")[0] not in names]
    return (*env, *(variable for variable in given if "=" in variable))


def rlimits(host: HostConfig) -> tuple[Rlimit, ...]:
    """The ulimits of a request. Raises Internal for an unknown name, as Docker's start does."""
    found = []
    for limit in host.ulimits or []:
        if limit.name not in _RLIMITS:
            raise Internal(f"failed to create task for container: wrong rlimit value: RLIMIT_{limit.name.upper()}")
        found.append(
            Rlimit(
                type=f"RLIMIT_{limit.name.upper()}",
                soft=limit.soft if limit.soft >= 0 else UNLIMITED,
                hard=limit.hard if limit.hard >= 0 else UNLIMITED,
            )
        )
    return tuple(found)


def resources(host: HostConfig, rules: tuple[DeviceCgroup, ...]) -> Resources:
    """Limits and device rules."""
    quota, period = host.cpu_quota or None, host.cpu_period or None
    if host.nano_cpus:
        quota, period = host.nano_cpus * CPU_PERIOD_US // 1_000_000_000, CPU_PERIOD_US
    memory = Memory(
        limit=host.memory or None,
        reservation=host.memory_reservation or None,
        swap=host.memory_swap or None,
        swappiness=host.memory_swappiness if host.memory_swappiness not in (None, -1) else None,
        disable_oom_killer=True if host.oom_kill_disable else None,
    )
    cpu = Cpu(shares=host.cpu_shares or None, quota=quota, period=period, cpus=host.cpuset_cpus, mems=host.cpuset_mems)
    allow_all = (DeviceCgroup(allow=True),)
    return Resources(
        devices=allow_all if host.privileged else (*defaults.DEVICE_RULES, *rules),
        memory=memory if memory != Memory() else None,
        cpu=cpu if cpu != Cpu() else None,
        pids=Pids(limit=host.pids_limit) if host.pids_limit else None,
    )


def _sysctls(host: HostConfig, kinds: frozenset[str]) -> dict[str, str]:
    given = dict(host.sysctls) if host.sysctls is not UNSET else {}
    prefix = "failed to create task for container: "
    for name in given:
        if name.startswith("net."):
            if host.network_mode == "host":
                raise Internal(f'{prefix}sysctl "{name}" not allowed in host network namespace')
        elif name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
            if "ipc" not in kinds:
                raise Internal(f'{prefix}sysctl "{name}" is not allowed in the hosts ipc namespace')
        elif name not in ("kernel.domainname", "kernel.hostname") or "uts" not in kinds:
            raise Internal(f'{prefix}sysctl "{name}" is not in a separate kernel namespace')
    inherited = defaults.PRIVATE_NETWORK_SYSCTLS if "network" in kinds else {}
    return {**inherited, **given}


def _devices(host: HostConfig) -> tuple[tuple[Device, ...], tuple[DeviceCgroup, ...]]:
    devices: list[Device] = []
    rules: list[DeviceCgroup] = []
    for mapping in host.devices or []:
        target = os.path.normpath(mapping.path_in_container or mapping.path_on_host)
        try:
            found = _device_nodes(mapping.path_on_host, target)
        except FileNotFoundError:
            raise Internal(
                f'error gathering device information while adding custom device "{mapping.path_on_host}": no such file or directory'
            ) from None
        if not found:
            raise Internal(f'error gathering device information while adding custom device "{mapping.path_on_host}": not a device node')
        devices += found
        access = mapping.cgroup_permissions or "rwm"
        rules += [DeviceCgroup(allow=True, type=d.type, major=d.major, minor=d.minor, access=access) for d in found]
    if host.privileged:
        own = {device.path for device in (*defaults.DEVICES, *devices)}
        devices += [d for d in _device_nodes("/dev", "/dev") if d.path not in own and not d.path.startswith(_OWN_FOLDERS)]
    for rule in host.device_cgroup_rules or []:
        rules.append(security.device_rule(rule))
    return tuple(devices), tuple(rules)


def _device_nodes(path: str, target: str) -> list[Device]:
    info = os.stat(path)
    if stat.S_ISDIR(info.st_mode):
        nodes: list[Device] = []
        for folder, _, files in os.walk(path):
            for name in files:
                inner = os.path.join(folder, name)
                if not os.path.islink(inner):
                    nodes += _device_nodes(inner, os.path.normpath(target + inner[len(path) :]))
        return nodes
    kind = "b" if stat.S_ISBLK(info.st_mode) else "c" if stat.S_ISCHR(info.st_mode) else ""
    if not kind:
        return []
    device = Device(
        path=target,
        type=kind,
        major=os.major(info.st_rdev),
        minor=os.minor(info.st_rdev),
        file_mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
    )
    return [device]


def _mounts(record: Record, bound: Bound, recursive_readonly: bool) -> tuple[Mount, ...]:
    host = record.host
    tmpfs = dict(host.tmpfs) if host.tmpfs is not UNSET else {}
    taken = _taken(record)
    found: list[Mount] = []
    for mount in defaults.default_mounts(host.shm_size, host.privileged):
        if mount.destination in taken or (mount.destination == _SHM and host.ipc_mode == "none"):
            continue
        if mount.destination == _SHM:
            found.append(_shm(mount, host))
        else:
            found.append(mount)
    for name, path in (("resolv.conf", bound.resolv_conf), ("hostname", bound.hostname), ("hosts", bound.hosts)):
        if f"/etc/{name}" not in taken:
            found.append(
                Mount(
                    destination=f"/etc/{name}",
                    type="bind",
                    source=str(path),
                    options=("rbind", "rprivate", "rw" if not host.readonly_rootfs else "ro"),
                )
            )
    wanted = [Mount(destination=os.path.normpath(target), type="tmpfs", source="tmpfs", options=tmpfs_words(text)) for target, text in tmpfs.items()]
    asked = {os.path.normpath(m.target): m for m in (host.mounts if host.mounts is not UNSET else []) if m.target is not UNSET}
    wanted += [mount_of(point, asked.get(point.destination), recursive_readonly) for point in record.mounts]
    # Shallow targets first, so that a mount below another one is not hidden by it.
    return (*found, *sorted(wanted, key=lambda mount: mount.destination.count("/")))


def mount_of(point: MountPoint, request: AskedMount | None, recursive_readonly: bool) -> Mount:
    """What a mount point is to the runtime; request: the `--mount` that asked for it. Raises Internal for options that exclude each other."""
    if point.type == "tmpfs":
        words = tmpfs_words(points.tmpfs_options(request) if request is not None else "") + (() if point.rw else ("ro",))
        return Mount(destination=point.destination, type="tmpfs", source="tmpfs", options=words)
    if point.type == "image":
        return Mount(destination=point.destination, type="bind", source=point.name or "", options=("rbind", "rprivate", "ro"))
    options = request.bind_options if request is not None and request.bind_options is not UNSET else BindOptions()
    kind = "bind" if options.non_recursive is True else "rbind"
    words = (kind, point.propagation or "rprivate", "rw" if point.rw else _readonly(options, point.destination, recursive_readonly))
    return Mount(destination=point.destination, type="bind", source=point.source, options=words)


def recursive_binds(record: Record) -> list[str]:
    """Destinations of the binds that show what is mounted below their source, too. Pure."""
    asked = {points.target_of(mount): mount.bind_options for mount in (record.host.mounts if record.host.mounts is not UNSET else [])}
    plain = [target for target, options in asked.items() if options is not UNSET and options.non_recursive is True]
    return [point.destination for point in record.mounts if point.type == "bind" and point.destination not in plain]


def _readonly(options: BindOptions, where: str, possible: bool) -> str:
    """`rro`, as Docker does where nothing else was asked: a read-only bind has nothing writable below it, unless the kernel is older than 5.12."""
    if options.read_only_force_recursive is True:
        if options.read_only_non_recursive is True:
            raise Internal("mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive")
        if not possible:
            raise Internal(f"mount {where}: recursively read-only bind mounts need Linux 5.12 or newer")
    return "rro" if possible and options.read_only_non_recursive is not True else "ro"


def _taken(record: Record) -> set[str]:
    """Where a mount of the request takes the place of a default one."""
    tmpfs = dict(record.host.tmpfs) if record.host.tmpfs is not UNSET else {}
    return {point.destination for point in record.mounts} | {os.path.normpath(target) for target in tmpfs}


def _shm(mount: Mount, host: HostConfig) -> Mount:
    if host.ipc_mode == "host":
        return Mount(destination="/dev/shm", type="bind", source="/dev/shm", options=("rbind", "rprivate"))
    if host.ipc_mode.startswith("container:"):
        return Mount(destination=_SHM, type="bind", source=_SHM, options=("bind", "nosuid", "nodev", "noexec"))  # `Extras.borrowed`
    return mount


_TMPFS_FLAGS = {
    "exec", "noexec", "suid", "nosuid", "dev", "nodev", "ro", "rw", "sync", "async", "dirsync", "atime", "noatime", "diratime",
    "nodiratime", "relatime",
    "norelatime", "strictatime", "nostrictatime", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable",
}  # fmt: skip
_TMPFS_KEYS = {"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"}


def tmpfs_words(text: str) -> tuple[str, ...]:
    """The mount words of a `--tmpfs` value over Docker's defaults (noexec, nosuid, nodev). Raises Internal (`invalid tmpfs option "zz"`)."""
    words = ["noexec", "nosuid", "nodev"]
    for option in filter(None, text.split(",")):
        key, equals, _ = option.partition("=")
        if (key not in _TMPFS_KEYS) if equals else (option not in _TMPFS_FLAGS):
            raise Internal(f'invalid tmpfs option "{key}"')
        opposite = option.removeprefix("no") if option.startswith("no") else f"no{option}"
        words = [word for word in words if word != opposite and (not equals or not word.startswith(f"{key}="))]
        words.append(option)
    return tuple(words)
