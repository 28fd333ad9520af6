"""kill -9 of daemon, worker and keeper at every step of a pull, then a fresh daemon: the image is whole or not there, what came is not
fetched again, and once the image is there and removed again nothing is left over."""

import functools
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.harness import leaks
from tests.harness.commands import eventually
from tests.harness.engine import Engine
from tests.harness.registry import Document, FakeRegistry, small

from .conftest import attempt, kept, present, pull, pulled, ranges, remove

SETTLE_S = 15.0
BEFORE_THE_ROWS = [
    "pull.request", "pull.bytes", "pull.bytes@3", "pull.commit", "images.layer", "images.layer@2", "layers.adopt", "layers.adopted", "images.blob",
    "content.partial", "content.partial@2", "images.document", "images.files",
]  # fmt: skip
WITH_THE_ROWS = ["images.rows", "pull.committed"]
WORKER = ["worker.layer", "layer.read", "layer.made"]


def over(points: list[str], *unpacked: str) -> list[tuple[str, str]]:
    """Each point with the layers that are indexed, some with those that are unpacked as well."""
    return [("erofs", point) for point in points] + [("unpacked", point) for point in unpacked]


def holds(engine: Engine) -> Counter[str]:
    """What images may leave: files, mounts, records. The lists of layers of containers are collected at a start."""
    found = (f"{part.__name__}: {what}" for part in (leaks.files, leaks.mounts, leaks.records) for what in part(engine))
    return Counter(what for what in found if "/.chains/" not in what)


@pytest.fixture
def empty(site: Engine) -> Iterator[Engine]:
    """The engine, which holds after the test what it held before, once the test's image is removed."""
    if site.namespaces.exit_code(site.pid) is not None:
        site.start()
    before = holds(site)
    yield site
    end = time.monotonic() + SETTLE_S
    while (left := holds(site) - before) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left, f"left behind: {left}\n--- log of the engine\n{site.log_text()[-4000:]}"


@functools.cache
def document() -> Document:
    """Two layers with noise of 1.2 MB each, so that a blob comes in several pieces."""
    return small("kills", layers=2, size=1_200_000)


def image(registry: FakeRegistry) -> tuple[str, Document]:
    return registry.add("team/app", document(), "1"), document()


def armed(engine: Engine, point: str) -> None:
    """Another daemon, which kills itself at that point."""
    name, _, nth = point.partition("@")
    engine.stop()
    engine.start(PIER_FAIL=f"{name}:kill" + (f"@{nth}" if nth else ""))


def again(engine: Engine) -> None:
    eventually(lambda: engine.namespaces.exit_code(engine.pid) is not None, 15.0, "the daemon dies at the point")
    engine.start()


def used(engine: Engine, name: str, made: Document) -> None:
    """The image is whole: it is the one that was pulled, and its layers can be read."""
    assert engine.api.get(f"/images/{name}/json")["Id"] == made.image_id
    container = engine.api("POST", "/containers/create", {"Image": name, "Cmd": ["x"]}).ok(201).json["Id"]
    engine.api("DELETE", f"/containers/{container}").ok(204)
    assert len(engine.api("GET", f"/images/{name}/get").ok().body) > 2_000_000  # each layer's digest is checked as it is read


def fetched_bytes(registry: FakeRegistry, digest: str) -> int:
    size = len(registry.blobs[digest])
    return sum((high if high is not None else size - 1) - low + 1 for low, high in ranges(registry, digest))


@pytest.mark.parametrize(("site", "point"), over(BEFORE_THE_ROWS, "pull.bytes@3", "pull.commit", "images.layer@2", "images.files"), indirect=["site"])
def test_a_daemon_that_dies_before_it_is_recorded(empty: Engine, beside: FakeRegistry, point: str) -> None:
    name, made = image(beside)
    armed(empty, point)
    attempt(empty, name)
    again(empty)
    assert not present(empty, name)
    there = kept(empty)
    beside.forget()
    pulled(empty, name)
    for digest in made.layers:
        size = len(beside.blobs[digest])
        assert fetched_bytes(beside, digest) == size - there.get(digest, 0), "what was there is not fetched again, and nothing twice"
    used(empty, name, made)
    assert kept(empty) == {}
    remove(empty, name)


@pytest.mark.parametrize(("site", "point"), over(WITH_THE_ROWS, "images.rows"), indirect=["site"])
def test_a_daemon_that_dies_when_it_is_recorded(empty: Engine, beside: FakeRegistry, point: str) -> None:
    name, made = image(beside)
    armed(empty, point)
    attempt(empty, name)
    again(empty)
    assert present(empty, name) and kept(empty) == {}
    used(empty, name, made)
    beside.forget()
    assert pulled(empty, name)[-1]["status"].startswith("Status: Image is up to date")
    remove(empty, name)


@pytest.mark.parametrize(("site", "point"), over(WORKER, "layer.made"), indirect=["site"])
def test_a_worker_that_dies(empty: Engine, beside: FakeRegistry, point: str) -> None:
    """Armed in the keeper, which forks the workers: each dies there, so that the pull gives up, and goes on once they live."""
    name, made = image(beside)
    empty.stop(3)
    empty.start(PIER_FAIL=f"{point}:kill")
    assert "worker" in pull(empty, name)[-1]["error"] and not present(empty, name)
    assert kept(empty)
    empty.stop(3)
    empty.start()
    there = kept(empty)
    beside.forget()
    pulled(empty, name)
    for digest in made.layers:
        assert fetched_bytes(beside, digest) == len(beside.blobs[digest]) - there.get(digest, 0)
    used(empty, name, made)
    remove(empty, name)


@pytest.mark.parametrize(("site", "which"), over(["daemon", "worker", "keeper"]), indirect=["site"])
def test_a_kill_in_the_middle(empty: Engine, beside: FakeRegistry, which: str) -> None:
    name, made = image(beside)
    beside.fault(f"GET .*/blobs/{made.layers[0]}", rate=1_000_000)
    with _begin(empty, name):
        eventually(lambda: kept(empty).get(made.layers[0], 0) > 300_000, says="some of it is there")
        if which != "worker":
            empty.kill(which)
        else:
            for pid in empty.pids_of("worker"):
                os.kill(pid, 9)
    if which == "daemon":
        empty.start()
    there = kept(empty)
    assert there.get(made.layers[0], 0) > 300_000 or which != "daemon"
    pulled(empty, name)
    assert fetched_bytes(beside, made.layers[1]) == len(beside.blobs[made.layers[1]])
    used(empty, name, made)
    remove(empty, name)


def _begin(engine: Engine, name: str) -> socket.socket:
    """A pull that nobody waits for: its connection, once there is an answer."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(30)
    sock.connect(str(engine.socket))
    target = engine.api.url("/images/create", {"fromImage": name})
    sock.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    assert b" 200 " in sock.recv(4096)
    return sock
