"""Committing a container: its image, and on top what it wrote, is a new image."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from pier import trace
from pier.api.models.containers import ContainerConfig
from pier.containers.commit_config import committed
from pier.containers.freeze import frozen
from pier.containers.record import Container
from pier.containers.table import Containers
from pier.errors import Conflict, Invalid
from pier.images.derive import Recipe, Source
from pier.images.names import from_request
from pier.snapshots.reading import reading

MARKS = (".dockerenv",)
"""What tells programs that they are in a container; in every one, as with Docker."""
ENGINE_MADE = (
    *MARKS, "dev", "etc", "etc/hostname", "etc/hosts", "etc/resolv.conf", "proc", "sbin", "sbin/docker-init", "sys",
)  # fmt: skip
"""What a start makes in a container whose image lacks it, to mount something there: no change of the container's."""


@dataclass(frozen=True)
class Wanted:
    """What a commit was asked for. config: the request's body; created_ns: for an image that is the same every time, None for now."""

    repo: str = ""
    tag: str = ""
    author: str = ""
    comment: str = ""
    pause: bool = True
    changes: Sequence[str] = ()
    config: ContainerConfig | None = None
    version: str = ""
    created_ns: int | None = None


async def commit(ctx: Containers, name: str, wanted: Wanted) -> str:
    """Make an image of a container and return its ID. A running one stands still while its files are read, unless `pause` is off.

    Raises Invalid for a wrong reference or change, NotFound, Conflict (it is dead, or removed meanwhile), Internal, Unavailable; then
    nothing is left of it.
    """
    reference = from_request(wanted.repo, wanted.tag)
    if not name:
        raise Invalid('invalid name or ID supplied: ""')
    container = ctx.find(name)
    _check_there(container)
    record = container.record
    recipe = Recipe(
        config=committed(record.config, wanted.config, wanted.changes),
        created_by=" ".join([record.config.cmd] if isinstance(record.config.cmd, str) else record.config.cmd or ()),
        author=wanted.author,
        comment=wanted.comment,
        version=wanted.version,
        reference=reference,
        created_ns=wanted.created_ns,
    )
    image = ctx.images.by_id(record.image_id)
    latest = {} if wanted.created_ns is None else {"latest": wanted.created_ns // 1_000_000_000}
    with ctx.images.hold(image.id):
        async with container.reading, reading(ctx.snapshots, container.id) as fds, contextlib.AsyncExitStack() as still:
            moves = container.state.running and not container.state.paused
            on_read = await still.enter_async_context(frozen(ctx, container)) if wanted.pause and moves else _nothing
            trace.point("commit.read")
            fields = {"engine_made": ENGINE_MADE, **latest}
            made = await ctx.images.derive(image, Source(fds, fields, on_read, lambda: _check_there(container)), recipe)
    ctx.publish(container, "commit", comment=wanted.comment, imageID=made, imageRef=str(reference or ""))
    return made


def _check_there(container: Container) -> None:
    """Raises Conflict with Docker's words. What is being removed may have lost files already."""
    if container.state.status == "dead":
        raise Conflict(f"You cannot commit container {container.id} which is Dead")
    if container.removed or container.doomed or container.state.status == "removing":
        raise Conflict(f"You cannot commit container {container.id} which is being removed")


def _nothing() -> None:
    """Nothing was frozen."""
