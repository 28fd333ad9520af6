"""Images with the real worker, the real kinds of layers and real archives: what a load, an import and a removal leave on the disk."""

import asyncio
import gzip
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pier.archive.workers import Workers
from pier.content import ContentStore
from pier.errors import Invalid
from pier.events import Journal
from pier.images import STEPS, Images
from pier.ipc.aio import AsyncChannel
from pier.ipc.channel import pair
from pier.snapshots.layers import ErofsLayers, UnpackedLayers
from pier.store import Store

REPOSITORY = Path(__file__).resolve().parents[3]
WORKER = "import sys; from pier.archive.worker import main; main(int(sys.argv[1]))"
Layers = ErofsLayers | UnpackedLayers


class Provider:
    """Worker processes for Workers, started here."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._channels: list[AsyncChannel] = []
        self._free: list[AsyncChannel] = []
        self._on_event: Callable[[Any, list[int]], None] | None = None

    def listen(self, name: str, on_event: Callable[[Any, list[int]], None], /) -> None:
        self._on_event = on_event

    async def worker(self) -> AsyncChannel:
        if self._free:
            return self._free.pop()
        ours, theirs = pair()
        with theirs:
            self._processes.append(subprocess.Popen([sys.executable, "-c", WORKER, str(theirs.fileno())], pass_fds=[theirs.fileno()]))
        self._channels.append(AsyncChannel(ours, self._on_event))
        return self._channels[-1]

    def release_worker(self, channel: AsyncChannel, /) -> None:
        self._free.append(channel)

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
        for process in self._processes:
            process.wait(10)


class Snapshots:
    """What Images take of pier.snapshots."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers


class World:
    def __init__(self, root: Path, kind: str) -> None:
        (root / "layers").mkdir()
        self.root, self.provider = root, Provider()
        self.layers: Layers = ErofsLayers(root / "layers") if kind == "erofs" else UnpackedLayers(root / "layers")
        self.store, self.content, self.journal = Store.open(root / "state.db", STEPS), ContentStore(root / "content"), Journal()
        self.images = Images(self.store, self.content, Snapshots(self.layers), Workers(self.provider), self.journal)

    async def load(self, data: bytes, quiet: bool = True) -> list[dict[str, Any]]:
        return [line async for line in self.images.load(chunked(data), quiet)]

    def left(self) -> list[str]:
        self.layers.wait_removed()
        paths = [path for folder in ("layers", "content") for path in (self.root / folder).rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(self.root)) for path in paths)


async def chunked(data: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
        await asyncio.sleep(0)


@pytest.fixture(params=["erofs", "unpacked"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    def go(story: Callable[[World], Awaitable[None]]) -> None:
        async def main() -> None:
            world = World(tmp_path, request.param)
            try:
                await story(world)
            finally:
                world.provider.close()
                world.layers.close()
                world.store.close()

        asyncio.run(main())

    return go


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("hello") / "hello.tar"
    subprocess.run([sys.executable, REPOSITORY / "examples/hello-world/make_image.py", "--output", path], check=True, capture_output=True)
    return path.read_bytes()


def members(data: bytes, change: Callable[[str, bytes], bytes | None] = lambda name, content: content) -> bytes:
    """The archive again with other contents; None leaves an entry out."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for entry in old:
            file = old.extractfile(entry) if entry.isfile() else None
            content = change(entry.name, file.read()) if file else b""
            if content is not None:
                entry.size = len(content)
                new.addfile(entry, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("without", ["", "manifest.json", "index.json"], ids=["both", "oci", "docker"])
def test_an_example_is_loaded_and_leaves_nothing_when_removed(
    run: Callable[..., None], hello: bytes, pack: Callable[[bytes], bytes], without: str
) -> None:
    async def story(w: World) -> None:
        data = pack(members(hello, lambda name, content: None if name == without else content))
        assert (await w.load(data))[-1] == {"stream": "Loaded image: hello-world:latest\n"}
        image = w.images.resolve("hello-world")
        assert image.config.config.cmd == ["/hello"] and len(image.layers) == 1
        assert image.size == (await asyncio.to_thread(lambda: len(program())))
        inspected = w.images.inspect("hello-world")
        assert inspected.graph_driver.name == w.layers.kind and inspected.root_fs.layers == [image.diff_ids[0]]
        assert await w.load(data) == [{"stream": "Loaded image: hello-world:latest\n"}]
        await w.images.remove("hello-world", False, False, lambda identity: [])
        assert w.left() == [] and os.listdir(w.root / "content" / "ingests") == []

    run(story)


def program() -> bytes:
    sys.path.insert(0, str(REPOSITORY / "examples/hello-world"))
    try:
        import assemble  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    architecture = "arm64" if os.uname().machine == "aarch64" else "amd64"
    return bytes(assemble.assemble(architecture))


def flipped(name: str, content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1]) if name.startswith("blobs/sha256/") and len(content) > 5000 else content


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: members(data, flipped), "sha256"),
        (lambda data: data[: len(data) // 2], "archive"),
        (lambda data: b"rubbish" * 1000, ""),
        (lambda data: b"", "empty"),
        (lambda data: members(data, lambda name, content: content.replace(b"hello-world:latest", b"HELLO-world:latest")), "must be lowercase"),
    ],
    ids=["a flipped byte", "cut short", "rubbish", "empty", "a bad name"],
)
def test_a_bad_archive_is_refused_and_leaves_nothing(run: Callable[..., None], hello: bytes, change: Callable[[bytes], bytes], why: str) -> None:
    async def story(w: World) -> None:
        lines = await w.load(change(hello))
        assert why in lines[-1]["error"] and len(lines) == 1
        assert w.left() == [] and os.listdir(w.root / "content" / "ingests") == [] and w.images.count() == 0

    run(story)


def test_an_import_is_an_image(run: Callable[..., None]) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("etc/motd")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"hello"))

    async def story(w: World) -> None:
        identity = await w.images.import_(chunked(gzip.compress(out.getvalue())), repo="made", changes=["CMD x"])
        image = w.images.resolve("made:latest")
        assert image.id == identity and image.size == 5 and w.layers.has(image.diff_ids[0])
        with pytest.raises(Invalid):
            await w.images.import_(chunked(b"no tar at all" * 1000), repo="bad")
        assert w.images.count() == 1
        await w.images.remove("made", False, False, lambda identity: [])
        assert w.left() == []

    run(story)
