"""Making parsed images ours: layers into the layer store, blobs into the content store, then the rows, in one transaction.

Files come first and rows last: after a kill at any instant a row has all its files, and files without a row are collected at the next start.
"""

import asyncio
import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pier.content import Partial
from pier.errors import Invalid
from pier.images.context import Context, uninterrupted
from pier.images.garbage import collect
from pier.images.image import Blob, Image, Layer
from pier.images.names import Attestation, Meaning
from pier.images.sources import LayerSource, remember
from pier.linux.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from pier.oci import digest as digests
from pier.oci.image_config import ImageConfig
from pier.oci.reference import Reference, key_of
from pier.trace import point

_LAYER_FOLDER = re.compile(r"layers/[0-9]{1,6}")


@dataclass(frozen=True)
class NewLayer:
    """A layer that a worker left in its folder, with the compressed blob that it came as, if that is to be kept.

    folder: within the worker's. size_bytes: of its files; -1 where the worker did not say. scratch: the worker's folder where it had one for
    this layer alone. partial: the blob where it came by itself and was verified, else it is in the worker's folder.
    """

    diff_id: str
    folder: str
    size_bytes: int = -1
    blob_digest: str | None = None
    media_type: str = ""
    scratch: Path | None = None
    partial: Partial | None = None


@dataclass(frozen=True)
class NewImage:
    """An image to be made ours. Invariant: the configuration's digest is its ID, its diff IDs are those of `layers`.

    index_bytes: the index by which `references` mean it; other images of the same index that are here or come in the same commit keep
    the names beside it. None: the names are to mean this image alone. sources: where its layers were seen. attestations: what the index has
    about it, whole, in the content store or the worker's folder.
    """

    id: str
    config: ImageConfig
    config_bytes: bytes
    layers: tuple[NewLayer, ...]
    manifest_bytes: bytes | None = None
    references: tuple[Reference, ...] = ()
    parent: str = ""
    index_bytes: bytes | None = None
    sources: tuple[LayerSource, ...] = ()
    attestations: tuple[Attestation, ...] = ()

    @property
    def manifest(self) -> str | None:
        """The manifest's digest."""
        return digests.of(self.manifest_bytes) if self.manifest_bytes else None

    @property
    def proven_manifest(self) -> str | None:
        """The manifest, where each layer was seen to be what it names: an image that was made here may be known by it. A manifest that only
        says what its blobs are belongs to the names that it came with, and to nothing else of the same image."""
        return self.manifest if {source.diff_id for source in self.sources}.issuperset(layer.diff_id for layer in self.layers) else None

    @property
    def index(self) -> str | None:
        """The index's digest."""
        return digests.of(self.index_bytes) if self.index_bytes else None


async def commit(ctx: Context, scratch: Path, images: Sequence[NewImage]) -> dict[str, str]:
    """Take over all of the images or none; durable when it returns. A name that stood for something else moves.

    scratch: the worker's folder, from which layers and blobs are moved. Returns the names that moved: key of the reference -> ID of the
    image that had it (the first of several). Raises what the stores raise (Invalid, OSError, Unavailable); then nothing is left behind.
    """
    return await uninterrupted(_commit(ctx, scratch, images))


async def _commit(ctx: Context, scratch: Path, images: Sequence[NewImage]) -> dict[str, str]:
    async with ctx.lock, contextlib.AsyncExitStack() as undo:
        for layer in {layer.diff_id: layer for image in images for layer in image.layers}.values():
            await asyncio.to_thread(_take_layer, ctx, scratch, layer, undo)
        for image in images:
            await asyncio.to_thread(_take_documents, ctx, scratch, image, undo)
        named = _meanings(ctx, images)
        before = {name: meaning for name in named if (meaning := ctx.catalog.meaning(name))}
        lost = {name: [identity for identity in meaning.images if identity not in named[name].images] for name, meaning in before.items()}
        layers = {new.diff_id: _stored(ctx, new) for image in images for new in image.layers}
        now_ns = time.time_ns()
        point("images.files")
        await ctx.store.write(lambda connection: _write(connection, images, named, layers, now_ns))
        undo.pop_all()
        point("images.rows")
        for image in images:
            _show(ctx, image, layers, now_ns)
        for name, meaning in named.items():
            ctx.catalog.give(name, meaning)
        # Documents that came without a name are nobody's, too.
        came = {digest for image in images for digest in (image.index, image.manifest, *_about(image)) if digest}
        await collect(ctx, came.union(*(meaning.documents() for meaning in before.values())))
    return {key_of(name): identities[0] for name, identities in lost.items() if identities}


def _meanings(ctx: Context, images: Sequence[NewImage]) -> dict[Reference, Meaning]:
    """What the names of the images will stand for."""
    named: dict[Reference, Meaning] = {}
    for image in images:
        known = ctx.catalog.get(image.id)
        manifest = image.manifest or (known.manifest if known else None)
        for name in image.references:
            about = {image.id: image.attestations} if image.attestations else {}
            named[name] = Meaning(image.index, {image.id: manifest}, about).joined(named.get(name) or ctx.catalog.meaning(name))
    return named


def _about(image: NewImage) -> list[str]:
    return [digest for one in image.attestations for digest in one.digests]


def _take_layer(ctx: Context, scratch: Path, layer: NewLayer, undo: contextlib.AsyncExitStack) -> None:
    place = layer.scratch or scratch
    folder_fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if not ctx.layers.has(layer.diff_id):
            if not _LAYER_FOLDER.fullmatch(layer.folder):
                raise Invalid(f"layer {layer.diff_id}: {layer.folder!r} is no place for a layer")
            flags = os.O_RDONLY | os.O_DIRECTORY
            os.close(openat2(folder_fd, layer.folder, flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS))
            point("images.layer")
            undo.callback(_remove_layer, ctx, layer.diff_id)
            ctx.layers.adopt(layer.diff_id, place / layer.folder)
        digest = layer.blob_digest
        if digest and not ctx.content.has(digest):
            undo.callback(_remove_blob, ctx, digest)
            if layer.partial:
                point("images.blob")
                ctx.content.publish(layer.partial)
            else:
                ctx.content.adopt(folder_fd, f"blobs/sha256/{digests.hex_part(digest)}", digest)
    finally:
        os.close(folder_fd)


def _remove_layer(ctx: Context, diff_id: str) -> None:
    # What others keep may have become theirs meanwhile; it is collected when they let go of it.
    if ctx.layers.has(diff_id) and not ctx.kept[diff_id]:
        ctx.layers.remove(diff_id)


def _remove_blob(ctx: Context, digest: str) -> None:
    if not ctx.kept[digest]:
        ctx.content.delete(digest)


def _take_documents(ctx: Context, scratch: Path, image: NewImage, undo: contextlib.AsyncExitStack) -> None:
    for digest in _about(image):
        if not ctx.content.has(digest):
            undo.callback(_remove_blob, ctx, digest)
            folder_fd = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                ctx.content.adopt(folder_fd, f"blobs/sha256/{digests.hex_part(digest)}", digest)
            finally:
                os.close(folder_fd)
    for data in filter(None, (image.index_bytes, image.manifest_bytes, image.config_bytes)):
        digest = digests.of(data)
        if not ctx.content.has(digest):
            point("images.document")
            undo.callback(_remove_blob, ctx, digest)
            ctx.content.write(data)


def _stored(ctx: Context, layer: NewLayer) -> Layer:
    known = ctx.catalog.layer(layer.diff_id)
    size = layer.size_bytes if layer.size_bytes >= 0 else known.size_bytes if known else ctx.layers.size(layer.diff_id)[0]
    blobs = {blob.digest: blob for blob in (known.blobs if known else ())}
    if layer.blob_digest:
        blobs.setdefault(layer.blob_digest, Blob(layer.blob_digest, layer.media_type))
    return Layer(layer.diff_id, known.size_bytes if known else size, tuple(blobs.values()))


def _write(
    connection: sqlite3.Connection, images: Sequence[NewImage], named: Mapping[Reference, Meaning], layers: Mapping[str, Layer], now_ns: int
) -> None:
    connection.executemany(
        "INSERT INTO layers (diff_id, size_bytes) VALUES (?, ?) ON CONFLICT DO NOTHING",
        [(layer.diff_id, layer.size_bytes) for layer in layers.values()],
    )
    connection.executemany(
        "INSERT INTO layer_blobs (diff_id, digest, media_type) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(layer.diff_id, blob.digest, blob.media_type) for layer in layers.values() for blob in layer.blobs],
    )
    for image in images:
        connection.execute(
            "INSERT INTO images (id, manifest_digest, parent, added_ns, last_tag_ns) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET hidden = 0, manifest_digest = coalesce(manifest_digest, ?), last_tag_ns = max(last_tag_ns, excluded.last_tag_ns)",
            (image.id, image.manifest, image.parent, now_ns, now_ns if image.references else 0, image.proven_manifest),
        )
        connection.executemany(
            "INSERT INTO image_layers (image_id, position, diff_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(image.id, position, layer.diff_id) for position, layer in enumerate(image.layers)],
        )
        remember(connection, image.sources, now_ns)
    for name, meaning in named.items():
        write_name(connection, name, meaning)


def write_name(connection: sqlite3.Connection, name: Reference, meaning: Meaning) -> None:
    """The rows of a name: what it stands for from now on, and nothing else."""
    connection.execute("DELETE FROM tags WHERE reference = ?", (key_of(name),))
    connection.executemany(
        "INSERT INTO tags (reference, image_id, manifest_digest, index_digest) VALUES (?, ?, ?, ?)",
        [(key_of(name), identity, manifest, meaning.index) for identity, manifest in meaning.images.items()],
    )


def _show(ctx: Context, new: NewImage, layers: dict[str, Layer], now_ns: int) -> None:
    """The committed row, in the catalog; names follow."""
    before = ctx.catalog.get(new.id)
    ctx.catalog.put(
        Image(
            id=new.id,
            config=new.config,
            config_bytes=new.config_bytes,
            layers=tuple(layers[layer.diff_id] for layer in new.layers),
            references=before.references if before else (),
            manifest=(before.manifest or new.proven_manifest) if before else new.manifest,
            parent=before.parent if before else new.parent,
            added_ns=before.added_ns if before else now_ns,
            last_tag_ns=now_ns if new.references else before.last_tag_ns if before else 0,
        )
    )
