"""Binds and mounts as asked for (`-v`, `--mount`) -> the container's mount points. Pure, but for asking whether a source is there.

Texts and statuses are Docker's (Engine 28.5). Named volumes and other kinds are refused before (unsupported.py).
"""

import os
import posixpath

from msgspec import UNSET

from pier.api.models.containers import HostConfig, Mount, MountPoint
from pier.errors import Internal, Invalid

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_MODES = {"ro", "rw", "z", "Z", "nocopy", "consistent", "cached", "delegated", *PROPAGATIONS}
_OPTIONS = (
    ("bind", "bind_options", "BindOptions"),
    ("volume", "volume_options", "VolumeOptions"),
    ("tmpfs", "tmpfs_options", "TmpfsOptions"),
    ("image", "image_options", "ImageOptions"),
)


def points(host: HostConfig) -> tuple[list[MountPoint], list[str]]:
    """The mount points of a request, and the bind sources that have to be made (`-v` makes folders, `--mount` does not).

    Raises Invalid or Internal (where Docker answers 500) with the spec or mount at fault.
    """
    found: list[MountPoint] = []
    create: list[str] = []
    for bind in host.binds or []:
        point = parse_bind(bind)
        found.append(point)
        create.append(point.source)
    for mount in host.mounts if host.mounts is not UNSET else []:
        point = from_mount(mount)
        found.append(point)
        if mount.bind_options is not UNSET and mount.bind_options.create_mountpoint is True:
            create.append(point.source)
        elif point.type == "bind" and not os.path.lexists(point.source):
            raise Invalid(f'invalid mount config for type "bind": bind source path does not exist: {point.source}')
    seen: set[str] = set()
    tmpfs = host.tmpfs if host.tmpfs is not UNSET else {}
    for target in tmpfs:
        if problem := _bad_target(target):
            raise Invalid(problem)
    for target in [p.destination for p in found] + [posixpath.normpath(t) for t in tmpfs]:
        if target in seen:
            raise Invalid(f"Duplicate mount point: {target}")
        seen.add(target)
    return found, create


def parse_bind(spec: str) -> MountPoint:
    """The mount point of `SOURCE:TARGET[:MODES]` with an absolute source."""
    parts = spec.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts[:2]):
        raise Internal(f"invalid volume specification: '{spec}'")
    source, target = parts[0], parts[1]
    modes = parts[2].split(",") if len(parts) == 3 else []
    groups = [sum(m in ("ro", "rw") for m in modes), sum(m in PROPAGATIONS for m in modes), sum(m in ("z", "Z") for m in modes)]
    if any(m not in _MODES for m in modes) or any(n > 1 for n in groups) or "nocopy" in modes:
        raise Internal(f"invalid mode: {parts[2]}")
    problem = _bad_target(target)
    if problem:
        raise Internal(f"invalid volume specification: '{spec}': invalid mount config for type \"bind\": {problem}")
    propagation = next((m for m in modes if m in PROPAGATIONS), "rprivate")
    mode = ",".join(modes)
    return MountPoint(
        type="bind",
        source=posixpath.normpath(source),
        destination=posixpath.normpath(target),
        mode=mode,
        rw="ro" not in modes,
        propagation=propagation,
    )


def from_mount(mount: Mount) -> MountPoint:
    """The mount point of a `--mount` of type bind or tmpfs."""
    kind = "" if mount.type is UNSET else mount.type
    target = "" if mount.target is UNSET else mount.target
    source = "" if mount.source is UNSET else mount.source
    if kind not in ("bind", "tmpfs"):
        raise Invalid(f'invalid mount config for type "{kind}": mount type unknown')
    for owner, attribute, name in _OPTIONS:
        if getattr(mount, attribute) is not UNSET and owner != kind:
            raise Invalid(f'{name} must not be specified on mount type "{kind}"')
    if not target:
        raise Invalid(f'invalid mount config for type "{kind}": field Target must not be empty')
    problem = _bad_target(target)
    if problem:
        raise Invalid(f'invalid mount config for type "{kind}": {problem}')
    readonly = mount.read_only is True
    if kind == "tmpfs":
        if source:
            raise Invalid('invalid mount config for type "tmpfs": field Source must not be specified')
        return MountPoint(type="tmpfs", source="", destination=posixpath.normpath(target), mode="", rw=not readonly, propagation="")
    if not source:
        raise Invalid('invalid mount config for type "bind": field Source must not be empty')
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


def _bad_target(target: str) -> str:
    if not target.startswith("/"):
        return f"invalid mount path: '{target}' mount path must be absolute"
    return "invalid specification: destination can't be '/'" if posixpath.normpath(target) in ("/", "//") else ""


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
