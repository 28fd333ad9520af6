"""Binds whose mounts the host sees (`shared`), or that see the host's (`slave`).

Their sources are opened here, beside the host's mounts: a clone that is made in the container's own namespace is nobody's peer. What would be mounted
below a shared one in the container would be on the host, too, so nothing is, neither at the start (plan_mounts.check_shared) nor later; and it is put
in its place last, where no link of the image leads. Source: mount_namespaces(7), "Propagation type".
"""

import errno
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack

from pier.api.models.containers import MountPoint
from pier.containers.record import Container
from pier.containers.sources import in_time
from pier.containers.volumes import Ready
from pier.errors import Conflict, Internal
from pier.linux import mounts as kernel
from pier.runtime.plan_mounts import check_shared

SHARED, SLAVE = ("shared", "rshared"), ("slave", "rslave")


def check(points: Sequence[MountPoint], further: Sequence[str] = ()) -> None:
    """Raises Invalid where a mount point, or one of `further`, lies below a shared one."""
    shared = [point.destination for point in points if point.propagation in SHARED]
    if shared:
        check_shared(shared, [*(point.destination for point in points), *further])


def check_while_running(container: Container) -> None:
    """Raises Conflict for one whose mounts the host sees: where a link in it leads decides who runs there."""
    shared = next((point for point in container.record.mounts if point.propagation in SHARED), None)
    if shared is not None and container.state.running:
        raise Conflict(
            f"container {container.name} shows its mounts below {shared.destination} to the host ({shared.propagation}): what is added while it runs"
            " could land there; stop it first"
        )


async def prepare(container: Container, ready: Ready, filling: AsyncExitStack, recursive: Sequence[str]) -> Ready:
    """Check and open such binds of a container that starts. recursive: destinations of those with what is mounted below.

    filling: closes them. Raises Internal with Docker's words where the host's mount is not of the kind.
    """
    fds, sources = list(ready.fds), dict(ready.sources)
    for point in container.record.mounts:
        if point.type == "bind" and point.propagation in SHARED + SLAVE:
            fd = await in_time(lambda point=point: _open(point, point.destination in recursive), f"bind source {point.source}")  # type: ignore[misc]
            filling.callback(os.close, fd)
            sources[point.destination] = len(fds)
            fds.append(fd)
    return Ready(fds, sources, ready.copy_up)


def _open(point: MountPoint, recursive: bool) -> int:
    try:
        fd = os.open(point.source, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        why = "bind source path does not exist" if error.errno == errno.ENOENT else f"open bind source: {error.strerror}"
        raise Internal(f"{why}: {point.source}") from None
    try:
        place, shared, slave = kernel.place_of(fd)
        wanted = "a shared" if point.propagation in SHARED else "a shared or slave"
        if not shared and not (slave and point.propagation in SLAVE):
            text = f"path {point.source} is mounted on {place} but it is not {wanted} mount"
            raise Internal(f"{text} (mount --make-rshared {place} makes it one; so does MountFlags=shared for a daemon with mounts of its own)")
        return kernel.clone_tree("", fd, recursive=recursive)
    finally:
        os.close(fd)
