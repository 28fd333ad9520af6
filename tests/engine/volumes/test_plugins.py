"""Volume plugins under a real daemon: data, counts of mounts over kill -9, and plugins that hang or die."""

import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.engine.conftest import warm_up
from tests.engine.volumes.containers import run
from tests.harness.canary import Canary
from tests.harness.commands import eventually
from tests.harness.engine import Engine
from tests.harness.volume_plugin import VolumePlugin


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VolumePlugin]:
    folder = tmp_path_factory.mktemp("p")
    with VolumePlugin(folder, "shelves", scope="global") as plugin:
        yield plugin


@pytest.fixture(scope="module")
def engine_of_module(plugin: VolumePlugin) -> Iterator[tuple[Engine, Canary]]:
    engine = Engine()
    engine.config_file().write_text(json.dumps({"volume-plugin-dirs": [str(plugin.folder)], "volume-plugin-timeout": 1}))
    with engine:
        warm_up(engine)
        yield engine, Canary.start(engine)


@pytest.fixture(autouse=True)
def clean(plugin: VolumePlugin, engine: Engine) -> Iterator[None]:
    plugin.misbehave.clear()
    yield
    plugin.misbehave.clear()
    for container in engine.api.get("/containers/json", all=True):
        if any(mount["Type"] == "volume" for mount in container["Mounts"]):
            engine.api("DELETE", f"/containers/{container['Id']}", force=True, v=True)
    eventually(lambda: plugin.mounts == [], says="every mount has its unmount")
    for volume in engine.api.get("/volumes")["Volumes"]:
        engine.api("DELETE", f"/volumes/{volume['Name']}").ok(204)
    assert plugin.volumes == {}


def sleeper(engine: Engine, *binds: str, start: bool = True) -> str:
    body = {"Image": "busybox:latest", "Cmd": ["sleep", "60"], "HostConfig": {"Binds": list(binds), "VolumeDriver": "shelves"}}
    made = str(engine.api("POST", "/containers/create", body).ok(201).json["Id"])
    if start:
        engine.api("POST", f"/containers/{made}/start").ok(204)
    return made


def test_a_plugins_volume_is_used_like_any(engine: Engine, plugin: VolumePlugin) -> None:
    made = engine.api("POST", "/volumes/create", {"Name": "far", "Driver": "shelves", "DriverOpts": {"a": "b"}, "Labels": {"l": "1"}}).ok(201).json
    assert (made["Driver"], made["Scope"], made["Status"], made["Mountpoint"]) == ("shelves", "global", {"shelf": 7}, str(plugin.path("far")))
    assert plugin.volumes == {"far": {"a": "b"}} and engine.api.get("/info")["Plugins"]["Volume"] == ["local", "shelves"]
    run(engine, "echo kept > /x/note", {"Binds": ["far:/x"]})
    assert (plugin.path("far") / "note").read_text() == "kept\n"
    assert run(engine, "cat /y/note", {"Mounts": [{"Type": "volume", "Source": "far", "Target": "/y", "ReadOnly": True}]}) == "kept\n"
    engine.api("POST", "/volumes/create", {"Name": "far", "Driver": "local"}).refused(409, "create far: conflict: volume name must be unique")
    engine.api("POST", "/volumes/prune", filters={"all": ["true"]}).ok()
    assert "far" in plugin.volumes  # prune is for local ones
    (far,) = [one for one in engine.api.get("/system/df")["Volumes"] if one["Name"] == "far"]
    assert far["UsageData"] == {"RefCount": 0, "Size": -1}


def test_a_volume_made_elsewhere_is_found(engine: Engine, plugin: VolumePlugin) -> None:
    plugin.answer("VolumeDriver.Create", {"Name": "theirs"})
    (plugin.path("theirs") / "note").write_text("here")
    assert [v["Name"] for v in engine.api.get("/volumes", filters={"driver": ["shelves"]})["Volumes"]] == ["theirs"]
    assert engine.api.get("/volumes/theirs")["Driver"] == "shelves"
    assert run(engine, "cat /x/note", {"Binds": ["theirs:/x"]}) == "here"


def test_an_empty_volume_gets_the_images_files(engine: Engine, plugin: VolumePlugin) -> None:
    run(engine, "true", {"Binds": ["filled:/etc"], "VolumeDriver": "shelves"})
    assert (plugin.path("filled") / "group").exists()


def test_mounts_are_counted_over_kills_of_the_daemon(engine: Engine, plugin: VolumePlugin) -> None:
    first, second = sleeper(engine, "far:/x"), sleeper(engine, "far:/x", "other:/y")
    assert sorted(plugin.mounts) == sorted([("far", first), ("far", second), ("other", second)])
    engine.kill("daemon")
    engine.start()
    assert len(plugin.mounts) == 3  # they run on
    pid = engine.api.get(f"/containers/{second}/json")["State"]["Pid"]
    engine.kill("daemon")
    os.kill(pid, signal.SIGKILL)  # ends while no daemon is there
    engine.start()
    engine.api("DELETE", f"/containers/{second}", force=True).ok(204)
    eventually(lambda: plugin.mounts == [("far", first)], says="the second one's are gone")
    # killed between the note and the plugin's answer: nothing stays mounted
    engine.restart(PIER_FAIL="volumes.mounted:kill")
    third = sleeper(engine, "far:/x", start=False)
    with pytest.raises((OSError, AssertionError)):
        engine.api("POST", f"/containers/{third}/start", timeout_s=20)
    engine.start()
    eventually(lambda: plugin.mounts == [("far", first)], says="the unfinished mount is gone")
    run(engine, "true")


@pytest.mark.parametrize("how", ["hang", "die", "garbage", "endless", "wrong", "no room"])
def test_a_plugin_that_fails_fails_its_own_call_only(engine: Engine, plugin: VolumePlugin, how: str) -> None:
    made = sleeper(engine, "far:/x", start=False)
    plugin.misbehave["VolumeDriver.Mount"] = how
    answer = engine.api("POST", f"/containers/{made}/start")
    assert answer.status in (500, 503) and 'plugin "shelves": VolumeDriver.Mount' in answer.json["message"], answer
    assert "error while mounting volume 'far'" in answer.json["message"]
    run(engine, "true", {"Binds": ["near:/x"]})
    plugin.misbehave.clear()
    engine.api("POST", f"/containers/{made}/start").ok(204)


def test_lists_go_on_without_a_plugin_that_hangs(engine: Engine, plugin: VolumePlugin) -> None:
    engine.api("POST", "/volumes/create", {"Name": "near"}).ok(201)
    plugin.misbehave["VolumeDriver.List"] = "hang"
    found = engine.api.get("/volumes")
    assert [volume["Name"] for volume in found["Volumes"]] == ["near"] and "no answer within 1 s" in found["Warnings"][0]


def test_what_a_plugin_does_not_do_is_not_recorded(engine: Engine, plugin: VolumePlugin) -> None:
    plugin.misbehave["VolumeDriver.Create"] = "no room"
    wanted = {"Name": "far", "Driver": "shelves"}
    engine.api("POST", "/volumes/create", wanted).refused(500, 'create far: plugin "shelves": VolumeDriver.Create: no room')
    engine.api("GET", "/volumes/far").refused(404, "get far: no such volume")
    plugin.misbehave.clear()
    engine.api("POST", "/volumes/create", {"Name": "far", "Driver": "shelves"}).ok(201)
    plugin.misbehave["VolumeDriver.Remove"] = "busy"
    engine.api("DELETE", "/volumes/far").refused(500, "busy")
    assert engine.api.get("/volumes/far")["Name"] == "far"


def test_installed_plugins_come_later(engine: Engine) -> None:
    engine.pier("plugin", "install", "x/y").fails(1)
