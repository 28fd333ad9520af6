"""DELETE /images/{name}: carry out what `removal.plan` decided. Rows first, files after: a file without a row is collected later."""

import sqlite3
from collections.abc import Iterable

from pier.api.models.images import DeleteItem
from pier.images import removal
from pier.images.context import Context, Users, uninterrupted
from pier.images.garbage import collect
from pier.images.image import Image
from pier.oci.reference import key_of
from pier.trace import point


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
        documents: set[str] = set()
        for image, taken in plan.untagged:
            meaning = ctx.catalog.meaning(taken)
            documents |= meaning.documents() if meaning else set()
            ctx.catalog.take(taken, image.id)
        for image in plan.hidden:
            ctx.catalog.hide(image.id)
        await forget(ctx, erased, documents)
    for image, _ in plan.untagged:
        ctx.publish("untag", image)
    for image in plan.gone:
        ctx.journal.publish("image", "delete", image.id, {"name": image.id})
    return plan.items


def _write(connection: sqlite3.Connection, plan: removal.Removal, hidden: Iterable[str]) -> None:
    connection.executemany("DELETE FROM tags WHERE reference = ? AND image_id = ?", [(key_of(name), image.id) for image, name in plan.untagged])
    connection.executemany("UPDATE images SET hidden = 1 WHERE id = ?", [(identity,) for identity in hidden])
    erase(connection, [image.id for image in plan.gone if image.id not in hidden])


def erase(connection: sqlite3.Connection, identities: Iterable[str]) -> None:
    """Delete the rows of images, and of the layers that only they had."""
    connection.executemany("DELETE FROM images WHERE id = ?", [(identity,) for identity in identities])
    connection.execute("DELETE FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers)")


async def forget(ctx: Context, images: Iterable[Image], documents: Iterable[str] = ()) -> None:
    """Drop images whose rows are gone from the catalog, and remove what nothing needs any more of theirs and of `documents`; under the lock."""
    gone = list(images)
    for image in gone:
        ctx.catalog.drop(image.id)
    point("images.collect")
    await collect(ctx, {digest for image in gone for digest in image.contents()}.union(documents))
