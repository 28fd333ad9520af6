"""An image made here from another one: what a container wrote becomes a layer on top of the layers that the container has."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pier.errors import Invalid
from pier.images.commit import NewImage, NewLayer, commit
from pier.images.context import Context, uninterrupted
from pier.images.garbage import keeping
from pier.images.image import Image, timestamp_text
from pier.images.layer_job import run
from pier.oci import digest as digests
from pier.oci import image_config
from pier.oci.image_config import ContainerDefaults, History, ImageConfig, RootFS
from pier.oci.reference import Reference

EMPTY_TAR = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
"""The digest of a tar without entries: a layer that would say nothing is left out, as Docker does."""


@dataclass(frozen=True)
class Recipe:
    """What the new image says of itself. created_ns: None for now; created_by: the command that stands for the new layer in its history."""

    config: ContainerDefaults
    created_by: str = ""
    author: str = ""
    comment: str = ""
    version: str = ""
    reference: Reference | None = None
    created_ns: int | None = None


@dataclass(frozen=True)
class Source:
    """Where the layer comes from: descriptors for the worker's operation `changes` (the writable folder, then the layers' roots) and its fields.

    on_read: called once nothing more is read. check: called after that; what it raises ends the making before anything is recorded.
    """

    fds: Sequence[int]
    fields: Mapping[str, Any]
    on_read: Callable[[], None]
    check: Callable[[], None]


async def derive(ctx: Context, parent: Image, source: Source, recipe: Recipe) -> str:
    """Make the image and return its ID; its name, if it gets one, is taken from the image that had it.

    Raises Invalid for what no layer can carry, naming the file; Unavailable where the worker died or the disk is full. Nothing is left then.
    """
    if len(parent.diff_ids) >= image_config.MAX_LAYERS:
        raise Invalid(
            f"image {parent.id} has {len(parent.diff_ids)} layers, and the kernel puts {image_config.MAX_LAYERS} on top of each other at most: "
            f"make them one with pier image squash, and the container anew from that"
        )
    async with keeping(ctx, parent.diff_ids):
        scratch = ctx.content.scratch()
        try:
            answer = await _layer(ctx, scratch, source)
            source.check()
            image = child(parent, recipe, answer, recipe.created_ns if recipe.created_ns is not None else time.time_ns())
            await uninterrupted(keep(ctx, scratch, image))
        finally:
            await asyncio.to_thread(ctx.content.remove_scratch, scratch)
    return image.id


async def _layer(ctx: Context, scratch: Path, source: Source) -> Mapping[str, Any]:
    def hear(event: Mapping[str, Any]) -> None:
        if event.get("state") == "read":
            source.on_read()

    return await run(ctx, "changes", source.fds, scratch, hear, kind=ctx.layers.kind, **source.fields)


def child(parent: Image, recipe: Recipe, answer: Mapping[str, Any], created_ns: int) -> NewImage:
    """The image that the worker's answer makes on top of another. Pure."""
    created = timestamp_text(created_ns)
    diff_id = str(answer["diff_id"])
    is_empty = diff_id == EMPTY_TAR
    step = History(created=created, created_by=recipe.created_by, author=recipe.author, comment=recipe.comment, empty_layer=is_empty)
    before = parent.config
    config: ImageConfig = msgspec.structs.replace(
        before,
        created=created,
        author=recipe.author,
        comment=recipe.comment,
        docker_version=recipe.version,
        parent="",
        config=recipe.config,
        rootfs=RootFS(diff_ids=[*before.diff_ids, *([] if is_empty else [diff_id])]),
        history=[*before.history, step],
    )
    layers = [NewLayer(known, "") for known in before.diff_ids]
    if not is_empty:
        layers.append(NewLayer(diff_id, str(answer["dir"]), int(answer["size"])))
    data = image_config.encode(config)
    names = (recipe.reference,) if recipe.reference else ()
    return NewImage(digests.of(data), config, data, tuple(layers), references=names, parent="" if parent.hidden else parent.id)


async def keep(ctx: Context, scratch: Path, image: NewImage) -> None:
    """Commit, and tell of it even where the client went away meanwhile."""
    await commit(ctx, scratch, [image])
    made = ctx.catalog.resolve(image.id)
    ctx.publish("create", made)
    for name in image.references:
        ctx.publish("tag", made, str(name))
