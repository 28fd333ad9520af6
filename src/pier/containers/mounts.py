"""Binds, volumes and mounts as asked for (`-v`, `--mount`) -> the container's mount points. Pure, but for asking whether a source is there.

Texts and statuses are Docker's (Engine 28.5). Other kinds are refused before (unsupported.py).
"""

import os
import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import UNSET

from pier.api.models.containers import DriverConfig, HostConfig, Mount, MountPoint, VolumeOptions
from pier.errors import Internal, Invalid
from pier.linux import idmaps

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_MODES = {"ro", "rw", "z", "Z", "nocopy", "consistent", "cached", "delegated", *PROPAGATIONS}
_OPTIONS = (
    ("bind", "bind_options", "BindOptions"),
    ("volume", "volume_options", "VolumeOptions"),
    ("tmpfs", "tmpfs_options", "TmpfsOptions"),
    ("image", "image_options", "ImageOptions"),
)


@dataclass
class Wish:
    """A mount point as somebody wants it. Of a volume, `name` and `source` are filled in once it is there ("" asks for an anonymous one)."""

    point: MountPoint
    make_source: bool = False  # a bind's folder: `-v` makes it, `--mount` does not
    driver: str = ""
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None

    @property
    def is_volume(self) -> bool:
        return self.point.type == "volume"


def wishes(config_volumes: Iterable[str], host: HostConfig, others: Sequence[MountPoint] = ()) -> list[Wish]:
    """All mount points of a request, in Docker's order: of other containers, binds, mounts, then anonymous volumes where nothing else is.

    config_volumes: the paths that image and request declare. others: the points of `--volumes-from`, which anything else covers.
    Raises Invalid or Internal (where Docker answers 500) with the spec or mount at fault.
    """
    asked = [parse_bind(bind, host.volume_driver) for bind in host.binds or []]
    asked += [of_mount(mount) for mount in (host.mounts if host.mounts is not UNSET else [])]
    tmpfs = [posixpath.normpath(target) for target in (host.tmpfs if host.tmpfs is not UNSET else {})]
    for target in host.tmpfs if host.tmpfs is not UNSET else {}:
        if problem := _bad_target(target):
            raise Invalid(problem)
    seen: set[str] = set()
    for target in [wish.point.destination for wish in asked] + tmpfs:
        if target in seen:
            raise Invalid(f"Duplicate mount point: {target}")
        seen.add(target)
    found = {point.destination: Wish(point) for point in others if point.destination not in seen}
    found |= {wish.point.destination: wish for wish in asked}
    for path in config_volumes:
        target = posixpath.normpath(f"/{path}").replace("//", "/")
        if target == "/":
            raise Invalid("invalid volume specification: destination can't be '/'")
        if target not in found and target not in tmpfs:
            found[target] = Wish(_volume_point("", target), driver=host.volume_driver)
    return list(found.values())


def volumes_from(spec: str, of: Callable[[str], Sequence[MountPoint]]) -> list[MountPoint]:
    """The points that `CONTAINER[:ro|rw]` of `--volumes-from` stands for. of: a container's points, by its name. Raises Invalid."""
    if not spec:
        raise Invalid("volumes-from specification cannot be an empty string")
    name, _, mode = spec.partition(":")
    modes = mode.split(",") if mode else []
    if any(word not in _MODES or word in PROPAGATIONS or word == "nocopy" for word in modes) or ("ro" in modes and "rw" in modes):
        raise Invalid(f"invalid mode: {mode}")
    taken = []
    for point in of(name):
        if point.type == "tmpfs":
            continue  # it is that container's alone
        copied = msgspec.structs.replace(point, rw=point.rw and "ro" not in modes, mode=mode or point.mode)
        taken.append(copied)
    return taken


def parse_bind(spec: str, driver: str = "") -> Wish:
    """`SOURCE:TARGET[:MODES]`: a bind where the source is absolute, else a volume; `TARGET` alone is an anonymous volume."""
    parts = spec.split(":")
    if len(parts) > 3 or not all(parts[:2]):
        raise Internal(f"invalid volume specification: '{spec}'")
    if len(parts) == 1:
        if problem := _bad_target(spec):
            raise Internal(f"invalid volume specification: '{spec}': invalid mount config for type \"volume\": {problem}")
        return Wish(_volume_point("", posixpath.normpath(spec)), driver=driver)
    source, target = parts[0], parts[1]
    modes = parts[2].split(",") if len(parts) == 3 else []
    is_bind = source.startswith("/")
    groups = [sum(m in ("ro", "rw") for m in modes), sum(m in PROPAGATIONS for m in modes), sum(m in ("z", "Z") for m in modes)]
    wrong = ("nocopy",) if is_bind else PROPAGATIONS
    if any(m not in _MODES or m in wrong for m in modes) or any(n > 1 for n in groups):
        raise Internal(f"invalid mode: {parts[2]}")
    if problem := _bad_target(target):
        raise Internal(f"invalid volume specification: '{spec}': invalid mount config for type \"{'bind' if is_bind else 'volume'}\": {problem}")
    mode = ",".join(modes)
    if not is_bind:
        return Wish(_volume_point(source, posixpath.normpath(target), mode or "z", "ro" not in modes), driver=driver)
    point = MountPoint(
        type="bind",
        source=posixpath.normpath(source),
        destination=posixpath.normpath(target),
        mode=mode,
        rw="ro" not in modes,
        propagation=next((m for m in modes if m in PROPAGATIONS), "rprivate"),
    )
    return Wish(point, make_source=True)


def _volume_point(name: str, target: str, mode: str = "", writable: bool = True) -> MountPoint:
    return MountPoint(type="volume", name=name, source="", destination=target, driver="local", mode=mode, rw=writable, propagation="")


def of_mount(mount: Mount) -> Wish:
    """What a `--mount` wishes. Raises Invalid with Docker's text, also where a bind's source is not there."""
    point = from_mount(mount)
    if point.type == "volume":
        options = mount.volume_options if mount.volume_options is not UNSET else VolumeOptions()
        config = options.driver_config if options.driver_config is not UNSET else DriverConfig()
        labels = dict(options.labels) if options.labels is not UNSET and options.labels else None
        return Wish(point, driver=config.name or "", options=dict(config.options) if config.options else None, labels=labels)
    if point.type == "bind" and not (mount.bind_options is not UNSET and mount.bind_options.create_mountpoint is True):
        if not os.path.lexists(point.source):
            raise Invalid(f'invalid mount config for type "bind": bind source path does not exist: {point.source}')
        return Wish(point)
    return Wish(point, make_source=point.type == "bind")


def from_mount(mount: Mount) -> MountPoint:
    """The mount point of a `--mount` of type bind, volume, tmpfs or image. Raises Invalid with Docker's text."""
    kind = "" if mount.type is UNSET else mount.type
    target = "" if mount.target is UNSET else mount.target
    source = "" if mount.source is UNSET else mount.source
    if kind not in ("bind", "tmpfs", "volume", "image"):
        raise Invalid(f'invalid mount config for type "{kind}": mount type unknown')
    for owner, attribute, name in _OPTIONS:
        if getattr(mount, attribute) is not UNSET and owner != kind:
            raise Invalid(f'{name} must not be specified on mount type "{kind}"')
    if not target:
        raise Invalid(f'invalid mount config for type "{kind}": field Target must not be empty')
    problem = _bad_target(target)
    if problem:
        raise Invalid(f'invalid mount config for type "{kind}": {problem}')
    id_map(mount)
    readonly = mount.read_only is True
    if kind == "tmpfs":
        if source:
            raise Invalid('invalid mount config for type "tmpfs": field Source must not be specified')
        return MountPoint(type="tmpfs", source="", destination=posixpath.normpath(target), mode="", rw=not readonly, propagation="")
    if kind == "volume":
        options = mount.volume_options
        if options is not UNSET and options.subpath is not UNSET and options.subpath:
            if not source:
                raise Invalid('invalid mount config for type "volume": must not set Subpath when using anonymous volumes')
            _check_subpath(kind, options.subpath)
        return _volume_point(source, posixpath.normpath(target), "z" if source else "", not readonly)
    if not source:
        raise Invalid(f'invalid mount config for type "{kind}": field Source must not be empty')
    if kind == "image":
        _check_subpath(kind, image_subpath(mount))
        return MountPoint(type="image", name=source, source="", destination=posixpath.normpath(target), mode="", rw=False, propagation="rprivate")
    if not source.startswith("/"):
        raise Invalid(f"invalid mount config for type \"bind\": invalid mount path: '{source}' mount path must be absolute")
    propagation = "rprivate"
    if mount.bind_options is not UNSET and mount.bind_options.propagation is not UNSET and mount.bind_options.propagation:
        propagation = mount.bind_options.propagation
        if propagation not in PROPAGATIONS:
            raise Invalid(f'invalid mount config for type "bind": invalid propagation mode: {propagation}')
    return MountPoint(
        type="bind", source=posixpath.normpath(source), destination=posixpath.normpath(target), mode="", rw=not readonly, propagation=propagation
    )


def image_subpath(mount: Mount) -> str:
    """What of an image a `--mount type=image` shows; "" for all of it."""
    return mount.image_options.subpath if mount.image_options is not UNSET and mount.image_options.subpath is not UNSET else ""


def _check_subpath(kind: str, subpath: str) -> None:
    if subpath.startswith("/") or ".." in subpath.split("/"):
        raise Invalid(f'invalid mount config for type "{kind}": subpath must be a relative path within the volume')


def _bad_target(target: str) -> str:
    if not target.startswith("/"):
        return f"invalid mount path: '{target}' mount path must be absolute"
    return "invalid specification: destination can't be '/'" if posixpath.normpath(target) in ("/", "//") else ""


def id_map(mount: Mount) -> tuple[list[idmaps.Range], list[idmaps.Range]] | None:
    """The mappings of users and groups that a `--mount` asks for. Raises Invalid."""
    if mount.id_map is UNSET or not mount.id_map:
        return None
    if mount.type not in ("bind", "volume"):
        raise Invalid(f'invalid mount config for type "{mount.type}": IDMap is for binds and volumes')
    try:
        users, groups = idmaps.parse(mount.id_map)
    except ValueError as error:
        raise Invalid(f'invalid mount config for type "{mount.type}": IDMap: {error}') from None
    return idmaps.complete(users), idmaps.complete(groups)


def target_of(mount: Mount) -> str:
    """The destination of a `--mount` as mount points have it."""
    return posixpath.normpath("" if mount.target is UNSET else mount.target)


def tmpfs_options(mount: Mount) -> str:
    """The options of a `--mount type=tmpfs` as the tmpfs file system takes them (`size=1048576,mode=700`)."""
    if mount.tmpfs_options is UNSET:
        return ""
    options = []
    if mount.tmpfs_options.size_bytes is not UNSET and mount.tmpfs_options.size_bytes:
        options.append(f"size={mount.tmpfs_options.size_bytes}")
    if mount.tmpfs_options.mode is not UNSET and mount.tmpfs_options.mode:
        options.append(f"mode={mount.tmpfs_options.mode:o}")
    if mount.tmpfs_options.options is not UNSET:
        options += ["=".join(pair) for pair in mount.tmpfs_options.options]
    return ",".join(options)
