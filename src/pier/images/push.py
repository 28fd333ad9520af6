"""POST /images/{name}/push: an image goes to a registry, or what is missing of it there.

    asked         the name with its tag, or all tags                                push_plan
    up to date?   one HEAD, where the repository had that manifest before: then that is all
    image         the manifest it came with, if it can be sent; else one is made    push_image
    layers        all at once, by HEAD, mount, upload, or compressed on the way     push_layers: push_compress
    manifest      under the tag, once everything that it names is there; of an index all manifests, then the index
    record        the digest by which the image is known now, where its layers are  push_record

What was pulled is sent as it was: same bytes, same digests. A push that ends half-way leaves at the registry what it had sent, and here the
compressed layers; the next one goes on from there.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pier.errors import Conflict, Internal, PierError
from pier.images import progress, push_plan
from pier.images.context import Context, uninterrupted
from pier.images.garbage import keeping
from pier.images.proof import is_proven
from pier.images.push_image import Sender, Sent
from pier.images.push_layers import Destination, Uploads, all_of
from pier.images.push_plan import Asked, Target
from pier.images.push_record import Pushed, record
from pier.images.push_report import FOREIGN, PUSHED, Report
from pier.images.sources import LayerSource
from pier.oci import digest as digests
from pier.oci import manifest as documents
from pier.oci.manifest import Index
from pier.oci.platform import Platform
from pier.oci.reference import Reference
from pier.registry.cancel import Cancel
from pier.registry.credentials import Credentials
from pier.registry.errors import for_push
from pier.trace import point

if TYPE_CHECKING:
    from pier.registry.client import Registries

_MOST_QUEUED = 1000  # lines that a client does not take; further ones of progress are dropped


def check(ctx: Context, asked: Asked, platform: Platform | None) -> None:
    """What is refused before anything is answered: a platform that the name does not have here. Raises NotFound."""
    if platform and not asked.every_tag and ctx.catalog.meaning(asked.reference):
        push_plan.target(ctx.catalog, asked.reference, platform, None)


async def push(
    ctx: Context, uploads: Uploads, asked: Asked, platform: Platform | None = None, credentials: Credentials | None = None
) -> AsyncIterator[progress.Line]:
    """The lines of Docker's push; what goes wrong is the last line. Ends when the iterator is closed.

    platform: push the image for that one alone, not its index. credentials: who asks.
    """
    lines: asyncio.Queue[progress.Line | None] = asyncio.Queue()

    def put(line: progress.Line) -> None:
        if lines.qsize() < _MOST_QUEUED or not line.get("progressDetail"):
            lines.put_nowait(line)

    work = asyncio.ensure_future(_Push(ctx, uploads, asked, platform, credentials, Report(put)).run())
    work.add_done_callback(lambda _: lines.put_nowait(None))
    try:
        while (line := await lines.get()) is not None:
            yield line
        try:
            work.result()
        except (PierError, OSError) as error:
            yield progress.failed(str(error))
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError, PierError, OSError):
            await work


class _Push:
    """One request: what one user pushes to one repository."""

    def __init__(
        self, ctx: Context, uploads: Uploads, asked: Asked, platform: Platform | None, credentials: Credentials | None, report: Report
    ) -> None:
        self._ctx, self._asked, self._platform, self._report = ctx, asked, platform, report
        loop = asyncio.get_running_loop()
        self._to = Destination(asked.reference, credentials, lambda text: _tell(loop, report, text))
        self._sender = Sender(ctx, uploads, self._to, report)

    async def run(self) -> None:
        """Everything, to the event. Raises PierError, OSError."""
        ctx, name = self._ctx, self._asked.reference
        self._report.begins(name)
        for one in push_plan.names(ctx.catalog, self._asked):
            try:
                await self._one(one)
            except PierError as error:
                raise for_push(error, one) from error
        image = None if self._asked.every_tag else ctx.catalog.named(name)
        ctx.journal.publish("image", "push", str(name), {**(image.labels if image else {}), "name": name.familiar_name})

    async def _one(self, name: Reference) -> None:
        """What one name stands for."""
        ctx = self._ctx
        meaning = ctx.catalog.meaning(name)
        index = ctx.content.read(meaning.index) if meaning and meaning.index and not self._platform else None
        document = _index_of(index) if index else None
        target = push_plan.target(ctx.catalog, name, self._platform, document)
        needed = {digest for part in target.parts for digest in (*part.image.contents(), part.manifest) if digest}
        needed |= {digest for _, one in target.attestations for digest in one.digests}
        async with keeping(ctx, needed | {digest for digest in (target.index, target.instead) if digest}):
            if target.index and not all(map(self._sender.is_own, target.parts)):
                target = target.alone()
            if index and document and target.instead:
                self._tell_instead(index, document, target)
            sendings = [self._sender.begin(part) for part in target.parts]
            whole = Sent(target.parts[0], index, push_plan.announced(document), False, ()) if index and document and target.index else None
            there = whole.digest if whole else sendings[0].digest
            if there and await self._is_there(name, there):
                sent = [one.there() for one in sendings]
            else:
                sent = await all_of([one.send() for one in sendings])
                await all_of([self._sender.blob(digest, self._origins(target)) for _, one in target.attestations for digest in one.blobs])
                point("push.blobs")
                await self._manifests(name, sent, target, whole)
            point("push.manifest")
            pushed = _pushed(ctx, name, sent, whole)
            about = ctx.catalog.meaning(name)
            await uninterrupted(record(ctx, replace(pushed, attestations=about.attestations) if whole and about else pushed))
        last = whole or sent[0]
        self._report.done(name.tag or "", last.digest, len(last.data))

    async def _is_there(self, name: Reference, digest: str) -> bool:
        """Whether the tag names that manifest or index already, and so all that belongs to it: no registry takes one without its blobs.

        Asked where the repository is known to have had it, else it would be one more question for most pushes.
        """
        if self._ctx.catalog.meaning(replace(name.bare(), digest=digest)) is None:
            return False
        head = await self._ctx.remote.call(
            lambda registries, cancel: self._to.repository(registries, cancel).head(name.tag or "latest"), host=name.domain
        )
        return head is not None and head.digest == digest

    def _tell_instead(self, index: bytes, document: Index, target: Target) -> None:
        entry = next((entry for entry in document.manifests if entry.digest == target.parts[0].manifest), None)
        if entry:
            self._report.instead(push_plan.instead_of(index, entry, digests.of(index)))

    def _origins(self, target: Target) -> tuple[Reference, ...]:
        """Repositories of the same registry that have had the index, and so what belongs to it."""
        to = target.reference
        names = {name.bare(): None for part in target.parts for name in part.image.references if name.digest and name.domain == to.domain}
        return tuple(name for name in names if name.path != to.path)

    async def _manifests(self, name: Reference, sent: Sequence[Sent], target: Target, whole: Sent | None) -> None:
        """Under the tag the index, after all that it names, or the one manifest."""
        if whole and (changed := next((one for one in sent if one.made), None)):
            raise Conflict(
                f"{name}: its index names {changed.part.manifest}, whose layers are not here any more as they were pulled: pull it again,"
                " or push one platform with --platform"
            )
        first = [(one.digest, one.data, one.media_type) for one in sent] if whole else []
        about = [(entry.digest, self._ctx.content.read(entry.digest), entry.media_type) for entry, _ in target.attestations]
        last = whole or sent[0]

        def work(registries: "Registries", cancel: Cancel) -> None:
            repository = self._to.repository(registries, cancel)
            for under, data, media_type in (*first, *about, (name.tag or "latest", last.data, last.media_type)):
                repository.put_manifest(under, data, media_type)

        await self._ctx.remote.call(work, host=name.domain)


def _pushed(ctx: Context, name: Reference, sent: Sequence[Sent], whole: Sent | None) -> Pushed:
    """What there is to remember."""
    repository = name.repository
    sources = tuple(
        LayerSource(layer.diff_id, layer.digest, layer.size, layer.media_type, repository)
        for one in sent
        for layer in one.placed
        if layer.how == PUSHED or (layer.how != FOREIGN and is_proven(ctx, layer.diff_id, layer.digest))
    )
    digest = (whole or sent[0]).digest
    made = tuple(one.data for one in sent if one.made)
    return Pushed(name, digest, {one.part.image.id: one.digest for one in sent}, digest if whole else None, made, sources)


def _index_of(data: bytes) -> Index:
    document = documents.parse(data)
    if not isinstance(document, Index):
        raise Internal(f"{digests.of(data)} is kept as an index, and is none: remove its image and pull it again")
    return document


def _tell(loop: asyncio.AbstractEventLoop, report: Report, text: str) -> None:
    """From a thread."""
    loop.call_soon_threadsafe(report.notice, text)
