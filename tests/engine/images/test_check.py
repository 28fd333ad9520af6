"""pier image check: what suffers on the disk is found and named, and comes back from what is left here or from where it was pulled."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.commands import Done, eventually
from tests.harness.engine import Engine
from tests.harness.images import busybox_layer, layer
from tests.harness.registry import Basic, Document, FakeRegistry, image

KINDS = ["erofs", "unpacked"]


class Site:
    """An engine with one image that was pulled and one that was made here of it."""

    def __init__(self, engine: Engine, kind: str, registry: FakeRegistry) -> None:
        self.engine, self.kind, self.registry = engine, kind, registry
        self.made = image([busybox_layer(), layer({"data": os.urandom(50_000), "d": 0o750, "d/link": "data"})])
        self.name = registry.add("team/app", self.made, "1")
        engine.pier("pull", self.name).ok()
        engine.pier("run", "--name", "cc", self.name, "sh", "-c", "echo own > /own").ok()
        engine.pier("commit", "cc", "own").ok()
        engine.pier("rm", "cc").ok()

    def layer(self, image: str, number: int) -> Path:
        diff_ids = self.engine.api.get(f"/images/{image}/json")["RootFS"]["Layers"]
        return self.engine.data_root / "layers" / str(diff_ids[number]).removeprefix("sha256:")

    def blob(self, digest: str) -> Path:
        return self.engine.data_root / "content/blobs/sha256" / digest.removeprefix("sha256:")

    def payload(self, image: str, number: int) -> Path:
        """A file that the layer's tar is made of."""
        folder = self.layer(image, number)
        if self.kind == "erofs":
            return folder / "layer.tar"
        return next(path for path in (folder / "fs").rglob("*") if path.is_file() and path.stat().st_size)

    def check(self, *words: str) -> tuple[Done, dict[str, dict[str, Any]]]:
        """The command, and what the API says then, by digest."""
        done = self.engine.pier("image", "check", *words)
        lines = self.engine.api("POST", "/pier/images/check", {}).ok().body.splitlines()
        return done, {item["Digest"]: item for item in json.loads(lines[-1])["aux"]["Broken"]}

    def works(self) -> None:
        seen = self.engine.pier("run", "--rm", self.name, "sh", "-c", "wc -c < /data; stat -c %a /d; readlink /d/link").ok()
        assert seen.out.split() == ["50000", "750", "data"]
        assert self.engine.pier("run", "--rm", "own", "cat", "/own").ok().out == "own\n"

    def restart(self) -> None:
        """With a new keeper: no layer is mounted any more."""
        self.engine.stop(3)
        self.engine.start()


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest) -> Iterator[Site]:
    with Engine(env={} if request.param == "erofs" else {"PIER_FEATURES": "-erofs"}) as engine, FakeRegistry(inside=engine.namespaces) as registry:
        if engine.api.get("/info")["Driver"] != request.param:
            pytest.skip("no layers from EROFS on this machine")
        yield Site(engine, request.param, registry)


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    """Whole before and after each test."""
    yield shared
    done = shared.engine.pier("image", "check", "--repair")
    assert done.code == 0, done
    shared.works()
    assert os.listdir(shared.engine.data_root / "content/ingests") == []


def flip(path: Path, at: int = -1) -> None:
    """One bit of a file, its time as before."""
    info, mode = path.stat(), path.stat().st_mode
    os.chmod(path, 0o600)
    data = bytearray(path.read_bytes())
    data[at if at >= 0 else len(data) // 2] ^= 1
    with open(path, "r+b") as file:
        file.write(data)
    os.chmod(path, mode)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def test_what_is_whole_is_said_to_be(site: Site) -> None:
    done, broken = site.check()
    assert done.code == 0 and not broken and "of 2 images" in done.out and done.out.endswith(": all are whole\n")
    assert site.engine.pier("image", "check", "-q", site.name).ok().out == ""
    assert "of 1 images" in site.engine.pier("image", "check", "own").ok().out


@pytest.mark.parametrize("damage", [flip, os.unlink], ids=["flipped", "missing"])
def test_a_layer_comes_back_from_its_compressed_form(site: Site, damage: Callable[[Path], None]) -> None:
    digest = "sha256:" + site.layer(site.name, 1).name
    damage(site.payload(site.name, 1))
    asked = len(site.registry.asked("GET .*/blobs/.*"))
    done, broken = site.check()
    assert done.code == 1 and list(broken) == [digest] and f"layer {digest} of " in done.out and "Try 'pier image check --repair'" in done.out
    assert set(broken[digest]["Images"]) == {site.name, "own:latest"} and broken[digest]["Registries"] == [site.name.partition("/")[0]]
    done, broken = site.check("--repair")
    assert done.code == 0 and not broken and "repaired: it was made anew from blob sha256:" in done.out and "which is kept here" in done.out
    assert len(site.registry.asked("GET .*/blobs/.*")) == asked


def test_a_layer_and_its_compressed_form_come_back_from_the_registry(site: Site) -> None:
    flip(site.payload(site.name, 1))
    flip(site.blob(site.made.layers[1]))
    done, broken = site.check()
    assert set(broken) == {"sha256:" + site.layer(site.name, 1).name, site.made.layers[1]}
    done, broken = site.check("--repair")
    assert done.code == 0 and not broken and f"repaired: it was fetched from {site.name.rpartition(':')[0]}" in done.out
    assert site.blob(site.made.layers[1]).read_bytes() in site.made.blobs


def test_an_index_is_made_anew_from_its_tar(site: Site) -> None:
    if site.kind != "erofs":
        pytest.skip("unpacked layers have none")
    flip(site.layer(site.name, 1) / "layer.erofs", 1100)
    done, broken = site.check()
    assert done.code == 1 and [item["Problem"] for item in broken.values()] == ["its index is not the one of its tar"]
    done, broken = site.check("--repair")
    assert done.code == 0 and not broken and "its index was made anew from its tar" in done.out


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda files: os.chmod(files / "d", 0o777), "d: its mode is 0777, not 0750"),
        (lambda files: os.utime(files / "data", (1, 1)), "data: its time is another"),
        (lambda files: os.chown(files / "data", 5, 5), "data: its owner is 5:5, not 0:0"),
        (lambda files: (files / "extra").write_bytes(b""), "extra is there and should not be"),
        (lambda files: os.unlink(files / "d/link"), "d/link is missing"),
        (lambda files: (os.unlink(files / "d/link"), os.symlink("/etc", files / "d/link")), "d/link: it leads elsewhere"),
        (lambda files: os.setxattr(files / "data", "user.x", b"1"), "data: its attributes are others"),
    ],
)
def test_what_unpacked_files_are(site: Site, damage: Callable[[Path], object], says: str) -> None:
    if site.kind != "unpacked":
        pytest.skip("an index says what files are")
    files = site.layer(site.name, 1) / "fs"
    before = os.stat(files / "d").st_mtime_ns
    damage(files)
    os.utime(files / "d", ns=(before, before))
    _, broken = site.check()
    assert [item["Problem"] for item in broken.values()] == [says]


def test_documents_come_back(site: Site) -> None:
    """The configuration from the daemon's memory, the manifest from the registry."""
    flip(site.blob(site.made.image_id))
    os.unlink(site.blob(site.made.digest))
    done, broken = site.check()
    assert {item["Kind"] for item in broken.values()} == {"configuration", "manifest"}
    done, _ = site.check("--repair")
    assert done.code == 0 and "it was written again from memory" in done.out and "it was fetched from" in done.out
    assert site.blob(site.made.digest).read_bytes() == site.made.data


def test_an_image_that_was_lost_at_the_start_is_there_again(site: Site) -> None:
    flip(site.blob(site.made.image_id))
    site.restart()
    assert site.engine.pier("run", "--rm", "--pull", "never", site.name, "true").code == 125
    done, broken = site.check("--repair")
    assert done.code == 0 and not broken and f"configuration {site.made.image_id} of" in done.out
    assert site.engine.api.get(f"/images/{site.name}/json")["Id"] == site.made.image_id


def test_what_nobody_has_is_said_with_what_to_do(site: Site) -> None:
    engine = site.engine
    engine.pier("tag", "own", "lost").ok()
    engine.pier("run", "--name", "cc", "own", "sh", "-c", "echo more > /more").ok()
    engine.pier("commit", "cc", "lost").ok()
    engine.pier("rm", "cc").ok()
    flip(site.payload("lost", 3))
    done, broken = site.check("--repair")
    assert done.code == 1 and [item["Images"] for item in broken.values()] == [["lost:latest"]]
    assert "nothing here or elsewhere is known to have it: remove the image (pier rmi lost:latest) and pull, load or build it again" in done.out
    engine.pier("rmi", "lost").ok()


def test_running_containers_keep_what_they_have(site: Site) -> None:
    made = site.engine.pier("run", "-d", site.name, "sh", "-c", "while :; do sleep 0.1; done").ok().line
    flip(site.payload(site.name, 1))
    done, broken = site.check("--repair")
    if site.kind == "erofs":
        assert done.code == 0 and not broken
    else:
        assert done.code == 1 and f"containers run on its files ({made[:12]}): stop them and check again" in done.out
    assert site.engine.pier("exec", made, "ls", "/d").ok().out == "link\n"
    site.engine.pier("rm", "-f", made).ok()


@pytest.mark.parametrize("point", ["check.layer", "layers.replace", "check.blob", "check.document"])
def test_a_repair_that_is_killed_can_be_made_again(site: Site, point: str) -> None:
    """The fixture repairs, and sees that all is whole."""
    flip(site.payload(site.name, 1))
    flip(site.blob(site.made.layers[1]))
    flip(site.blob(site.made.digest))
    site.engine.stop()
    site.engine.start(PIER_FAIL=f"{point}:kill")
    assert site.engine.pier("image", "check", "--repair").code != 0
    eventually(lambda: site.engine.namespaces.exit_code(site.engine.pid) is not None, says="the daemon dies at the point")
    site.engine.start()


def test_wrong_requests(site: Site) -> None:
    done = site.engine.pier("image", "check", "nope")
    assert done.code == 1 and "No such image: nope:latest" in done.err
    site.engine.api("POST", "/pier/images/check", {"Names": "x"}).refused(400, "")


def test_credentials_go_to_their_registry_only() -> None:
    auth = Basic({"me": "secret"})
    login = ("login", "-u", "me", "--password-stdin")
    with Engine() as engine, FakeRegistry(inside=engine.namespaces, auth=auth) as registry:
        made: Document = image([busybox_layer()])
        name = registry.add("private/app", made, "1")
        domain = name.partition("/")[0]
        engine.pier(*login, domain, stdin=b"secret").ok()
        engine.pier("pull", name).ok()
        flip(engine.data_root / "content/blobs/sha256" / made.layers[0].removeprefix("sha256:"))
        diff_id = engine.api.get(f"/images/{name}/json")["RootFS"]["Layers"][0]
        flip(engine.data_root / "layers" / diff_id.removeprefix("sha256:") / "layer.tar", 2000)
        engine.pier("logout", domain).ok()
        done = engine.pier("image", "check", "--repair")
        assert done.code == 1 and f"{domain}/private/app" in done.out and "no basic auth credentials" in done.out
        engine.pier(*login, domain, stdin=b"secret").ok()
        assert engine.pier("image", "check", "--repair").code == 0
        assert engine.pier("run", "--rm", "--pull", "never", name, "echo", "whole").ok().out == "whole\n"


def test_a_registry_that_does_not_have_it_any_more_is_named(site: Site) -> None:
    """The last of the module: the compressed form is given up in it."""
    digest = site.made.layers[1]
    site.registry.repositories["team/app"].blobs.discard(digest)
    flip(site.payload(site.name, 1))
    os.unlink(site.blob(digest))
    done, broken = site.check("--repair")
    site.registry.repositories["team/app"].blobs.add(digest)
    assert done.code == 1 and list(broken) == ["sha256:" + site.layer(site.name, 1).name]
    assert "a push will compress the layer anew" in done.out and f"layer {digest}" in done.out and "remove the image (pier rmi" in done.out
    done, broken = site.check("--repair")
    assert done.code == 0 and f"it was made anew from {site.name.rpartition(':')[0]}@{digest}" in done.out
