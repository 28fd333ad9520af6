"""Mounts of a container that runs, put there and taken away: steps for a child that joins its mount namespace and ends. Pure.

The child lives in the host's pid namespace, so that no container sees or traces it, and is born with nothing but the descriptors that it is
handed: the mount namespace first. Targets are looked up inside the container's root (RESOLVE_IN_ROOT), sources come as detached mounts.
"""

from collections.abc import Sequence

from pier.errors import Invalid
from pier.linux import namespaces
from pier.oci.runtime_spec import Mount
from pier.runtime import facts as features
from pier.runtime.facts import HostFacts
from pier.runtime.plan_mounts import IdMap, idmap_steps, is_bind, mount_step
from pier.runtime.step import Step

_JOIN = (Step("join", {"spaces": [[0, namespaces.FLAGS["mount"], "mount"]]}), Step("enter_root", {}))


def attach(mount: Mount, facts: HostFacts, idmap: IdMap | None = None, label: str = "") -> list[Step]:
    """Put a mount into a running container; of a bind, the source is the second descriptor. idmap: of its owners.
    label: of SELinux, for a new file system. Raises Invalid."""
    if not facts.has(features.MOUNT_SETATTR):
        raise Invalid("mounts of a running container need Linux 5.12 or newer (mount_setattr): stop it first")
    opened = [Step("open_sources", {"sources": [[mount.destination, 1, True]]})] if is_bind(mount) else []
    if idmap is not None:  # by a procfs of our own
        opened = [Step("private_proc", {}), *opened, *idmap_steps({mount.destination: idmap}, facts)]
    labelled = [Step("mount_label", {"label": label})] if label else []
    return [*labelled, *opened, *_JOIN, mount_step(mount, facts), Step("leave", {})]


def detach(targets: Sequence[str]) -> list[Step]:
    """Take the topmost mount off each target, where there is one: at once for who looks, later for who is still in it."""
    return [Step("private_proc", {}), *_JOIN, Step("unmount", {"targets": list(targets)}), Step("leave", {})]
