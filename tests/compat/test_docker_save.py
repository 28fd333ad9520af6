"""Archives of images through the docker command and docker-py."""

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import images

from .conftest import Target


@pytest.fixture
def names(docker: Target, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Two images of the test's own that share a layer; removed after it."""
    made = []
    for mark in ("one", "two"):
        name = f"pier-test/{docker.name()}:{mark}"
        layers = [images.busybox_layer(), images.layer({"mark": mark.encode()})]
        images.docker_archive(tmp_path / "made.tar", name, layers, {"Labels": {"mark": name}})
        docker("load", "-i", str(tmp_path / "made.tar")).ok()
        made.append(name)
    yield made[0], made[1]
    docker("rmi", "-f", *made)


def documents(archive: Path) -> dict[str, Any]:
    with tarfile.open(archive) as tar:
        return {name: json.load(file) for name in ("index.json", "manifest.json", "repositories", "oci-layout") if (file := tar.extractfile(name))}


def test_what_is_in_an_archive(docker: Target, names: tuple[str, str], tmp_path: Path) -> None:
    archive = tmp_path / "saved.tar"
    assert docker("save", "-o", str(archive), *names).ok().out == ""
    found = documents(archive)
    ids = [docker.inspect(name, "{{.Id}}") for name in names]
    layers = [json.loads(docker.inspect(name, "{{json .RootFS.Layers}}")) for name in names]
    assert found["oci-layout"] == {"imageLayoutVersion": "1.0.0"}
    by_name = {item["RepoTags"][0]: item for item in found["manifest.json"]}
    for name, identity, diff_ids in zip(names, ids, layers, strict=True):
        assert by_name[name]["Config"] == "blobs/sha256/" + identity[7:]
        assert by_name[name]["Layers"] == ["blobs/sha256/" + diff_id[7:] for diff_id in diff_ids]
        assert sorted(by_name[name]["LayerSources"]) == sorted(diff_ids)
        repository, _, tag = name.partition(":")
        assert found["repositories"][repository] == {tag: diff_ids[-1][7:]}
    index = found["index.json"]
    assert (index["schemaVersion"], index["mediaType"]) == (2, "application/vnd.oci.image.index.v1+json")
    assert sorted(entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]) == sorted(f"docker.io/{name}" for name in names)
    with tarfile.open(archive) as tar:
        layer_files = [m for m in tar if m.name in {"blobs/sha256/" + diff_id[7:] for one in layers for diff_id in one}]
        assert len(layer_files) == 3 and {(m.mode, m.uid, m.gid) for m in layer_files} == {(0o644, 0, 0)}
        for entry in index["manifests"]:
            file = tar.extractfile("blobs/sha256/" + entry["digest"][7:])
            assert file
            manifest = json.loads(file.read())
            assert manifest["config"]["digest"] in ids and {one["mediaType"] for one in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar"}


def test_saved_removed_and_loaded(docker: Target, names: tuple[str, str]) -> None:
    ids = [docker.inspect(name, "{{.Id}}") for name in names]
    argv = docker.argv("save", *names)
    archive = subprocess.run(argv, env=docker.env, capture_output=True, check=True, timeout=60).stdout
    docker("rmi", *names).ok()
    loaded = docker("load", stdin=archive).ok().out
    assert all(f"Loaded image: {name}" in loaded for name in names)
    assert [docker.inspect(name, "{{.Id}}") for name in names] == ids
    assert docker("run", "--rm", names[0], "cat", "/mark").ok().out == "one"


def test_by_id_by_repository_and_twice(docker: Target, names: tuple[str, str], tmp_path: Path) -> None:
    archive = tmp_path / "saved.tar"
    identity = docker.inspect(names[0], "{{.Id}}")
    docker("save", "-o", str(archive), identity).ok()
    with tarfile.open(archive) as tar:
        assert "repositories" not in tar.getnames()
        file = tar.extractfile("manifest.json")
        assert file
        (item,) = json.load(file)
        assert item["RepoTags"] is None
    docker("tag", names[0], names[0] + "-more").ok()
    try:
        docker("save", "-o", str(archive), names[0].partition(":")[0]).ok()
        (item,) = documents(archive)["manifest.json"]
        assert item["RepoTags"] == [names[0], names[0] + "-more"]
        docker("save", "-o", str(archive), names[0], identity[7:19], names[0]).ok()
        (item,) = documents(archive)["manifest.json"]
        assert item["RepoTags"] == [names[0]]
    finally:
        docker("rmi", names[0] + "-more").ok()


def test_platforms(docker: Target, names: tuple[str, str], tmp_path: Path) -> None:
    own = docker.inspect(names[0], "{{.Os}}/{{.Architecture}}")
    docker("save", "--platform", own, "-o", str(tmp_path / "own.tar"), names[0]).ok()
    assert documents(tmp_path / "own.tar")["manifest.json"][0]["RepoTags"] == [names[0]]
    docker("save", "--platform", "linux/s390x", "-o", str(tmp_path / "other.tar"), names[0]).fails(1, "no suitable export target found for platform linux/s390x")


def test_what_is_not_there(docker: Target, names: tuple[str, str], tmp_path: Path) -> None:
    docker("save", "-o", str(tmp_path / "x.tar"), names[0], "pier-test/nope").fails(1, "No such image: pier-test/nope")
    docker("save", "-o", str(tmp_path / "x.tar"), "abcdefabcdef").fails(1, "No such image: abcdefabcdef")
    docker("save", "-o", str(tmp_path / "x.tar"), "pier-test/Nope").fails(1, "invalid reference format: repository name (pier-test/Nope) must be lowercase")
    wrong = docker("save", "-o", str(tmp_path / "x.tar"), f"{names[0]}-nope")
    if docker.kind == "reference":
        wrong.fails(1, "reference does not exist")
    else:  # docs/compatibility.md
        wrong.fails(1, f"No such image: {names[0]}-nope")


def test_docker_py_saves(client: Any, names: tuple[str, str], tmp_path: Path) -> None:
    image = client.images.get(names[0])
    named = b"".join(image.save(named=True))
    with tarfile.open(fileobj=io.BytesIO(named)) as tar:
        file = tar.extractfile("manifest.json")
        assert file and json.load(file)[0]["RepoTags"] == [names[0]]
    plain = b"".join(image.save())
    client.images.remove(names[0], force=True)
    (loaded,) = client.images.load(plain)
    assert loaded.id == image.id and loaded.tags == []
    (loaded,) = client.images.load(named)
    assert loaded.tags == [names[0]]
