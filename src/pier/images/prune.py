"""POST /images/prune: what nothing uses."""

import time

from pier.api.models.images import DeleteItem, PruneReport
from pier.errors import Conflict, Invalid, NotFound
from pier.images import filters as images_filters
from pier.images.context import Context, Users
from pier.images.filters import Filters
from pier.images.image import Image
from pier.images.remove import remove

KNOWN_FILTERS = frozenset({"dangling", "label", "label!", "until"})


async def prune(ctx: Context, filters: Filters, users: Users) -> PruneReport:
    """Remove the images without a name (`dangling`, the default) or all (`dangling=false`) that no container uses. Raises Invalid."""
    images_filters.check(filters, KNOWN_FILTERS)
    dangling = images_filters.boolean(filters, "dangling", True)
    if len(filters.get("until", ())) > 1:
        raise Invalid("more than one until filter specified")
    until = images_filters.until_ns(filters, time.time_ns())
    before = {layer.diff_id: layer.size_bytes for image in ctx.catalog for layer in image.layers}
    deleted: list[DeleteItem] = []
    for image in [image for image in ctx.catalog if _chosen(ctx, image, filters, until, dangling)]:
        for name in [str(reference) for reference in image.references] or [image.id]:
            try:
                deleted += await remove(ctx, name, users)
            except (Conflict, NotFound):
                # In use, or gone meanwhile (with a child, or by another client): it stays, or there is nothing to do.
                continue
    left = {layer.diff_id for image in ctx.catalog.everything() for layer in image.layers}
    reclaimed = sum(size for diff_id, size in before.items() if diff_id not in left)
    ctx.journal.publish("image", "prune", "", {"reclaimed": str(reclaimed)})
    return PruneReport(images_deleted=deleted or None, space_reclaimed=reclaimed)


def _chosen(ctx: Context, image: Image, filters: Filters, until: int | None, dangling: bool) -> bool:
    if dangling and image.tags:
        return False
    if not image.references and ctx.catalog.children(image.id):
        return False
    if until is not None and (not image.created_ns or image.created_ns > until):
        return False
    wanted, unwanted = filters.get("label", ()), filters.get("label!", ())
    return images_filters.has_labels(wanted, image.labels) and images_filters.lacks_labels(unwanted, image.labels)
