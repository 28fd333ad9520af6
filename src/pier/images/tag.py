"""POST /images/{name}/tag: one more name."""

import sqlite3
import time

from pier.images.commit import write_name
from pier.images.context import Context, uninterrupted
from pier.images.garbage import collect
from pier.images.names import Meaning, from_request
from pier.oci import reference as references
from pier.oci.reference import Reference
from pier.trace import point


async def tag(ctx: Context, name: str, repo: str, tag: str) -> bool:
    """Give an image the name `repo:tag` (`latest` where tag is empty); durable when it returns.

    The new name stands for all that `name` does: for each platform the image that is here; an ID means that image alone. Images that
    had the new name lose it. Returns whether there was something to do: without `repo` there is not, as in Docker.
    Raises NotFound, Invalid.
    """
    wanted = from_request(repo, tag)
    if wanted is None:
        return False
    await uninterrupted(_tag(ctx, name, wanted))
    return True


async def _tag(ctx: Context, name: str, wanted: Reference) -> None:
    async with ctx.lock:
        image = ctx.catalog.resolve(name)
        given = references.parse_any(name)
        meaning = None if isinstance(given, str) else ctx.catalog.meaning(given)
        new = meaning or Meaning(None, {image.id: image.manifest})
        before = ctx.catalog.meaning(wanted)
        now_ns = time.time_ns()
        point("images.tag")
        await ctx.store.write(lambda connection: _write(connection, wanted, new, now_ns))
        ctx.catalog.give(wanted, new)
        for identity in new.images:
            ctx.catalog.tagged(identity, now_ns)
        await collect(ctx, before.documents() if before else ())
    ctx.publish("tag", image, str(wanted))


def _write(connection: sqlite3.Connection, wanted: Reference, meaning: Meaning, now_ns: int) -> None:
    write_name(connection, wanted, meaning)
    connection.executemany("UPDATE images SET last_tag_ns = ? WHERE id = ?", [(now_ns, identity) for identity in meaning.images])
