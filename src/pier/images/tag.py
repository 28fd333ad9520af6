"""POST /images/{name}/tag: one more name."""

import sqlite3
import time

from pier.errors import Invalid
from pier.images.commit import write_names
from pier.images.context import Context, uninterrupted
from pier.images.image import Image
from pier.images.names import from_request
from pier.oci.reference import Reference
from pier.trace import point


async def tag(ctx: Context, name: str, repo: str, tag: str) -> bool:
    """Give an image the name `repo:tag` (`latest` where tag is empty); durable when it returns.

    Another image that has the name loses it. Returns whether there was something to do: without `repo` there is not, as in Docker.
    Raises NotFound, Invalid.
    """
    wanted = from_request(repo, tag)
    if wanted is None:
        return False
    if wanted.familiar_name == "sha256":
        raise Invalid("refusing to create an ambiguous tag using digest algorithm as name")
    await uninterrupted(_tag(ctx, ctx.catalog.resolve(name), wanted))
    return True


async def _tag(ctx: Context, image: Image, wanted: Reference) -> None:
    async with ctx.lock:
        image = ctx.catalog.resolve(image.id)
        now_ns = time.time_ns()
        point("images.tag")
        await ctx.store.write(lambda connection: _write(connection, image.id, wanted, now_ns))
        image = ctx.catalog.set_references(image.id, (*ctx.catalog.resolve(image.id).references, wanted), now_ns)
    ctx.publish("tag", image, str(wanted))


def _write(connection: sqlite3.Connection, identity: str, wanted: Reference, now_ns: int) -> None:
    write_names(connection, identity, (wanted,))
    connection.execute("UPDATE images SET last_tag_ns = ? WHERE id = ?", (now_ns, identity))
