"""Making parsed images ours: layers into the layer store, blobs into the content store, then the rows, in one transaction.

Files come first and rows last: after a kill at any instant a row has all its files, and files without a row are collected at the next start.
"""

import asyncio
import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pier.errors import Invalid
from pier.images.context import Context, uninterrupted
from pier.images.image import Image, Layer
from pier.linux.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from pier.oci import digest as digests
from pier.oci.image_config import ImageConfig
from pier.oci.reference import Reference, key_of
from pier.trace import point

_LAYER_FOLDER = re.compile(r"layers/[0-9]{1,6}")


@dataclass(frozen=True)
class NewLayer:
    """A layer that a worker left in its folder. size_bytes: of its files; -1 where the worker did not say."""

    diff_id: str
    folder: str
    size_bytes: int = -1
    blob_digest: str | None = None
    media_type: str = ""


@dataclass(frozen=True)
class NewImage:
    """An image to be made ours. Invariant: the configuration's digest is its ID, its diff IDs are those of `layers`."""

    id: str
    config: ImageConfig
    config_bytes: bytes
    layers: tuple[NewLayer, ...]
    manifest_bytes: bytes | None = None
    references: tuple[Reference, ...] = ()
    parent: str = ""


async def commit(ctx: Context, scratch: Path, images: Sequence[NewImage]) -> dict[str, str]:
    """Take over all of the images or none; durable when it returns. A name that another image has moves to the new one.

    scratch: the worker's folder, from which layers and blobs are moved. Returns the names that moved: key of the reference -> ID of the
    image that had it. Raises what the stores raise (Invalid, OSError, Unavailable); then nothing is left behind.
    """
    return await uninterrupted(_commit(ctx, scratch, images))


async def _commit(ctx: Context, scratch: Path, images: Sequence[NewImage]) -> dict[str, str]:
    async with ctx.lock, contextlib.AsyncExitStack() as undo:
        for layer in {layer.diff_id: layer for image in images for layer in image.layers}.values():
            await asyncio.to_thread(_take_layer, ctx, scratch, layer, undo)
        for image in images:
            await asyncio.to_thread(_take_documents, ctx, image, undo)
        moved = {
            key_of(name): previous.id
            for image in images
            for name in image.references
            if (previous := ctx.catalog.named(name)) and previous.id != image.id
        }
        layers = {new.diff_id: _stored(ctx, new) for image in images for new in image.layers}
        now_ns = time.time_ns()
        point("images.files")
        await ctx.store.write(lambda connection: _write(connection, images, layers, now_ns))
        undo.pop_all()
        point("images.rows")
        for image in images:
            _show(ctx, image, layers, now_ns)
    return moved


def _take_layer(ctx: Context, scratch: Path, layer: NewLayer, undo: contextlib.AsyncExitStack) -> None:
    folder_fd = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if not ctx.layers.has(layer.diff_id):
            if not _LAYER_FOLDER.fullmatch(layer.folder):
                raise Invalid(f"layer {layer.diff_id}: {layer.folder!r} is no place for a layer")
            flags = os.O_RDONLY | os.O_DIRECTORY
            os.close(openat2(folder_fd, layer.folder, flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS))
            point("images.layer")
            undo.callback(_remove_layer, ctx, layer.diff_id)
            ctx.layers.adopt(layer.diff_id, scratch / layer.folder)
        digest = layer.blob_digest
        if digest and not ctx.content.has(digest):
            undo.callback(ctx.content.delete, digest)
            ctx.content.adopt(folder_fd, f"blobs/sha256/{digests.hex_part(digest)}", digest)
    finally:
        os.close(folder_fd)


def _remove_layer(ctx: Context, diff_id: str) -> None:
    if ctx.layers.has(diff_id):
        ctx.layers.remove(diff_id)


def _take_documents(ctx: Context, image: NewImage, undo: contextlib.AsyncExitStack) -> None:
    for data in filter(None, (image.manifest_bytes, image.config_bytes)):
        digest = digests.of(data)
        if not ctx.content.has(digest):
            point("images.document")
            undo.callback(ctx.content.delete, digest)
            ctx.content.write(data)


def _stored(ctx: Context, layer: NewLayer) -> Layer:
    known = next((old for image in ctx.catalog.everything() for old in image.layers if old.diff_id == layer.diff_id), None)
    size = layer.size_bytes if layer.size_bytes >= 0 else known.size_bytes if known else ctx.layers.size(layer.diff_id)[0]
    if known:
        return Layer(layer.diff_id, known.size_bytes, known.blob_digest or layer.blob_digest, known.media_type or layer.media_type)
    return Layer(layer.diff_id, size, layer.blob_digest, layer.media_type)


def _write(connection: sqlite3.Connection, images: Sequence[NewImage], layers: dict[str, Layer], now_ns: int) -> None:
    connection.executemany(
        "INSERT INTO layers (diff_id, size_bytes, blob_digest, media_type) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (diff_id) DO UPDATE SET blob_digest = excluded.blob_digest, media_type = excluded.media_type",
        [(layer.diff_id, layer.size_bytes, layer.blob_digest, layer.media_type) for layer in layers.values()],
    )
    for image in images:
        manifest = digests.of(image.manifest_bytes) if image.manifest_bytes else None
        connection.execute(
            "INSERT INTO images (id, manifest_digest, parent, added_ns, last_tag_ns) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET hidden = 0, manifest_digest = coalesce(excluded.manifest_digest, manifest_digest),"
            " last_tag_ns = max(last_tag_ns, excluded.last_tag_ns)",
            (image.id, manifest, image.parent, now_ns, now_ns if image.references else 0),
        )
        connection.executemany(
            "INSERT INTO image_layers (image_id, position, diff_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(image.id, position, layer.diff_id) for position, layer in enumerate(image.layers)],
        )
        write_names(connection, image.id, image.references)


def write_names(connection: sqlite3.Connection, identity: str, names: Sequence[Reference]) -> None:
    """Rows for names that an image gets; each is taken from the image that had it."""
    connection.executemany(
        "INSERT INTO tags (reference, image_id) VALUES (?, ?) ON CONFLICT (reference) DO UPDATE SET image_id = excluded.image_id",
        [(key_of(name), identity) for name in names],
    )


def _show(ctx: Context, new: NewImage, layers: dict[str, Layer], now_ns: int) -> None:
    """The committed rows, in the catalog."""
    before = ctx.catalog.get(new.id)
    manifest = digests.of(new.manifest_bytes) if new.manifest_bytes else before.manifest if before else None
    ctx.catalog.put(
        Image(
            id=new.id,
            config=new.config,
            config_bytes=new.config_bytes,
            layers=tuple(layers[layer.diff_id] for layer in new.layers),
            references=before.references if before else (),
            manifest=manifest,
            parent=before.parent if before else new.parent,
            added_ns=before.added_ns if before else now_ns,
            last_tag_ns=before.last_tag_ns if before else 0,
        )
    )
    if new.references:
        kept = before.references if before else ()
        ctx.catalog.set_references(new.id, (*kept, *new.references), now_ns)
