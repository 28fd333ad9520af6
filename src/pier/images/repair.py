"""At start: what a daemon that died left half-done, and what containers no longer need."""

import asyncio
import logging

from pier.images import attestations
from pier.images.context import Context, Users, uninterrupted
from pier.images.garbage import expire
from pier.images.remove import erase, forget

_log = logging.getLogger("pier.images")
KEPT_S, _DAY_S = 7 * 86400.0, 86400.0  # how long an unfinished pull can be gone on with; how often it is looked


async def release(ctx: Context, identity: str, users: Users) -> None:
    """A container that used the image is gone: an image that was removed by force goes with the last of them."""
    image = ctx.catalog.get(identity)
    if image and image.hidden and not users(identity):
        await uninterrupted(_release(ctx, identity, users))


async def _release(ctx: Context, identity: str, users: Users) -> None:
    async with ctx.lock:
        image = ctx.catalog.get(identity)
        if image is None or not image.hidden or users(identity) or ctx.held[identity]:
            return
        await ctx.store.write(lambda connection: erase(connection, [identity]))
        await forget(ctx, [image])


async def repair(ctx: Context, users: Users) -> list[str]:
    """Collect files without a row, finish forced removals, and name what is missing; returns a line for each thing done (logged too).

    users: the containers of an image; call it once the containers are known, before anything is served.
    """
    for image in ctx.catalog.hidden():
        await release(ctx, image.id, users)
    async with ctx.lock:
        everything = ctx.catalog.everything()
        known = {row["diff_id"] for row in ctx.store.read("SELECT diff_id FROM layers")}
        lines = await asyncio.to_thread(_collect, ctx, known)
        # Rows whose configuration cannot be read are not in the catalog, but what they name is kept: the disk may come back.
        rows = ctx.store.read(
            "SELECT id, manifest_digest, NULL FROM images UNION ALL SELECT digest, NULL, NULL FROM layer_blobs"
            " UNION ALL SELECT image_id, manifest_digest, index_digest FROM tags"
        )
        named = {digest for row in rows for digest in row if digest}
        named |= await asyncio.to_thread(_about, ctx)
        count, size = await asyncio.to_thread(ctx.content.gc, named)
    if count:
        lines.append(f"removed {count} blobs of {size} bytes that no image names")
    count, size = await expire(ctx, KEPT_S)
    if count:
        lines.append(f"removed {count} blobs of unfinished pulls, {size} bytes")
    for image in everything:
        missing = [diff_id for diff_id in image.diff_ids if not ctx.layers.has(diff_id)]
        if missing:
            lines.append(f"image {image.id} ({', '.join(image.tags) or 'no tag'}) lacks layer {missing[0]}: remove it and load it again")
    for line in lines:
        _log.warning("%s", line)
    return lines


async def keep_tidy(ctx: Context) -> None:
    """Once a day, till it is cancelled: what is left of old unfinished pulls goes."""
    while True:
        await asyncio.sleep(_DAY_S)
        try:
            count, size = await expire(ctx, KEPT_S)
        except OSError as error:
            _log.warning("what is left of unfinished pulls could not be removed: %s", error)
        else:
            if count:
                _log.info("removed %d blobs of unfinished pulls, %d bytes", count, size)


def _about(ctx: Context) -> set[str]:
    """All of the attestations of what has a name; also of images that are not in the catalog."""
    rows = ctx.store.read("SELECT DISTINCT index_digest, manifest_digest FROM tags WHERE index_digest IS NOT NULL")
    return {digest for index, manifest in rows for one in attestations.kept(ctx.content, index, manifest) for digest in one.digests}


def _collect(ctx: Context, known: set[str]) -> list[str]:
    lines = []
    for diff_id in ctx.layers.list():
        if diff_id not in known:
            ctx.layers.remove(diff_id)
            lines.append(f"removed layer {diff_id}: no image has it")
    return lines
