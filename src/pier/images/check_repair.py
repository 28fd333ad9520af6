"""Putting right what a check found broken: from what is left here, else from where it was pulled.

A layer: its index from its tar; else the whole of a compressed form that is kept, else of the blob in a repository that is known to have it.
A blob: from such a repository; else it is given up, since a push can make another. A configuration: from the daemon's memory, else, like a
manifest, an index and what an index has about an image, from a repository that the image has a name in.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pier.errors import Invalid, NotFound, PierError
from pier.images import attestations
from pier.images.catalog import Catalog
from pier.images.check_plan import Part, Problem
from pier.images.context import Context, Users, uninterrupted
from pier.images.garbage import keeping
from pier.images.pull_blob import Source
from pier.images.pull_layers import Transfer, Transfers
from pier.images.sources import LayerSource, known
from pier.oci import digest as digests
from pier.oci import image_config
from pier.oci import reference as references
from pier.oci.descriptor import Descriptor
from pier.oci.reference import Reference
from pier.registry.credentials import Credentials
from pier.trace import point

if TYPE_CHECKING:
    from pier.registry.repository import Repository

Outcome = tuple[str | None, str]  # how it was repaired, else None and why it was not


class Repairer:
    """Repairs one part at a time. Use from the loop's thread; the parts are kept meanwhile (garbage.keeping)."""

    def __init__(self, ctx: Context, transfers: Transfers, users: Users, credentials: Mapping[str, Credentials]) -> None:
        """credentials: who asks, by the domain of the registry."""
        self._ctx, self._transfers, self._users, self._credentials = ctx, transfers, users, credentials

    def domains(self, part: Part) -> Iterator[str]:
        """The registries that may have the part."""
        for source in known(self._ctx.store, part.diff_id or part.digest):
            yield references.parse(source.repository).domain
        if part.kind not in ("layer", "blob"):
            for name in self._names(part):
                yield name.domain

    async def repair(self, part: Part, problem: Problem, scratch: Path) -> Outcome:
        """Repair it, durably. What cannot be had raises nothing: it is told. Raises OSError where the disk refuses."""
        try:
            if problem.index:
                await uninterrupted(self._under_lock(lambda: self._ctx.layers.replace_index(part.digest, scratch / problem.index)))
                return "its index was made anew from its tar", ""
            if part.kind == "layer":
                return await self._layer(part.digest)
            return await (self._blob(part) if part.kind == "blob" else self._document(part))
        except PierError as error:
            return None, str(error)

    # layers and their compressed forms

    async def _layer(self, diff_id: str) -> Outcome:
        if running := self._held_by(diff_id):
            return None, f"containers run on its files ({', '.join(running)}): stop them and check again"
        tried = "nothing here or elsewhere is known to have it"
        for descriptor, source, where in self._forms(diff_id):
            try:
                async with keeping(self._ctx, {descriptor.digest}), self._transfers.joined(descriptor, source) as transfer:
                    taken = await transfer.taken()
                    transfer.needless = True
                    if taken.diff_id != diff_id:
                        raise Invalid(f"{where} makes layer {taken.diff_id}")
                    point("check.layer")
                    place = taken.scratch / taken.folder
                    await uninterrupted(self._under_lock(lambda place=place: self._ctx.layers.replace(diff_id, place)))  # type: ignore[misc]
                return f"it was made anew from {where}", ""
            except PierError as error:
                tried = str(error)
        return None, tried

    def _held_by(self, diff_id: str) -> list[str]:
        """Running containers that see the files themselves: with an index they keep the mount that they have."""
        if self._ctx.layers.kind == "erofs":
            return []
        return [container[:12] for image in self._ctx.catalog.having(diff_id) for container, runs in self._users(image) if runs]

    def _forms(self, diff_id: str) -> Iterator[tuple[Descriptor, Source, str]]:
        """What the layer can be made of, what is here first."""
        ctx, layer = self._ctx, self._ctx.catalog.layer(diff_id)
        anywhere = references.parse("here")
        for blob in layer.blobs if layer else ():
            if ctx.content.has(blob.digest):
                descriptor = Descriptor(media_type=blob.media_type, digest=blob.digest, size=ctx.content.size(blob.digest))
                yield descriptor, Source(anywhere), f"blob {blob.digest}, which is kept here"
        for found in known(ctx.store, diff_id):
            yield *self._at(found), f"{found.repository}@{found.digest}"

    def _at(self, found: LayerSource) -> tuple[Descriptor, Source]:
        reference = references.parse(found.repository)
        descriptor = Descriptor(media_type=found.media_type, digest=found.digest, size=found.size_bytes)
        return descriptor, Source(reference, self._credentials.get(reference.domain))

    async def _blob(self, part: Part) -> Outcome:
        content, tried = self._ctx.content, "no repository is known to have it"
        await uninterrupted(self._under_lock(lambda: content.delete(part.digest)))
        for found in known(self._ctx.store, part.diff_id):
            if found.digest != part.digest:
                continue
            try:
                async with self._transfers.joined(*self._at(found)) as transfer:
                    await transfer.taken()
                    point("check.blob")
                    await uninterrupted(self._under_lock(lambda transfer=transfer: self._publish(transfer)))  # type: ignore[misc]
                return f"it was fetched from {found.repository}", ""
            except PierError as error:
                tried = str(error)
        await uninterrupted(self._give_up(part))
        return f"it was given up ({tried}): a push will compress the layer anew", ""

    def _publish(self, transfer: Transfer) -> None:
        if transfer.partial is not None:
            transfer.partial.sync()
            self._ctx.content.publish(transfer.partial)
        transfer.needless = True

    async def _give_up(self, part: Part) -> None:
        ctx = self._ctx
        async with ctx.lock:
            await ctx.store.write(lambda db: db.execute("DELETE FROM layer_blobs WHERE digest = ?", (part.digest,)))
            for identity in tuple(ctx.catalog.having(part.diff_id)):
                image = ctx.catalog.get(identity)
                if image:
                    layers = tuple(replace(one, blobs=tuple(b for b in one.blobs if b.digest != part.digest)) for one in image.layers)
                    ctx.catalog.put(replace(image, layers=layers))

    # documents

    async def _document(self, part: Part) -> Outcome:
        image = self._ctx.catalog.get(part.digest) if part.kind == "configuration" else None
        if image is not None and digests.of(image.config_bytes) == part.digest:
            await self._write(part.digest, image.config_bytes)
            return "it was written again from memory", ""
        tried = "it has no name in a repository to fetch it from"
        for name in self._names(part):
            try:
                data = await self._fetched(part, name)
                if part.kind == "configuration":
                    image_config.parse(data)
                await self._write(part.digest, data)
                if part.kind == "configuration":
                    self._show_again(part.digest)
                if part.kind == "attestation":
                    await self._parts_of(part, name, data)
                return f"it was fetched from {name.repository}", ""
            except PierError as error:
                tried = str(error)
        return None, tried

    def _names(self, part: Part) -> list[Reference]:
        """Names of the images that stand on a document, one for each repository, those of a registry's digest first."""
        rows = self._ctx.store.read(
            "SELECT DISTINCT reference FROM tags LEFT JOIN images ON id = image_id"
            " WHERE image_id = ?1 OR tags.manifest_digest = ?1 OR images.manifest_digest = ?1 OR index_digest = ?1",
            (part.digest,),
        )
        named = [references.from_key(row["reference"]) for row in rows] + self._ctx.catalog.attested(part.digest)
        found = sorted(named, key=lambda name: not name.digest)
        return list({name.repository: name.bare() for name in found}.values())

    async def _fetched(self, part: Part, name: Reference) -> bytes:
        def work(repository: "Repository") -> bytes:
            if part.kind not in ("configuration", "statement"):
                return repository.manifest(part.digest).data
            most = image_config.MAX_CONFIG_BYTES if part.kind == "configuration" else attestations.MOST_BYTES
            with repository.blob(part.digest) as blob:
                data = bytearray()
                while piece := blob.read():
                    data += piece
                    if len(data) > most:
                        raise Invalid(f"{name.bare()}@{part.digest}: it has more than {most} bytes")
                return bytes(data)

        who = self._credentials.get(name.domain)
        data = await self._ctx.remote.call(lambda registries, cancel: work(registries.repository(name, who, cancel=cancel)), host=name.domain)
        if digests.of(data) != part.digest:
            raise Invalid(f"{name.bare()}@{part.digest}: its bytes have the digest {digests.of(data)}")
        return data

    async def _write(self, digest: str, data: bytes) -> None:
        def work() -> None:
            self._ctx.content.delete(digest)
            point("check.document")
            self._ctx.content.write(data)

        await uninterrupted(self._under_lock(work))

    async def _parts_of(self, part: Part, name: Reference, data: bytes) -> None:
        """An attestation's manifest that could not be read names its parts again: what is not here of them comes, too."""
        ctx, known = self._ctx, attestations.of_document(data)
        async with keeping(ctx, known.digests):
            for digest in known.blobs:
                if not ctx.content.has(digest):
                    await self._write(digest, await self._fetched(replace(part, kind="statement", digest=digest), name))
            async with ctx.lock:
                ctx.catalog.attest(known)

    def _show_again(self, identity: str) -> None:
        """An image whose configuration was lost at the start of the daemon is in the catalog from now on."""
        ctx = self._ctx
        fresh = Catalog.read(ctx.store, ctx.content)
        image = fresh.get(identity)
        if image is None:
            raise NotFound(f"No such image: {identity}")
        ctx.catalog.put(replace(image, references=()))
        for name in image.references:
            if meaning := fresh.meaning(name):
                ctx.catalog.give(name, meaning)

    async def _under_lock(self, work: Callable[[], object]) -> None:
        """In a thread, while nobody else changes layers, blobs and rows."""
        async with self._ctx.lock:
            await asyncio.to_thread(work)
