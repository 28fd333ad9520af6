"""Image archives: every format read from one pass, every lie refused with the entry and the reason."""

import bz2
import dataclasses
import json
import lzma
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pier.archive import jobs
from pier.archive.limits import DEFAULT
from pier.archive.refusal import BadArchive

from . import images, tars
from .images import Layout, archive, config, docker_archive, gzipped, layer, sha

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def load(data: bytes, folder: Path, op: str = "load", **fields: Any) -> dict[str, Any]:
    """The worker's job, in this process, from a pipe that cannot seek."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "input"
    source.write_bytes(data)
    ingest = folder / "ingest"
    ingest.mkdir()
    fds = [os.open(source, os.O_RDONLY), os.open(ingest, os.O_RDONLY | os.O_DIRECTORY)]
    try:
        return jobs.run(op, {"kind": "erofs", "platform": "linux/amd64", **fields}, fds, lambda _: None)
    finally:
        for fd in fds:
            os.close(fd)


def diff_ids(image: dict[str, Any]) -> list[str]:
    return [item["diff_id"] for item in image["layers"]]


@pytest.mark.parametrize(
    "pack",
    [
        bytes, gzipped, zstd.compress, lambda d: gzipped(d[:700]) + gzipped(d[700:]) + bytes(100), lzma.compress, bz2.compress,
        lambda d: lzma.compress(d[:700]) + bytes(8) + lzma.compress(d[700:]) + bytes(4), lambda d: bz2.compress(d[:700]) + bz2.compress(d[700:]),
    ],
    ids=["plain", "gzip", "zstd", "members", "xz", "bzip2", "xz streams", "bzip2 streams"],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_docker_archive_in_any_order_and_compression(tmp_path: Path, pack: Callable[[bytes], bytes], backwards: bool) -> None:
    files = docker_archive([layer(0), layer(1)], ["busybox:1", "busybox:latest"])
    answer = load(pack(archive(files, sorted(files, reverse=backwards))), tmp_path)
    (image,) = answer["images"]
    assert image["tags"] == ["busybox:1", "busybox:latest"] and image["manifest"] is None
    assert image["config_digest"] == "sha256:" + sha(image["config"].encode())
    for item, data in zip(image["layers"], [layer(0), layer(1)], strict=True):
        assert item["diff_id"] == item["blob_digest"] == "sha256:" + sha(data) and item["blob_size"] == item["tar_bytes"] == len(data)
        assert (tmp_path / "ingest" / item["dir"] / "layer.tar").read_bytes() == data
        assert (tmp_path / "ingest" / item["dir"] / "layer.erofs").stat().st_size > 4096
    assert (tmp_path / "ingest/blobs/sha256" / sha(image["config"].encode())).read_text() == image["config"]


def test_equal_layers_as_links(tmp_path: Path) -> None:
    """docker save of 1.10 to 24 wrote a layer once and linked the others to it."""
    files = docker_archive([layer(0)])
    item = json.loads(files["manifest.json"])[0]
    body = config(layer(0), layer(0), layer(0))
    item["Config"], item["Layers"] = sha(body) + ".json", [*item["Layers"], "other/layer.tar", "third/layer.tar"]
    first = item["Layers"][0]
    parts = [images.long_file(first, files[first]), tars.gnu_long(b"../" + first.encode(), b"K") + tars.symlink(b"other/layer.tar", b"x")]
    parts += [tars.hardlink(b"third/layer.tar", b"other/layer.tar"), images.long_file(item["Config"], body)]
    (image,) = load(tars.tar(*parts, tars.file(b"manifest.json", json.dumps([item]).encode())), tmp_path)["images"]
    assert diff_ids(image) == ["sha256:" + sha(layer(0))] * 3 and len({item["dir"] for item in image["layers"]}) == 1


def test_several_images_share_layers(tmp_path: Path) -> None:
    one, two = docker_archive([layer(0), layer(1)], ["a:1"]), docker_archive([layer(0), layer(2)], ["b:1"])
    listed = json.loads(one["manifest.json"]) + json.loads(two["manifest.json"])
    answer = load(archive({**one, **two, "manifest.json": json.dumps(listed).encode()}), tmp_path)
    assert [image["tags"] for image in answer["images"]] == [["a:1"], ["b:1"]]
    assert answer["images"][0]["layers"][0] == answer["images"][1]["layers"][0]


@pytest.mark.parametrize(("pack", "media", "suffix"), [(gzipped, "gzip", "+gzip"), (zstd.compress, "zstd", "+zstd")])
@pytest.mark.parametrize("keep", [True, False])
def test_compressed_layers_of_a_layout(tmp_path: Path, pack: Callable[[bytes], bytes], media: str, suffix: str, keep: bool) -> None:
    layout = Layout()
    layout.add(layout.image([layer(0), layer(1)], [pack(layer(0)), pack(layer(1))], "layer.v1.tar" + suffix), tag="docker.example/a:1")
    (image,) = load(archive(layout.files()), tmp_path, keep_compressed=keep)["images"]
    assert image["tags"] == ["docker.example/a:1"] and json.loads(image["manifest"])["layers"][0]["mediaType"].endswith(media)
    for item, data in zip(image["layers"], [layer(0), layer(1)], strict=True):
        assert (item["diff_id"], item["blob_digest"], item["blob_size"]) == ("sha256:" + sha(data), "sha256:" + sha(pack(data)), len(pack(data)))
        assert item["media_type"].endswith(suffix)
        kept = tmp_path / "ingest/blobs/sha256" / sha(pack(data))
        assert kept.exists() == keep and (not keep or kept.read_bytes() == pack(data))
    assert not [name for name in os.listdir(tmp_path / "ingest/blobs/sha256") if name.startswith(".")]


def test_the_platform_is_chosen_through_nested_indexes_and_attestations(tmp_path: Path) -> None:
    layout = Layout()
    amd, arm = layout.image([layer(0)]), layout.image([layer(1)], architecture="arm64")
    proof = layout.image([layer(3)], attested=True)
    platforms = {"amd64": amd, "arm64": arm}
    entries = [images.descriptor(data, "manifest.v1+json", platform={"os": "linux", "architecture": name}) for name, data in platforms.items()]
    entries.append(images.descriptor(proof, "manifest.v1+json", platform={"os": "unknown", "architecture": "unknown"}))
    missing = images.descriptor(b"not in the archive", "manifest.v1+json", platform={"os": "linux", "architecture": "s390x"})
    inner = layout.index([*entries, missing])
    layout.add(layout.index([images.descriptor(inner, "index.v1+json")]), "index.v1+json", tag="many:1")
    data = archive(layout.files())
    for name, number in (("amd64", 0), ("arm64", 1)):
        (image,) = load(data, tmp_path / name, platform=f"linux/{name}")["images"]
        assert diff_ids(image) == ["sha256:" + sha(layer(number))] and image["tags"] == ["many:1"]
    with pytest.raises(BadArchive, match=r"no image 'many:1' for linux/riscv64; there is: linux/amd64, linux/arm64"):
        load(data, tmp_path / "none", platform="linux/riscv64")


def test_the_only_image_is_taken_whatever_its_platform(tmp_path: Path) -> None:
    layout = Layout()
    layout.add(layout.image([layer(0)], architecture="arm64"), tag="a:1")
    assert load(archive(layout.files()), tmp_path)["images"][0]["tags"] == ["a:1"]


def test_both_formats_in_one_archive_keep_the_manifest(tmp_path: Path) -> None:
    """What docker save writes since 25."""
    layout = Layout()
    manifest = layout.image([layer(0)])
    layout.add(manifest)
    blob = "blobs/sha256/"
    item = {"Config": blob + sha(config(layer(0))), "RepoTags": ["a:1"], "Layers": [blob + sha(layer(0))]}
    (image,) = load(archive({**layout.files(), "manifest.json": json.dumps([item]).encode()}), tmp_path)["images"]
    assert image["manifest"] == manifest.decode() and image["tags"] == ["a:1"]


def test_what_is_no_layer_but_nobody_needs_does_no_harm(tmp_path: Path) -> None:
    files = {"junk.gz": gzipped(b"no tar at all"), "bad.tar": tars.file(b"../../x") + tars.end(), **docker_archive([layer(0)])}
    assert len(load(archive(files), tmp_path)["images"]) == 1


def test_an_image_without_layers(tmp_path: Path) -> None:
    assert load(archive(docker_archive([])), tmp_path)["images"][0]["layers"] == []


def test_import_takes_a_tar_in_any_compression(tmp_path: Path) -> None:
    for number, pack in enumerate((bytes, gzipped, zstd.compress)):
        answer = load(pack(layer(4)), tmp_path / str(number), "import")
        assert answer["diff_id"] == "sha256:" + sha(layer(4)) and answer["tar_bytes"] == len(layer(4)) and answer["size"] == 9
        assert (tmp_path / str(number) / "ingest/layers/0/layer.tar").read_bytes() == layer(4)


def changed(**change: Any) -> bytes:
    return archive(docker_archive([layer(0)], **change))


def layout_with(change: Callable[[Layout], None]) -> bytes:
    layout = Layout()
    change(layout)
    return archive(layout.files())


def wrong_size(layout: Layout) -> None:
    layout.add(layout.image([layer(0)]))
    layout.listed[0]["size"] += 1


def manifest_as_index(layout: Layout) -> None:
    layout.add(layout.image([layer(0)]), "index.v1+json")


def both_at_once(layout: Layout) -> None:
    layout.add(layout.blob(json.dumps({"manifests": [], "config": {}, "layers": []}).encode()))


def too_deep(layout: Layout) -> None:
    data = layout.image([layer(0)])
    media = "manifest.v1+json"
    for _ in range(6):
        data, media = layout.index([images.descriptor(data, media)]), "index.v1+json"
    layout.add(data, media)


def lost_layer(layout: Layout) -> None:
    layout.add(layout.image([layer(0)]))
    del layout.blobs["blobs/sha256/" + sha(layer(0))]


def many_layers(layout: Layout) -> None:
    layout.add(layout.image([layer(0)] * 501))


NAMES_A_BLOB = "blobs/sha256/" + sha(b"something else")
BAD: dict[str, tuple[bytes, str, str]] = {  # archive, the entry that the refusal names, a part of the reason
    "nothing": (b"", "", "it is empty"),
    "noise": (b"no archive " * 100, "", "this is no tar archive"),
    "no files": (tars.tar(), "", "no files"),
    "a root file system": (layer(0), "", "then use import"),
    "before 1.10": (archive({"repositories": b"{}"}), "", "Docker before 1.10"),
    "zip": (b"PK\3\4" + bytes(2000), "", "zip"),
    "bzip2 damaged": (b"BZh91AY" + bytes(2000), "", "the bzip2 stream is damaged"),
    "xz damaged": (b"\xfd7zXZ\0" + bytes(2000), "", "the xz stream is damaged"),
    "xz cut short": (lzma.compress(changed())[:-20], "", "ends in the middle"),
    "xz and more": (lzma.compress(changed()) + b"more", "", "the xz stream ends in the middle"),
    "bzip2 cut short": (bz2.compress(changed())[:-20], "", "ends in the middle"),
    "xz takes much memory": (lzma.compress(changed(), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 256 << 20}]), "", "Memory usage limit"),
    "gzip cut short": (gzipped(changed())[:-20], "", "ends in the middle"),
    "gzip damaged": (gzipped(changed())[:-8] + bytes(8), "", "damaged"),
    "zstd cut short": (zstd.compress(changed())[:-3], "", "ends in the middle"),
    "cut short": (changed()[:2000], "", "ends in the middle"),
    "name leads out": (tars.tar(tars.file(b"../etc/passwd", b"x")), "../etc/passwd", "leads out"),
    "absolute name": (tars.tar(tars.file(b"/etc/passwd", b"x")), "/etc/passwd", "absolute"),
    "device": (tars.tar(tars.header(b"sda", b"4", device=(8, 0))), "sda", "files, folders and links only"),
    "fifo": (tars.tar(tars.header(b"p", b"6")), "p", "files, folders and links only"),
    "blob is another": (archive({NAMES_A_BLOB: b"{}"}), NAMES_A_BLOB, "not what its name says"),
    "layer blob is another": (archive({NAMES_A_BLOB: layer(0)}), NAMES_A_BLOB, "not what its name says"),
    "large blob is another": (archive({NAMES_A_BLOB: b"z" * (9 << 20)}), NAMES_A_BLOB, "not what its name says"),
    "packed blob is another": (archive({NAMES_A_BLOB: gzipped(layer(0))}), NAMES_A_BLOB, "not what its name says"),
    "config is another": (archive({sha(b"x") + ".json": config()}), sha(b"x") + ".json", "not what its name says"),
    "other algorithm": (archive({"blobs/md5/" + "0" * 32: b"x"}), "blobs/md5/" + "0" * 32, "not supported"),
    "blob name": (archive({"blobs/sha256/../../x": b"x"}), "", "not an image archive"),
    "manifest is no JSON": (archive({"manifest.json": b"[{"}), "manifest.json", "not JSON"),
    "manifest is deep": (archive({"manifest.json": b"[" * 100_000}), "manifest.json", "not JSON"),
    "manifest is no list": (archive({"manifest.json": b"{}"}), "manifest.json", "not a list"),
    "manifest is empty": (archive({"manifest.json": b"[]"}), "", "holds no image"),
    "manifest is large": (archive({"manifest.json": b" " * (9 << 20) + b"[]"}), "manifest.json", "JSON document of at most"),
    "manifest is a tar": (archive({"manifest.json": layer(0)}), "manifest.json", "JSON document"),
    "manifest is not UTF-8": (archive({"manifest.json": b'["\xff"]'}), "manifest.json", "not JSON"),
    "item is no object": (archive({"manifest.json": b"[1]"}), "manifest.json", "not an object"),
    "no config": (changed(Config=None), "manifest.json", "names no Config"),
    "config leads out": (changed(Config="../../etc/passwd"), "../../etc/passwd", "leads out"),
    "config is absolute": (changed(Config="/etc/passwd"), "/etc/passwd", "absolute"),
    "config is missing": (changed(Config="x.json"), "manifest.json", "'x.json', which is not in the archive"),
    "layers are numbers": (changed(Layers=[1]), "manifest.json", "lists of names"),
    "tags are numbers": (changed(RepoTags=[1]), "manifest.json", "lists of names"),
    "layer leads out": (changed(Layers=["../../../etc/passwd"]), "../../../etc/passwd", "leads out"),
    "layer is missing": (changed(Layers=["x/layer.tar"]), "manifest.json", "'x/layer.tar', which is not in the archive"),
    "layer is a document": (changed(Layers=["manifest.json"]), "manifest.json", "not a layer"),
    "layer too few": (changed(config_bytes=config(layer(0), layer(1))), sha(config(layer(0), layer(1))) + ".json", "names 2 layers, the manifest 1"),
    "diff ID is another": (changed(config_bytes=config(layer(1))), sha(layer(0)) + "0/layer.tar", "the configuration says"),
    "config has no layers": (changed(config_bytes=b'{"a": 1}'), sha(b'{"a": 1}') + ".json", "no rootfs.diff_ids"),
    "config is a list": (changed(config_bytes=b"[]"), sha(b"[]") + ".json", "not a JSON object"),
    "layer is unsafe": (
        archive(docker_archive([tars.tar(tars.file(b"../x"))])),
        sha(tars.tar(tars.file(b"../x"))) + "0/layer.tar: ../x",
        "leads out",
    ),
    "link leads out": (tars.tar(tars.symlink(b"a/layer.tar", b"../../x")), "a/layer.tar", "leads out"),
    "links in a circle": (
        tars.tar(tars.symlink(b"a", b"b"), tars.symlink(b"b", b"a"), tars.file(b"manifest.json", b'[{"Config": "a", "Layers": []}]')),
        "a",
        "too many links",
    ),
    "index lies about a size": (layout_with(wrong_size), "", "its descriptor says"),
    "manifest says it is an index": (layout_with(manifest_as_index), "", "is not what it is"),
    "manifest and index at once": (layout_with(both_at_once), "", "manifest and an index at once"),
    "indexes without end": (layout_with(too_deep), "", "deep"),
    "layer blob is missing": (layout_with(lost_layer), "", "not in the archive"),
    "thousands of layers": (layout_with(many_layers), "", "the limit is 500"),
    "index without a list": (archive({"index.json": b"{}"}), "index.json", "no list"),
    "digest is a path": (
        archive({"index.json": b'{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}'}),
        "index.json",
        "a descriptor's digest is",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_refused_by_entry_and_reason(tmp_path: Path, case: str) -> None:
    data, entry, reason = BAD[case]
    with pytest.raises(BadArchive) as caught:
        load(data, tmp_path)
    assert reason in str(caught.value) and (not entry or caught.value.entry == entry)


@pytest.mark.parametrize("pack", [gzipped, zstd.compress])
def test_a_bomb_is_refused_at_the_limit(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    limit = dataclasses.asdict(dataclasses.replace(DEFAULT, total_bytes=4 << 20))
    bomb = tars.tar(tars.file(b"zeros", bytes(20 << 20)))
    for op, data in (("load", archive(docker_archive([bomb]))), ("load", pack(archive(docker_archive([bomb])))), ("import", pack(bomb))):
        folder = tmp_path / f"{op}{len(data)}"
        with pytest.raises(BadArchive, match="larger than 4194304 bytes: the limit"):
            load(data, folder, op, limits=limit)
        assert sum(path.stat().st_size for path in folder.rglob("layer.tar")) <= 5 << 20


def test_the_disk_keeps_its_reserve(tmp_path: Path) -> None:
    space = os.statvfs(tmp_path)
    limit = {"reserve_bytes": space.f_blocks * space.f_frsize}
    with pytest.raises(OSError, match="no space left on the disk"):
        load(archive(docker_archive([layer(0)])), tmp_path, limits=limit)


def test_too_many_entries_around_the_layers(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="more than 2 entries"):
        load(archive(docker_archive([layer(0)])), tmp_path, limits={"outer_entries": 2})


def test_a_request_that_makes_no_sense(tmp_path: Path) -> None:
    for op, fields in (("sing", {}), ("load", {"kind": "aufs"})):
        with pytest.raises(ValueError, match=r"sing|aufs"):
            load(b"", tmp_path / op, op, **fields)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
def test_flipped_bytes_are_refused_or_harmless(tmp_path: Path, changes: list[tuple[int, bytes]]) -> None:
    """What is loaded from a damaged archive is what a whole one holds: every byte of it is under a digest."""
    data = bytearray(archive(docker_archive([layer(0)], ["a:1"])))
    for at, new in changes:
        data[at : at + len(new)] = new
    folder = tmp_path / os.urandom(8).hex()
    try:
        answer = load(bytes(data), folder)
    except BadArchive:
        return
    for image in answer["images"]:
        assert image["config_digest"] == "sha256:" + sha(image["config"].encode())
        for item in image["layers"]:
            assert "sha256:" + sha((folder / "ingest" / item["dir"] / "layer.tar").read_bytes()) == item["diff_id"]


def test_progress_says_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pier.archive.pace._EVENT_S", 0.0)
    said: list[dict[str, Any]] = []
    data = archive(docker_archive([layer(0)]))
    (tmp_path / "in").write_bytes(data)
    (tmp_path / "out").mkdir()
    fds = [os.open(tmp_path / "in", os.O_RDONLY), os.open(tmp_path / "out", os.O_RDONLY)]
    jobs.run("load", {"kind": "erofs"}, fds, said.append)
    for fd in fds:
        os.close(fd)
    assert said[-1]["state"] == "syncing" and said[-1]["bytes"] == len(data)
