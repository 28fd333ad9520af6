"""Volumes through a real daemon: what stays, what goes, what is copied into them, and what a kill leaves."""

import concurrent.futures
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.engine.volumes.containers import IMAGE, run
from tests.harness import images
from tests.harness.commands import eventually
from tests.harness.commands import run as command
from tests.harness.engine import Engine

CROWD = 3_000


@pytest.fixture(autouse=True)
def no_volume_is_left(engine: Engine) -> Any:
    yield
    for container in engine.api.get("/containers/json", all=True):
        if any(mount["Type"] == "volume" for mount in container["Mounts"]):
            engine.api("DELETE", f"/containers/{container['Id']}", force=True, v=True)
    for volume in engine.api.get("/volumes")["Volumes"]:
        engine.api("DELETE", f"/volumes/{volume['Name']}").ok(204)


def names(engine: Engine) -> set[str]:
    return {volume["Name"] for volume in engine.api.get("/volumes")["Volumes"]}


def test_data_outlives_containers(engine: Engine) -> None:
    run(engine, "echo kept > /data/file", {"Binds": ["shelf:/data"]})
    assert run(engine, "cat /data/file", {"Mounts": [{"Type": "volume", "Source": "shelf", "Target": "/data", "ReadOnly": True}]}) == "kept\n"
    assert (Path(engine.data_root) / "volumes/shelf/_data/file").read_text() == "kept\n"
    assert names(engine) == {"shelf"}


def test_create_inspect_list_remove(engine: Engine) -> None:
    made = engine.api("POST", "/volumes/create", {"Name": "v1", "Labels": {"a": "b"}}).ok(201).json
    assert made == engine.api.get("/volumes/v1") and made["Labels"] == {"a": "b"} and made["Options"] is None and made["Scope"] == "local"
    assert engine.api("POST", "/volumes/create", {"Name": "v1"}).ok(201).json == made
    anonymous = engine.api("POST", "/volumes/create", {}).ok(201).json
    assert len(anonymous["Name"]) == 64 and anonymous["Labels"] == {"com.docker.volume.anonymous": ""}
    assert [v["Name"] for v in engine.api.get("/volumes", filters={"name": ["v1"]})["Volumes"]] == ["v1"]
    assert [v["Name"] for v in engine.api.get("/volumes", filters={"label": ["a=b"]})["Volumes"]] == ["v1"]
    engine.api("GET", "/volumes", filters={"zz": ["1"]}).refused(400, "invalid filter 'zz'")
    pruned = engine.api("POST", "/volumes/prune").ok().json
    assert pruned["VolumesDeleted"] == [anonymous["Name"]]
    engine.api("DELETE", "/volumes/v1").ok(204)
    engine.api("GET", "/volumes/v1").refused(404, "get v1: no such volume")
    engine.api("DELETE", "/volumes/v1").refused(404, "get v1: no such volume")
    engine.api("DELETE", "/volumes/v1", force=True).ok(204)


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"Name": "a/b"}, 400, 'create a/b: "a/b" includes invalid characters for a local volume name'),
        ({"Name": "a"}, 400, "create a: volume name is too short, names should be at least two alphanumeric characters"),
        ({"Name": "x1", "Driver": "nope"}, 404, 'create x1: error looking up volume plugin nope: plugin "nope" not found'),
        ({"Name": "x1", "DriverOpts": {"foo": "bar"}}, 400, 'create x1: invalid option: "foo"'),
        ({"Name": "x1", "DriverOpts": {"type": "nfs"}}, 400, 'create x1: missing required option: "device"'),
        ({"Name": "x1", "DriverOpts": {"size": "abc"}}, 400, "create x1: invalid size: 'abc'"),
        ({"Name": "x1", "DriverOpts": {"size": "1m", "type": "tmpfs", "device": "tmpfs"}}, 400, "create x1: size=1m limits a volume of plain files"),
        ({"Name": "x" * 300}, 400, "volume name is too long"),
    ],
)
def test_what_is_refused_leaves_nothing(engine: Engine, body: dict[str, Any], status: int, text: str) -> None:
    engine.api("POST", "/volumes/create", body).refused(status, text)
    assert not names(engine) and not [p for p in (Path(engine.data_root) / "volumes").iterdir() if not p.name.startswith(".")]


def test_a_volume_in_use_stays(engine: Engine) -> None:
    made = engine.api("POST", "/containers/create", {"Image": IMAGE, "HostConfig": {"Binds": ["used:/x:ro"]}}).ok(201).json["Id"]
    engine.api("DELETE", "/volumes/used").refused(409, f"remove used: volume is in use - [{made}]")
    (mount,) = engine.api.get(f"/containers/{made}/json")["Mounts"]
    assert mount["Type"] == "volume" and mount["Name"] == "used" and mount["RW"] is False and mount["Driver"] == "local" and mount["Mode"] == "ro"
    assert engine.api.get("/volumes", filters={"dangling": ["true"]})["Volumes"] == []
    engine.api("DELETE", f"/containers/{made}", v=True).ok(204)
    assert names(engine) == {"used"}  # it has a name: -v does not take it


def test_anonymous_volumes_go_with_rm_and_with_rm_v(engine: Engine) -> None:
    def made(**host: Any) -> str:
        body = {"Image": IMAGE, "Cmd": ["true"], "Volumes": {"/anon": {}}, "HostConfig": host}
        return str(engine.api("POST", "/containers/create", body).ok(201).json["Id"])

    first = made()
    (volume,) = names(engine)
    engine.api("DELETE", f"/containers/{first}").ok(204)
    assert names(engine) == {volume}
    second = made()
    engine.api("DELETE", f"/containers/{second}", v=True).ok(204)
    assert names(engine) == {volume}
    third = made(AutoRemove=True)
    assert len(names(engine)) == 2
    engine.api("POST", f"/containers/{third}/start").ok(204)
    engine.api("POST", f"/containers/{third}/wait", condition="removed")
    assert names(engine) == {volume}


@pytest.fixture(scope="module")
def image(engine_of_module: tuple[Engine, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with files of all kinds in /data; run once, so that the engine knows its layers before the leak check looks."""
    engine, _ = engine_of_module
    archive = tmp_path_factory.mktemp("image") / "i.tar"
    files: dict[str, Any] = {"data": 0o750, "data/plain": b"text", "data/run": (b"#!/bin/sh\n", 0o4755), "data/link": "plain", "data/sub": 0o700}
    images.docker_archive(archive, "filled:latest", [images.busybox_layer(), images.layer({**files, "data/sub/deep": b"x"})])
    engine.api("POST", "/images/load", data=archive.read_bytes()).ok()
    run(engine, "true", Image="filled:latest")
    return "filled:latest"


def test_an_empty_volume_gets_the_images_files(image: str, engine: Engine) -> None:
    listing = "cd /data; stat -c '%n %a %u %F' . plain run link sub sub/deep; cat sub/deep"
    plain = run(engine, listing, Image=image)
    assert run(engine, listing, {"Binds": ["shelf:/data"]}, Image=image) == plain
    assert run(engine, "ls -A /data", {"Binds": ["bare:/data:nocopy"]}, Image=image) == ""
    # what is in it stays; nothing is mixed with it
    run(engine, "echo mine > /data/own", {"Binds": ["other:/data"]})
    assert run(engine, "ls -A /data", {"Binds": ["other:/data"]}, Image=image) == "own\n"
    nocopy = {"Type": "volume", "Source": "bare2", "Target": "/data", "VolumeOptions": {"NoCopy": True}}
    assert run(engine, "ls -A /data", {"Mounts": [nocopy]}, Image=image) == ""


def test_an_interrupted_copy_is_done_again(image: str, engine: Engine) -> None:
    engine.api("POST", "/volumes/create", {"Name": "half"}).ok(201)
    folder = Path(engine.data_root) / "volumes/half"
    (folder / "populating").touch()
    (folder / "_data/half-a-file").write_text("ha")
    assert run(engine, "ls /data", {"Binds": ["half:/data"]}, Image=image).split() == ["link", "plain", "run", "sub"]
    assert not (folder / "populating").exists()


@pytest.fixture(scope="module")
def crowded(engine_of_module: tuple[Engine, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with so many files in /data that copying them takes most of a second."""
    engine, _ = engine_of_module
    archive = tmp_path_factory.mktemp("crowded") / "i.tar"
    many = images.layer({"data": 0o755, **{f"data/{number}": b"x" for number in range(CROWD)}})
    images.docker_archive(archive, "crowded:latest", [images.busybox_layer(), many])
    engine.api("POST", "/images/load", data=archive.read_bytes()).ok()
    run(engine, "true", Image="crowded:latest")
    return "crowded:latest"


def test_a_removal_ends_a_long_copy_which_is_then_done_again(crowded: str, engine: Engine) -> None:
    body = {"Image": crowded, "Cmd": ["true"], "HostConfig": {"Binds": ["long:/data"]}}
    container = engine.api("POST", "/containers/create", body).ok(201).json["Id"]
    folder = Path(engine.data_root) / "volumes/long/_data"
    with concurrent.futures.ThreadPoolExecutor(1) as others:
        start = others.submit(engine.api, "POST", f"/containers/{container}/start")
        eventually(lambda: len(os.listdir(folder)) > 0)
        engine.api("DELETE", f"/containers/{container}", force=True).ok(204)
        assert len(os.listdir(folder)) < CROWD, "the removal came after the copy: the image needs more files"
        start.result().refused(500, "was killed while it copied the image's files into the volume at /data: the next start begins anew")
    assert run(engine, "ls /data | wc -l", {"Binds": ["long:/data"]}, Image=crowded).strip() == str(CROWD)


def test_a_tmpfs_volume_is_mounted_while_it_is_used(engine: Engine) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    engine.api("POST", "/volumes/create", {"Name": "ram", "DriverOpts": options}).ok(201)
    assert "1.0M" in run(engine, "df -h /x | tail -1; echo y > /x/y", {"Binds": ["ram:/x"]})
    assert run(engine, "ls -A /x", {"Binds": ["ram:/x"]}) == ""
    assert "volumes/ram" not in command(engine.namespaces.argv("cat", "/proc/self/mountinfo"), None, None, 10).out


def test_a_volume_that_cannot_be_mounted_says_why(engine: Engine) -> None:
    engine.api("POST", "/volumes/create", {"Name": "bad", "DriverOpts": {"type": "nonesuch", "device": "nothing"}}).ok(201)
    made = engine.api("POST", "/containers/create", {"Image": IMAGE, "HostConfig": {"Binds": ["bad:/x"]}}).ok(201).json["Id"]
    answer = engine.api("POST", f"/containers/{made}/start")
    assert answer.status == 500 and "volume bad" in answer.json["message"] and "nonesuch" in answer.json["message"], answer
    engine.api("DELETE", f"/containers/{made}").ok(204)


def test_a_bind_volume_shows_a_folder_of_the_host(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("host's")
    options = {"type": "none", "device": str(tmp_path), "o": "bind"}
    engine.api("POST", "/volumes/create", {"Name": "hosted", "DriverOpts": options}).ok(201)
    assert run(engine, "cat /x/here", {"Binds": ["hosted:/x"]}) == "host's"
    engine.api("DELETE", "/volumes/hosted").ok(204)
    assert (tmp_path / "here").exists()


def test_a_subpath_stays_inside_its_volume(engine: Engine) -> None:
    run(engine, "mkdir -p /v/a/b; echo in > /v/a/b/c; ln -s /etc /v/out; ln -s a /v/in", {"Binds": ["tree:/v"]})

    def mounted(subpath: str) -> dict[str, Any]:
        return {"Mounts": [{"Type": "volume", "Source": "tree", "Target": "/x", "VolumeOptions": {"Subpath": subpath}}]}

    assert run(engine, "cat /x/c", mounted("a/b")) == "in\n"
    assert run(engine, "cat /x/b/c", mounted("in")) == "in\n"
    for bad in ("out", "nope"):
        made = engine.api("POST", "/containers/create", {"Image": IMAGE, "HostConfig": mounted(bad)}).ok(201).json["Id"]
        assert engine.api("POST", f"/containers/{made}/start").status == 500
        engine.api("DELETE", f"/containers/{made}").ok(204)
    engine.api("POST", "/containers/create", {"Image": IMAGE, "HostConfig": mounted("../x")}).refused(400, "subpath")


def test_volumes_from(engine: Engine) -> None:
    body = {"Image": IMAGE, "Cmd": ["sh", "-c", "echo s > /sv/f"], "Volumes": {"/sv": {}}}
    first = engine.api("POST", "/containers/create", body).ok(201).json["Id"]
    engine.api("POST", f"/containers/{first}/start").ok(204)
    engine.api("POST", f"/containers/{first}/wait").ok()
    assert run(engine, "cat /sv/f", {"VolumesFrom": [first]}) == "s\n"
    assert "Read-only" in run(engine, "touch /sv/g 2>&1; true", {"VolumesFrom": [f"{first}:ro"]})
    refused = {"Image": IMAGE, "HostConfig": {"VolumesFrom": ["nope"]}}
    engine.api("POST", "/containers/create", refused).refused(400, "No such container: nope")
    refused["HostConfig"] = {"VolumesFrom": [f"{first}:zz"]}
    engine.api("POST", "/containers/create", refused).refused(400, "invalid mode: zz")


def test_the_same_name_by_many_at_once(engine: Engine) -> None:
    body = {"Image": IMAGE, "HostConfig": {"Binds": ["one:/x"]}}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: engine.api("POST", "/containers/create", body).ok(201).json["Id"], range(8)))
    assert names(engine) == {"one"} and len(set(made)) == 8


@pytest.mark.parametrize("point", ["volumes.folder", "volumes.created", "create.record", "volumes.removed"])
def test_a_kill_leaves_nothing_half_made(fresh_engine: Engine, point: str) -> None:
    fresh_engine.api("POST", "/volumes/create", {"Name": "kept"}).ok(201)
    fresh_engine.stop()
    fresh_engine.start(PIER_FAIL=f"{point}:kill")
    with pytest.raises((OSError, AssertionError)):
        fresh_engine.api("POST", "/containers/create", {"Image": IMAGE, "Volumes": {"/a": {}}, "HostConfig": {"Binds": ["new:/n"]}}).ok()
        fresh_engine.api("POST", "/volumes/create", {"Name": "two"}).ok()
        fresh_engine.api("DELETE", "/volumes/kept").ok()
    fresh_engine.start()
    rows = names(fresh_engine)
    folders = {p.name for p in (Path(fresh_engine.data_root) / "volumes").iterdir() if not p.name.startswith(".")}
    assert rows == folders
    used = {m["Name"] for c in fresh_engine.api.get("/containers/json", all=True) for m in c["Mounts"]}
    assert rows - used - {"kept", "two"} == set(), json.dumps(sorted(rows))


def test_a_folder_that_looks_like_a_slip_is_told_of(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "database").mkdir()

    def warnings(bind: str) -> list[str]:
        made = engine.api("POST", "/containers/create", {"Image": IMAGE, "HostConfig": {"Binds": [bind]}}).ok(201).json
        return list(made["Warnings"])

    (said,) = warnings(f"{tmp_path}/databse:/x")
    assert said.startswith(f"{tmp_path}/databse was not there: an empty folder was made. There is {tmp_path}/database")
    assert (tmp_path / "databse").is_dir() and warnings(f"{tmp_path}/databse:/x") == [] and warnings(f"{tmp_path}/other:/x") == []
