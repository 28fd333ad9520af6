"""Archives with images of several platforms under one name: all that are whole are taken, with their index, unless one platform is asked for."""

import json
from pathlib import Path
from typing import Any

import pytest

from pier.archive.refusal import BadArchive

from . import images
from .images import Layout, archive, config, layer, sha
from .test_image_archive import diff_ids, load

ARCHITECTURES = ("amd64", "arm64", "s390x")
BLOB = "blobs/sha256/"


def entry(manifest: bytes, architecture: str) -> dict[str, Any]:
    return images.descriptor(manifest, "manifest.v1+json", platform={"os": "linux", "architecture": architecture})


def several(tag: str = "docker.io/library/many:1", missing: str = "") -> tuple[Layout, bytes]:
    """A layout with an index of three platforms (the layers of `missing` left out), and the index."""
    layout = Layout()
    entries = []
    for number, architecture in enumerate(ARCHITECTURES):
        manifest = layout.image([layer(9), layer(number)], architecture=architecture)
        entries.append(entry(manifest, architecture))
        if architecture == missing:
            del layout.blobs[BLOB + sha(layer(number))]
    index = layout.index(entries)
    layout.add(index, "index.v1+json", tag=tag)
    return layout, index


def docker_item(number: int, tags: list[str]) -> dict[str, Any]:
    body = config(layer(9), layer(number), architecture=ARCHITECTURES[number])
    return {"Config": BLOB + sha(body), "RepoTags": tags, "Layers": [BLOB + sha(layer(9)), BLOB + sha(layer(number))]}


def found(data: bytes, folder: Path, platform: str = "") -> list[tuple[str, list[str], bool]]:
    """(architecture, tags, whether it came with an index) of each image."""
    answer = load(data, folder, platform=platform)["images"]
    return [(json.loads(one["config"])["architecture"], one["tags"], one["index"] is not None) for one in answer]


def test_an_oci_layout(tmp_path: Path) -> None:
    layout, index = several()
    answer = load(archive(layout.files()), tmp_path / "all", platform="")["images"]
    assert [(json.loads(one["config"])["architecture"], one["index"], one["tags"]) for one in answer] == [
        (architecture, index.decode(), ["docker.io/library/many:1"]) for architecture in ARCHITECTURES
    ]
    assert diff_ids(answer[2]) == ["sha256:" + sha(layer(9)), "sha256:" + sha(layer(2))]
    assert found(archive(layout.files()), tmp_path / "one", "linux/arm64") == [("arm64", ["docker.io/library/many:1"], True)]


def test_what_is_not_whole_is_passed_over(tmp_path: Path) -> None:
    layout, _ = several(missing="arm64")
    assert [one[0] for one in found(archive(layout.files()), tmp_path / "all")] == ["amd64", "s390x"]
    with pytest.raises(BadArchive, match="which is not in the archive"):
        load(archive(layout.files()), tmp_path / "one", platform="linux/arm64")


def test_nothing_whole_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    layout, _ = several()
    del layout.blobs[BLOB + sha(layer(9))]
    with pytest.raises(BadArchive, match="which is not in the archive"):
        load(archive(layout.files()), tmp_path, platform="")


def test_a_docker_archive_whose_index_has_more(tmp_path: Path) -> None:
    """What `docker save` and `pier save` write: manifest.json has one image of a name, index.json all."""
    layout, _ = several()
    files = {**layout.files(), "manifest.json": json.dumps([docker_item(0, ["many:1", "alone:1"])]).encode()}
    assert found(archive(files), tmp_path / "all") == [
        ("amd64", ["alone:1"], False), ("amd64", ["many:1"], True), ("arm64", ["many:1"], True), ("s390x", ["many:1"], True),
    ]  # fmt: skip
    assert found(archive(files), tmp_path / "one", "linux/s390x") == [("amd64", ["alone:1"], False), ("s390x", ["many:1"], True)]
    assert found(archive(files), tmp_path / "none", "linux/riscv64") == [("amd64", ["many:1", "alone:1"], False)]


def test_two_documents_that_mean_different_things(tmp_path: Path) -> None:
    """manifest.json decides; an index that does not name its image is not believed."""
    layout, _ = several(missing="amd64")
    files = {**layout.files(), BLOB + sha(layer(7)): layer(7)}
    body = config(layer(7))
    files[BLOB + sha(body)] = body
    item = {"Config": BLOB + sha(body), "RepoTags": ["many:1"], "Layers": [BLOB + sha(layer(7))]}
    (image,) = load(archive({**files, "manifest.json": json.dumps([item]).encode()}), tmp_path, platform="")["images"]
    assert diff_ids(image) == ["sha256:" + sha(layer(7))] and image["tags"] == ["many:1"] and image["index"] is None


def test_one_image_under_names_of_different_indexes(tmp_path: Path) -> None:
    layout = Layout()
    amd = layout.image([layer(0)])
    arm = layout.image([layer(1)], architecture="arm64")
    layout.add(layout.index([entry(amd, "amd64")]), "index.v1+json", tag="one:1")
    layout.add(layout.index([entry(amd, "amd64"), entry(arm, "arm64")]), "index.v1+json", tag="two:1")
    layout.add(amd, tag="three:1")
    assert found(archive(layout.files()), tmp_path) == [
        ("amd64", ["one:1"], True), ("amd64", ["two:1"], True), ("arm64", ["two:1"], True), ("amd64", ["three:1"], False),
    ]  # fmt: skip
