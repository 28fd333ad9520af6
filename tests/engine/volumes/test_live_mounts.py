"""Mounts added to and taken from containers that run: what they see, what is kept, what is undone, and that no link leads to the host."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.commands import eventually
from tests.harness.engine import Engine


@pytest.fixture
def container(engine: Engine) -> Iterator[str]:
    made = str(engine.api("POST", "/containers/create", {"Image": "busybox:latest", "Cmd": ["sleep", "300"]}).ok(201).json["Id"])
    engine.api("POST", f"/containers/{made}/start").ok(204)
    yield made
    engine.api("DELETE", f"/containers/{made}", force=True)
    for volume in engine.api.get("/volumes")["Volumes"]:
        engine.api("DELETE", f"/volumes/{volume['Name']}").ok(204)


def change(engine: Engine, container: str, add: list[dict[str, Any]] | None = None, remove: list[str] | None = None) -> Any:
    return engine.api("POST", f"/pier/containers/{container}/mounts", {"Add": add or [], "Remove": remove or []})


def inside(engine: Engine, container: str, script: str) -> str:
    return engine.pier("exec", container, "sh", "-c", script).ok().out


def bind(source: Path, target: str, **more: Any) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(source), "Target": target, **more}


def points(engine: Engine, container: str) -> list[str]:
    return [mount["Destination"] for mount in engine.api.get(f"/containers/{container}/json")["Mounts"]]


def test_added_used_kept_and_taken_away(engine: Engine, container: str, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("host's")
    tmpfs = {"Type": "tmpfs", "Target": "/ram", "TmpfsOptions": {"SizeBytes": 65536, "Mode": 0o700}}
    volume = {"Type": "volume", "Source": "shelf", "Target": "/deep/shelf"}
    change(engine, container, [volume, bind(tmp_path, "/host", ReadOnly=True), tmpfs]).ok(204)
    script = "cat /host/note; touch /host/x 2>&1; echo kept > /deep/shelf/f; stat -c %a /ram; grep -c ' /ram tmpfs' /proc/mounts; :"
    said = inside(engine, container, script)
    assert "host's" in said and "Read-only file system" in said and said.split()[-2:] == ["700", "1"]
    assert (engine.data_root / "volumes/shelf/_data/f").read_text() == "kept\n" and points(engine, container) == ["/deep/shelf", "/host", "/ram"]
    engine.api("DELETE", "/volumes/shelf").refused(409, f"volume is in use - [{container}]")
    change(engine, container, remove=["/host", "/ram/"]).ok(204)
    assert inside(engine, container, "ls -A /host /ram; grep -cE ' /(host|ram) ' /proc/mounts; :").split() == ["/host:", "/ram:", "0"]
    engine.api("POST", f"/containers/{container}/restart", t=0).ok(204)
    assert inside(engine, container, "cat /deep/shelf/f") == "kept\n" and points(engine, container) == ["/deep/shelf"]
    change(engine, container, remove=["/deep/shelf"]).ok(204)
    engine.api("DELETE", "/volumes/shelf").ok(204)


def test_a_container_that_does_not_run_has_them_at_its_start(engine: Engine, container: str, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("later")
    engine.api("POST", f"/containers/{container}/stop", t=0).ok(204)
    change(engine, container, [bind(tmp_path, "/host")]).ok(204)
    engine.api("POST", f"/containers/{container}/start").ok(204)
    assert inside(engine, container, "cat /host/note") == "later"


def test_what_is_replaced_is_gone_and_what_could_not_be_is_there_again(engine: Engine, container: str) -> None:
    def volume(name: str, target: str = "/x") -> dict[str, Any]:
        return {"Type": "volume", "Source": name, "Target": target}

    for name in ("one", "two"):
        change(engine, container, [volume(name)], ["/x"] if name == "two" else []).ok(204)
        inside(engine, container, f"echo {name} > /x/f")
    assert (engine.data_root / "volumes/one/_data/f").read_text() == "one\n" and inside(engine, container, "grep -c ' /x ' /proc/mounts") == "1\n"
    engine.api("DELETE", "/volumes/one").ok(204)
    wrong = [volume("two", "/y"), bind(Path("/tmp"), "/x"), volume("two", "/bin/sh")]
    change(engine, container, wrong, ["/x"]).refused(500, "/bin/sh")
    assert inside(engine, container, "cat /x/f; grep -cE ' /(x|y) ' /proc/mounts").split() == ["two", "1"] and points(engine, container) == ["/x"]


def test_the_command_line(engine: Engine, container: str, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("here")
    engine.pier("update", "--mount-add", f"type=bind,src={tmp_path},dst=/host", container).ok()
    assert inside(engine, container, "cat /host/note") == "here"
    engine.pier("update", "--mount-rm", "/host", container).ok()
    assert points(engine, container) == []
    engine.pier("update", "--mount-rm", "/host", container).fails(1, "has no mount at /host: it has none")


@pytest.mark.parametrize(
    ("add", "remove", "status", "text"),
    [
        ([{"Type": "bind", "Source": "/nope", "Target": "/a"}], [], 400, "bind source path does not exist: /nope"),
        ([{"Type": "volume", "Source": "shelf", "Target": "a"}], [], 400, "mount path must be absolute"),
        ([{"Type": "tmpfs", "Target": "/a"}, {"Type": "tmpfs", "Target": "/a/"}], [], 400, "Duplicate mount point: /a"),
        ([{"Type": "image", "Source": "busybox", "Target": "/a"}], [], 400, "adding a mount of type 'image' to a container"),
        ([{"Type": "bind", "Source": "/tmp", "Target": "/a", "BindOptions": {"Propagation": "rshared"}}], [], 400, "propagation 'rshared'"),
        ([], ["/etc/hosts"], 400, "has no mount at /etc/hosts"),
        ([{"Type": "bind", "Source": "/tmp", "Target": "/bin/sh"}], [], 500, "not a directory"),
        ([{"Type": "volume", "Source": "shelf", "Target": "/ok"}, {"Type": "bind", "Source": "/tmp", "Target": "/bin/sh/x"}], [], 500, "/bin/sh/x"),
    ],
)
def test_what_cannot_be_changes_nothing(
    engine: Engine, container: str, add: list[dict[str, Any]], remove: list[str], status: int, text: str
) -> None:
    before = inside(engine, container, "cat /proc/mounts")
    change(engine, container, add, remove).refused(status, text)
    assert inside(engine, container, "cat /proc/mounts") == before and points(engine, container) == []


def test_links_of_the_container_stay_inside_it(engine: Engine, container: str, tmp_path: Path) -> None:
    """Targets behind links to the host's names, while the container swaps them in a loop."""
    place = tmp_path / "victim"
    place.mkdir()
    inside(engine, container, f"mkdir -p /real {tmp_path}; ln -s / /up; ln -s /real/../../../../../../{tmp_path} /out; ln -s {place} /abs")
    swap = "while :; do rm -rf /s; ln -s /proc/1/root/../../.. /s; rm -f /s; mkdir /s; done"
    engine.pier("exec", "-d", container, "sh", "-c", swap).ok()
    for number, target in enumerate((f"/up/{place}", "/out/victim/x", "/abs/y", "/s/a", "/s/b", "/s/c")):
        change(engine, container, [{"Type": "tmpfs", "Target": target}])
        assert str(place) not in Path(f"/proc/{engine.pid}/mountinfo").read_text(), number
    assert list(place.iterdir()) == []


@pytest.mark.no_leak_check  # the daemon is killed
@pytest.mark.parametrize("point", ["mounts.record", "mounts.recorded", "mounts.attach"])
def test_a_kill_on_the_way_leaves_what_the_record_says(engine: Engine, container: str, point: str) -> None:
    engine.restart(PIER_FAIL=f"{point}:kill")
    with pytest.raises((OSError, AssertionError)):
        change(engine, container, [{"Type": "volume", "Source": "shelf", "Target": "/a"}])
    eventually(lambda: engine.namespaces.exit_code(engine.pid) is not None, says="the daemon is dead")
    engine.start()
    there = points(engine, container)
    volumes = [volume["Name"] for volume in engine.api.get("/volumes")["Volumes"]]
    assert (there, volumes) == (([], []) if point == "mounts.record" else (["/a"], ["shelf"]))
    engine.api("POST", f"/containers/{container}/restart", t=0).ok(204)
    assert inside(engine, container, "grep -c ' /a ' /proc/mounts; :").strip() == str(len(there))
