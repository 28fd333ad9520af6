"""Images with the real worker, the real kinds of layers and real archives: what a load, an import and a removal leave on the disk."""

import asyncio
import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from pier.errors import Invalid
from tests.contract.images.world import World, chunked, tell
from tests.harness.images import docker_archive, layer

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["erofs", "unpacked"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    return lambda story: tell(tmp_path, request.param, story)


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
        inspected = await w.images.inspect("hello-world")
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


def test_an_archive_may_be_without_layers_that_are_here(run: Callable[..., None], tmp_path: Path) -> None:
    """Those that it says it was written without; what it does not say, or is not here, is missing."""
    layers = [layer({"base": b"x" * 9000}), layer({"own": b"y" * 9000})]
    ids = ["sha256:" + hashlib.sha256(data).hexdigest() for data in layers]

    async def saved(w: World, name: str, without: Sequence[str]) -> bytes:
        async with w.images.save([name], (), without) as archive:
            return b"".join(piece if isinstance(piece, bytes) else read_tar(w, piece.diff_id) for piece in archive.pieces)

    async def story(w: World) -> None:
        docker_archive(tmp_path / "i.tar", "app:1", layers)
        whole = (tmp_path / "i.tar").read_bytes()
        await w.load(whole)
        named = [entry for entry in await saved_names(await saved(w, "app:1", [])) if entry.startswith("blobs/")]
        data = await saved(w, "app:1", [ids[0], "sha256:" + "0" * 64])
        assert set(named) - set(await saved_names(data)) == {f"blobs/sha256/{ids[0][7:]}"}
        docker_archive(tmp_path / "other.tar", "base:1", layers[:1])
        await w.load((tmp_path / "other.tar").read_bytes())
        await w.images.remove("app:1", True, False, lambda identity: [])
        for part in ("manifest.json", "index.json"):
            assert (await w.load(members(data, lambda name, content, part=part: None if name == part else content)))[-1] == {
                "stream": "Loaded image: app:1\n"
            }
            assert w.images.resolve("app:1").diff_ids == tuple(ids) and read_tar(w, ids[0]) == layers[0]
            await w.images.remove("app:1", True, False, lambda identity: [])
        (line,) = await w.load(members(data, lambda name, content: None if name == "without.json" else content))
        assert "which is not in the archive" in line["error"]
        await w.images.remove("base:1", False, False, lambda identity: [])
        (line,) = await w.load(data)
        assert line["error"].startswith(f"the archive names layer {ids[0]}, which is neither in it nor here")
        assert w.left() == [] and w.ingests() == []

    run(story)


async def saved_names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def read_tar(w: World, diff_id: str) -> bytes:
    with open(w.images.open_tar(diff_id), "rb") as tar:
        return tar.read()
