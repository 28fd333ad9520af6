"""What an archive of images consists of: which images, in which order, with which documents; decided without a byte of a layer."""

import io
import json
import tarfile
from typing import Any

import pytest

from pier.errors import NotFound
from pier.images import save
from pier.images.catalog import Catalog
from pier.images.image import Image, Layer
from pier.images.names import Meaning
from pier.images.save import Archive, LayerTar, Wanted, choose, plan
from pier.oci import digest as digests
from pier.oci import image_config, manifest
from pier.oci import platform as platforms
from pier.oci.platform import Platform
from pier.oci.reference import parse

from .fakes import HOST, diff_id

OTHER = "riscv64"


def image(name: str, *layers: str, created: str = "2026-01-02T03:04:05Z", architecture: str = HOST["architecture"]) -> Image:
    ids = [diff_id(layer) for layer in layers]
    data = json.dumps({"os": "linux", "architecture": architecture, "created": created, "comment": name, "rootfs": {"diff_ids": ids}}).encode()
    return Image(digests.of(data), image_config.parse(data), data, tuple(Layer(one, 100) for one in ids))


def catalog(**named: Image) -> Catalog:
    """Images by name; `__` stands for `:`."""
    made = Catalog()
    for name, one in named.items():
        if not made.get(one.id):
            made.put(one)
        made.give(parse(name.replace("__", ":")), Meaning(None, {one.id: None}))
    return made


def opened(archive: Archive) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(whole(archive))) as tar:
        return {entry.name: entry for entry in tar}


def whole(archive: Archive) -> bytes:
    """The archive with layers full of their own first letter."""
    data = b"".join(piece if isinstance(piece, bytes) else piece.diff_id[7:8].encode() * piece.size for piece in archive.pieces)
    assert len(data) == archive.size
    return data


def read(archive: Archive, name: str) -> Any:
    with tarfile.open(fileobj=io.BytesIO(whole(archive))) as tar:
        file = tar.extractfile(name)
        assert file
        return json.loads(file.read())


def sizes(*images: Image) -> dict[str, int]:
    return {one: 1000 + n for n, one in enumerate(sorted({one for image in images for one in image.diff_ids}))}


def archive_of(found: list[Wanted], own: dict[str, bytes] | None = None) -> Archive:
    return plan(found, sizes(*(image for one in found for image in one.images)), own or {})


def names(found: list[Wanted]) -> list[tuple[str | None, list[str]]]:
    return [(str(one.name) if one.name else None, [str(image.config.comment) for image in one.images]) for one in found]


APP, TOOL = image("app", "base", "app"), image("tool", "base", "tool", created="2026-02-02T00:00:00Z")


def test_one_image_by_name_is_both_formats() -> None:
    found = choose(catalog(app__one=APP, app__two=APP), ["app:one"], [])
    archive = archive_of(found)
    entries = opened(archive)
    layers = [f"blobs/sha256/{one[7:]}" for one in APP.diff_ids]
    assert list(entries) == sorted(entries) and list(entries)[:2] == ["blobs", "blobs/sha256"]
    assert len(entries) == 2 + 2 + 1 + 1 + 4  # folders, layers, configuration, manifest, the four documents
    index = read(archive, "index.json")["manifests"]
    assert [entry["annotations"] for entry in index] == [
        {"io.containerd.image.name": "docker.io/library/app:one", "org.opencontainers.image.ref.name": "one"}
    ]
    own = read(archive, "blobs/sha256/" + index[0]["digest"][7:])
    assert own["config"] == {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": APP.id, "size": len(APP.config_bytes)}
    assert [(layer["digest"], layer["size"]) for layer in own["layers"]] == [(one, sizes(APP)[one]) for one in APP.diff_ids]
    (docker,) = read(archive, "manifest.json")
    assert (docker["Config"], docker["RepoTags"], docker["Layers"]) == ("blobs/sha256/" + APP.id[7:], ["app:one"], layers)
    assert docker["LayerSources"][APP.diff_ids[0]] == own["layers"][0]
    assert read(archive, "repositories") == {"app": {"one": APP.diff_ids[-1][7:]}} and read(archive, "oci-layout") == {"imageLayoutVersion": "1.0.0"}
    assert entries[layers[0]].mtime == 1767323045 and entries["index.json"].mtime == 0 and entries[layers[0]].mode == 0o644


def test_layers_of_several_images_are_there_once_in_the_same_bytes_always() -> None:
    found = choose(catalog(app=APP, tool=TOOL), ["app", "tool", "app:latest"], [])
    assert names(found) == [("app:latest", ["app"]), ("tool:latest", ["tool"])]
    archive = archive_of(found)
    tars = [piece.diff_id for piece in archive.pieces if isinstance(piece, LayerTar)]
    assert sorted(tars) == sorted({*APP.diff_ids, *TOOL.diff_ids}) and whole(archive) == whole(archive_of(found))
    assert [item["RepoTags"] for item in read(archive, "manifest.json")] == [["app:latest"], ["tool:latest"]]


def test_what_texts_mean() -> None:
    here = catalog(app__one=APP, app__two=APP, tool=TOOL)
    assert names(choose(here, ["app"], [])) == [("app:one", ["app"]), ("app:two", ["app"])]
    assert names(choose(here, [APP.id], [])) == names(choose(here, [APP.id[7:20]], [])) == [(None, ["app"])]
    assert names(choose(here, [APP.id, "app:two", APP.id[7:]], [])) == [("app:two", ["app"])]
    assert names(choose(here, [APP.id, "tool"], [])) == [(None, ["app"]), ("tool:latest", ["tool"])]
    assert choose(here, [], []) == []
    unknown = "sha256:" + "0" * 64
    for text, said in (("nope", "No such image: nope$"), ("app:three", "No such image: app:three$"), (unknown, f"No such image: {unknown}")):
        with pytest.raises(NotFound, match=said):
            choose(here, ["tool", text], [])


def test_an_image_without_a_name_and_one_without_layers() -> None:
    empty = image("empty")
    archive = archive_of([Wanted((empty,))])
    assert read(archive, "manifest.json")[0]["RepoTags"] is None and "repositories" not in opened(archive)
    assert "annotations" not in read(archive, "index.json")["manifests"][0]
    assert "repositories" not in opened(archive_of([Wanted((empty,), parse("empty:latest"))]))


def test_no_image_is_an_empty_layout_as_docker_makes_it() -> None:
    assert list(opened(archive_of([]))) == ["index.json", "manifest.json", "oci-layout"]


def test_a_layer_that_an_image_has_twice() -> None:
    twice = image("twice", "base", "app", "base")
    archive = archive_of([Wanted((twice,))])
    assert len([piece for piece in archive.pieces if isinstance(piece, LayerTar)]) == 2
    assert len(read(archive, "manifest.json")[0]["Layers"]) == 3


@pytest.mark.parametrize("created", ["", "1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "rubbish", "0001-01-01T00:00:00Z"])
def test_times_that_no_tar_carries_are_zero(created: str) -> None:
    old = image("old", "base", created=created)
    assert {entry.mtime for entry in opened(archive_of([Wanted((old,))])).values()} == {0}


def several() -> tuple[Catalog, Image, Image]:
    """A name that means an image for this machine and one for another."""
    here, there = image("here", "base", "here"), image("there", "base", "there", architecture=OTHER)
    made = Catalog()
    made.put(here)
    made.put(there)
    made.give(parse("app"), Meaning("sha256:" + "1" * 64, {there.id: None, here.id: None}))
    return made, here, there


def test_a_name_of_several_platforms_is_an_index_of_all_and_this_machine_s_for_docker() -> None:
    made, here, there = several()
    found = choose(made, ["app"], [])
    assert [one.images for one in found] == [(made.get(here.id), made.get(there.id))]
    archive = archive_of(found)
    (docker,) = read(archive, "manifest.json")
    assert docker["Config"] == "blobs/sha256/" + here.id[7:]
    (entry,) = read(archive, "index.json")["manifests"]
    assert entry["mediaType"] == "application/vnd.oci.image.index.v1+json" and entry["annotations"]["org.opencontainers.image.ref.name"] == "latest"
    inner = read(archive, "blobs/sha256/" + entry["digest"][7:])["manifests"]
    assert [one["platform"]["architecture"] for one in inner] == [HOST["architecture"], OTHER]
    assert read(archive, "blobs/sha256/" + inner[1]["digest"][7:])["config"]["digest"] == there.id


def test_platforms_choose() -> None:
    made, _, there = several()
    assert [one.images for one in choose(made, ["app"], [Platform("linux", OTHER)])] == [(made.get(there.id),)]
    both = choose(made, ["app"], [Platform("linux", OTHER), platforms.host()])
    assert [one.config.architecture for one in both[0].images] == [OTHER, HOST["architecture"]]
    with pytest.raises(NotFound, match="no suitable export target found for platform linux/s390x"):
        choose(made, ["app"], [Platform("linux", "s390x")])


def test_a_manifest_that_names_the_tars_is_kept_and_any_other_is_not() -> None:
    def document(config: str, *layers: str) -> bytes:
        entries = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": one, "size": 1} for one in layers]
        return json.dumps({"schemaVersion": 2, "annotations": {"a": "b"}, "layers": entries,
                           "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2}}).encode()  # fmt: skip

    fits = document(APP.id, *APP.diff_ids)
    assert save.documents.fitting(fits, APP) == fits
    for data in (document(TOOL.id, *APP.diff_ids), document(APP.id, *TOOL.diff_ids), b"{}", document(APP.id)):
        assert save.documents.fitting(data, APP) is None
    archive = archive_of([Wanted((APP,))], {APP.id: fits})
    (entry,) = read(archive, "index.json")["manifests"]
    assert entry["digest"] == digests.of(fits) and "blobs/sha256/" + digests.of(fits)[7:] in opened(archive)
    assert isinstance(manifest.parse(fits), manifest.Manifest)
