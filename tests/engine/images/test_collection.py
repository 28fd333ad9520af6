"""Nothing that somebody needs is ever collected: pulls, pushes, loads, saves, tags, containers, removals and prunes of the same layers at once.

Each image shares its layers with others, so that what one client removes another is just about to count on.
"""

import io
import json
import random
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.harness import images
from tests.harness.engine import Engine
from tests.harness.registry import FakeRegistry, digest_of, image, index

ROUNDS = 25
HERE = "amd64" if images.busybox_is_amd64() else "arm64"
LAYERS = [images.busybox_layer(), *(images.layer({f"layer/{n}": bytes([n]) * 30_000}) for n in range(3))]
MADE = {"one": image(LAYERS[:2]), "two": image(LAYERS[:3]), "three": image([LAYERS[0], LAYERS[3]]), "base": image(LAYERS[:1])}
FOREIGN = image([LAYERS[1]], platform="linux/s390x")
BOTH = index([(MADE["one"], f"linux/{HERE}"), (FOREIGN, "linux/s390x")])


@pytest.fixture(params=["erofs", "unpacked"])
def site(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(env={"PIER_FEATURES": "-erofs"} if request.param == "unpacked" else {}) as engine:
        yield engine


class Clients:
    """What each client does, again and again; whatever is not allowed to happen fails the test."""

    def __init__(self, engine: Engine, registry: FakeRegistry, archive: Path) -> None:
        self.engine, self.archive = engine, archive.read_bytes()
        self.names = {f"{registry.name}/{name}:1" for name in (*MADE, "both")}
        self.chance = random.Random(7)

    def name(self) -> str:
        return self.chance.choice(sorted(self.names))

    def pull(self) -> None:
        name = self.name()
        platform = "linux/s390x" if name.endswith("both:1") and self.chance.random() < 0.5 else None
        answer = self.engine.api("POST", "/images/create", fromImage=name, platform=platform).ok()
        last = json.loads(answer.body.splitlines()[-1])
        assert last.get("status", "").startswith("Status: "), answer.body

    def load(self) -> None:
        answer = self.engine.api("POST", "/images/load", data=self.archive, quiet=True).ok()
        assert json.loads(answer.body.splitlines()[-1]).get("stream", "").startswith("Loaded image: loaded:1"), answer.body

    def remove(self) -> None:
        self.engine.api("DELETE", f"/images/{self.name()}", force=self.chance.random() < 0.5).ok(200, 404, 409)

    def prune(self) -> None:
        self.engine.api("POST", "/images/prune", filters={"dangling": [self.chance.choice(["true", "false"])]}).ok()

    def tag(self) -> None:
        self.engine.api("POST", f"/images/{self.name()}/tag", repo="tagged").ok(201, 404)
        self.engine.api("DELETE", "/images/tagged").ok(200, 404, 409)

    def save(self) -> None:
        answer = self.engine.api("GET", f"/images/{self.name()}/get")
        if answer.status != 404:
            whole(answer.ok().body)

    def push(self) -> None:
        answer = self.engine.api("POST", f"/images/{self.name().rpartition(':')[0]}/push", tag="1", headers={"X-Registry-Auth": "e30="}).ok()
        last = json.loads(answer.body.splitlines()[-1])
        assert "aux" in last or "does not exist" in last.get("error", ""), answer.body

    def run(self) -> None:
        made = self.engine.api("POST", "/containers/create", {"Image": self.name(), "Cmd": ["true"]}).ok(201, 404)
        if made.status == 201:
            container = made.json["Id"]
            self.engine.api("POST", f"/containers/{container}/start").ok(204)
            assert self.engine.api("POST", f"/containers/{container}/wait").ok().json["StatusCode"] == 0
            self.engine.api("DELETE", f"/containers/{container}", force=True).ok(204)

    def look(self) -> None:
        for one in self.engine.api.get("/images/json", manifests=True, **{"shared-size": True}):
            self.engine.api("GET", f"/images/{one['Id']}/json", manifests=True).ok(200, 404)
        self.engine.api.get("/system/df")


def whole(archive: bytes) -> None:
    """The archive has every blob that it names, with the right bytes."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}  # type: ignore[union-attr]
    for name, data in files.items():
        assert not name.startswith("blobs/") or digest_of(data) == "sha256:" + name.rpartition("/")[2]
    for item in json.loads(files["manifest.json"]):
        assert item["Config"] in files and set(item["Layers"]) <= set(files)


def again_and_again(act: Callable[[], None], stop: threading.Event, rounds: int) -> None:
    try:
        for _ in range(rounds):
            if stop.is_set():
                return
            act()
    except BaseException:
        stop.set()
        raise


def left(engine: Engine) -> dict[str, list[str]]:
    """Layers, blobs and what is unfinished."""
    content = engine.data_root / "content"
    folders = {"layers": engine.data_root / "layers", "blobs": content / "blobs" / "sha256", "ingests": content / "ingests"}
    return {what: sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) for what, folder in folders.items()}


def needed(engine: Engine) -> set[str]:
    """The layers of all images."""
    found: set[str] = set()
    for one in engine.api.get("/images/json", all=True):
        found.update(engine.api.get(f"/images/{one['Id']}/json")["RootFS"]["Layers"])
    return {diff_id.removeprefix("sha256:") for diff_id in found}


def test_everybody_at_once(site: Engine, tmp_path: Path) -> None:
    images.docker_archive(tmp_path / "archive.tar", "loaded:1", LAYERS)
    stop = threading.Event()
    with FakeRegistry(inside=site.namespaces) as registry:
        for name, document in {**MADE, "both": BOTH}.items():
            registry.add(name, document, "1")
        clients = Clients(site, registry, tmp_path / "archive.tar")
        acts: list[tuple[Callable[[], Any], int]] = [
            (clients.pull, ROUNDS), (clients.pull, ROUNDS), (clients.load, ROUNDS // 2), (clients.remove, 6 * ROUNDS), (clients.prune, 3 * ROUNDS),
            (clients.tag, 3 * ROUNDS), (clients.save, ROUNDS), (clients.push, ROUNDS), (clients.run, ROUNDS), (clients.look, ROUNDS),
        ]  # fmt: skip
        with ThreadPoolExecutor(len(acts)) as pool:
            for done in [pool.submit(again_and_again, act, stop, rounds) for act, rounds in acts]:
                done.result()
    assert set(left(site)["layers"]) == needed(site) and left(site)["ingests"] == []
    for one in site.api.get("/images/json"):
        whole(site.api("GET", f"/images/{one['Id']}/get").ok().body)
    before = left(site)
    site.kill("daemon")
    site.log.write_text("")
    site.start()
    assert "removed" not in site.log_text() and "lacks" not in site.log_text(), site.log_text()
    assert left(site) == before, "the next daemon finds nothing to collect"
    site.api("POST", "/images/prune", filters={"dangling": ["false"]}).ok()
    assert left(site) == {"layers": [], "blobs": [], "ingests": []}
