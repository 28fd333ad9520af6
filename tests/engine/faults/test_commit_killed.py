"""Commit when something dies or the disk is full: the image is whole or not there, the container runs on, nothing is left over."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine.faults import steps
from tests.engine.faults.test_daemon_killed import again, armed
from tests.harness.api import Answer
from tests.harness.commands import eventually
from tests.harness.engine import Engine

WRITER = ("sh", "-c", "head -c 300000 /dev/urandom > /data; while :; do sleep 0.05; echo x >> /ticks; done")


def writing(engine: Engine) -> str:
    """A container that has written and goes on doing so."""
    made = steps.start(engine, *WRITER)
    eventually(lambda: ticks(engine, made) > 0, says="the container writes")
    return made


def upper(engine: Engine, container: str) -> Path:
    return engine.data_root / "snapshots" / container / "upper"


def ticks(engine: Engine, container: str) -> int:
    path = upper(engine, container) / "ticks"
    return path.stat().st_size if path.exists() else 0


def goes_on(engine: Engine, container: str) -> None:
    """AssertionError unless the container writes more."""
    before = ticks(engine, container)
    eventually(lambda: ticks(engine, container) > before, says="the container goes on")


def names(engine: Engine) -> set[str]:
    return {name for image in engine.api.get("/images/json", all=True) for name in image["RepoTags"] or [image["Id"]]}


NOT_ACKNOWLEDGED = [
    "freeze.noted", "freeze.frozen", "commit.read", "images.layer", "layers.adopt", "layers.adopted", "images.document", "images.files",
]  # fmt: skip


@pytest.mark.parametrize("point", NOT_ACKNOWLEDGED)
def test_a_commit_that_was_not_recorded_is_gone(broken: Engine, point: str) -> None:
    made, before = writing(broken), names(broken)
    armed(broken, point)
    assert steps.attempt(broken, "POST", "/commit", container=made, repo="unborn") is None
    steps.died(broken)
    told = again(broken)
    assert names(broken) == before
    if point in ("freeze.noted", "freeze.frozen", "commit.read"):
        assert "was held still by a daemon that died: it goes on" in told
    goes_on(broken, made)


def test_a_commit_that_was_recorded_is_whole(broken: Engine) -> None:
    made = writing(broken)
    armed(broken, "images.rows")
    assert steps.attempt(broken, "POST", "/commit", container=made, repo="born") is None
    again(broken)
    goes_on(broken, made)
    seen = broken.pier("run", "--rm", "born", "sh", "-c", "cat /data | wc -c").ok().out
    assert seen.strip() == "300000"
    broken.pier("rmi", "born").ok()
    broken.restart()  # which collects the list of the layers that its container had


@pytest.mark.parametrize("point", ["images.layer", "layers.adopted", "images.document", "images.files"])
def test_a_squash_that_was_not_recorded_is_gone(broken: Engine, point: str) -> None:
    made = writing(broken)
    broken.api("POST", "/commit", container=made, repo="source").ok(201)
    before = names(broken)
    armed(broken, point)
    assert steps.attempt(broken, "POST", "/pier/images/source/squash", repo="unborn") is None
    again(broken)
    assert names(broken) == before
    made_one = broken.pier("image", "squash", "source", "born").ok().line
    broken.pier("rmi", "source").ok()
    assert broken.pier("run", "--rm", made_one, "sh", "-c", "wc -c < /data").ok().out.strip() == "300000"
    broken.pier("rmi", "born").ok()
    broken.restart()


def test_a_frozen_container_can_be_removed_and_the_commit_says_so(broken: Engine) -> None:
    made = writing(broken)
    broken.stop()
    broken.start(PIER_FAIL="commit.read:sleep=1")
    answer = in_background(broken, container=made, repo="unborn")
    eventually(lambda: not moves(broken, made), says="it is frozen")
    broken.api("DELETE", f"/containers/{made}", force=True, timeout_s=20).ok(204)
    assert "which is being removed" in steps.error_of(answer()) and "unborn:latest" not in names(broken)
    broken.stop()
    broken.start()


def moves(engine: Engine, container: str) -> bool:
    before = ticks(engine, container)
    time.sleep(0.3)
    return ticks(engine, container) > before


def in_background(engine: Engine, **query: Any) -> Any:
    """A commit that is under way; what is returned waits for its answer."""
    found: list[Answer | None] = []
    thread = threading.Thread(target=lambda: found.append(steps.attempt(engine, "POST", "/commit", **query)))
    thread.start()

    def answer() -> Answer | None:
        thread.join(60)
        return found[0]

    return answer


def sleeping(engine: Engine) -> bool:
    """Whether a worker sleeps; those that wait for work wait for their socket."""
    found = (Path(f"/proc/{pid}/wchan").read_text() for pid in engine.pids_of("worker"))
    return any("nanosleep" in place for place in found)


def test_a_worker_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """Its failpoints are armed where the keeper is born: an engine of its own."""
    with Engine(env={"PIER_FAIL": "worker.changes:sleep=30"}) as engine:
        engine.load_busybox()
        made, before = writing(engine), names(engine)
        answer = in_background(engine, container=made, repo="unborn")
        eventually(lambda: not moves(engine, made), says="it is frozen")
        eventually(lambda: sleeping(engine), says="a worker sleeps at its failpoint")
        for pid in engine.pids_of("worker"):
            os.kill(pid, signal.SIGKILL)
        assert "the worker" in steps.error_of(answer()) and names(engine) == before
        goes_on(engine, made)
        assert os.listdir(engine.data_root / "content/ingests") == []


def test_what_no_layer_can_carry_is_named(broken: Engine) -> None:
    made = writing(broken)
    (upper(broken, made) / ".wh.x").write_bytes(b"")
    before = names(broken)
    broken.api("POST", "/commit", container=made, repo="unborn").refused(400, ".wh.x: names that begin with .wh. mean a removal")
    assert names(broken) == before
    goes_on(broken, made)
