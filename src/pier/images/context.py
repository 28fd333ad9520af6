"""What every verb of images depends on."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pier.content import ContentStore
from pier.events import Journal
from pier.images.catalog import Catalog
from pier.images.image import Image
from pier.images.remote import Remote
from pier.store import Store

T = TypeVar("T")
Users = Callable[[str], Sequence[tuple[str, bool]]]  # image ID -> (container ID, running) of each container made from it


class LayerStore(Protocol):
    """What is needed of a store of layers; the kinds (erofs, unpacked) are pier.snapshots'."""

    @property
    def kind(self) -> str: ...
    def adopt(self, diff_id: str, source_dir: Path) -> None: ...
    def has(self, diff_id: str) -> bool: ...
    def remove(self, diff_id: str) -> None: ...
    def size(self, diff_id: str) -> tuple[int, int]: ...
    def tar_bytes(self, diff_id: str) -> int: ...
    def open_tar(self, diff_id: str) -> int: ...
    def open_parts(self, diff_id: str) -> tuple[str, int, int]: ...
    def replace(self, diff_id: str, source_dir: Path) -> None: ...
    def replace_index(self, diff_id: str, index: Path) -> None: ...
    def list(self) -> Sequence[str]: ...


class HasLayers(Protocol):
    """pier.snapshots.Snapshots, as far as images know it."""

    @property
    def layers(self) -> LayerStore: ...


class WorkerPool(Protocol):
    """What is needed of the workers that parse archives: pier.archive.workers."""

    async def run(
        self, op: str, fds: Sequence[int], on_progress: Callable[[Mapping[str, Any]], None] | None = None, **fields: Any
    ) -> Mapping[str, Any]: ...


@dataclass(eq=False)
class Context:
    """Dependencies and state; use from the loop's thread only.

    lock: held while layers, blobs and rows change, so that nothing is collected that another verb is about to name.
    held: images that a container is being made from and that must not go meanwhile. kept: layers and blobs that somebody at work counts
    on (garbage.keeping). fetching: blobs that are being pulled. remote: the registries.
    """

    store: Store
    content: ContentStore
    layers: LayerStore
    workers: WorkerPool
    journal: Journal
    catalog: Catalog
    remote: Remote = field(default_factory=Remote)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    held: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    fetching: set[str] = field(default_factory=set)

    def publish(self, action: str, image: Image, name: str = "") -> None:
        """An event about an image: its labels, and as `name` the given one or its ID."""
        self.journal.publish("image", action, image.id, {**image.labels, "name": name or image.id})


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end what must not stop half-way; a cancellation of the caller takes effect afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                continue
        raise
