"""GET /images/json and the images of GET /system/df: what a client asks for, the newest first."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from pier.api.models.images import ImageSummary
from pier.images import filters as images_filters
from pier.images import manifests
from pier.images.catalog import Catalog
from pier.images.context import Context, Users
from pier.images.filters import Filters
from pier.images.image import Image
from pier.images.manifests import Containers, Target
from pier.images.names import order
from pier.images.usage import Disk
from pier.oci.reference import Reference

KNOWN_FILTERS = frozenset({"dangling", "label", "before", "since", "reference", "until"})
CountContainers = Callable[[str], int]


@dataclass(frozen=True)
class Shown:
    """An image that passed the filters, with those of its names that did."""

    image: Image
    names: tuple[Reference, ...]


def choose(catalog: Catalog, filters: Filters, *, all: bool = False) -> list[Shown]:
    """The images to show, the newest first.

    all: intermediate images too. Raises Invalid for a filter that is not known or malformed, NotFound where `before` or `since` name no image.
    """
    images_filters.check(filters, KNOWN_FILTERS)
    dangling = images_filters.boolean(filters, "dangling", False)
    before = [catalog.resolve(name).created_ns for name in filters.get("before", ())]
    since = [catalog.resolve(name).created_ns for name in filters.get("since", ())]
    until = images_filters.until_ns(filters, time.time_ns())
    parents = {image.parent for image in catalog if image.parent}
    found = []
    for image in sorted(catalog, key=lambda image: image.created_ns, reverse=True):
        created = image.created_ns
        if (before and created >= min(before)) or (since and created <= max(since)) or (until is not None and created > until):
            continue
        if not images_filters.has_labels(filters.get("label", ()), image.labels):
            continue
        if image.id in parents and not image.references and (dangling or not all):
            continue  # a step on the way to another image
        names = _names(image, filters, dangling)
        if names is not None:
            found.append(Shown(image, names))
    return found


def list_images(
    catalog: Catalog, filters: Filters, *, all: bool = False, shared_size: bool = False, containers: CountContainers | None = None
) -> list[ImageSummary]:
    """A summary for each image.

    shared_size: compute how many bytes each shares with others. containers: how many containers use an ID. Raises as `choose`.
    """
    summaries = []
    for shown in choose(catalog, filters, all=all):
        image = shown.image
        found = _summary(image, shown.names, containers(image.id) if containers else 0)
        if shared_size:
            found.shared_size = sum(layer.size_bytes for layer in image.layers if len(catalog.having(layer.diff_id)) > 1)
        summaries.append(found)
    return summaries


async def list_targets(ctx: Context, filters: Filters, users: Users, *, all: bool = False, shared_size: bool = False) -> list[ImageSummary]:
    """A summary for each index or single image, with its manifests; sizes are those on the disk. Raises as `choose`.

    The ID of a summary is that of the image which suits this machine best.
    """
    groups: dict[str, tuple[Target, list[Reference]]] = {}
    for shown in choose(ctx.catalog, filters, all=all):
        for name in shown.names or (None,):
            target = manifests.of_name(ctx.catalog, name) if name else manifests.of_image(shown.image)
            names = groups.setdefault(target.key, (target, []))[1]
            if name and name not in names:
                names.append(name)
    chosen = list(groups.values())
    used = _users_of((image for target, _ in chosen for image, _ in target.images), users)
    others = Counter(diff_id for image in ctx.catalog for diff_id in set(image.diff_ids))

    def describe() -> list[ImageSummary]:
        disk = Disk(ctx.content, ctx.layers)
        return [_target_summary(disk, target, names, used, others if shared_size else None) for target, names in chosen]

    return await asyncio.to_thread(describe)


async def disk_usage(ctx: Context, users: Users) -> tuple[int, list[ImageSummary]]:
    """(bytes of all layers and blobs on the disk, a summary for each image with its own and shared ones), for GET /system/df."""
    shown = choose(ctx.catalog, {})
    used = _users_of((one.image for one in shown), users)
    uses = Counter(digest for image in ctx.catalog.everything() for digest in set(image.contents()))

    def describe() -> tuple[int, list[ImageSummary]]:
        disk = Disk(ctx.content, ctx.layers)
        return disk.everything(), [_usage(disk, one, len(used[one.image.id]), uses) for one in shown]

    return await asyncio.to_thread(describe)


def _users_of(images: Iterable[Image], users: Users) -> Containers:
    return {image.id: [container for container, _ in users(image.id)] for image in images}


def _usage(disk: Disk, shown: Shown, containers: int, uses: Counter[str]) -> ImageSummary:
    blobs, layers = manifests.contents([manifests.of_image(shown.image)])
    found = _summary(shown.image, shown.names, containers)
    found.size = disk.sum_of(blobs, layers)
    found.shared_size = disk.sum_of({digest for digest in blobs if uses[digest] > 1}, {digest for digest in layers if uses[digest] > 1})
    return found


def _target_summary(disk: Disk, target: Target, names: Sequence[Reference], used: Containers, uses: Counter[str] | None) -> ImageSummary:
    image = target.images[0][0]
    found = _summary(image, sorted(names, key=order), sum(len(used[one.id]) for one, _ in target.images))
    found.descriptor = manifests.descriptor(disk, target) or msgspec.UNSET
    found.manifests = manifests.describe(disk, target, used)
    blobs, layers = manifests.contents([target])
    found.size = sum(map(disk.blob, blobs)) + sum(map(disk.layer, layers))
    if uses is not None:
        own = Counter(diff_id for one, _ in target.images for diff_id in set(one.diff_ids))
        found.shared_size = sum(disk.layer(diff_id) for diff_id in layers if uses[diff_id] > own[diff_id])
    return found


def _summary(image: Image, names: Sequence[Reference], containers: int) -> ImageSummary:
    return ImageSummary(
        containers=containers,
        created=image.created_ns // 10**9,
        id=image.id,
        labels=image.config.config.labels,
        parent_id=image.parent,
        repo_digests=[str(name) for name in names if name.digest],
        repo_tags=[str(name) for name in names if name.tag],
        shared_size=-1,
        size=image.size,
    )


def _names(image: Image, filters: Filters, dangling: bool) -> tuple[Reference, ...] | None:
    """The names to show of an image; None where the filters leave it out."""
    patterns: Sequence[str] = filters.get("reference", ())
    names = tuple(name for name in image.references if not patterns or any(images_filters.matches_reference(text, name) for text in patterns))
    if not names:
        # An image without any name is dangling; one whose names the patterns exclude is not shown at all.
        if image.references or patterns or ("dangling" in filters and not dangling):
            return None
    elif dangling and any(name.tag for name in names):
        return None
    return names
