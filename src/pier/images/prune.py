"""POST /images/prune: what nothing uses."""

import time

from pier.api.models.images import PruneReport
from pier.errors import Invalid
from pier.images import filters as images_filters
from pier.images import removal
from pier.images.context import Context, Users, uninterrupted
from pier.images.filters import Filters
from pier.images.garbage import expire
from pier.images.image import Image
from pier.images.remove import carry_out

KNOWN_FILTERS = frozenset({"dangling", "label", "label!", "until"})


async def prune(ctx: Context, filters: Filters, users: Users) -> PruneReport:
    """Remove the images without a name (`dangling`, the default) or all (`dangling=false`) that no container uses, and what interrupted pulls
    have left, but for what a pull is at just now.

    Filters of labels choose among images, so that with one of them the left-overs of pulls stay. Raises Invalid.
    """
    images_filters.check(filters, KNOWN_FILTERS)
    dangling = images_filters.boolean(filters, "dangling", True)
    if len(filters.get("until", ())) > 1:
        raise Invalid("more than one until filter specified")
    now_ns = time.time_ns()
    until = images_filters.until_ns(filters, now_ns)

    def plan(held: frozenset[str]) -> removal.Removal:
        chosen = [image for image in ctx.catalog if _chosen(ctx, image, filters, until, dangling)]
        return removal.plan_unused(ctx.catalog, chosen, users, held=held)

    done, freed_bytes = await uninterrupted(carry_out(ctx, plan))
    if "label" not in filters and "label!" not in filters:
        age_s = 0.0 if until is None else max(0.0, (now_ns - until) / 1e9)
        freed_bytes += (await expire(ctx, age_s))[1]
    ctx.journal.publish("image", "prune", "", {"reclaimed": str(freed_bytes)})
    return PruneReport(images_deleted=done.items or None, space_reclaimed=freed_bytes)


def _chosen(ctx: Context, image: Image, filters: Filters, until: int | None, dangling: bool) -> bool:
    if dangling and image.tags:
        return False
    if not image.references and ctx.catalog.children(image.id):
        return False
    if until is not None and (not image.created_ns or image.created_ns > until):
        return False
    wanted, unwanted = filters.get("label", ()), filters.get("label!", ())
    return images_filters.has_labels(wanted, image.labels) and images_filters.lacks_labels(unwanted, image.labels)
