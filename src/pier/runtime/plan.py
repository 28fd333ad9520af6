"""A container as a list of steps: pure. What is decided here is executed, in this order, by `pier.runtime.child`.

A plan is a value: it can be printed (one line a step), compared in a test as text, and is refused (`Invalid`) before
anything is touched. The order is the security argument; each step's reason stands with the code that does it.
"""

import binascii
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pier.errors import Invalid, NotImplementedByPier
from pier.linux import capabilities, namespaces
from pier.linux.mounts import MOUNT_OPTIONS_MAX, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE
from pier.oci.runtime_spec import Process, Spec
from pier.runtime import facts as features
from pier.runtime import seccomp_counted
from pier.runtime.facts import HostFacts
from pier.runtime.limits import Write, limits
from pier.runtime.plan_mounts import IdMap, bind_sources, idmap_steps, mount_steps, shared_steps
from pier.runtime.seccomp_profile import filter_of
from pier.runtime.step import Step

__all__ = [
    "ExecExtras", "Extras", "ImageMount", "InterfaceSetup", "NetworkSetup", "Plan", "RootMount", "StdioSetup", "Step", "Write",
    "exec_plan", "limits", "plan",
]  # fmt: skip

_NUMBER_CHARS = 6  # of a descriptor in the options of a mount, with its colon
_PROPAGATION = {"": 0, "private": MS_PRIVATE, "slave": MS_SLAVE, "shared": MS_SHARED, "unbindable": MS_UNBINDABLE}
_RLIMIT_TABLE = (  # the position is the number, asm-generic/resource.h
    "RLIMIT_CPU RLIMIT_FSIZE RLIMIT_DATA RLIMIT_STACK RLIMIT_CORE RLIMIT_RSS RLIMIT_NPROC RLIMIT_NOFILE RLIMIT_MEMLOCK "
    "RLIMIT_AS RLIMIT_LOCKS RLIMIT_SIGPENDING RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME"
)
_RLIMITS = tuple(_RLIMIT_TABLE.split())
_IPC_TABLE = "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni kernel.shm_rmid_forced"
_IPC_SYSCTLS = frozenset(_IPC_TABLE.split())
_JOIN_ORDER = ("cgroup", "ipc", "uts", "network", "mount")  # mount last: /proc of the host is needed no more then


@dataclass(frozen=True)
class RootMount:
    """The overlay: lowers topmost first, an int being an index into the descriptors handed over with the plan (a mount), a str a path.

    space: the index of a mount namespace's descriptor; then a str without a slash in front is the name of a mount at its root.
    """

    lowers: tuple[str | int, ...]
    upper: str
    work: str
    readonly: bool = False
    space: int | None = None


@dataclass(frozen=True)
class ImageMount:
    """An image, or a path in it, that a mount shows: lowers and space as those of a RootMount, at least two lowers; nobody writes it."""

    lowers: tuple[str | int, ...]
    subpath: str = ""
    space: int | None = None


@dataclass(frozen=True)
class InterfaceSetup:
    """One link of a container as its child configures it; see linux.netlink.configure_inside. Addresses with their prefixes ("172.17.0.2/16")."""

    name: str
    addresses: tuple[str, ...] = ()
    mac: str = ""
    gateways: tuple[str, ...] = ()  # those that are the default ones
    neighbours: tuple[tuple[str, str], ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class NetworkSetup:
    """What the child does inside its network namespace."""

    loopback: bool = True
    interfaces: tuple[InterfaceSetup, ...] = ()


@dataclass(frozen=True)
class StdioSetup:
    """FIFOs of the host for the three streams: a path, or the index of a descriptor that was handed over, None for /dev/null.

    Or a terminal, which the child makes and hands back. A child that is born in the container's mount namespace needs descriptors.
    """

    terminal: bool = False
    rows: int = 0
    cols: int = 0
    stdin: str | int | None = None
    stdout: str | int | None = None
    stderr: str | int | None = None


@dataclass(frozen=True)
class Extras:
    """What the runtime specification has no words for.

    `user` as given, resolved inside; `init`: None, "builtin" or "host:PATH"; `join`: namespace kind -> index of a descriptor;
    `sources`: mount destination -> index of a descriptor (a detached mount) that stands for the bind's source path;
    `borrowed`: mount destination -> index of the descriptor of another container's mount namespace: its mount at the bind's source is shared;
    `copy_up`: mount destinations whose (empty) source is filled with what the image has there;
    `images`: mount destination -> the image that is shown there;
    `idmaps`: mount destination of a bind -> (users, groups), complete mappings of the owners on the disk to those that are shown;
    `names`: the embedded DNS server's sockets are made and handed over;
    `keyring`: name of the session keyring that execs share ("" for a nameless one);
    `counted`: a volume with a limit is among the mounts: what counts its files cannot be changed (seccomp_counted.py).
    """

    root: RootMount
    network: NetworkSetup | None = None
    stdio: StdioSetup = StdioSetup()
    user: str = ""
    groups: tuple[str, ...] = ()
    init: str | None = None
    join: Mapping[str, int] = field(default_factory=dict)
    create_workdir: bool = True
    sources: Mapping[str, int] = field(default_factory=dict)
    borrowed: Mapping[str, int] = field(default_factory=dict)
    copy_up: frozenset[str] = frozenset()
    images: Mapping[str, ImageMount] = field(default_factory=dict)
    idmaps: Mapping[str, IdMap] = field(default_factory=dict)
    names: bool = False
    keyring: str = ""
    counted: bool = False


@dataclass(frozen=True)
class ExecExtras:
    """As Extras, for a process in a running container: `join` has its namespaces' descriptors (the pid one is its birthplace).

    An empty `join`: the child was born in all of them, which leaves no moment in which a container with CAP_SYS_PTRACE sees the host through it.
    """

    stdio: StdioSetup = StdioSetup()
    user: str = ""
    groups: tuple[str, ...] = ()
    join: Mapping[str, int] = field(default_factory=dict)
    keyring: str = ""
    seccomp: Any = None  # pier.oci.runtime_spec.Seccomp: the container's own
    counted: bool = False


@dataclass(frozen=True)
class Plan:
    """Steps in order."""

    steps: tuple[Step, ...]

    def encode(self) -> dict[str, Any]:
        """What the child gets, as JSON-able values."""
        return {"steps": [[step.name, step.arguments] for step in self.steps]}

    def split(self) -> "tuple[Plan, Plan, Plan]":
        """What needs no network, what makes the rest of the container, and the step that begins its program: a child may be told one by one."""
        at = next((number for number, step in enumerate(self.steps) if step.name == "network"), len(self.steps) - 1)
        return Plan(self.steps[:at]), Plan(self.steps[at:-1]), Plan(self.steps[-1:])

    def __str__(self) -> str:
        return "\n".join(map(str, self.steps))


def plan(spec: Spec, extras: Extras, facts: HostFacts) -> Plan:
    """The steps that make a container of a blank child. Raises Invalid, NotImplementedByPier: nothing was touched."""
    process, linux = spec.process, spec.linux
    own: set[str] = {namespace.type for namespace in linux.namespaces}
    _check(spec, extras, own)
    steps = [*_open_streams(extras.stdio), *_join(extras.join, own)]
    steps.append(Step("leave_host_propagation", {}))
    if facts.has(features.KEYRINGS):
        steps.append(Step("keyring", {"name": extras.keyring}))
    steps.append(Step("private_proc", {}))
    if linux.mount_label:
        steps.append(Step("mount_label", {"label": linux.mount_label}))
    if process.oom_score_adj is not None:
        steps.append(Step("oom_score_adj", {"value": process.oom_score_adj}))
    if spec.hostname:
        steps.append(Step("hostname", {"name": spec.hostname, "domain": spec.domainname}))
    sources = bind_sources(spec, extras.sources, {*extras.borrowed, *extras.images}, extras.init)
    if sources:
        steps.append(Step("open_sources", {"sources": sources}))
    steps += idmap_steps(extras.idmaps, facts)
    for mount in spec.mounts:
        if mount.destination in extras.borrowed:
            steps.append(Step("borrow", {"slot": mount.destination, "space": extras.borrowed[mount.destination], "path": mount.source}))
    steps += _root(extras.root, extras.images, facts, linux.mount_label)
    steps += mount_steps(spec, extras.init, extras.stdio.terminal, facts, extras.copy_up)
    if extras.stdio.terminal:
        steps.append(Step("console", {"rows": extras.stdio.rows, "cols": extras.stdio.cols, "bind": True}))
    if linux.masked_paths:
        steps.append(Step("mask", {"hidden": list(linux.masked_paths)}))
    if linux.readonly_paths:
        steps.append(Step("protect", {"kept": list(linux.readonly_paths)}))
    # Last of what needs the host in sight, since its other end may still be on its way.
    if extras.network is not None:
        steps.append(Step("network", asdict(extras.network)))
    if extras.names:
        steps.append(Step("names", {}))
    if linux.sysctl:
        steps.append(Step("sysctls", {"values": dict(linux.sysctl)}))
    steps.append(Step("pivot", {"propagation": _propagation(linux.rootfs_propagation)}))
    steps += shared_steps(spec, extras.sources, (*linux.masked_paths, *linux.readonly_paths), extras.init, facts)
    if extras.create_workdir and process.cwd != "/":
        steps.append(Step("make_workdir", {"path": process.cwd}))
    if extras.root.readonly or spec.root.readonly:
        steps.append(Step("root_readonly", {}))
    steps += _process(process, extras.user, extras.groups, facts, linux.seccomp)
    return Plan(tuple(steps + _launch(process, extras.init, facts, linux.seccomp, extras.counted)))


def exec_plan(process: Process, extras: ExecExtras, facts: HostFacts) -> Plan:
    """The steps of one more process in a running container; the child was born in its pid namespace. Raises Invalid."""
    _check_process(process)
    steps = [*_open_streams(extras.stdio), *([Step("host_null", {})] if extras.join else [])]
    if facts.has(features.KEYRINGS):
        steps.append(Step("keyring", {"name": extras.keyring}))
    if process.oom_score_adj is not None or process.selinux_label or (process.apparmor_profile and facts.has(features.APPARMOR)):
        steps.append(Step("private_proc", {}))
    if process.oom_score_adj is not None:
        steps.append(Step("oom_score_adj", {"value": process.oom_score_adj}))
    steps += _join(extras.join, set())
    steps.append(Step("enter_root", {}))
    if extras.stdio.terminal:
        steps.append(Step("console", {"rows": extras.stdio.rows, "cols": extras.stdio.cols, "bind": False}))
    steps += _process(process, extras.user, extras.groups, facts, extras.seccomp)
    return Plan(tuple(steps + _launch(process, None, facts, extras.seccomp, extras.counted)))


def _check(spec: Spec, extras: Extras, own: set[str]) -> None:
    _check_process(spec.process)
    if "mount" not in own:
        raise Invalid("a container without a mount namespace of its own would change the host's mounts")
    if "user" in own or "time" in own:
        raise NotImplementedByPier("a user or time namespace")
    for kind in extras.join:
        if kind == "pid":
            raise NotImplementedByPier("--pid container:ID", "the process must be born in the namespace")
        if kind not in _JOIN_ORDER:
            raise Invalid(f"unknown kind of namespace {kind!r}")
    if (spec.hostname or spec.domainname) and "uts" not in own:
        raise Invalid("a host name needs a UTS namespace of its own; leave --uts host or --hostname away")
    for name in spec.linux.sysctl:
        _check_sysctl(name, own)
    if not extras.root.lowers:
        raise Invalid("the root has no layer")


def _check_sysctl(name: str, own: set[str]) -> None:
    """Only what belongs to a namespace of the container: anything else would change the host."""
    key = name.replace("/", ".")
    if ".." in key or not all(part.replace("-", "").replace("_", "").isalnum() for part in key.split(".")):
        raise Invalid(f"invalid sysctl name {name!r}")
    if key in _IPC_SYSCTLS or key.startswith("fs.mqueue."):
        kind = "ipc"
    elif key.startswith("net."):
        kind = "network"
    elif key == "kernel.domainname":
        kind = "uts"
    else:
        raise Invalid(f"sysctl {name!r} is not in a separate kernel namespace")
    if kind not in own:
        raise Invalid(f"sysctl {name!r} is not allowed in the host's {kind} namespace")


def _check_process(process: Process) -> None:
    if not process.args or not process.args[0]:
        raise Invalid("no command specified")
    if not process.cwd.startswith("/"):
        raise Invalid(f"the working directory {process.cwd!r} is invalid, it needs to be an absolute path")
    for text in (*process.args, *process.env, process.cwd):
        if "\0" in text:
            raise Invalid("a NUL byte in the command, the environment or the working directory")
    for limit in process.rlimits:
        if limit.type not in _RLIMITS:
            raise Invalid(f"unknown resource limit {limit.type!r}")


def _open_streams(stdio: StdioSetup) -> list[Step]:
    if stdio.terminal:
        return []
    return [Step("open_streams", {"stdin": stdio.stdin, "stdout": stdio.stdout, "stderr": stdio.stderr})]


def _join(join: Mapping[str, int], own: set[str]) -> list[Step]:
    kinds = [kind for kind in _JOIN_ORDER if kind in join]
    if not kinds:
        return []
    return [Step("join", {"spaces": [[join[kind], namespaces.FLAGS[kind], kind] for kind in kinds]})]


def _root(root: RootMount, images: Mapping[str, ImageMount], facts: HostFacts, label: str) -> list[Step]:
    """The root, then the images that are shown in it: what they are made of is cloned first, the writable folder is their scratch after."""
    clones = [*_clone_layers(root), *(step for image in images.values() for step in _clone_layers(image))]
    arguments: dict[str, Any] = {"lowers": list(root.lowers), "upper": root.upper, "work": root.work}
    steps = [*clones, Step(_way(root, facts, label), arguments), Step("attach_root", {})]
    for slot, image in images.items():
        shown = {"slot": slot, "way": _way(image, facts, label), "lowers": list(image.lowers), "subpath": image.subpath, "scratch": root.upper}
        steps.append(Step("image_root", shown))
    return steps


def _clone_layers(of: RootMount | ImageMount) -> list[Step]:
    if of.space is None:
        return []
    named = [lower for lower in of.lowers if isinstance(lower, str) and not lower.startswith("/")]
    return [Step("clone_layers", {"space": of.space, "names": named})]


def _way(of: RootMount | ImageMount, facts: HostFacts, label: str) -> str:
    """The step by which this kernel makes an overlay."""
    if not facts.has(features.OVERLAY_APPEND):
        if _NUMBER_CHARS * len(of.lowers) + 60 + (len(label) + 11 if label else 0) > MOUNT_OPTIONS_MAX:
            raise Invalid(f"{len(of.lowers)} layers do not fit the {MOUNT_OPTIONS_MAX} bytes of options that this kernel reads for an overlay")
        return "overlay_by_options"
    return "overlay" if facts.has(features.OVERLAY_FD) else "overlay_by_scratch"


def _propagation(word: str) -> int:
    plain = word[1:] if word.startswith("r") else word
    if plain not in _PROPAGATION:
        raise Invalid(f"unknown propagation {word!r}")
    return _PROPAGATION[plain] | (MS_REC if plain != word else 0) if word else MS_PRIVATE | MS_REC


def _process(process: Process, user: str, groups: tuple[str, ...], facts: HostFacts, profile: Any) -> list[Step]:
    steps = []
    if process.apparmor_profile:
        if facts.has(features.APPARMOR):
            steps.append(Step("apparmor", {"profile": process.apparmor_profile}))
        elif process.apparmor_profile not in ("unconfined", "pier-default"):
            raise Invalid(f"the AppArmor profile {process.apparmor_profile!r} was asked for, but AppArmor is not enabled on this host")
    if process.selinux_label:
        steps.append(Step("selinux", {"label": process.selinux_label}))
    if process.rlimits:
        steps.append(Step("rlimits", {"limits": [[_RLIMITS.index(r.type), r.soft, r.hard, r.type] for r in process.rlimits]}))
    text = user or f"{process.user.uid}:{process.user.gid}"
    # Numbers that nobody looked up keep their supplementary groups; names are looked up in the container's own files.
    steps.append(Step("find_user", {"user": text if user else "", "numbers": [process.user.uid, process.user.gid], "groups": list(groups)}))
    return steps


def _launch(process: Process, init: str | None, facts: HostFacts, profile: Any, counted: bool) -> list[Step]:
    sets = process.capabilities
    caps = {
        "bounding": capabilities.mask(_known(sets.bounding)) if sets else 0,
        "permitted": capabilities.mask(_known(sets.permitted)) if sets else 0,
        "effective": capabilities.mask(_known(sets.effective)) if sets else 0,
        "inheritable": capabilities.mask(_known(sets.inheritable)) if sets else 0,
        "ambient": capabilities.mask(_known(sets.ambient)) if sets else 0,
    }
    args = list(process.args)
    if init and init != "builtin":
        args = ["/sbin/docker-init", "--", *args]
    code, flags = b"", 0
    if profile is not None:
        if not facts.has(features.SECCOMP):
            raise Invalid("a seccomp profile was asked for, but this kernel has no seccomp filters: use --security-opt seccomp=unconfined")
        code, flags = filter_of(profile, facts.machine)
    umask = 0o022 if process.user.umask is None else process.user.umask
    steps = [Step("streams", {"terminal": process.terminal})]
    steps.append(Step("bounding", {"mask": caps.pop("bounding")}))
    steps.append(Step("enter_workdir", {"path": process.cwd}))
    steps.append(Step("become", {"umask": umask, "extra_groups": list(process.user.additional_gids)}))
    steps.append(Step("find_program", {"args": args, "env": list(process.env)}))
    if process.no_new_privileges:
        steps.append(Step("no_new_privs", {}))
    locks = {**caps, "code": binascii.b2a_base64(code, newline=False).decode(), "flags": flags}
    if counted and facts.has(features.SECCOMP):
        locks["first"] = binascii.b2a_base64(seccomp_counted.program(facts.machine), newline=False).decode()
    steps.append(Step("restrict", locks))
    if init == "builtin":
        steps.append(Step("stay_as_init", {}))
    steps.append(Step("execute", {}))
    return steps


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in capabilities.NUMBERS:
            raise Invalid(f"unknown capability: {name!r}")
    return names
