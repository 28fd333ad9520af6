"""The example scripts: what they write runs, is the same each time, and is an image."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "")


def script(name: str, *arguments: str | Path) -> str:
    return subprocess.run([sys.executable, EXAMPLES / name, *arguments], check=True, capture_output=True, text=True).stdout


def read(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}  # type: ignore[union-attr]


def check_image(files: dict[str, bytes], tag: str) -> tuple[dict[str, Any], tarfile.TarFile]:
    """(configuration, layer) of an archive whose two descriptions agree and whose digests are right."""
    for name, data in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": tag}
    manifest = json.loads(files[f"blobs/sha256/{entry['digest'][7:]}"])
    (listed,) = json.loads(files["manifest.json"])
    config = f"blobs/sha256/{manifest['config']['digest'][7:]}"
    (layer,) = [f"blobs/sha256/{layer['digest'][7:]}" for layer in manifest["layers"]]
    assert listed == {"Config": config, "RepoTags": [tag], "Layers": [layer]}
    assert manifest["layers"][0]["size"] == len(files[layer]) and manifest["config"]["size"] == len(files[config])
    found = json.loads(files[config])
    assert found["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    return found, tarfile.open(fileobj=io.BytesIO(files[layer]))


@pytest.mark.skipif(not HERE, reason="the program is made for x86-64 and arm64")
def test_the_program_runs(tmp_path: Path) -> None:
    path = tmp_path / "hello"
    script("hello-world/assemble.py", "--output", path)
    assert path.stat().st_size < 4096
    found = subprocess.run([path], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("Hello from Pier!\n") and found.stderr == ""
    with open(os.devnull) as closed:  # not open for writing: the program must say so by its status
        assert subprocess.run([path], stdout=closed.fileno(), check=False).returncode == 1


@pytest.mark.skipif(not HERE, reason="the program is made for x86-64 and arm64")
def test_the_program_writes_all_to_a_pipe_that_takes_little(tmp_path: Path) -> None:
    path = tmp_path / "hello"
    script("hello-world/assemble.py", "--output", path)
    text = subprocess.run([path], capture_output=True, check=True).stdout
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    filler = 0
    while True:
        try:
            filler += os.write(write_fd, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(write_fd, True)
    process = subprocess.Popen([path], stdout=write_fd)
    os.close(write_fd)
    with open(read_fd, "rb") as pipe:
        assert pipe.read()[filler:] == text
    assert process.wait() == 0


@pytest.mark.parametrize(("architecture", "machine"), [("amd64", 62), ("arm64", 183)])
def test_hello_world_is_an_image_for_either_architecture(tmp_path: Path, architecture: str, machine: int) -> None:
    one, two = tmp_path / "1.tar", tmp_path / "2.tar"
    script("hello-world/make_image.py", "--architecture", architecture, "--output", one)
    said = script("hello-world/make_image.py", "--architecture", architecture, "--output", two)
    assert one.read_bytes() == two.read_bytes()
    config, layer = check_image(read(one), "hello-world:latest")
    assert (config["architecture"], config["config"]["Cmd"]) == (architecture, ["/hello"])
    (entry,) = layer.getmembers()
    program = layer.extractfile(entry).read()  # type: ignore[union-attr]
    assert (entry.name, entry.mode) == ("hello", 0o755) and program[:4] == b"\x7fELF" and int.from_bytes(program[18:20], "little") == machine
    config_digest = json.loads(read(one)["manifest.json"])[0]["Config"].rpartition("/")[2]
    assert f"sha256:{config_digest}" in said
    assert (EXAMPLES / "hello-world/Dockerfile").read_text() == 'FROM scratch\nCOPY hello /\nCMD ["/hello"]\n'


@pytest.mark.skipif(not any(os.path.exists(path) for path in ("/bin/busybox", "/usr/bin/busybox")), reason="busybox-static is not installed")
def test_busybox_is_laid_out_like_the_well_known_one(tmp_path: Path) -> None:
    one, two = tmp_path / "1.tar", tmp_path / "2.tar"
    script("images/make_busybox.py", "--output", one)
    script("images/make_busybox.py", "--output", two)
    assert one.read_bytes() == two.read_bytes()
    config, layer = check_image(read(one), "busybox:latest")
    assert config["config"] == {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    entries = {entry.name: entry for entry in layer.getmembers()}
    assert entries["tmp"].mode == 0o1777 and entries["root"].mode == 0o700 and entries["home"].isdir() and entries["var/www"].isdir()
    assert entries["bin/sh"].islnk() and entries["bin/sh"].linkname == "bin/busybox" and entries["bin/busybox"].mode == 0o755
    users = layer.extractfile("etc/passwd").read().decode()  # type: ignore[union-attr]
    groups = layer.extractfile("etc/group").read().decode()  # type: ignore[union-attr]
    for name in ("root:x:0:0:", "www-data:x:33:33:", "nobody:x:65534:65534:"):
        assert name in users
    assert "www-data:x:33:" in groups and "nogroup:x:65534:" in groups


def test_a_tree_keeps_what_it_is_made_of(tmp_path: Path) -> None:
    sys.path.insert(0, str(EXAMPLES))
    try:
        import oci_archive  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    tree = tmp_path / "tree"
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "usr/bin/su").write_bytes(b"x")
    (tree / "usr/bin/su").chmod(0o4755)
    os.link(tree / "usr/bin/su", tree / "usr/bin/su2")
    os.symlink("usr/bin", tree / "bin")
    os.mkfifo(tree / "fifo")
    (tree / "skip").mkdir()
    (tree / "skip/inner").write_text("x")
    layer = oci_archive.Layer(str(tmp_path / "layer.tar"), 1000)
    layer.tree(str(tree), skip=lambda name: name == "skip")
    layer.close()
    with tarfile.open(tmp_path / "layer.tar") as tar:
        found = {entry.name: entry for entry in tar}
    assert list(found) == ["bin", "fifo", "usr", "usr/bin", "usr/bin/su", "usr/bin/su2"]
    assert found["usr/bin/su"].mode == 0o4755 and found["usr/bin/su2"].linkname == "usr/bin/su" and found["bin"].linkname == "usr/bin"
    assert found["fifo"].isfifo() and {entry.mtime for entry in found.values()} == {1000}
