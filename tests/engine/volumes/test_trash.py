"""Removed volumes that stay for a while: given back, bounded, and neither lost nor doubled by a kill."""

import json
from collections.abc import Iterator

import pytest

from tests.engine.conftest import warm_up
from tests.engine.volumes.containers import run
from tests.harness.canary import Canary
from tests.harness.commands import eventually
from tests.harness.engine import Engine


@pytest.fixture(scope="module")
def engine_of_module() -> Iterator[tuple[Engine, Canary]]:
    engine = Engine()
    engine.config_file().write_text(json.dumps({"volume-trash-hours": 24, "volume-trash-bytes": 1 << 20}))
    with engine:
        warm_up(engine)
        yield engine, Canary.start(engine)


@pytest.fixture(autouse=True)
def clean(engine: Engine) -> Iterator[None]:
    yield
    for volume in engine.api.get("/volumes")["Volumes"]:
        engine.api("DELETE", f"/volumes/{volume['Name']}").ok(204)
    engine.api("POST", "/pier/volumes/trash/empty").ok()
    assert engine.api.get("/pier/volumes/trash") == []


def trash(engine: Engine) -> list[str]:
    return [one["Name"] for one in engine.api.get("/pier/volumes/trash")]


def fill(engine: Engine, name: str, what: str = "kept") -> None:
    run(engine, f"echo {what} > /d/f", {"Binds": [f"{name}:/d"]})


def read(engine: Engine, name: str) -> str:
    return run(engine, "cat /d/f", {"Binds": [f"{name}:/d:ro"]}).strip()


def test_a_removed_volume_comes_back(engine: Engine) -> None:
    engine.api("POST", "/volumes/create", {"Name": "shelf", "Labels": {"a": "b"}}).ok(201)
    fill(engine, "shelf")
    engine.api("POST", "/pier/volumes/shelf/snapshots", snapshot="one").ok(201)
    engine.pier("volume", "rm", "shelf").ok()
    engine.api("GET", "/volumes/shelf").refused(404, "no such volume")
    assert engine.pier("volume", "trash").ok().line.startswith("shelf\t20")
    (row,) = [line.split() for line in engine.pier("system", "df").ok().out.splitlines() if line.startswith("Volumes Trash")]
    assert row[2:4] == ["1", "0"] and row[4] == row[5] and row[-1] == "(100%)"
    assert "in 1 (pier volume trash)" in engine.pier("system", "df", "-v").ok().out
    assert engine.api.get("/system/df")["VolumesTrash"] == {"Count": 1, "Size": engine.api.get("/pier/volumes/trash")[0]["Size"]}
    fill(engine, "shelf", "another")
    engine.pier("volume", "recover", "shelf").fails(1, "recover shelf: there is a volume shelf already")
    assert engine.pier("volume", "recover", "shelf", "old").ok().line == "old"
    assert (read(engine, "old"), read(engine, "shelf")) == ("kept", "another")
    assert engine.api.get("/volumes/old")["Labels"] == {"a": "b"} and engine.api.get("/pier/volumes/old/snapshots")[0]["Name"] == "one"
    engine.pier("volume", "recover", "shelf").fails(1, "there is no removed volume shelf in the trash")


def test_what_has_no_name_or_is_too_much_does_not_stay(engine: Engine) -> None:
    anonymous = engine.api("POST", "/volumes/create", {}).ok(201).json["Name"]
    engine.api("DELETE", f"/volumes/{anonymous}").ok(204)
    assert trash(engine) == []
    for name in ("first", "second", "third"):
        run(engine, "dd if=/dev/urandom of=/d/f bs=500k count=1 2>/dev/null", {"Binds": [f"{name}:/d"]})
        engine.api("DELETE", f"/volumes/{name}").ok(204)
    assert trash(engine) == ["second", "third"]  # a MiB in all
    engine.pier("volume", "trash", "--empty").ok()
    assert trash(engine) == []


@pytest.mark.no_leak_check  # the daemon is killed
@pytest.mark.parametrize(("point", "there"), [("volumes.binned", True), ("volumes.removed", False)])
def test_a_kill_during_a_removal(engine: Engine, point: str, there: bool) -> None:
    fill(engine, "shelf")
    engine.restart(PIER_FAIL=f"{point}:kill")
    with pytest.raises((OSError, AssertionError)):
        engine.api("DELETE", "/volumes/shelf", timeout_s=20)
    eventually(lambda: engine.namespaces.exit_code(engine.pid) is not None, says="the daemon is dead")
    engine.start()
    assert trash(engine) == ([] if there else ["shelf"])
    if not there:
        engine.api("POST", "/pier/volumes/shelf/recover").ok(201)
    assert read(engine, "shelf") == "kept"


@pytest.mark.no_leak_check  # the daemon is killed
def test_a_kill_during_a_recovery(engine: Engine) -> None:
    fill(engine, "shelf")
    engine.api("DELETE", "/volumes/shelf").ok(204)
    engine.restart(PIER_FAIL="volumes.recovered:kill")
    with pytest.raises((OSError, AssertionError)):
        engine.api("POST", "/pier/volumes/shelf/recover", timeout_s=20)
    eventually(lambda: engine.namespaces.exit_code(engine.pid) is not None, says="the daemon is dead")
    engine.start()
    assert trash(engine) == ["shelf"]
    engine.api("POST", "/pier/volumes/shelf/recover").ok(201)
    assert read(engine, "shelf") == "kept"
