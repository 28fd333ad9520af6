"""Archives of images: what the engine sends, what becomes of a client that goes or does not read, and who else reads them."""

import contextlib
import hashlib
import io
import json
import os
import socket
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import images, reference
from tests.harness.commands import eventually
from tests.harness.engine import Engine
from tests.harness.reference import Reference

APP, TOOL = "app/one:first", "tool:1"
BLOB = os.urandom(3_000_000)


@pytest.fixture
def filled(engine: Engine, tmp_path: Path) -> Iterator[Engine]:
    """The engine with two images that share a layer; they are gone after the test."""
    load(engine, tmp_path, APP, {"app": BLOB})
    load(engine, tmp_path, TOOL, {"tool": b"x"})
    yield engine
    for name in (APP, TOOL):
        engine.api("DELETE", f"/images/{name}", force=True)


def load(engine: Engine, folder: Path, tag: str, files: dict[str, Any]) -> str:
    identity = images.docker_archive(folder / "image.tar", tag, [images.busybox_layer(), images.layer(files)])
    answer = engine.api("POST", "/images/load", data=(folder / "image.tar").read_bytes()).ok()
    assert b"Loaded image" in answer.body, answer.body
    return identity


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def document(archive: bytes, name: str) -> Any:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile(name)
        assert file
        return json.loads(file.read())


def test_what_was_saved_is_loaded_again(filled: Engine) -> None:
    before = {name: filled.api.get(f"/images/{name}/json") for name in (APP, TOOL)}
    answer = filled.api("GET", "/images/get", names=[APP, TOOL]).ok()
    archive = answer.body
    assert answer.headers["content-type"] == "application/x-tar" and int(answer.headers["content-length"]) == len(archive)
    assert len([name for name in names(archive) if name.startswith("blobs/sha256/")]) == 3 + 2 + 2  # layers, configurations, manifests
    for name in names(archive):
        if name.startswith("blobs/sha256/"):
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                file = tar.extractfile(name)
                assert file and hashlib.sha256(file.read()).hexdigest() == name.rpartition("/")[2]
    assert filled.api("GET", "/images/get", names=[APP, TOOL]).ok().body == archive
    for name in (APP, TOOL):
        filled.api("DELETE", f"/images/{name}").ok()
    filled.api("POST", "/images/load", data=archive).ok()
    for name in (APP, TOOL):
        after = filled.api.get(f"/images/{name}/json")
        assert (after["Id"], after["RepoTags"], after["RootFS"]) == (before[name]["Id"], before[name]["RepoTags"], before[name]["RootFS"])
    # The manifest came with the archive, names its tars, and is written again as it is.
    assert filled.api("GET", "/images/get", names=[APP, TOOL]).ok().body == archive


def test_what_cannot_be_saved_is_said_before_anything_is_sent(filled: Engine) -> None:
    api = filled.api
    api("GET", "/images/nope/get").refused(404, "No such image: nope")
    api("GET", "/images/get", names=[APP, "nope"]).refused(404, "No such image: nope")
    api("GET", "/images/BAD/get").refused(400, "must be lowercase")
    arm = {"os": "linux", "architecture": "s390x"}
    api("GET", f"/images/{APP}/get", platform=arm).refused(404, "no suitable export target found for platform linux/s390x")
    api("GET", f"/images/{APP}/get", platform="linux/arm64").refused(400, "failed to parse platform")
    api("GET", f"/images/{APP}/get", platform=["{}", "{}"]).refused(400, "multiple platform parameters not supported")
    api("GET", f"/images/{APP}/get", platform={"os": "linux"}).refused(400, "both OS and Architecture must be provided")
    own = filled.api.get(f"/images/{APP}/json")
    same = api("GET", f"/images/{APP}/get", platform={"os": "linux", "architecture": own["Architecture"]}).ok().body
    assert same == api("GET", f"/images/{APP}/get").ok().body
    api.version = "1.47"  # knew no platforms
    try:
        assert api("GET", f"/images/{APP}/get", platform=arm).ok().body == same
    finally:
        api.version = "1.51"


def test_no_name_is_an_empty_archive_as_docker_s(engine: Engine) -> None:
    assert names(engine.api("GET", "/images/get").ok().body) == ["index.json", "manifest.json", "oci-layout"]


def test_each_image_is_an_event(filled: Engine) -> None:
    since = int(time.time())
    identity = filled.api.get(f"/images/{APP}/json")["Id"]
    filled.api("GET", f"/images/{APP}/get").ok()
    lines = filled.api("GET", "/events", since=since, until=int(time.time()) + 1, filters={"event": ["save"]}).ok().body.splitlines()
    assert json.loads(lines[-1])["Actor"] == {"ID": identity, "Attributes": {"name": identity}}


@pytest.fixture
def broken() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.mark.parametrize("damage", ["no folder", "no tar", "cut short"])
def test_a_layer_that_is_missing_or_cut_is_named(broken: Engine, tmp_path: Path, damage: str) -> None:
    load(broken, tmp_path, APP, {"app": BLOB})
    layer = broken.api.get(f"/images/{APP}/json")["RootFS"]["Layers"][-1]
    folder = broken.data_root / "layers" / layer[7:]
    if damage == "no folder":
        folder.rename(tmp_path / "away")
    elif damage == "no tar":
        (folder / "layer.tar").unlink()
    else:
        os.truncate(folder / "layer.tar", 100 * 512)
    broken.api("GET", f"/images/{APP}/get").refused(500, f"the images cannot be saved: layer {layer} is")


def connected(engine: Engine, path: str) -> tuple[socket.socket, int]:
    """A client that has read the head of the answer and nothing more; the length of the body."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(str(engine.socket))
    sock.sendall(f"GET /v1.51{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    seen = b""
    while not seen.endswith(b"\r\n\r\n"):
        seen += sock.recv(1)
    assert b" 200 " in seen
    return sock, int(seen.lower().partition(b"content-length: ")[2].split()[0])


def threads(engine: Engine) -> list[str]:
    found = []
    for task in Path(f"/proc/{engine.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            found.append(Path(task, "comm").read_text().strip())
    return found


def test_a_client_that_goes_leaves_nothing(filled: Engine) -> None:
    before = len(threads(filled))
    for read in (0, 1, 100_000):
        sock, _ = connected(filled, f"/images/{APP}/get")
        while read > 0:
            read -= len(sock.recv(read))
        sock.close()
    eventually(lambda: len(threads(filled)) <= before, says="the senders' threads end")


def test_nobody_waits_for_a_client_that_does_not_read_and_what_it_was_promised_stays(filled: Engine) -> None:
    whole = filled.api("GET", f"/images/{APP}/get").ok().body
    layer = filled.api.get(f"/images/{APP}/json")["RootFS"]["Layers"][-1]
    sock, size = connected(filled, f"/images/{APP}/get")
    assert size == len(whole)
    filled.api("DELETE", f"/images/{APP}").ok()  # asked for by somebody else meanwhile
    filled.api("GET", "/_ping").ok()
    assert (filled.data_root / "layers" / layer[7:]).exists()
    got = b""
    while len(got) < size:
        got += sock.recv(1 << 20)
    sock.close()
    assert got == whole
    eventually(lambda: not (filled.data_root / "layers" / layer[7:]).exists(), says="the layer goes after its last reader")


@pytest.mark.no_leak_check(reason="the daemon is killed")
def test_a_daemon_that_is_killed_leaves_nothing(broken: Engine, tmp_path: Path) -> None:
    load(broken, tmp_path, APP, {"app": BLOB})
    sock, size = connected(broken, f"/images/{APP}/get")
    broken.kill("daemon")
    got = 0
    while data := sock.recv(1 << 20):
        got += len(data)
    assert got < size
    broken.start()
    assert os.listdir(broken.data_root / "content" / "ingests") == []
    assert len(broken.api("GET", f"/images/{APP}/get").ok().body) == size


@pytest.mark.no_leak_check(reason="the failpoint ends the daemon or the request")
@pytest.mark.parametrize("fault", ["error", "kill"])
def test_a_fault_at_its_step(broken: Engine, tmp_path: Path, fault: str) -> None:
    load(broken, tmp_path, APP, {"app": BLOB})
    broken.stop()
    broken.start(PIER_FAIL=f"images.save:{fault}")
    if fault == "error":
        assert broken.api("GET", f"/images/{APP}/get").status == 500
    else:
        with pytest.raises(OSError):
            broken.api("GET", f"/images/{APP}/get")
        broken.start()
    broken.api("DELETE", f"/images/{APP}").ok()  # nothing holds it


def test_a_container_of_what_came_back(broken: Engine, tmp_path: Path) -> None:
    load(broken, tmp_path, APP, {"app": BLOB})
    archive = broken.api("GET", f"/images/{APP}/get").ok().body
    broken.api("DELETE", f"/images/{APP}").ok()
    broken.api("POST", "/images/load", data=archive).ok()
    assert broken.pier("run", "--rm", APP, "sh", "-c", "wc -c < /app").ok().line == str(len(BLOB))


def test_unpacked_layers_are_tars_again(tmp_path: Path) -> None:
    with Engine(env={"PIER_FEATURES": "-erofs"}) as engine:
        identity = load(engine, tmp_path, APP, {"app": BLOB, "d": 0o700, "d/link": "../app"})
        archive = engine.api("GET", f"/images/{APP}/get").ok().body
        assert engine.api("GET", f"/images/{APP}/get").ok().body == archive
        sock, _ = connected(engine, f"/images/{APP}/get")
        sock.close()
        engine.api("DELETE", f"/images/{APP}").ok()
        engine.api("POST", "/images/load", data=archive).ok()
        assert engine.api.get(f"/images/{APP}/json")["Id"] == identity
        before = len(threads(engine))
        # A file of the layer that is gone: the client sees that the archive is not whole.
        layer = engine.api.get(f"/images/{APP}/json")["RootFS"]["Layers"][-1]
        (engine.data_root / "layers" / layer[7:] / "fs/app").unlink()
        sock, size = connected(engine, f"/images/{APP}/get")
        got = 0
        while data := sock.recv(1 << 20):
            got += len(data)
        assert got < size
        eventually(lambda: len(threads(engine)) <= before, says="the threads end")


# -- other readers


@pytest.fixture(scope="module")
def peers() -> Iterator[Reference]:
    if not reference.available():
        pytest.skip("no peers here: ../shared/tools/peers make")
    with Reference() as found:
        found.start_dockerd()
        yield found


def test_docker_podman_skopeo_and_crane_read_it(filled: Engine, peers: Reference, tmp_path: Path) -> None:
    path = tmp_path / "saved.tar"
    path.write_bytes(filled.api("GET", "/images/get", names=[APP, TOOL]).ok().body)
    ids = {name: filled.api.get(f"/images/{name}/json")["Id"] for name in (APP, TOOL)}
    loaded = peers("docker", "-H", peers.host, "load", "-i", str(path)).ok().out
    assert f"Loaded image: {APP}" in loaded and f"Loaded image: {TOOL}" in loaded
    for name in (APP, TOOL):
        assert peers("docker", "-H", peers.host, "image", "inspect", "--format", "{{.Id}}", name).ok().line == ids[name]
    peers("podman", "load", "-i", str(path)).ok()
    for identity in ids.values():
        peers("podman", "image", "exists", identity[7:]).ok()
    for transport in (f"oci-archive:{path}:first", f"docker-archive:{path}:{APP}"):
        (tmp_path / "dir").mkdir(exist_ok=True)
        peers("skopeo", "copy", "--insecure-policy", transport, f"dir:{tmp_path}/dir").ok()
        manifest = json.loads((tmp_path / "dir" / "manifest.json").read_text())
        assert manifest["config"]["digest"] == ids[APP]
    one = tmp_path / "one.tar"
    one.write_bytes(filled.api("GET", f"/images/{TOOL}/get").ok().body)
    crane = peers("crane", "validate", "--tarball", str(one))
    assert crane.code == 0 and "PASS" in crane.out + crane.err, crane


def test_what_docker_and_podman_saved_is_loaded_and_saved_again(broken: Engine, peers: Reference, tmp_path: Path) -> None:
    path = tmp_path / "saved.tar"
    identity = load(broken, tmp_path, APP, {"app": BLOB})
    path.write_bytes(broken.api("GET", f"/images/{APP}/get").ok().body)
    peers("docker", "-H", peers.host, "load", "-i", str(path)).ok()
    peers("podman", "load", "-i", str(path)).ok()
    theirs = {"docker": tmp_path / "docker.tar", "podman": tmp_path / "podman.tar", "podman oci": tmp_path / "oci.tar"}
    peers("docker", "-H", peers.host, "save", "-o", str(theirs["docker"]), APP).ok()
    peers("podman", "save", "-o", str(theirs["podman"]), f"docker.io/{APP}").ok()
    peers("podman", "save", "--format", "oci-archive", "-o", str(theirs["podman oci"]), f"docker.io/{APP}").ok()
    for who, archive in theirs.items():
        broken.api("DELETE", f"/images/{APP}", force=True).ok()
        broken.api("POST", "/images/load", data=archive.read_bytes()).ok()
        found = [image for image in broken.api.get("/images/json") if image["Id"] == identity]
        assert found, who
        ours = broken.api("GET", f"/images/{identity}/get").ok().body
        assert document(ours, "manifest.json")[0]["Config"] == "blobs/sha256/" + identity[7:]
        broken.api("POST", f"/images/{identity}/tag", repo="app/one", tag="first").ok()
