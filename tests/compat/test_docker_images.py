"""Images through the docker command: load, import, list, tag, inspect, history, remove; and archives that are not what they say."""

import gzip
import hashlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import images

from .conftest import Target


@pytest.fixture
def tag(docker: Target) -> Iterator[str]:
    """A reference nothing else uses; removed after the test with all other tags of its repository."""
    repository = f"pier-test/{docker.name()}"
    yield f"{repository}:one"
    left = docker("images", "-q", "--no-trunc", repository).ok().out.split()
    if left:
        docker("rm", "-f", *docker("ps", "-aq", "--filter", f"ancestor={left[0]}").out.split(), "none")
        docker("rmi", "-f", *set(left))


def marked(path: Path, tag: str, mark: str) -> str:
    """A small image of its own ID at `path`: busybox and a file with a mark."""
    return images.docker_archive(path, tag, [images.busybox_layer(), images.layer({"mark": mark.encode()})], {"Labels": {"mark": mark}})


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("how", ["file", "stdin", "gzip", "zstd"])
def test_load(docker: Target, tag: str, tmp_path: Path, how: str) -> None:
    archive = tmp_path / "image.tar"
    image_id = marked(archive, tag, how)
    data = archive.read_bytes()
    if how == "file":
        done = docker("load", "-i", str(archive)).ok()
    else:
        packed = {"stdin": lambda d: d, "gzip": gzip.compress, "zstd": zstd}[how](data)
        done = docker("load", stdin=packed).ok()
    assert f"Loaded image: {tag}" in done.out
    assert docker.inspect(tag, "{{.Id}}") == image_id
    assert docker("run", "--rm", tag, "cat", "/mark").ok().out == how


def test_load_of_xz(docker: Target, tag: str, tmp_path: Path) -> None:
    marked(tmp_path / "image.tar", tag, "xz")
    packed = subprocess.run(["xz", "-0", "-c", tmp_path / "image.tar"], capture_output=True, check=True).stdout
    assert f"Loaded image: {tag}" in docker("load", stdin=packed).ok().out


def test_load_without_a_name(docker: Target, tag: str, tmp_path: Path) -> None:
    image_id = marked(tmp_path / "i.tar", "", docker.name())
    assert f"Loaded image ID: {image_id}" in docker("load", "-i", str(tmp_path / "i.tar")).ok().out
    docker("tag", image_id, tag).ok()
    docker("rmi", image_id).ok()


def oci_layout(tag: str, mark: str) -> bytes:
    """An OCI layout as a tar, its layers gzipped."""
    blobs: dict[str, bytes | str | int | tuple[bytes, int]] = {}

    def blob(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layers = [images.busybox_layer(), images.layer({"mark": mark.encode()})]
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]}}  # fmt: skip
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
                "layers": [blob(gzip.compress(x, 1), "application/vnd.oci.image.layer.v1.tar+gzip") for x in layers]}  # fmt: skip
    entry = blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag.split(":")[1]}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
    blobs |= {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    return images.layer(blobs)


def test_load_of_an_oci_layout(docker: Target, tag: str) -> None:
    if docker.kind == "reference":
        pytest.skip("dockerd 28 with its graph drivers loads a layout only with a manifest.json in it")
    docker("load", stdin=oci_layout(tag, "oci")).ok()
    assert docker("run", "--rm", tag, "cat", "/mark").ok().out == "oci"


def damage_layer(data: bytes) -> bytes:
    return data.replace(b"the-mark", b"another!")


def damage_manifest(data: bytes) -> bytes:
    return data.replace(b'"Config": "', b'"Config": "x')


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def escape(_: bytes) -> bytes:
    return images.layer({"manifest.json": b'[{"Config":"../../../etc/passwd","RepoTags":["pier-test/bad:1"],"Layers":[]}]'})


@pytest.mark.parametrize("damage", [damage_layer, damage_manifest, cut, escape, lambda _: b"not an archive" * 100], ids=["layer", "manifest", "cut", "escape", "text"])
def test_load_of_a_bad_archive_leaves_nothing(docker: Target, tag: str, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    marked(tmp_path / "image.tar", tag, "the-mark")
    before = set(docker("images", "-aq", "--no-trunc").ok().out.split())
    done = docker("load", stdin=damage((tmp_path / "image.tar").read_bytes()))
    assert done.code == 1 and done.err.strip(), done
    assert set(docker("images", "-aq", "--no-trunc").ok().out.split()) == before
    docker("inspect", tag).fails(1)


def test_import_and_its_changes(docker: Target, tag: str) -> None:
    data = images.busybox_layer()
    image_id = docker("import", "-c", "CMD [\"cat\",\"/etc/group\"]", "-c", "ENV A=b", "-m", "made by a test", "-", tag, stdin=data).ok().line
    assert re.fullmatch("sha256:[0-9a-f]{64}", image_id) and docker.inspect(tag, "{{.Id}} {{.Comment}}") == f"{image_id} made by a test"
    assert "nogroup" in docker("run", "--rm", tag).ok().out
    assert docker("run", "--rm", tag, "sh", "-c", "echo $A").ok().line == "b"


def test_import_of_compressed_tar(docker: Target, tag: str) -> None:
    docker("import", "-", tag, stdin=gzip.compress(images.busybox_layer(), 1)).ok()
    assert docker("run", "--rm", tag, "echo", "ok").ok().line == "ok"


def test_import_of_nonsense(docker: Target, tag: str) -> None:
    assert docker("import", "-", tag, stdin=b"nonsense" * 1000).code == 1
    docker("inspect", tag).fails(1)


def test_images_and_filters(docker: Target, tag: str, tmp_path: Path) -> None:
    image_id = marked(tmp_path / "i.tar", tag, tag)
    docker("load", "-i", str(tmp_path / "i.tar")).ok()
    repository = tag.split(":")[0]
    table = docker("images", repository).ok().out.splitlines()
    assert table[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert table[1].split()[:3] == [repository, "one", image_id.removeprefix("sha256:")[:12]]

    def ids(*filters: str) -> list[str]:
        return docker("images", "-q", "--no-trunc", *(w for f in filters for w in ("--filter", f))).ok().out.split()

    assert ids(f"reference={tag}") == [image_id] and ids(f"label=mark={tag}") == [image_id] and ids("reference=pier-test/nothing") == []
    assert image_id not in ids("dangling=true")
    docker("images", "--filter", "nonsense=1").fails(1, "invalid filter 'nonsense'")
    assert docker("images", "--format", "{{.Repository}}:{{.Tag}}", tag).ok().line == tag


def test_tag_and_rmi(docker: Target, tag: str, tmp_path: Path) -> None:
    image_id = marked(tmp_path / "i.tar", tag, tag)
    docker("load", "-i", str(tmp_path / "i.tar")).ok()
    other = tag.replace(":one", ":two")
    docker("tag", tag, other).ok()
    assert docker("rmi", tag).ok().out == f"Untagged: {tag}\n"
    out = docker("rmi", other).ok().out
    assert out.startswith(f"Untagged: {other}\nDeleted: {image_id}\nDeleted: sha256:")
    docker("rmi", other).fails(1, f"No such image: {other}")
    docker("tag", "pier-test/nothing", "pier-test/else").fails(1, "No such image: pier-test/nothing:latest")
    docker("tag", docker.image, "pier-test/UPPER").fails(1, "must be lowercase")


def test_rmi_of_an_image_in_use(docker: Target, tag: str, tmp_path: Path) -> None:
    image_id = marked(tmp_path / "i.tar", tag, tag)
    docker("load", "-i", str(tmp_path / "i.tar")).ok()
    container = docker("create", tag).ok().line
    short = image_id.removeprefix("sha256:")[:12]
    docker("rmi", tag).fails(1, "conflict: unable to remove repository reference", f"container {container[:12]} is using its referenced image {short}")
    docker("rmi", "-f", tag).ok()
    docker("start", container).ok()
    docker("inspect", "--type", "image", tag).fails(1)


def test_image_inspect_and_history(docker: Target) -> None:
    seen = json.loads(docker("image", "inspect", docker.image).ok().out)[0]
    assert (seen["Id"], seen["Os"], seen["Config"]["Cmd"], seen["RepoTags"]) == (docker.image_id, "linux", ["sh"], [docker.image])
    assert seen["RootFS"] == {"Type": "layers", "Layers": ["sha256:" + hashlib.sha256(images.busybox_layer()).hexdigest()]} and seen["Size"] > 500_000
    assert seen["Created"] == "2026-01-02T03:04:05Z"
    assert docker("history", "--no-trunc", "--format", "{{.ID}} {{.CreatedBy}}", docker.image).ok().line == f"{docker.image_id} ADD layer 0 in /"


def test_inspect_of_nothing(docker: Target) -> None:
    docker("image", "inspect", "pier-test/nothing").fails(1, "No such image: pier-test/nothing")


def test_images_by_short_id(docker: Target) -> None:
    assert docker("run", "--rm", docker.image_id.removeprefix("sha256:")[:12], "echo", "by id").ok().line == "by id"


def test_layers_keep_what_they_hold(docker: Target, tag: str, tmp_path: Path) -> None:
    """Modes, owners, links, times, whiteouts, opaque folders and capabilities of files, through an image of three layers."""
    first, second = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=first, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, extra in [("d", tarfile.DIRTYPE, {"mode": 0o2751, "uid": 7, "gid": 8}), ("d/gone", tarfile.REGTYPE, {}), ("d/kept", tarfile.REGTYPE, {"mode": 0o4755}),
                                  ("o", tarfile.DIRTYPE, {"mode": 0o755}), ("o/below", tarfile.REGTYPE, {}), ("hard", tarfile.LNKTYPE, {"linkname": "d/kept", "mode": 0o4755}),
                                  ("soft", tarfile.SYMTYPE, {"linkname": "d/kept"}), ("fifo", tarfile.FIFOTYPE, {}), ("n" * 150, tarfile.REGTYPE, {})]:  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.type, entry.mtime = kind, 1_234_567_890
            for key, value in extra.items():
                setattr(entry, key, value)
            tar.addfile(entry)
    folder, other = (tarfile.TarInfo(name) for name in ("d", "o"))
    folder.type = other.type = tarfile.DIRTYPE
    folder.mode, folder.uid, folder.gid, folder.mtime, other.mode = 0o2751, 7, 8, 1_234_567_890, 0o755
    with tarfile.open(fileobj=second, mode="w") as tar:
        for entry in (folder, other):
            tar.addfile(entry)
        for name in ("d/.wh.gone", "o/.wh..wh..opq", "o/above"):
            tar.addfile(tarfile.TarInfo(name))
    images.docker_archive(tmp_path / "i.tar", tag, [images.busybox_layer(), first.getvalue(), second.getvalue()])
    docker("load", "-i", str(tmp_path / "i.tar")).ok()
    script = f"ls d o; stat -c '%a %u %g %Y' d; stat -c '%a %h %Y' d/kept hard; readlink soft; stat -c %F fifo; ls {'n' * 150} | wc -c"
    assert docker("run", "--rm", tag, "sh", "-c", script).ok().out.splitlines() == [
        "d:", "kept", "", "o:", "above", "2751 7 8 1234567890", "4755 2 1234567890", "4755 2 1234567890", "d/kept", "fifo", "151"]  # fmt: skip
