"""What is on the disk: sizes as `du` has them. Blocking: for a thread."""

import os
from collections.abc import Collection

from pier.content import ContentStore
from pier.errors import NotFound
from pier.images.context import LayerStore

_BLOCK = 512


class Disk:
    """Sizes of blobs and layers, each asked for once; for the time of one answer. What is not here has none."""

    def __init__(self, content: ContentStore, layers: LayerStore) -> None:
        """content, layers: where they are."""
        self.content, self._layers = content, layers
        self._blobs: dict[str, os.stat_result | None] = {}
        self._layer_sizes: dict[str, int] = {}

    def blob(self, digest: str) -> int:
        """Bytes of a blob."""
        found = self._blob(digest)
        return found.st_size if found else 0

    def blob_on_disk(self, digest: str) -> int:
        """Bytes that a blob takes on the disk."""
        found = self._blob(digest)
        return found.st_blocks * _BLOCK if found else 0

    def _blob(self, digest: str) -> os.stat_result | None:
        if digest not in self._blobs:
            try:
                self._blobs[digest] = os.lstat(self.content.path(digest))
            except FileNotFoundError:
                self._blobs[digest] = None
        return self._blobs[digest]

    def has_blob(self, digest: str) -> bool:
        """Whether it is here."""
        return self.content.has(digest)

    def layer(self, diff_id: str) -> int:
        """Bytes that a layer takes on the disk, its compressed forms not counted."""
        if diff_id not in self._layer_sizes:
            try:
                self._layer_sizes[diff_id] = self._layers.size(diff_id)[1]
            except (NotFound, OSError):
                self._layer_sizes[diff_id] = 0
        return self._layer_sizes[diff_id]

    def sum_of(self, blobs: Collection[str], layers: Collection[str]) -> int:
        """Bytes that all of them take on the disk."""
        return sum(map(self.blob_on_disk, blobs)) + sum(map(self.layer, layers))

    def everything(self) -> int:
        """Bytes of all layers and of the whole content store, what is still on its way in included."""
        total = sum(self.layer(diff_id) for diff_id in self._layers.list())
        seen: set[int] = set()
        for folder, _, names in os.walk(self.content.root):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                try:
                    found = os.lstat(path)
                except FileNotFoundError:
                    continue
                if found.st_ino not in seen:  # what is arriving is linked to its place before its folder goes
                    seen.add(found.st_ino)
                    total += found.st_blocks * _BLOCK
        return total
