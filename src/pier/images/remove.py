"""DELETE /images/{name}: carry out what `removal.plan` decided. Rows first, files after: a file without a row is collected later."""

import asyncio
import logging
import sqlite3
from collections.abc import Iterable

from pier.api.models.images import DeleteItem
from pier.images import removal
from pier.images.context import Context, Users, uninterrupted
from pier.images.image import Image
from pier.oci.reference import key_of
from pier.trace import point

_log = logging.getLogger("pier.images")


async def remove(ctx: Context, name: str, users: Users, *, force: bool = False, noprune: bool = False) -> list[DeleteItem]:
    """Take a name away, and the image with its last one; durable when it returns.

    noprune: leave parents that nothing needs. Raises NotFound, Invalid, Conflict with Docker's words.
    """
    return await uninterrupted(_remove(ctx, name, users, force, not noprune))


async def _remove(ctx: Context, name: str, users: Users, force: bool, prune: bool) -> list[DeleteItem]:
    async with ctx.lock:
        plan = removal.plan(ctx.catalog, name, users, force=force, prune=prune, held=frozenset(+ctx.held))
        hidden = {image.id for image in plan.hidden}
        erased = [image for image in plan.gone if image.id not in hidden]
        point("images.remove")
        await ctx.store.write(lambda connection: _write(connection, plan, hidden))
        point("images.removed")
        for image, taken in plan.untagged:
            current = ctx.catalog.get(image.id) or image
            ctx.catalog.set_references(image.id, [other for other in current.references if other != taken])
        for image in plan.hidden:
            ctx.catalog.hide(image.id)
        await forget(ctx, erased)
    for image, _ in plan.untagged:
        ctx.publish("untag", image)
    for image in plan.gone:
        ctx.journal.publish("image", "delete", image.id, {"name": image.id})
    return plan.items


def _write(connection: sqlite3.Connection, plan: removal.Removal, hidden: Iterable[str]) -> None:
    connection.executemany("DELETE FROM tags WHERE reference = ?", [(key_of(name),) for _, name in plan.untagged])
    connection.executemany("UPDATE images SET hidden = 1 WHERE id = ?", [(identity,) for identity in hidden])
    erase(connection, [image.id for image in plan.gone if image.id not in hidden])


def erase(connection: sqlite3.Connection, identities: Iterable[str]) -> None:
    """Delete the rows of images, and of the layers that only they had."""
    connection.executemany("DELETE FROM images WHERE id = ?", [(identity,) for identity in identities])
    connection.execute("DELETE FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers)")


async def forget(ctx: Context, images: Iterable[Image]) -> None:
    """Drop images whose rows are gone from the catalog, and remove the layers and blobs that nothing names any more; under the lock.

    A file that cannot be removed stays until the next start, with a line in the log: the removal itself is done.
    """
    gone = list(images)
    for image in gone:
        ctx.catalog.drop(image.id)
    everything = ctx.catalog.everything()
    kept_layers = {diff_id for image in everything for diff_id in image.diff_ids}
    kept_blobs = set(roots(everything))
    layers = {diff_id for image in gone for diff_id in image.diff_ids} - kept_layers
    blobs = set(roots(gone)) - kept_blobs
    point("images.collect")
    await asyncio.to_thread(_remove_files, ctx, sorted(layers), sorted(blobs))


def _remove_files(ctx: Context, layers: Iterable[str], blobs: Iterable[str]) -> None:
    for diff_id in layers:
        try:
            ctx.layers.remove(diff_id)
        except OSError as error:
            _log.warning("layer %s stays on the disk until the next start: %s", diff_id, error)
    for digest in blobs:
        try:
            ctx.content.delete(digest)
        except OSError as error:
            _log.warning("blob %s stays on the disk until the next start: %s", digest, error)


def roots(images: Iterable[Image]) -> Iterable[str]:
    """The blobs that images name."""
    for image in images:
        yield image.id
        if image.manifest:
            yield image.manifest
        yield from (layer.blob_digest for layer in image.layers if layer.blob_digest)
