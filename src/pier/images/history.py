"""GET /images/{name}/history. Pure but for the catalog."""

from pier.api.models.images import HistoryItem
from pier.errors import Internal
from pier.images.catalog import Catalog
from pier.images.image import timestamp_ns
from pier.oci.platform import Platform


def history(catalog: Catalog, name: str, platform: Platform | None = None) -> list[HistoryItem]:
    """The steps, the newest first; those that are images here carry their ID and tags, the others `<missing>`.

    platform: of which of a name's images, None for the one that suits this machine best. Raises NotFound, Invalid.
    """
    image = catalog.resolve(name, platform)
    items: list[HistoryItem] = []
    filled = 0
    for step in image.config.history:
        size = 0
        if not step.empty_layer:
            if filled >= len(image.layers):
                raise Internal(f"image {image.id}: too many non-empty layers in History section")
            size = image.layers[filled].size_bytes
            filled += 1
        created = timestamp_ns(step.created) // 10**9
        items.insert(0, HistoryItem(comment=step.comment, created=created, created_by=step.created_by, id="<missing>", size=size, tags=None))
    found = image
    for item in items:
        item.id, item.tags = found.id, list(found.tags) or None
        parent = catalog.get(found.parent) if found.parent else None
        if parent is None:
            break
        found = parent
    return items
