"""DELETE /images/{name}: carry out what `removal.plan` decided. Rows first, files after: a file without a row is collected later."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence

from pier.api.models.images import DeleteItem
from pier.images import removal
from pier.images.context import Context, Users, uninterrupted
from pier.images.garbage import collect
from pier.images.image import Image
from pier.oci.platform import Platform
from pier.oci.reference import key_of
from pier.trace import point


async def remove(
    ctx: Context, name: str, users: Users, *, force: bool = False, noprune: bool = False, platforms: Sequence[Platform] = ()
) -> list[DeleteItem]:
    """Take a name away, and the image with its last one; durable when it returns.

    noprune: leave parents that nothing needs. platforms: remove only the images for these. Raises NotFound, Invalid, Conflict with Docker's
    words.
    """

    def plan(held: frozenset[str]) -> removal.Removal:
        return removal.plan(ctx.catalog, name, users, force=force, prune=not noprune, held=held, platforms=platforms)

    done, _ = await uninterrupted(carry_out(ctx, plan))
    return done.items


async def carry_out(ctx: Context, make_plan: Callable[[frozenset[str]], removal.Removal]) -> tuple[removal.Removal, int]:
    """Make a plan and do what it says. make_plan: gets the images that containers are being made from. Returns it, with the bytes of disk that
    are free now. What it raises is raised, with nothing touched."""
    async with ctx.lock:
        plan = make_plan(frozenset(+ctx.held))
        hidden = {image.id for image in plan.hidden}
        erased = [image for image in plan.gone if image.id not in hidden]
        if not plan.untagged and not plan.gone:
            return plan, 0
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
        freed_bytes = await forget(ctx, erased, documents)
    for image, _ in plan.untagged:
        ctx.publish("untag", image)
    for image in plan.gone:
        ctx.journal.publish("image", "delete", image.id, {"name": image.id})
    return plan, freed_bytes


def _write(connection: sqlite3.Connection, plan: removal.Removal, hidden: Iterable[str]) -> None:
    connection.executemany("DELETE FROM tags WHERE reference = ? AND image_id = ?", [(key_of(name), image.id) for image, name in plan.untagged])
    connection.executemany("UPDATE images SET hidden = 1 WHERE id = ?", [(identity,) for identity in hidden])
    erase(connection, [image.id for image in plan.gone if image.id not in hidden])


def erase(connection: sqlite3.Connection, identities: Iterable[str]) -> None:
    """Delete the rows of images, and of the layers that only they had."""
    connection.executemany("DELETE FROM images WHERE id = ?", [(identity,) for identity in identities])
    connection.execute("DELETE FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers)")


async def forget(ctx: Context, images: Iterable[Image], documents: Iterable[str] = ()) -> int:
    """Drop images whose rows are gone from the catalog, and remove what nothing needs any more of theirs and of `documents`; under the lock.

    Returns the bytes of disk that are free now.
    """
    gone = list(images)
    for image in gone:
        ctx.catalog.drop(image.id)
    point("images.collect")
    return await collect(ctx, {digest for image in gone for digest in image.contents()}.union(documents))
