"""POST /images/create?fromImage=: an image comes from a registry, or what is missing of it.

    asked         the name, the tag or digest, or all tags                       pull_plan
    up to date?   one HEAD, where the name is here
    manifest      the best of an index for the platform, checked                 pull_manifest
    configuration which layers there are, by diff ID: those that are here with their blobs stay
    layers        each blob fetched, verified, decompressed, indexed, all at     pull_layers: pull_blob, pull_follow
                  once, and shared with whoever pulls the same
    attestations  what the index has about the image, meanwhile                  attestations
    commit        files, then rows; then the client hears that it is done        commit

What was fetched and not committed stays for the next pull, unless the image is wrong (then nothing of it is of use) or the disk is full.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pier.archive.layer import sync_filesystem
from pier.archive.workers import WorkerDied
from pier.errors import Invalid, NotFound, PierError, Unavailable
from pier.images import attestations, progress, pull_plan
from pier.images.commit import NewImage, NewLayer, commit
from pier.images.context import Context, uninterrupted
from pier.images.garbage import keeping
from pier.images.image import Image, Layer
from pier.images.names import Attestation, Meaning
from pier.images.proof import is_proven
from pier.images.pull_blob import Source
from pier.images.pull_follow import Taken
from pier.images.pull_layers import Transfer, Transfers
from pier.images.pull_manifest import Found, chosen, configuration, find
from pier.images.pull_plan import Asked, Step
from pier.images.pull_report import Report
from pier.oci import digest as digests
from pier.oci import image_config
from pier.oci import platform as platforms
from pier.oci.image_config import ImageConfig
from pier.oci.manifest import Index, parse
from pier.oci.platform import Platform
from pier.oci.reference import Reference
from pier.registry.credentials import Credentials
from pier.registry.errors import NotKnown, Overloaded, Unreachable, for_pull
from pier.trace import point

T = TypeVar("T")
Put = Callable[[progress.Line], None]
_MOST_QUEUED = 1000  # lines that a client does not take; further ones of progress are dropped
_PASSING = (Unreachable, Overloaded, NotKnown, WorkerDied)  # after which the next pull goes on where this one stopped


async def pull(
    ctx: Context, transfers: Transfers, asked: Asked, platform: Platform | None = None, credentials: Credentials | None = None
) -> AsyncGenerator[progress.Line, None]:
    """The lines of Docker's pull. What goes wrong before the first line is raised, later it is the last line.

    platform: what the image is to be for, this machine's where it is None. credentials: who asks. Ends when the iterator is closed.
    """
    lines: asyncio.Queue[progress.Line | None] = asyncio.Queue()

    def put(line: progress.Line) -> None:
        if lines.qsize() < _MOST_QUEUED or not line.get("progressDetail"):
            lines.put_nowait(line)

    report = Report(put)
    work = asyncio.ensure_future(_Pull(ctx, transfers, asked.reference, platform, credentials, report).run(asked))
    work.add_done_callback(lambda _: lines.put_nowait(None))
    begun = False
    try:
        while (line := await lines.get()) is not None:
            begun = True
            yield line
        try:
            work.result()
        except (PierError, OSError) as error:
            if not begun:
                raise
            yield progress.failed(str(error))
    finally:
        report.close()
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError, PierError, OSError):
            await work


class _Pull:
    """One request: the images of one repository for one platform and one user."""

    def __init__(
        self, ctx: Context, transfers: Transfers, name: Reference, platform: Platform | None, credentials: Credentials | None, report: Report
    ) -> None:
        self._ctx, self._transfers, self._name, self._report = ctx, transfers, name, report
        self._platform, self._wanted = platform, platform or platforms.host()
        self._credentials = credentials
        self._loop = asyncio.get_running_loop()

    async def run(self, asked: Asked) -> None:
        """Everything, to the event. Raises PierError, OSError."""
        references = await self._every_tag() if asked.every_tag else [self._name]
        news, image = False, None
        for reference in references:
            fresh, image = await self._one(reference)
            news = news or fresh
        shown = self._name if asked.every_tag else references[0]
        self._report.status(f"Status: {'Downloaded newer image' if news else 'Image is up to date'} for {shown}")
        if image and self._platform and not self._platform.runs(image.config.platform):
            self._report.status(
                f"WARNING: image with reference {shown} was found but its platform ({image.config.platform}) does not match"
                f" the specified platform ({self._platform})"
            )
        labels = image.labels if image else {}
        self._ctx.journal.publish("image", "pull", str(shown), {**labels, "name": shown.familiar_name})

    async def _every_tag(self) -> list[Reference]:
        with self._docker_words(self._name):
            tags = await self._ctx.remote.call(
                lambda registries, cancel: registries.repository(self._name, self._credentials, cancel=cancel, notice=self._notice).tags(),
                host=self._name.domain,
            )
        return [self._name.with_tag(tag) for tag in tags]

    async def _one(self, reference: Reference) -> tuple[bool, Image | None]:
        """One image: whether anything changed here, and which it is."""
        ctx, report = self._ctx, self._report
        if ctx.catalog.meaning(reference):
            digest = await self._head(reference)
            if digest and (image := _up_to_date(ctx, reference, digest, self._wanted)):
                report.pulling(reference)
                report.status(f"Digest: {digest}")
                return False, image
        with self._docker_words(reference):
            found = await ctx.remote.call(
                lambda registries, cancel: find(
                    registries.repository(reference, self._credentials, cancel=cancel, notice=self._notice), _asked_for(reference), self._wanted
                ),
                host=reference.domain,
            )
        report.pulling(reference)
        point("pull.manifest")
        data = await self._configuration(reference, found)
        with _blamed(reference, found):
            config = image_config.parse(data)
            steps = pull_plan.steps(found.manifest, config)
        before = ctx.catalog.meaning(reference)
        fetched = await self._take(reference, found, data, config, steps)
        report.status(f"Digest: {found.digest}")
        return fetched or before != ctx.catalog.meaning(reference), ctx.catalog.get(digests.of(data))

    async def _head(self, reference: Reference) -> str | None:
        with self._docker_words(reference):
            head = await self._ctx.remote.call(
                lambda registries, cancel: registries.repository(reference, self._credentials, cancel=cancel, notice=self._notice).head(
                    _asked_for(reference)
                ),
                host=reference.domain,
            )
        return head.digest if head else None

    async def _configuration(self, reference: Reference, found: Found) -> bytes:
        descriptor, content = found.manifest.config, self._ctx.content

        def here() -> bytes | None:
            try:
                return content.read(descriptor.digest)
            except NotFound:  # nothing keeps it here yet
                return None

        with self._docker_words(reference):
            return await self._ctx.remote.call(
                lambda registries, cancel: configuration(
                    registries.repository(reference, self._credentials, cancel=cancel, notice=self._notice), descriptor, here
                ),
                host=reference.domain,
            )

    async def _take(self, reference: Reference, found: Found, data: bytes, config: ImageConfig, steps: tuple[Step, ...]) -> bool:
        """Fetch what is missing and make the image ours; whether any layer was fetched."""
        ctx = self._ctx
        needed = {digest for step in steps for digest in (step.diff_id, step.blob.digest)}
        needed |= {digests.of(document) for document in (data, found.data, found.index) if document}
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(keeping(ctx, needed))
            here = {step.diff_id: layer for step in steps if (layer := _layer_here(ctx, step.diff_id))}
            missing: dict[str, Transfer] = {}
            for step in steps:
                if step.diff_id in here and self._is_whole(step):
                    self._report.layer(step, "Already exists")
                elif step.blob.digest not in missing:
                    self._report.layer(step, "Pulling fs layer")
                    source = Source(reference, self._credentials, tuple(step.blob.urls or ()))
                    missing[step.blob.digest] = await stack.enter_async_context(self._transfers.joined(step.blob, source))
            kept = await stack.enter_async_context(contextlib.AsyncExitStack())
            about = await stack.enter_async_context(_beside(self._attestations(kept, reference, found)))
            try:
                taken = await self._layers(missing)
                with _blamed(reference, found):
                    for step in steps:
                        if step.blob.digest in taken:
                            pull_plan.check_layer(step, taken[step.blob.digest].diff_id)
                proven = [step for step in steps if step.blob.digest in taken or is_proven(ctx, step.diff_id, step.blob.digest)]
                layers = [self._new_layer(step, here, missing, taken, step in proven) for step in steps]
                image = replace(self._image(reference, found, data, config, layers, proven), attestations=await about)
                await uninterrupted(self._commit(image, missing))
            except (PierError, OSError) as error:
                for transfer in missing.values():
                    transfer.needless = not isinstance(error, _PASSING)
                raise for_pull(error, reference) if isinstance(error, PierError) else error from error
        return bool(missing)

    async def _attestations(self, kept: contextlib.AsyncExitStack, reference: Reference, found: Found) -> tuple[Attestation, ...]:
        """Have here what the index has about the image, kept by `kept`; what cannot be had is told. Without the layers' blobs it is of no use."""
        index = parse(found.index) if found.index and self._ctx.remote.config.keep_compressed else None
        wanted = attestations.entries(index, digests.of(found.data)) if isinstance(index, Index) else []
        if not wanted:
            return ()
        there = await self._ctx.remote.call(
            lambda registries, cancel: attestations.fetch_documents(
                registries.repository(reference, self._credentials, cancel=cancel, notice=self._notice), wanted, self._notice
            ),
            host=reference.domain,
        )
        await kept.enter_async_context(keeping(self._ctx, [digest for one, _ in there for digest in one.digests]))
        point("pull.attestations")
        return await self._ctx.remote.call(
            lambda registries, cancel: attestations.fetch(
                registries.repository(reference, self._credentials, cancel=cancel, notice=self._notice), self._ctx.content, there, self._notice
            ),
            host=reference.domain,
            bulk=True,
        )

    def _is_whole(self, step: Step) -> bool:
        """Whether a layer that is here is so as its manifest has it: one that was loaded, or came as other bytes, is fetched for its blob, so that
        the image can be pushed on with the digest that it was pulled by; and so that nobody has to believe that the blob is the layer."""
        digest = step.blob.digest
        here = digest == step.diff_id or not self._ctx.remote.config.keep_compressed or self._ctx.content.has(digest)
        return here and (is_proven(self._ctx, step.diff_id, digest) or not self._ctx.remote.config.keep_compressed)

    async def _layers(self, missing: Mapping[str, Transfer]) -> dict[str, Taken]:
        """What the transfers end with; the first that fails ends it."""
        async with self._report.following(missing):
            waiting = {digest: asyncio.ensure_future(transfer.taken()) for digest, transfer in missing.items()}
            try:
                if waiting:
                    await asyncio.wait(waiting.values(), return_when=asyncio.FIRST_EXCEPTION)
                    for one in sorted(waiting.values(), key=lambda one: not one.done()):
                        await one
            finally:
                for one in waiting.values():
                    one.cancel()
                if waiting:
                    await asyncio.wait(waiting.values())
            return {digest: one.result() for digest, one in waiting.items()}

    def _new_layer(
        self, step: Step, here: Mapping[str, Layer], missing: Mapping[str, Transfer], taken: Mapping[str, Taken], proven: bool
    ) -> NewLayer:
        digest = step.blob.digest
        if digest not in taken:
            kept = digest if proven and digest != step.diff_id and self._ctx.content.has(digest) else None
            return NewLayer(step.diff_id, "", here[step.diff_id].size_bytes, kept, step.blob.media_type)
        layer = taken[digest]
        # An uncompressed blob is the layer's own tar: it is kept once.
        keeps = self._ctx.remote.config.keep_compressed and digest != step.diff_id
        return NewLayer(
            step.diff_id, layer.folder, layer.size_bytes, digest if keeps else None, step.blob.media_type, layer.scratch, missing[digest].partial
        )

    def _image(
        self, reference: Reference, found: Found, data: bytes, config: ImageConfig, layers: list[NewLayer], proven: Sequence[Step]
    ) -> NewImage:
        by_digest = replace(reference.bare(), digest=found.digest)
        return NewImage(
            digests.of(data),
            config,
            data,
            tuple(layers),
            found.data,
            (by_digest,) if reference.digest else (reference, by_digest),
            index_bytes=found.index,
            sources=pull_plan.sources(proven, reference),
        )

    async def _commit(self, image: NewImage, missing: Mapping[str, Transfer]) -> None:
        ctx = self._ctx
        if missing and ctx.layers.kind == "unpacked":
            await asyncio.to_thread(_sync_all, ctx)
        point("pull.commit")
        await commit(ctx, ctx.content.root, [image])
        for transfer in missing.values():
            transfer.needless = True
        point("pull.committed")

    @contextlib.contextmanager
    def _docker_words(self, reference: Reference) -> Iterator[None]:
        try:
            yield
        except PierError as error:
            raise for_pull(error, reference) from error

    def _notice(self, text: str) -> None:
        """From a thread."""
        self._loop.call_soon_threadsafe(self._report.notice, text)


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, T]) -> AsyncIterator["asyncio.Future[T]"]:
    """Work that goes on while the block runs, and is over at its end, one way or the other."""
    future = asyncio.ensure_future(work)
    try:
        yield future
    finally:
        future.cancel()
        await asyncio.wait({future})
        if not future.cancelled():
            future.exception()  # heard: the block has raised something else, or has awaited it


@contextlib.contextmanager
def _blamed(reference: Reference, found: Found) -> Iterator[None]:
    """Invalid with the image's name and its manifest's digest in front."""
    try:
        yield
    except Invalid as error:
        raise Invalid(f"{reference.bare()}@{digests.of(found.data)}: {error}") from None


def _asked_for(reference: Reference) -> str:
    return reference.digest or reference.tag or "latest"


def _layer_here(ctx: Context, diff_id: str) -> Layer | None:
    return ctx.catalog.layer(diff_id) if ctx.layers.has(diff_id) else None


def _up_to_date(ctx: Context, reference: Reference, digest: str, wanted: Platform) -> Image | None:
    """The image that a pull of `reference`, which is `digest` at the registry, would come to, where it is here with all that belongs to it."""
    meaning: Meaning | None = ctx.catalog.meaning(reference)
    if meaning is None or ctx.catalog.meaning(replace(reference.bare(), digest=digest)) is None:
        return None
    manifest: str | None = digest
    index = None
    if meaning.index:
        try:
            index = parse(ctx.content.read(meaning.index)) if meaning.index == digest else None
        except PierError:
            return None
        manifest = chosen(index, wanted) if isinstance(index, Index) else None
    identity = next((identity for identity, by in meaning.images.items() if by and by == manifest), "")
    image = ctx.catalog.get(identity)
    if image is None or not all(map(ctx.layers.has, image.diff_ids)):
        return None
    if isinstance(index, Index) and ctx.remote.config.keep_compressed and not attestations.are_here(ctx.content, index, meaning, identity):
        return None
    return image


def _sync_all(ctx: Context) -> None:
    """Unpacked layers are many files: one syncfs for those of the image, none for each."""
    fd = os.open(ctx.content.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_filesystem(fd)
    except OSError as error:
        raise Unavailable(f"the layers cannot be written to the disk: {error.strerror}") from error
    finally:
        os.close(fd)
