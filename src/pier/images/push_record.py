"""What a push leaves here: the digest by which the image is known, its manifest, where its layers are, and their compressed forms.

Files first, rows last, as everywhere; whoever was removed meanwhile gets none.
"""

import asyncio
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from pier.content import Ingest
from pier.images.commit import write_name
from pier.images.context import Context
from pier.images.garbage import collect, keeping
from pier.images.image import Blob, Image
from pier.images.names import Attestation, Meaning
from pier.images.sources import LayerSource, known, remember
from pier.oci import digest as digests
from pier.oci.reference import Reference
from pier.trace import point


@dataclass(frozen=True)
class Pushed:
    """What is at the registry now under `name`.

    digest: of the manifest or index there. images: the manifest by which each image is there, by its ID. index: the same as digest where
    it is an index. made: the manifests that were made for it. sources: where its layers are. attestations: what went with the index, by image.
    """

    name: Reference
    digest: str
    images: Mapping[str, str]
    index: str | None
    made: tuple[bytes, ...]
    sources: tuple[LayerSource, ...]
    attestations: Mapping[str, tuple[Attestation, ...]] = field(default_factory=dict)


async def keep_blob(ctx: Context, diff_id: str, blob: Blob, ingest: Ingest) -> None:
    """Keep a compressed form with its layer, if somebody has the layer still; the ingest is gone afterwards. Raises OSError."""
    async with keeping(ctx, [blob.digest]):
        await asyncio.to_thread(ingest.commit, blob.digest)
        async with ctx.lock:
            layer = ctx.catalog.layer(diff_id)
            if layer is None or any(one.digest == blob.digest for one in layer.blobs):
                return
            point("push.blob")
            row = (diff_id, blob.digest, blob.media_type)
            await ctx.store.write(
                lambda connection: connection.execute("INSERT OR IGNORE INTO layer_blobs (diff_id, digest, media_type) VALUES (?, ?, ?)", row)
            )
            grown = replace(layer, blobs=(*layer.blobs, blob))
            image = ctx.catalog.get(next(iter(ctx.catalog.having(diff_id))))  # the others that have the layer follow
            if image:
                ctx.catalog.put(replace(image, layers=tuple(grown if one.diff_id == diff_id else one for one in image.layers)))


async def record(ctx: Context, pushed: Pushed) -> None:
    """Remember it, durably; nothing is written where all of it is known. Raises OSError."""
    async with ctx.lock, AsyncExitStack() as undo:
        images = {identity: image for identity in pushed.images if (image := ctx.catalog.get(identity)) and not image.hidden}
        names = _meanings(ctx, pushed, images)
        manifests = {image.id: pushed.images[image.id] for image in images.values() if not image.manifest}
        fresh = _unknown(ctx, pushed.sources)
        if not names and not manifests and not fresh:
            return
        wanted = set[str]().union(*(meaning.documents() for meaning in names.values()), manifests.values())
        for data in pushed.made:
            if digests.of(data) in wanted and not ctx.content.has(digests.of(data)):
                undo.push_async_callback(collect, ctx, [digests.of(data)])
                await asyncio.to_thread(ctx.content.write, data)
        before = {name: meaning for name in names if (meaning := ctx.catalog.meaning(name))}
        point("push.record")
        await ctx.store.write(lambda connection: _write(connection, names, manifests, fresh, time.time_ns()))
        undo.pop_all()
        point("push.recorded")
        for identity, manifest in manifests.items():
            ctx.catalog.put(replace(images[identity], manifest=manifest))
        for name, meaning in names.items():
            ctx.catalog.give(name, meaning)
        await collect(ctx, set().union(*(meaning.documents() for meaning in before.values())))


def _meanings(ctx: Context, pushed: Pushed, images: Mapping[str, Image]) -> dict[Reference, Meaning]:
    """What changes: the name by digest, and the tag where it meant an image without a manifest that could be sent."""
    if not images:
        return {}
    own = {identity: pushed.images[identity] for identity in images}
    by_digest = replace(pushed.name.bare(), digest=pushed.digest)
    about = {identity: found for identity, found in pushed.attestations.items() if identity in own}
    wanted = {by_digest: Meaning(pushed.index, own, about)}
    tagged = ctx.catalog.meaning(pushed.name)
    if tagged and pushed.made and tagged.index is None and set(tagged.images) == set(own):
        wanted[pushed.name] = Meaning(None, own)
    return {name: meaning for name, meaning in wanted.items() if ctx.catalog.meaning(name) != meaning}


def _unknown(ctx: Context, sources: Sequence[LayerSource]) -> list[LayerSource]:
    """Those that are not remembered yet."""
    return [source for source in dict.fromkeys(sources) if source not in known(ctx.store, source.diff_id)]


def _write(
    connection: sqlite3.Connection, names: Mapping[Reference, Meaning], manifests: Mapping[str, str], sources: Sequence[LayerSource], now_ns: int
) -> None:
    connection.executemany("UPDATE images SET manifest_digest = ? WHERE id = ?", [(digest, identity) for identity, digest in manifests.items()])
    for name, meaning in names.items():
        write_name(connection, name, meaning)
    remember(connection, sources, now_ns)
