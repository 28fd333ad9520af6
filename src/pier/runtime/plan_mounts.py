"""The mounts of a plan: pure. Which sources are opened while the host is still in sight, and what goes where after."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pier.errors import Invalid
from pier.linux import idmaps
from pier.linux.mounts import MS_SHARED
from pier.oci.runtime_spec import Device, Mount, Spec
from pier.runtime import facts as features
from pier.runtime.facts import HostFacts
from pier.runtime.mount_options import Parsed, parse
from pier.runtime.step import Step

IdMap = tuple[Sequence[idmaps.Range], Sequence[idmaps.Range]]
INIT_PATH = "/sbin/docker-init"
_DEV_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
    ("/proc/kcore", "core"),
)
_NO_LINK = frozenset({"proc", "sysfs"})  # runc refuses links there since CVE-2019-19921


def is_bind(mount: Mount) -> bool:
    """Whether the mount shows a path of the host."""
    return mount.type == "bind" or "bind" in mount.options or "rbind" in mount.options


def is_shared(mount: Mount) -> bool:
    """Whether it is a bind whose mounts the host sees."""
    return is_bind(mount) and parse(mount.options, mount.destination).propagation == MS_SHARED


def check_shared(shared: Collection[str], others: Collection[str]) -> None:
    """Raises Invalid where a mount, or a path that is hidden, is below one whose mounts the host sees: it would change the host."""
    for place in shared:
        below = next((path for path in others if path != place and (path.startswith(f"{place}/") or place == "/")), None)
        if below is not None:
            raise Invalid(
                f"mount {place}: what is mounted below a shared bind is mounted on the host, too, and {below} would be: bind it as slave or private,"
                " or at another place"
            )


def shared_steps(spec: Spec, handed: Collection[str], hidden: Collection[str], init: str | None, facts: HostFacts) -> list[Step]:
    """The binds whose mounts the host sees: when all other mounts are in their places, where no link leads. Raises Invalid.

    handed: destinations whose source was opened beside the host's mounts. hidden: paths of the container that other steps cover.
    """
    mounts = [mount for mount in spec.mounts if is_shared(mount)]
    if not mounts:
        return []
    if not facts.has(features.MOUNT_SETATTR):
        raise Invalid(f"mount {mounts[0].destination}: shared binds need Linux 5.12 or newer (mount_setattr)")
    places = [mount.destination for mount in mounts]
    if alone := next((place for place in places if place not in handed), None):
        raise Invalid(f"mount {alone}: the source of a shared bind has to be handed over, else nothing of it reaches the host")
    covered = [path for path in hidden if path in places]
    if covered:
        raise Invalid(f"mount {covered[0]}: it is hidden from containers: a shared bind would hide it on the host, too")
    further = [INIT_PATH] if init and init != "builtin" else []
    nodes = [device.path for device in spec.linux.devices]
    check_shared(places, [*(mount.destination for mount in spec.mounts), *hidden, *further, *nodes])
    return [replace(step, arguments={**step.arguments, "no_links": True}) for step in (mount_step(mount, facts) for mount in mounts)]


def bind_sources(spec: Spec, handed: Mapping[str, int], elsewhere: Collection[str], init: str | None) -> list[list[Any]]:
    """What to open before the host is left: [slot, path or index of a descriptor, with what is mounted below]. Raises Invalid.

    elsewhere: destinations whose source another step makes.
    """
    found: list[list[Any]] = []
    for mount in spec.mounts:
        if is_bind(mount) and mount.destination not in elsewhere:
            if mount.destination not in handed and not mount.source.startswith("/"):
                raise Invalid(f"mount {mount.destination}: the source {mount.source!r} is not an absolute path")
            recursive = parse(mount.options, mount.destination).recursive_bind
            found.append([mount.destination, handed.get(mount.destination, mount.source), recursive])
    if init and init != "builtin":
        kind, _, path = init.partition(":")
        if kind != "host" or not path.startswith("/"):
            raise Invalid(f"init {init!r} is neither builtin nor host:/PATH")
        found.append([INIT_PATH, path, False])
    return found


def mount_steps(spec: Spec, init: str | None, terminal: bool, facts: HostFacts, copy_up: frozenset[str] = frozenset()) -> list[Step]:
    """A step for each mount, in the specification's order, then the devices and the init program. Raises Invalid.

    copy_up: destinations of binds whose source is filled from the image before it covers it.
    """
    steps: list[Step] = []
    dev_made = False
    for mount in spec.mounts:
        if not mount.destination.startswith("/"):
            raise Invalid(f"mount destination {mount.destination!r} is not an absolute path")
        options = parse(mount.options, mount.destination)
        if is_shared(mount):
            continue  # shared_steps
        if is_bind(mount):
            if mount.destination in copy_up:
                steps.append(Step("copy_up", {"slot": mount.destination, "target": mount.destination}))
            steps.append(mount_step(mount, facts))
        elif mount.type in ("cgroup", "cgroup2"):
            steps.append(_cgroup(mount, options, spec, facts))
        elif mount.destination == "/dev" and mount.type == "tmpfs":
            dev_made = True
            steps.append(_dev(mount, options, spec, terminal))
        else:
            steps.append(_filesystem(mount, options))
    outside = [device for device in spec.linux.devices if not (dev_made and device.path.startswith("/dev/"))]
    if outside:
        steps.append(Step("devices", {"nodes": [_node(device, device.path) for device in outside]}))
    if init and init != "builtin":
        init_mount = Mount(destination=INIT_PATH, type="bind", options=("bind", "ro", "nosuid", "nodev"))
        steps.append(_bind(init_mount, parse(init_mount.options, INIT_PATH), facts))
    return steps


def idmap_steps(maps: Mapping[str, IdMap], facts: HostFacts) -> list[Step]:
    """Owners of binds are mapped while their sources are detached. Raises Invalid on a kernel that cannot."""
    if maps and not facts.has(features.MOUNT_SETATTR):
        raise Invalid(f"mount {next(iter(maps))}: mapped owners (idmap) need Linux 5.12 or newer")
    return [Step("idmap", {"slot": slot, "users": users, "groups": groups}) for slot, (users, groups) in maps.items()]


def mount_step(mount: Mount, facts: HostFacts) -> Step:
    """The step of one mount that needs nothing but its place: a bind, or a file system of its own. Raises Invalid."""
    options = parse(mount.options, mount.destination)
    return _bind(mount, options, facts) if is_bind(mount) else _filesystem(mount, options)


def _bind(mount: Mount, options: Parsed, facts: HostFacts) -> Step:
    setattr_works = facts.has(features.MOUNT_SETATTR)
    if options.recursive_attributes and not setattr_works:
        raise Invalid(f"mount {mount.destination}: recursively read-only bind mounts need Linux 5.12 or newer")
    return Step(
        "bind",
        {
            "slot": mount.destination,
            "target": mount.destination,
            "add": options.add,
            "clear": options.clear,
            "recursive_add": options.recursive_attributes,
            "propagation": options.propagation or (1 << 18),
            "recursive_propagation": options.recursive_propagation or not options.propagation,
            "by_remount": not setattr_works,
        },
    )


def _filesystem(mount: Mount, options: Parsed) -> Step:
    data = [list(pair) for pair in options.data]
    arguments: dict[str, Any] = {
        "kind": mount.type,
        "target": mount.destination,
        "attributes": options.add,
        "data": [["source", mount.source or mount.type], *data],
    }
    if mount.type in _NO_LINK:
        arguments["no_links"] = True
    if mount.type == "tmpfs" and not any(key == "mode" for key, _ in options.data):
        arguments["mode_of_target"] = True
    return Step("filesystem", arguments)


def _dev(mount: Mount, options: Parsed, spec: Spec, terminal: bool) -> Step:
    nodes = [_node(device, device.path[len("/dev/") :]) for device in spec.linux.devices if device.path.startswith("/dev/")]
    # not for a tmpfs that would take its mode from the folder
    places = {further.destination for further in spec.mounts if further.type != "tmpfs" or any(word.startswith("mode=") for word in further.options)}
    folders = [name for name in ("pts", "shm", "mqueue") if f"/dev/{name}" in places]
    return Step(
        "dev",
        {
            "attributes": options.add,
            "data": [["source", mount.source or "tmpfs"], *(list(pair) for pair in options.data)],
            "nodes": nodes,
            "links": [list(link) for link in _DEV_LINKS],
            "folders": folders,
            "files": ["console"] if terminal else [],
        },
    )


def _node(device: Device, path: str) -> list[Any]:
    """[path, file type and mode, major, minor, uid, gid] of a device."""
    kinds = {"c": 0o020000, "u": 0o020000, "b": 0o060000, "p": 0o010000}
    if device.type not in kinds:
        raise Invalid(f"device {device.path}: unknown type {device.type!r}")
    mode = 0o666 if device.file_mode is None else device.file_mode & 0o7777
    return [path, kinds[device.type] | mode, device.major, device.minor, device.uid, device.gid]


def _cgroup(mount: Mount, options: Parsed, spec: Spec, facts: HostFacts) -> Step:
    """v2: a cgroup2 mount, whose root is the container's own in a private namespace; v1: a tmpfs with a bind of its folder in each tree."""
    layout = facts.cgroups
    if layout.mode == "v2":
        return Step("filesystem", {"kind": "cgroup2", "target": mount.destination, "attributes": options.add, "data": [["source", "cgroup"]]})
    own = spec.linux.cgroups_path.strip("/")
    if not own:
        raise Invalid("a cgroup mount needs linux.cgroupsPath where the host has cgroup v1")
    private = any(namespace.type == "cgroup" for namespace in spec.linux.namespaces)
    trees = []
    for tree in layout.hierarchies:
        if not tree.v2:
            trees.append([tree.name, f"{tree.folder}/{own}", ",".join(tree.controllers) if private else ""])
    links = [[controller, name] for tree in layout.hierarchies if not tree.v2 for controller, name in _short_names(tree.controllers, tree.name)]
    return Step("cgroup_v1", {"target": mount.destination, "attributes": options.add, "trees": trees, "links": links})


def _short_names(controllers: tuple[str, ...], name: str) -> list[tuple[str, str]]:
    """`cpu` -> `cpu,cpuacct`, as hosts have them beside a tree of several controllers."""
    return [(controller, name) for controller in controllers if controller != name and "=" not in controller]
