"""Whether a blob is known to be a layer, so that it may stand for the layer in other images, too.

An image says which blob each of its layers is. For a layer that was here already nobody compares them: who believed a hostile image would send that
blob, or mount it, for every other image with the layer.
"""

from pier.images.context import Context
from pier.images.sources import known


def is_proven(ctx: Context, diff_id: str, digest: str) -> bool:
    """Whether the blob was unpacked here to this layer, or made of it: it is kept with the layer, or is remembered as one."""
    layer = ctx.catalog.layer(diff_id)
    kept = digest == diff_id or (layer is not None and any(blob.digest == digest for blob in layer.blobs))
    return kept or any(source.digest == digest for source in known(ctx.store, diff_id))
