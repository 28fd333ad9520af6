"""GET /images/get: images as one archive, a docker-archive and an OCI layout at once, as Docker 28 writes it.

    blobs/sha256/<hex>   configurations and manifests, and each layer once, as its uncompressed tar
    index.json           every name with its manifest
    manifest.json        every image with its names, for readers of docker-archives; repositories: the names of old
    oci-layout
    without.json         Pier's own, where the reader has layers that are named and not in it: their diff IDs

Decided before the first byte: what is in it, in which order, how long it is. The same images give the same bytes.
Sources: OCI image-spec image-layout.md; archives that Docker 28.5 wrote.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass

from pier.archive.tarwriter import END, FOLDER, Member, header, padding
from pier.errors import Internal, NotFound, PierError
from pier.images import save_documents as documents
from pier.images.catalog import Catalog
from pier.images.context import Context
from pier.images.garbage import keeping
from pier.images.image import Image
from pier.oci import reference as references
from pier.oci.platform import Platform
from pier.oci.reference import Reference
from pier.trace import point


@dataclass(frozen=True)
class Wanted:
    """What one of the given texts means: images (several for a name of several platforms), and the name to be written, if it is one."""

    images: tuple[Image, ...]
    name: Reference | None = None


@dataclass(frozen=True)
class LayerTar:
    """A place in the archive where the tar of a layer goes."""

    diff_id: str
    size: int


@dataclass(frozen=True)
class Archive:
    """A whole archive in order: bytes as they are, and tars of layers in between."""

    pieces: tuple[bytes | LayerTar, ...]

    @property
    def size(self) -> int:
        """Bytes of it all."""
        return sum(piece.size if isinstance(piece, LayerTar) else len(piece) for piece in self.pieces)


@contextlib.asynccontextmanager
async def save(
    ctx: Context, texts: Sequence[str], platforms: Sequence[Platform] = (), without: Collection[str] = ()
) -> AsyncIterator[Archive]:
    """The archive of what `texts` name; while the block runs, its layers stay where they are.

    texts: names and IDs; a name without a tag means all tags of its repository. platforms: take the images for these; none: all that
    each name means here. without: layers (diff IDs) that the archive's reader has: named there, but not in it. Raises NotFound, Invalid;
    Internal for an image that is damaged, naming what is.
    """
    wanted = choose(ctx.catalog, texts, platforms)
    images = {image.id: image for one in wanted for image in one.images}
    async with keeping(ctx, {digest for image in images.values() for digest in image.contents()}):
        try:
            sizes = await asyncio.to_thread(_sizes, ctx, images.values())
            own = await asyncio.to_thread(_own_manifests, ctx, images.values())
        except PierError as error:
            raise Internal(f"the images cannot be saved: {error}") from error
        point("images.save")
        for image in images.values():
            ctx.publish("save", image)
        yield plan(wanted, sizes, own, without)


def choose(catalog: Catalog, texts: Sequence[str], platforms: Sequence[Platform]) -> list[Wanted]:
    """What the texts mean, each name once; an ID says nothing of an image that is named, too. Raises NotFound, Invalid with Docker's words."""
    found: dict[str, Wanted] = {}
    for text in texts:
        for one in _meant(catalog, text):
            found.setdefault(references.key_of(one.name) if one.name else one.images[0].id, one)
    named = {image.id for one in found.values() if one.name for image in one.images}
    left = [one for one in found.values() if one.name or any(image.id not in named for image in one.images)]
    return [Wanted(_fitting(one, platforms), one.name) for one in left] if platforms else left


def _meant(catalog: Catalog, text: str) -> list[Wanted]:
    given = references.parse_any(text)
    if isinstance(given, Reference) and not given.digest:
        if given.tag:
            names = [given]
        else:
            carried = {name for image in catalog for name in image.references}
            names = sorted((name for name in carried if name.tag and name.repository == given.repository), key=references.key_of)
        variants = [Wanted(tuple(catalog.variants(name)), name) for name in names]
        if variants and all(one.images for one in variants):
            return variants
        if not given.tag:
            try:
                return [Wanted((catalog.resolve(text),))]
            except NotFound:
                raise NotFound(f"No such image: {text}") from None
    return [Wanted(tuple(catalog.meant(text)))]


def _fitting(one: Wanted, platforms: Sequence[Platform]) -> tuple[Image, ...]:
    """For each platform the image that suits it best."""
    chosen: dict[str, Image] = {}
    for platform in platforms:
        best = max(one.images, key=lambda image: platform.closeness(image.config.platform))
        if not platform.runs(best.config.platform):
            raise NotFound(f"no suitable export target found for platform {platform}")
        chosen[best.id] = best
    return tuple(chosen.values())


def plan(wanted: Sequence[Wanted], sizes: dict[str, int], own: dict[str, bytes], without: Collection[str] = ()) -> Archive:
    """The archive. Pure. sizes: bytes of the tar of each layer, by diff ID; own: manifests that images keep, by their ID; without: as in `save`."""
    files: dict[str, bytes | LayerTar] = {}
    times: dict[str, int] = {}
    for image in {image.id: image for one in wanted for image in one.images}.values():
        for diff_id in (diff_id for diff_id in image.diff_ids if diff_id not in without):
            files.setdefault(documents.blob_path(diff_id), LayerTar(diff_id, sizes[diff_id]))
            times.setdefault(documents.blob_path(diff_id), _seconds(image))
        files[documents.blob_path(image.id)] = image.config_bytes
        times.setdefault(documents.blob_path(image.id), _seconds(image))
    files.update(documents.write([(one.name, one.images) for one in wanted], sizes, own, without))
    pieces: list[bytes | LayerTar] = []
    if any(name.startswith(documents.BLOBS) for name in files):
        newest = max(times.values(), default=0)
        folders = (Member(name, kind=FOLDER, mode=0o755, mtime=newest) for name in (b"blobs/", b"blobs/sha256/"))
        pieces.append(b"".join(map(header, folders)))
    for name in sorted(files):
        content = files[name]
        size = content.size if isinstance(content, LayerTar) else len(content)
        pieces += [header(Member(name.encode(), size, mtime=times.get(name, 0))), content, padding(size)]
    return Archive(_joined([*pieces, END]))


def _joined(pieces: Sequence[bytes | LayerTar]) -> tuple[bytes | LayerTar, ...]:
    """The same with neighbouring bytes as one piece."""
    out: list[bytes | LayerTar] = []
    texts: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            texts.append(piece)
        else:
            out += [b"".join(texts), piece]
            texts = []
    return (*out, b"".join(texts))


def _seconds(image: Image) -> int:
    """When the image was made, as a time that every tar can carry."""
    seconds = image.created_ns // 1_000_000_000
    return seconds if 0 <= seconds < 1 << 33 else 0


def _sizes(ctx: Context, images: Iterable[Image]) -> dict[str, int]:
    return {diff_id: ctx.layers.tar_bytes(diff_id) for image in images for diff_id in image.diff_ids}


def _own_manifests(ctx: Context, images: Iterable[Image]) -> dict[str, bytes]:
    """The manifests that images came with, where they name the very tars that the archive has."""
    read = {image.id: documents.fitting(ctx.content.read(image.manifest), image) for image in images if image.manifest}
    return {identity: data for identity, data in read.items() if data}
