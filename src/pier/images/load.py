"""POST /images/load: every image of an archive, or none."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pier.errors import Invalid, NotFound, PierError
from pier.images import attestations, progress
from pier.images.commit import NewImage, NewLayer, commit
from pier.images.context import Context, uninterrupted
from pier.images.garbage import keeping
from pier.images.job import parsed
from pier.images.names import from_archive
from pier.oci import digest as digests
from pier.oci import image_config, manifest
from pier.oci.platform import Platform
from pier.oci.reference import key_of

_MOST_QUEUED = 1000  # lines that a client does not take; further ones of progress are dropped
_HEX = re.compile(r"[0-9a-f]{64}")


async def load(ctx: Context, stream: AsyncIterator[bytes], quiet: bool, platform: Platform | None = None) -> AsyncIterator[progress.Line]:
    """The progress lines of Docker's load; what goes wrong is the last line, as its status was sent before.

    stream: the archive as it comes. platform: take only an image for that one.
    """
    lines: asyncio.Queue[progress.Line | None] = asyncio.Queue()
    report = Report(lines)
    work = asyncio.ensure_future(_load(ctx, stream, lines, None if quiet else report, platform))
    work.add_done_callback(lambda _: lines.put_nowait(None))
    try:
        while (line := await lines.get()) is not None:
            yield line
    finally:
        # The client went away: the work is not done for nobody, and has cleaned up before this returns.
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def _load(
    ctx: Context, stream: AsyncIterator[bytes], lines: "asyncio.Queue[progress.Line | None]", report: "Report | None", platform: Platform | None
) -> None:
    try:
        async with parsed(ctx, "load", stream, report, **({"platform": str(platform)} if platform else {})) as (answer, scratch):
            images = for_platform(from_answer(answer), platform)
            known = {layer.diff_id for image in ctx.catalog.everything() for layer in image.layers}
            async with keeping(ctx, absent := {layer.diff_id for image in images for layer in image.layers if not layer.folder}):
                _check_there(ctx, absent)
                moved = await uninterrupted(_keep(ctx, scratch, images))
    except (PierError, OSError) as error:
        lines.put_nowait(progress.failed(str(error)))
        return
    if report:
        report.done(images, known)
    # A name of several platforms is told once.
    for name in dict.fromkeys(name for image in images for name in image.references):
        if old := moved.get(key_of(name)):
            lines.put_nowait(progress.stream(f"The image {name} already exists, renaming the old one with ID {old} to empty string"))
        lines.put_nowait(progress.stream(f"Loaded image: {name}"))
    if not images[-1].references:
        # As Docker: one that ends without a name has all of them told by ID.
        lines.put_nowait({"stream": "".join(f"Loaded image ID: {image.id}\n" for image in images)})


def _check_there(ctx: Context, absent: Iterable[str]) -> None:
    """Raises Invalid where layers that the archive names and does not hold (GET /images/get?without=) are not here either."""
    if missing := sorted(diff_id for diff_id in absent if not ctx.layers.has(diff_id) or ctx.catalog.layer(diff_id) is None):
        raise Invalid(f"the archive names layer {missing[0]}, which is neither in it nor here: save the image with all its layers, and load that")


async def _keep(ctx: Context, scratch: Path, images: Sequence[NewImage]) -> dict[str, str]:
    """Commit, and tell of it even where the client went away meanwhile."""
    moved = await commit(ctx, scratch, images)
    for identity in dict.fromkeys(image.id for image in images):
        ctx.publish("load", ctx.catalog.resolve(identity))
    return moved


class Report:
    """Turns a worker's progress events (`bytes` of the archive so far, the `entry` that is read) into lines, one name a blob."""

    def __init__(self, lines: "asyncio.Queue[progress.Line | None]") -> None:
        """lines: where to."""
        self._lines = lines
        self._name, self._start_bytes = "", 0

    def __call__(self, event: Mapping[str, Any]) -> None:
        """One event."""
        found = _HEX.search(str(event.get("entry", "")))
        read_bytes = int(event.get("bytes", 0))
        name = found[0][:12] if found else ""
        if name != self._name:
            self._name, self._start_bytes = name, read_bytes
        elif name and self._lines.qsize() < _MOST_QUEUED:
            # How long the blob is is not known before its end: the total comes with `done`.
            self._lines.put_nowait(progress.step("Loading layer", name, read_bytes - self._start_bytes, 0))

    def done(self, images: Sequence[NewImage], known: set[str]) -> None:
        """The last line of each layer that was not here before."""
        for layer in {layer.diff_id: layer for image in images for layer in image.layers if layer.diff_id not in known}.values():
            name = (layer.blob_digest or layer.diff_id).removeprefix("sha256:")[:12]
            self._lines.put_nowait(progress.step("Loading layer", name, layer.size_bytes, layer.size_bytes))


def from_answer(answer: Mapping[str, Any]) -> list[NewImage]:
    """The images that a worker found, checked again for what must be true of them. Raises Invalid."""
    found = [_image(item) for item in answer.get("images", ())]
    if not found:
        raise Invalid("the archive holds no image: neither manifest.json nor index.json names one")
    return found


def _image(item: Mapping[str, Any]) -> NewImage:
    data = str(item["config"]).encode()
    identity = digests.of(data)
    if identity != item["config_digest"]:
        raise Invalid(f"image configuration {item['config_digest']}: its bytes have the digest {identity}")
    config = image_config.parse(data)
    layers = tuple(
        NewLayer(
            diff_id=str(layer["diff_id"]),
            folder=str(layer["dir"]),
            size_bytes=int(layer.get("size", layer.get("tar_bytes", -1))),
            # An uncompressed blob is the layer's own tar: it is kept once.
            blob_digest=layer["blob_digest"] if layer.get("blob_digest") not in (None, "", layer["diff_id"]) else None,
            media_type=str(layer.get("media_type") or ""),
        )
        for layer in item["layers"]
    )
    if tuple(layer.diff_id for layer in layers) != config.diff_ids:
        raise Invalid(f"image {identity}: the layers in the archive are not those of its configuration")
    text, index = (str(item[name]).encode() if item.get(name) else None for name in ("manifest", "index"))
    if text:
        document = manifest.parse(text)
        if not isinstance(document, manifest.Manifest) or document.config.digest != identity:
            raise Invalid(f"image {identity}: its manifest is that of another image")
    if index and not isinstance(manifest.parse(index), manifest.Index):
        raise Invalid(f"image {identity}: its index is none")
    names = tuple(from_archive(str(tag)) for tag in item.get("tags") or ())
    about = tuple(attestations.of_document(str(one).encode()) for one in item.get("attestations") or ())
    if about and not (text and index and {one.manifest for one in about} <= _about(index, digests.of(text))):
        raise Invalid(f"image {identity}: its attestations are of another image")
    return NewImage(identity, config, data, layers, text, names, index_bytes=index, attestations=about)


def _about(index: bytes, own: str) -> set[str]:
    document = manifest.parse(index)
    return {entry.digest for entry in attestations.entries(document, own)} if isinstance(document, manifest.Index) else set()


def for_platform(images: Sequence[NewImage], platform: Platform | None) -> Sequence[NewImage]:
    """Those for the platform; all where none is given. Raises NotFound where there is none."""
    if platform is None:
        return images
    fitting = [image for image in images if platform.runs(image.config.platform)]
    if not fitting:
        there = ", ".join(sorted({str(image.config.platform) for image in images}))
        raise NotFound(f"the archive has no image for platform {platform}: it has {there}")
    return fitting
