"""A registry that fails in the middle of a push, a client that goes, daemon and worker that are killed: what is said, and that nothing is left."""

import contextlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import images
from tests.harness.commands import eventually
from tests.harness.engine import Engine
from tests.harness.registry import FakeRegistry, digest_of

from .conftest import Told, load, push

LARGE = images.layer({"large": os.urandom(9 << 20)})  # more than one chunk of an upload


def named(engine: Engine, folder: Path, registry: FakeRegistry, *layers: bytes) -> str:
    load(engine, folder, f"{registry.name}/app:1", *(layers or (LARGE,)))
    return f"{registry.name}/app:1"


def left(engine: Engine) -> list[str]:
    """What is on its way, and threads and descriptors that serve a push."""
    ingests = os.listdir(engine.data_root / "content" / "ingests")
    for fd in Path(f"/proc/{engine.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            ingests.append(os.readlink(fd))
    return [name for name in ingests if "scratch" in name or "/content/" in name or ("/layers/" in name and ".trash" not in name)]


def clean(engine: Engine) -> None:
    """AssertionError that names what is left of pushes after a while."""
    try:
        eventually(lambda: not left(engine), 10.0)
    except AssertionError:
        raise AssertionError(f"left: {left(engine)}") from None


@pytest.fixture
def image(engine: Engine, registry: FakeRegistry, tmp_path: Path) -> Iterator[str]:
    """An image in the module's engine that shares nothing with any other; gone after the test, which leaves nothing else."""
    name = f"{registry.name}/app:1"
    images.docker_archive(tmp_path / "image.tar", name, [LARGE, images.layer({"name": name.encode()})])
    engine.api("POST", "/images/load", data=(tmp_path / "image.tar").read_bytes()).ok()
    yield name
    engine.api("DELETE", f"/images/{name}").ok()


PATCH, PUT, POST = "PATCH .*/uploads/", "PUT .*/uploads/", "POST .*/uploads/"


@pytest.mark.parametrize(
    ("match", "fault"),
    [
        (PATCH, {"drop": True}),
        (PATCH, {"status": 500}),
        (PATCH, {"status": 429, "headers": {"Retry-After": "0"}}),
        (PATCH, {"status": 503, "headers": {"Retry-After": "0"}}),
        (PATCH, {"status": 416}),
        (PATCH, {"status": 404}),
        (PATCH, {"status": 405}),
        (PUT, {"drop": True}),
        (PUT, {"status": 500}),
        (POST, {"status": 500}),
        (POST, {"status": 429, "headers": {"Retry-After": "0"}}),
        ("PUT .*/manifests/", {"status": 503, "headers": {"Retry-After": "0"}}),
        ("PUT .*/manifests/", {"drop": True}),
        ("HEAD .*/blobs/", {"status": 500}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_what_fails_once_is_done_again(image: str, engine: Engine, registry: FakeRegistry, match: str, fault: dict[str, Any]) -> None:
    took = registry.fault(match, times=1, **fault)
    told = push(engine, image).ok()
    assert took.used == 1
    found = json.loads(registry.manifest("app", "1"))
    assert told.digest == digest_of(registry.manifest("app", "1"))
    assert all(digest_of(registry.blobs[layer["digest"]]) == layer["digest"] for layer in found["layers"])


@pytest.mark.parametrize(
    ("match", "fault", "said"),
    [
        (POST, {"status": 403, "body": b'{"errors":[{"code":"DENIED","message":"not for you"}]}'}, "denied: not for you"),
        (POST, {"status": 202, "headers": {}, "body": b""}, "Location"),
        (POST, {"status": 400, "body": b"broken"}, "broken"),
        (PUT, {"status": 400, "body": b'{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}'}, "digest invalid: other bytes"),
        ("PUT .*/manifests/", {"status": 400, "body": b'{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}'}, "manifest invalid: no"),
        ("PUT .*/manifests/", {"status": 413}, "413"),
        ("PUT .*/uploads/", {"status": 201, "headers": {"Docker-Content-Digest": "sha256:" + "0" * 64}}, "sha256:" + "0" * 64),
    ],
    ids=["denied", "no location", "broken", "digest", "manifest", "too large", "stored as another"],
)
def test_what_fails_for_good_is_told_and_leaves_nothing(
    image: str, engine: Engine, registry: FakeRegistry, match: str, fault: dict[str, Any], said: str
) -> None:
    registry.fault(match, times=None, **fault)
    error = push(engine, image).error
    assert said in error, error
    registry.forget()
    assert push(engine, image).ok().digest == digest_of(registry.manifest("app", "1"))


def test_a_registry_that_is_not_there_is_named(own: Engine, tmp_path: Path) -> None:
    load(own, tmp_path, "127.0.0.1:9/app:1")
    error = push(own, "127.0.0.1:9/app:1").error
    assert "127.0.0.1:9/v2/app/" in error and "connection refused" in error


def test_an_upload_goes_on_where_it_broke_off(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    name = named(own, tmp_path, own_registry, images.layer({"larger": os.urandom(18 << 20)}))
    own_registry.fault(PATCH, skip=1, times=1, drop=True)
    push(own, name).ok()
    assert own_registry.asked("GET .*/uploads/")
    begun = [request.headers.get("content-range", "0-").partition("-")[0] for request in own_registry.asked("PATCH|PUT .*/uploads/")]
    assert begun.count("0") == 3  # the configuration and each of the two layers once


def asynchronously(engine: Engine, name: str) -> tuple[threading.Thread, list[Told]]:
    told: list[Told] = []

    def work() -> None:
        try:
            told.append(push(engine, name))
        except (OSError, http.client.HTTPException):
            pass  # the daemon went

    thread = threading.Thread(target=work)
    thread.start()
    return thread, told


@pytest.mark.parametrize("where", ["the registry hangs", "while it is compressed", "the manifest"])
def test_a_client_that_goes_ends_it(own: Engine, own_registry: FakeRegistry, tmp_path: Path, where: str) -> None:
    name = named(own, tmp_path, own_registry, LARGE, images.layer({"more": os.urandom(60 << 20)}))
    if where != "while it is compressed":
        own_registry.fault("PUT .*/manifests/" if where == "the manifest" else PATCH, times=None, delay_s=60)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(own.socket))
    sock.sendall(f"POST /v1.51/images/{own_registry.name}/app/push?tag=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    if where == "while it is compressed":
        eventually(lambda: os.listdir(own.data_root / "content" / "ingests"), says="a compression")
    else:
        eventually(lambda: own_registry.asked("PUT .*/manifests/|PATCH"), says="the registry is asked")
    sock.close()
    clean(own)
    own.api("DELETE", f"/images/{name}").ok()
    eventually(lambda: not list((own.data_root / "content/blobs/sha256").iterdir()), says="no blob is left")
    assert own.api("GET", "/_ping").status == 200


def test_two_pushes_of_one_image_at_once_send_it_once(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    name = named(own, tmp_path, own_registry)
    own_registry.fault(PATCH, times=2, delay_s=0.5)
    both = [asynchronously(own, name) for _ in range(2)]
    for thread, _ in both:
        thread.join(60)
    assert {told[0].ok().digest for _, told in both} == {digest_of(own_registry.manifest("app", "1"))}
    assert sum(request.length for request in own_registry.asked("PATCH|PUT .*/uploads/")) < 1.3 * len(LARGE)
    clean(own)


def test_two_registries_at_once_share_the_compression(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    name = named(own, tmp_path, own_registry)
    with FakeRegistry(inside=own.namespaces) as other:
        own.api("POST", f"/images/{name}/tag", repo=f"{other.name}/app", tag="1").ok()
        both = [asynchronously(own, one) for one in (name, f"{other.name}/app:1")]
        for thread, _ in both:
            thread.join(60)
        assert len({told[0].ok().digest for _, told in both}) == 1 and other.manifest("app", "1") == own_registry.manifest("app", "1")
    clean(own)


def test_a_registry_that_is_slow_does_not_keep_another_waiting(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    """The compression goes on at its own speed, whoever reads it how slowly."""
    name = named(own, tmp_path, own_registry)
    own_registry.fault(PATCH, times=None, delay_s=120)
    slow, _ = asynchronously(own, name)
    eventually(lambda: own_registry.asked("PATCH"), says="the slow one has begun")
    with FakeRegistry(inside=own.namespaces) as other:
        own.api("POST", f"/images/{name}/tag", repo=f"{other.name}/app", tag="1").ok()
        push(own, f"{other.name}/app:1").ok()
    own.kill("daemon")
    slow.join(30)


# -- killed


# Each step on its first pass in a push (the configuration is committed when the image is loaded).
STEPS = ["push.layer", "push.compressed", "content.commit@2", "push.blob", "push.blobs", "push.manifest", "push.record", "push.recorded"]


@pytest.mark.parametrize("how", ["kill", "error"])
@pytest.mark.parametrize("step", STEPS)
def test_a_fault_at_each_step_leaves_all_or_nothing(tmp_path: Path, step: str, how: str) -> None:
    point, _, nth = step.partition("@")
    with Engine(env={"PIER_FAIL": f"{point}:{how}@{nth or 1}"}) as own, FakeRegistry(inside=own.namespaces) as registry:
        name = named(own, tmp_path, registry, images.layer({"mark": os.urandom(200_000)}))
        recorded = step == "push.recorded"
        if how == "kill":
            with pytest.raises((OSError, http.client.HTTPException)):
                push(own, name)
            eventually(lambda: own.pid not in own.namespaces.processes(), says="the daemon dies")
            own.start(PIER_FAIL="")
            assert own.namespaces.exit_code(own.pid) is None
        else:
            # What could not be kept is sent all the same.
            recorded |= step in ("push.blob", "content.commit@2")
            assert bool(push(own, name).error) == (step not in ("push.blob", "content.commit@2"))
            own.restart(PIER_FAIL="") if step == "push.recorded" else clean(own)
        assert os.listdir(own.data_root / "content" / "ingests") == []
        # a form is kept beside the rest of the push, which may have come to its end by then
        assert len(own.api.get(f"/images/{name}/json")["RepoDigests"]) in ({0, 1} if (step, how) == ("push.blob", "kill") else {int(recorded)})
        digest = push(own, name).ok().digest
        assert own.api.get(f"/images/{name}/json")["RepoDigests"] == [f"{registry.name}/app@{digest}"]
        own.api("DELETE", f"/images/{name}").ok()
        eventually(lambda: not list((own.data_root / "content/blobs/sha256").iterdir()), says="no blob is left")


def test_a_worker_that_is_killed_is_told_and_leaves_nothing(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    name = named(own, tmp_path, own_registry)
    own.stop()
    own.kill("keeper")
    own.start(PIER_FAIL="worker.compress:kill@1")
    error = push(own, name).error
    assert "worker" in error and "try again" in error, error
    clean(own)
    own.stop()
    own.kill("keeper")
    own.start()
    push(own, name).ok()


def test_a_layer_that_is_damaged_is_not_pushed(own: Engine, own_registry: FakeRegistry, tmp_path: Path) -> None:
    name = named(own, tmp_path, own_registry, images.layer({"mark": os.urandom(200_000)}))
    layer = own.api.get(f"/images/{name}/json")["RootFS"]["Layers"][-1]
    with open(own.data_root / "layers" / layer[7:] / "layer.tar", "r+b") as tar:
        tar.seek(100_000)
        tar.write(b"other bytes")
    error = push(own, name).error
    assert f"layer {layer} is damaged on the disk" in error
    assert "app" not in own_registry.repositories or "1" not in own_registry.repositories["app"].tags
    clean(own)
