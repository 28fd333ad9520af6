"""Layers that never change and the writable folders of containers: what a container's root is put together from.

    <data-root>/layers/<hex>/            one layer, named by its diff ID
        layer.tar  layer.erofs           kind "erofs": the tar as it came, and the index that makes it a file system
        fs/  layer.skeleton  layer.json  kind "unpacked": its files, what makes the tar of them again, its size
    <data-root>/layers/.trash/           what is being deleted
    <data-root>/snapshots/<id>/          one container: upper/ and work/ of its overlay, `layers` -> ../.chains/<hex>
    <data-root>/snapshots/.chains/<hex>  diff IDs, bottom first, one a line: written once for all containers of an image
    <data-root>/snapshots/.pool/<n>/     upper/ and work/ made ahead: mkdir can take milliseconds
    <data-root>/snapshots/.trash/        what is being deleted

Terms. A *layer* is adopted whole (renamed in), read by many, and removed when no image has it. A *snapshot* is the writable
folder of one container over a chain of layers. A *rootfs* is what the runtime mounts: lowers (topmost first), upper, work.
True at every instant: a folder under its final name is complete; nothing below a snapshot is ever opened by a path that a
container could have changed; what is deleted is renamed away first.
"""

from pier.snapshots.layers import ErofsLayers, LayerStore, UnpackedLayers
from pier.snapshots.snapshots import Rootfs, Snapshots

__all__ = ["ErofsLayers", "LayerStore", "Rootfs", "Snapshots", "UnpackedLayers"]
