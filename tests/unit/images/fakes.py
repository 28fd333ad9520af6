"""Images over a real database and content store, with layers that are folders and a worker that makes what it is told to."""

import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pier.content import ContentStore
from pier.events import Journal
from pier.images import STEPS, Images, load
from pier.images.commit import commit
from pier.images.context import Context
from pier.images.sources import LayerSource
from pier.oci import digest as digests
from pier.oci.reference import parse
from pier.store import Store

HOST = {"architecture": "arm64" if os.uname().machine == "aarch64" else "amd64", "os": "linux"}


class FolderLayers:
    """A layer is a folder that was renamed to its diff ID."""

    kind = "unpacked"

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def adopt(self, diff_id: str, source_dir: Path) -> None:
        os.rename(source_dir, self.root / diff_id[7:])

    def has(self, diff_id: str) -> bool:
        return (self.root / diff_id[7:]).exists()

    def remove(self, diff_id: str) -> None:
        shutil.rmtree(self.root / diff_id[7:])

    def size(self, diff_id: str) -> tuple[int, int]:
        return 100, 4096

    def list(self) -> Sequence[str]:
        return ["sha256:" + name for name in sorted(os.listdir(self.root))]


@dataclass
class ScriptedWorker:
    """Reads its input to the end and answers with `images` (or raises `error`), leaving the layers in its folder."""

    images: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None
    read: bytes = b""

    async def run(
        self, op: str, fds: Sequence[int], on_progress: Callable[[Mapping[str, Any]], None] | None = None, **fields: Any
    ) -> Mapping[str, Any]:
        import asyncio

        self.read = await asyncio.to_thread(self._drain, fds[0])
        if self.error:
            raise self.error
        if op == "import":
            self._layer(fds[1], "layers/0")
            return {"diff_id": diff_id("imported"), "size": 7, "dir": "layers/0"}
        for name in sorted({layer["dir"] for image in self.images for layer in image["layers"]}):
            self._layer(fds[1], name)
        if on_progress:
            on_progress({"op": "progress", "bytes": 10, "entry": "blobs/sha256/" + "b" * 64})
            on_progress({"op": "progress", "bytes": 1510, "entry": "blobs/sha256/" + "b" * 64})
        return {"images": self.images}

    @staticmethod
    def _drain(fd: int) -> bytes:
        data = b""
        while chunk := os.read(fd, 65536):
            data += chunk
        return data

    @staticmethod
    def _layer(fd: int, name: str) -> None:
        path = Path(f"/proc/self/fd/{fd}", name)
        path.mkdir(parents=True, exist_ok=True)
        (path / "content").write_text(name)


def diff_id(name: str) -> str:
    """A diff ID that stands for a layer called `name`."""
    return digests.of(name.encode())


def parsed(
    name: str,
    layers: Sequence[str],
    tags: Sequence[str] = (),
    created: str = "2026-01-02T03:04:05Z",
    platform: Mapping[str, str] = HOST,
    **config: Any,
) -> dict[str, Any]:
    """An image as a worker reports it. layers: names; each is 1,000 bytes."""
    text = json.dumps({
        **platform, "created": created, "comment": name, "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id(layer) for layer in layers]},
        "history": [{"created": created, "created_by": f"ADD {layer}"} for layer in layers] + [{"created_by": "CMD", "empty_layer": True}],
    })  # fmt: skip
    return {
        "config_digest": digests.of(text.encode()), "config": text, "manifest": None, "tags": list(tags),
        "layers": [{"diff_id": diff_id(layer), "blob_digest": diff_id(layer), "blob_size": 1000, "size": 1000, "media_type": "tar",
                    "dir": f"layers/{int(diff_id(layer)[7:11], 16)}"} for layer in layers],
    }  # fmt: skip


def manifest_of(identity: str, note: str = "") -> bytes:
    """A manifest that names the image, and nothing but; with another note it is another one."""
    more = {"annotations": {"note": note}} if note else {}
    return json.dumps({"schemaVersion": 2, "config": {"mediaType": "", "digest": identity, "size": 1}, "layers": [], **more}).encode()


@dataclass
class Snapshots:
    """What Images take of pier.snapshots."""

    layers: FolderLayers


@dataclass
class World:
    """Images and everything below them."""

    root: Path
    store: Store
    content: ContentStore
    layers: FolderLayers
    worker: ScriptedWorker
    journal: Journal
    images: Images
    containers: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)

    def users(self, identity: str) -> list[tuple[str, bool]]:
        return self.containers.get(identity, [])

    async def load(self, *images: dict[str, Any], quiet: bool = True) -> list[dict[str, Any]]:
        self.worker.images = list(images)
        return [line async for line in self.images.load(stream(b"archive"), quiet)]

    async def pull(self, names: Sequence[str], index: bytes | None, *images: dict[str, Any], note: str = "", proven: bool = False) -> None:
        """What is left of a pull once its content is here: images of one index get names; each has a manifest of its own.

        note: makes another manifest. proven: the blobs that it names were unpacked to the layers.
        """
        scratch = self.content.scratch()
        new = []
        for image in load.from_answer({"images": images}):
            for layer in image.layers:
                (scratch / layer.folder).mkdir(parents=True, exist_ok=True)
            references = tuple(parse(name) for name in names)
            seen = tuple(LayerSource(layer.diff_id, layer.diff_id, 1, "", "r/a") for layer in image.layers) if proven else ()
            new.append(replace(image, references=references, index_bytes=index, manifest_bytes=manifest_of(image.id, note), sources=seen))
        try:
            await commit(self.ctx, scratch, new)
        finally:
            self.content.remove_scratch(scratch)

    @property
    def ctx(self) -> Context:
        return self.images._ctx

    def again(self) -> Images:
        """The same, as the next daemon sees it."""
        return Images(self.store, ContentStore(self.root / "content"), Snapshots(self.layers), self.worker, self.journal)

    def files(self) -> tuple[list[str], list[str], list[str]]:
        """(layers, blobs, what is unfinished)."""
        return (
            list(self.layers.list()),
            sorted(self.content.digests()),
            sorted(os.listdir(self.root / "content" / "ingests")),
        )

    def events(self) -> list[tuple[str, str]]:
        return [(event.action, event.actor.attributes.get("name", "")) for event in self.journal._kept]


@contextlib.contextmanager
def world(root: Path) -> Iterator[World]:
    """An empty one."""
    store = Store.open(root / "state.db", STEPS)
    content, layers, worker, journal = ContentStore(root / "content"), FolderLayers(root / "layers"), ScriptedWorker(), Journal()
    try:
        yield World(root, store, content, layers, worker, journal, Images(store, content, Snapshots(layers), worker, journal))
    finally:
        store.close()


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    """A request's body."""
    for chunk in chunks:
        yield chunk
