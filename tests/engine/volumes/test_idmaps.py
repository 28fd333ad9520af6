"""Owners of binds and volumes, shown as others by one mount and kept as they are on the disk."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.engine.volumes.containers import run
from tests.harness.engine import Engine

LOOK = "stat -c '%n %u:%g' /x/mine /x/root"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, owner in (("mine", 1000), ("root", 0)):
        (tmp_path / name).write_text(name)
        os.chown(tmp_path / name, owner, owner)
    os.chown(tmp_path, 1000, 1000)
    return tmp_path


def mount(source: str | Path, text: str, kind: str = "bind", target: str = "/x") -> dict[str, Any]:
    return {"Type": kind, "Source": str(source), "Target": target, "IDMap": text}


def test_a_users_folder_is_the_containers_roots(engine: Engine, source: Path) -> None:
    said = run(engine, f"{LOOK}; echo new > /x/new; chown 1000:1000 /x/root", {"Mounts": [mount(source, "1000:0")]})
    assert said.splitlines() == ["/x/mine 0:0", "/x/root 1000:1000"]
    assert (os.stat(source / "new").st_uid, os.stat(source / "new").st_gid, os.stat(source / "root").st_uid) == (1000, 1000, 0)
    assert run(engine, LOOK, {"Mounts": [mount(source, "u:1000:7")]}).splitlines() == ["/x/mine 7:1000", "/x/root 0:0"]
    assert run(engine, LOOK, {"Binds": [f"{source}:/x"]}).splitlines() == ["/x/mine 1000:1000", "/x/root 0:0"]


def test_a_volume_and_a_mount_of_a_container_that_runs(engine: Engine, source: Path) -> None:
    run(engine, "touch /x/mine /x/root; chown 1000:1000 /x/mine", {"Binds": ["shelf:/x"]})
    assert run(engine, LOOK, {"Mounts": [mount("shelf", "1000:0", "volume")]}).splitlines() == ["/x/mine 0:0", "/x/root 1000:1000"]
    engine.api("DELETE", "/volumes/shelf").ok(204)
    holder = engine.pier("run", "-d", "busybox", "sleep", "60").ok().line
    engine.pier("update", "--mount-add", f"type=bind,src={source},dst=/x,idmap=1000:0", holder).ok()
    assert engine.pier("exec", holder, "sh", "-c", LOOK).ok().out.splitlines() == ["/x/mine 0:0", "/x/root 1000:1000"]


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [("bind", "nonsense", "is no mapping"), ("bind", "1:5;2:5", "that are shown are mapped twice"), ("tmpfs", "1:2", "is for binds and volumes")],
)
def test_what_is_refused(engine: Engine, source: Path, kind: str, text: str, words: str) -> None:
    wanted = mount(source if kind == "bind" else "", text, kind)
    engine.api("POST", "/containers/create", {"Image": "busybox:latest", "HostConfig": {"Mounts": [wanted]}}).refused(400, words)
