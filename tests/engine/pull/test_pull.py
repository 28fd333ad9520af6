"""Pulls through the API: what a client is told, who may, what happens to clients that go, and what others feel of it."""

import base64
import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.harness import images
from tests.harness.commands import eventually
from tests.harness.engine import Engine
from tests.harness.registry import Basic, FakeRegistry, image, small

from .conftest import kept, pull, pulled, ranges, remove


@pytest.mark.no_leak_check  # the blob stays with the layer that it is: busybox's, which is here from an archive
def test_pull_run_remove(engine: Engine, registry: FakeRegistry) -> None:
    made = image([images.busybox_layer()], {"Labels": {"of": "pull"}})
    name = registry.add("tools/busybox", made, "1")
    lines = pulled(engine, name)
    assert lines[-2]["status"] == f"Digest: {made.digest}"
    assert engine.pier("run", "--rm", name, "cat", "/etc/not-a-program").ok().out == "hello\n"
    inspected = engine.api.get(f"/images/{name}/json")
    assert inspected["RepoTags"] == [name] and inspected["RepoDigests"] == [f"{registry.name}/tools/busybox@{made.digest}"]
    remove(engine, name)


def test_repo_and_tag_in_every_way(engine: Engine, registry: FakeRegistry) -> None:
    made = small()
    name = registry.add("app", made, "1")
    repository = f"{registry.name}/app"
    for image_, tag in ((repository, "1"), (name, ""), (f"{repository}:other", "1"), (repository, made.digest), (f"{repository}@{made.digest}", "1")):
        lines = pulled(engine, image_, tag=tag)
        by_digest = "sha256" in image_ + tag
        assert lines[0] == {"status": "Pulling from app", "id": f"{repository}@{made.digest}" if by_digest else "1"}
        assert lines[-1]["status"].endswith(f"for {repository}@{made.digest}" if by_digest else f"for {name}")
    for shown in (name, f"{repository}@{made.digest}"):
        remove(engine, shown)


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ({"fromImage": "UPPER", "tag": "1"}, 400, "invalid reference format: repository name (library/UPPER) must be lowercase"),
        ({"fromImage": "scratch", "tag": "latest"}, 403, "'scratch' is a reserved name"),
        ({"fromImage": "{}/app", "tag": "a b"}, 400, "invalid tag format"),
        ({"fromImage": "{}/app", "tag": "1", "platform": "foobar"}, 400, '"foobar": unknown operating system or architecture: invalid argument'),
        ({"fromImage": "{}/app", "tag": "2"}, 404, "manifest for {}/app:2 not found: manifest unknown: manifest unknown"),
        ({"fromImage": "{}/nope"}, 404, "repository {}/nope not found: name unknown"),
        ({"fromImage": "127.0.0.1:9/app", "tag": "1"}, 500, "connection refused"),
    ],
)
def test_what_is_wrong_before_there_is_anything_to_tell(
    engine: Engine, registry: FakeRegistry, query: dict[str, str], status: int, text: str
) -> None:
    registry.add("app", small(), "1")
    query = {key: value.format(registry.name) for key, value in query.items()}
    engine.api("POST", "/images/create", **query).refused(status, text.format(registry.name))


def test_credentials(engine: Engine) -> None:
    with FakeRegistry(inside=engine.namespaces, auth=Basic({"alice": "secret"})) as registry:
        name = registry.add("private/app", small(), "1")
        refused = engine.api("POST", "/images/create", fromImage=name)
        assert refused.status == 500 and "no basic auth credentials" in refused.json["message"], refused.body
        auth = base64.urlsafe_b64encode(json.dumps({"username": "alice", "password": "secret"}).encode()).decode()
        assert pull(engine, name, auth=auth)[-1]["status"].startswith("Status: Downloaded")
        wrong = base64.urlsafe_b64encode(json.dumps({"username": "alice", "password": "guess"}).encode()).decode()
        answer = engine.api("POST", "/images/create", fromImage=name, headers={"X-Registry-Auth": wrong})
        assert answer.status >= 400 and "guess" not in answer.json["message"], "a name that is here opens no door"
        assert "secret" not in engine.log_text() and "guess" not in engine.log_text()
        remove(engine, name)


def test_events(engine: Engine, registry: FakeRegistry) -> None:
    name = registry.add("app", image([images.layer({"a": b"x"})], {"Labels": {"a": "b"}}), "1")
    since = time.time()
    pulled(engine, name)
    answer = engine.api("GET", "/events", since=f"{since:.9f}", until=f"{time.time():.9f}", filters={"type": ["image"]})
    found = [json.loads(line) for line in answer.body.splitlines()]
    assert [(event["Action"], event["Actor"]) for event in found] == [
        ("pull", {"ID": name, "Attributes": {"a": "b", "name": f"{registry.name}/app"}})]  # fmt: skip
    remove(engine, name)


def test_a_client_that_goes_away(engine: Engine, registry: FakeRegistry) -> None:
    made = small("gone", size=2_000_000)
    name, digest = registry.add("app", made, "1"), made.layers[0]
    registry.fault(f"GET .*/blobs/{digest}", rate=1_000_000)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(engine.socket))
        target = engine.api.url("/images/create", {"fromImage": name})
        sock.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        assert b" 200 " in sock.recv(4096)
        eventually(lambda: kept(engine).get(digest, 0) > 300_000, says="some of it came")
    eventually(lambda: _quiet(engine, digest), says="the download ends with its client")
    there = kept(engine)[digest]
    pulled(engine, name)
    assert ranges(registry, digest)[1:] == [(there, None)]
    remove(engine, name)


def _quiet(engine: Engine, digest: str) -> bool:
    before = kept(engine).get(digest)
    time.sleep(0.3)
    return before is not None and kept(engine).get(digest) == before


def test_a_client_that_goes_before_it_is_answered(engine: Engine, registry: FakeRegistry) -> None:
    made = small("early")
    name = registry.add("app", made, "1")
    registry.fault("GET .*/manifests/", hang=True, cut=0)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(engine.socket))
        target = engine.api.url("/images/create", {"fromImage": name})
        sock.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        eventually(lambda: registry.asked("manifests"), says="the registry is asked")
    pulled(engine, name)
    remove(engine, name)


def test_pulls_at_once_and_a_removal_converge(engine: Engine, registry: FakeRegistry) -> None:
    made = small("race", layers=3, size=300_000)
    name = registry.add("app", made, "1")
    told: list[str] = []

    def work() -> None:
        for _ in range(4):
            told.append(pull(engine, name)[-1].get("status", "error"))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        remove(engine, name)
        time.sleep(0.02)
    assert len(told) == 12 and all(status.startswith("Status: ") for status in told), told
    pulled(engine, name)
    assert engine.api.get(f"/images/{name}/json")["Id"] == made.image_id
    remove(engine, name)


def test_others_feel_little_of_it(engine: Engine, registry: FakeRegistry) -> None:
    """The daemon's loop is not held up: what it uses of its own thread between two answers is little (others work on this machine, too)."""
    made = small("busy", layers=6, size=4_000_000)
    name = registry.add("app", made, "1")
    done = threading.Thread(target=pulled, args=(engine, name))
    cost, pings = thread_s(engine.pid), 0
    done.start()
    while done.is_alive():
        engine.api("GET", "/_ping").ok()
        pings += 1
    spent = thread_s(engine.pid) - cost
    done.join()
    assert pings > 20 and spent / pings < 0.02, (spent, pings)
    remove(engine, name)


def thread_s(pid: int) -> float:
    """CPU seconds of a process's first thread."""
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_slow_client_is_told_less(engine: Engine, registry: FakeRegistry) -> None:
    """Who does not read his lines keeps neither the pull nor the memory."""
    made = small("slow", layers=2, size=500_000)
    name = registry.add("app", made, "1")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(engine.socket))
        target = engine.api.url("/images/create", {"fromImage": name})
        sock.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        eventually(lambda: engine.api("GET", f"/images/{name}/json").status == 200, says="the image is there")
    remove(engine, name)
