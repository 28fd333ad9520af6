"""GET /images/json: the images that a client asks for, the newest first. Pure but for the catalog."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from pier.api.models.images import ImageSummary
from pier.images import filters as images_filters
from pier.images.catalog import Catalog
from pier.images.filters import Filters
from pier.images.image import Image

KNOWN_FILTERS = frozenset({"dangling", "label", "before", "since", "reference", "until"})
CountContainers = Callable[[str], int]


def list_images(
    catalog: Catalog, filters: Filters, *, all: bool = False, shared_size: bool = False, containers: CountContainers | None = None
) -> list[ImageSummary]:
    """The summaries.

    all: intermediate images too. shared_size: compute how many bytes each shares with others. containers: how many containers use an ID.
    Raises Invalid for a filter that is not known or malformed, NotFound where `before` or `since` name no image.
    """
    images_filters.check(filters, KNOWN_FILTERS)
    dangling = images_filters.boolean(filters, "dangling", False)
    before = [catalog.resolve(name).created_ns for name in filters.get("before", ())]
    since = [catalog.resolve(name).created_ns for name in filters.get("since", ())]
    until = images_filters.until_ns(filters, time.time_ns())
    layer_uses = Counter(diff_id for image in catalog for diff_id in set(image.diff_ids)) if shared_size else Counter[str]()
    parents = {image.parent for image in catalog if image.parent}
    summaries = []
    for image in sorted(catalog, key=lambda image: image.created_ns, reverse=True):
        created = image.created_ns
        if (before and created >= min(before)) or (since and created <= max(since)) or (until is not None and created > until):
            continue
        if not images_filters.has_labels(filters.get("label", ()), image.labels):
            continue
        if image.id in parents and (dangling or not all):
            continue
        shown = _names(image, filters, dangling)
        if shown is None:
            continue
        summaries.append(
            ImageSummary(
                containers=containers(image.id) if containers else 0,
                created=created // 10**9,
                id=image.id,
                labels=image.config.config.labels,
                parent_id=image.parent,
                repo_digests=shown[1],
                repo_tags=shown[0],
                shared_size=sum(layer.size_bytes for layer in image.layers if layer_uses[layer.diff_id] > 1) if shared_size else -1,
                size=image.size,
            )
        )
    return summaries


def _names(image: Image, filters: Filters, dangling: bool) -> tuple[list[str], list[str]] | None:
    """(tags, digests) to show of an image; None where the filters leave it out."""
    patterns: Sequence[str] = filters.get("reference", ())
    names = [name for name in image.references if not patterns or any(images_filters.matches_reference(text, name) for text in patterns)]
    tags = [str(name) for name in names if name.tag]
    digests = [str(name) for name in names if name.digest]
    if not names:
        # An image without any name is dangling; one whose names the patterns exclude is not shown at all.
        if image.references or patterns or ("dangling" in filters and not dangling):
            return None
    elif dangling and tags:
        return None
    return tags, digests
