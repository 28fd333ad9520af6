"""POST /pier/images/{name}/squash: layers of an image become one that shows the same; the image stays, the result is another one."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from pier.errors import Invalid
from pier.images.commit import NewImage, NewLayer
from pier.images.context import Context, uninterrupted
from pier.images.derive import keep
from pier.images.garbage import keeping
from pier.images.image import Image
from pier.images.layer_job import open_tars, run
from pier.images.names import from_request, short_id
from pier.oci import digest as digests
from pier.oci import image_config
from pier.oci.image_config import History, RootFS
from pier.oci.reference import Reference

_ID_DIGITS = 4  # from so many on it is the beginning of a diff ID, not a number


async def squash(ctx: Context, name: str, repo: str = "", tag: str = "", since: str = "") -> str:
    """Make the image and return its ID; the same source gives the same result every time.

    repo, tag: its name, none where repo is empty. since: the lowest layer that goes into the new one, as its number from the bottom (1) or
    the beginning of its diff ID; "" for all. Raises NotFound, Invalid (also where there are not two layers to make one of), Unavailable.
    """
    reference = from_request(repo, tag)
    image = ctx.catalog.resolve(name)
    first = first_layer(image, since)
    async with keeping(ctx, image.diff_ids):
        scratch = ctx.content.scratch()
        try:
            async with open_tars(ctx, image.diff_ids[first:]) as tars:
                answer = await run(ctx, "squash", tars, scratch, kind=ctx.layers.kind, whole=not first)
            new = squashed(image, first, answer, reference)
            await uninterrupted(keep(ctx, scratch, new))
        finally:
            await asyncio.to_thread(ctx.content.remove_scratch, scratch)
    return new.id


def first_layer(image: Image, since: str) -> int:
    """The index of the lowest layer that `since` names. Pure. Raises Invalid."""
    count, wanted = len(image.diff_ids), since.removeprefix("sha256:")
    is_number = since.isascii() and since.isdigit() and len(since) < _ID_DIGITS
    fitting = [at for at, diff_id in enumerate(image.diff_ids) if not is_number and diff_id.removeprefix("sha256:").startswith(wanted)]
    if not since:
        first = 0
    elif is_number and 1 <= int(since) <= count:
        first = int(since) - 1
    elif len(fitting) == 1:
        first = fitting[0]
    else:
        problem = "several begin so" if fitting else f"it has the layers 1 (the lowest) to {count}, named by number or diff ID"
        raise Invalid(f"image {short_id(image.id)} has no layer {since!r}: {problem}")
    if count - first < 2:
        raise Invalid(f"image {short_id(image.id)}: the layers from {first + 1} to {count} are one already: there is nothing to squash")
    return first


def squashed(image: Image, first: int, answer: Mapping[str, Any], reference: Reference | None) -> NewImage:
    """The image with the worker's layer in place of those from `first` on. Pure.

    Its history keeps every step; those whose layer is gone say so, and a last one stands for the new layer, of the time of the image.
    """
    before = image.config
    history, at = [], -1
    for step in before.history:
        at += not step.empty_layer
        history.append(msgspec.structs.replace(step, empty_layer=True) if at >= first else step)
    comment = f"layers {first + 1} to {len(image.diff_ids)} of {image.id}"
    history.append(History(created=before.created, created_by="pier image squash", comment=comment))
    kept = image.diff_ids[:first]
    diff_id = str(answer["diff_id"])
    config = msgspec.structs.replace(before, rootfs=RootFS(diff_ids=[*kept, diff_id]), history=history, parent="")
    data = image_config.encode(config)
    layers = (*(NewLayer(known, "") for known in kept), NewLayer(diff_id, str(answer["dir"]), int(answer["size"])))
    return NewImage(digests.of(data), config, data, layers, references=(reference,) if reference else ())
