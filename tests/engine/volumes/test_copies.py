"""What can be made of volumes: other names, clones, snapshots, archives; and that a kill on the way leaves them whole or absent."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.volumes.containers import run
from tests.harness.commands import eventually
from tests.harness.engine import Engine

LISTING = "cd /d; find . ! -name . -exec stat -c '%n %a %u:%g %h %s %F %Y' {} + | sort; cat a/b/f"
FILL = """cd /d; mkdir -p a/b; echo hi > a/b/f; ln a/b/f hard; ln -s a/b/f soft; mknod dev c 1 3; mknod n c 0 0; mkfifo p; touch .wh.x; chown 7:8 a
chmod 4711 hard; truncate -s 5M sparse; mkdir deep; touch -d 2001-02-03 deep"""


@pytest.fixture(autouse=True)
def no_volume_is_left(engine: Engine) -> Iterator[None]:
    yield
    for volume in engine.api.get("/volumes")["Volumes"]:
        engine.api("DELETE", f"/volumes/{volume['Name']}").ok(204)


@pytest.fixture
def filled(engine: Engine) -> str:
    """What is in the volume `src`, as a container sees it."""
    run(engine, FILL, {"Binds": ["src:/d"]})
    return seen(engine, "src")


def seen(engine: Engine, volume: str) -> str:
    return run(engine, LISTING, {"Binds": [f"{volume}:/d:ro"]})


def names(engine: Engine) -> set[str]:
    return {volume["Name"] for volume in engine.api.get("/volumes")["Volumes"]}


def test_a_clone_and_an_archive_show_the_same(engine: Engine, filled: str, tmp_path: Path) -> None:
    assert engine.api("POST", "/pier/volumes/src/clone", to="copy").ok(201).json["Name"] == "copy"
    assert seen(engine, "copy") == filled
    for number, form in enumerate(("", "gzip", "zstd")):
        data = engine.api("GET", "/pier/volumes/src/export", form=form).ok().body
        engine.api("POST", f"/pier/volumes/back{number}/import", data=data).ok(201)
        assert seen(engine, f"back{number}") == filled
    sizes = {name: engine.api.get(f"/pier/volumes/{name}/size")["Size"] for name in ("src", "copy", "back0")}
    assert 0 < sizes["copy"] <= sizes["src"] + 8192 < sizes["back0"]  # holes stay holes in a clone, a tar has none
    run(engine, "echo more >> /d/a/b/f", {"Binds": ["copy:/d"]})
    assert seen(engine, "src") == filled


def test_the_command_line(engine: Engine, filled: str, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    engine.pier("volume", "export", "--compress", "gzip", "-o", str(archive), "src").ok()
    assert engine.pier("volume", "import", "back", str(archive)).ok().line == "back" and seen(engine, "back") == filled
    assert engine.pier("volume", "clone", "src", "copy").ok().line == "copy"
    engine.pier("volume", "rename", "copy", "moved").ok()
    assert names(engine) == {"src", "back", "moved"} and seen(engine, "moved") == filled
    assert engine.pier("volume", "snapshot", "src", "one").ok().line == "one"
    assert engine.pier("volume", "snapshot", "--list", "src").ok().line.startswith("one\t20")
    engine.pier("volume", "restore", "src", "one").ok()
    engine.pier("volume", "snapshot", "--rm", "src", "one").ok()
    engine.pier("volume", "restore", "src", "one").fails(1, "volume src has no snapshot one")
    assert engine.pier("volume", "size", "--bytes", "src").ok().line.split()[1].isdigit()


def test_a_volume_gets_the_files_of_a_snapshot_back(engine: Engine, filled: str) -> None:
    assert engine.api("POST", "/pier/volumes/src/snapshots", snapshot="before").ok(201).json["Name"] == "before"
    run(engine, "rm -r /d/a /d/sparse; echo x > /d/new", {"Binds": ["src:/d"]})
    body = {"Image": "busybox:latest", "Cmd": ["sleep", "60"], "HostConfig": {"Binds": ["src:/d"]}}
    holder = engine.api("POST", "/containers/create", body).ok(201).json["Id"]
    engine.api("POST", f"/containers/{holder}/start").ok(204)
    engine.api("POST", "/pier/volumes/src/restore", snapshot="before").refused(409, f"restore src: volume is in use - [{holder}]: stop them first")
    engine.api("DELETE", f"/containers/{holder}", force=True).ok(204)
    engine.api("POST", "/pier/volumes/src/restore", snapshot="before").ok(204)
    assert seen(engine, "src") == filled
    engine.api("POST", "/pier/volumes/src/rename", to="other").ok(204)
    assert [one["Name"] for one in engine.api.get("/pier/volumes/other/snapshots")] == ["before"]


@pytest.mark.parametrize(
    ("method", "path", "params", "status", "text"),
    [
        ("POST", "nope/clone", {"to": "x1"}, 404, "get nope: no such volume"),
        ("POST", "src/clone", {"to": "src"}, 409, "there is a volume src already"),
        ("POST", "src/clone", {"to": "a/b"}, 400, "includes invalid characters"),
        ("POST", "src/clone", {}, 400, "the parameter 'to' is missing"),
        ("POST", "src/rename", {"to": "src"}, 409, "rename src: that is its name"),
        ("POST", "src/rename", {"to": ".."}, 400, "includes invalid characters"),
        ("GET", "src/export", {"form": "rar"}, 400, "there is no compression 'rar'"),
        ("POST", "src/snapshots", {"snapshot": "../x"}, 400, "includes invalid characters"),
        ("POST", "src/restore", {"snapshot": "../../src"}, 404, "volume src has no snapshot ../../src"),
        ("DELETE", "src/snapshots/nope", {}, 404, "volume src has no snapshot nope"),
        ("GET", "nope/size", {}, 404, "get nope: no such volume"),
    ],
)
def test_what_is_refused(engine: Engine, method: str, path: str, params: dict[str, str], status: int, text: str) -> None:
    engine.api("POST", "/volumes/create", {"Name": "src"}).ok(201)
    engine.api(method, f"/pier/volumes/{path}", **params).refused(status, text)
    assert names(engine) == {"src"}


def tar(*members: tuple[str, bytes, str]) -> bytes:
    """A tar of (name, type, link)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            archive.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "it is empty"),
        (b"no tar" * 200, "archive"),
        (tar(("../out", tarfile.REGTYPE, "")), "leads out"),
        (tar(("a", tarfile.REGTYPE, ""))[:700], "ends"),
        (tar(("hard", tarfile.LNKTYPE, "/etc/passwd")), "hard"),
    ],
)
def test_a_bad_archive_leaves_nothing(engine: Engine, data: bytes, text: str) -> None:
    engine.api("POST", "/pier/volumes/bad/import", data=data).refused(400, text)
    assert not names(engine) and not [p for p in (engine.data_root / "volumes").iterdir() if not p.name.startswith(".")]


def test_links_of_an_archive_lead_nowhere(engine: Engine) -> None:
    evil = tar(("out", tarfile.SYMTYPE, "/tmp"), ("out/pwned-by-import", tarfile.REGTYPE, ""), ("up", tarfile.SYMTYPE, "../../.."))
    engine.api("POST", "/pier/volumes/evil/import", data=evil)
    assert not os.path.exists("/tmp/pwned-by-import")


def test_what_a_container_has_is_not_renamed(engine: Engine, filled: str) -> None:
    made = engine.api("POST", "/containers/create", {"Image": "busybox:latest", "HostConfig": {"Binds": ["src:/d"]}}).ok(201).json["Id"]
    engine.api("POST", "/pier/volumes/src/rename", to="other").refused(409, f"rename src: volume is in use - [{made}]")
    engine.api("DELETE", f"/containers/{made}").ok(204)


@pytest.mark.no_leak_check  # the daemon is killed; what is on the disk is what is looked at
@pytest.mark.parametrize(
    ("point", "path", "params", "after"),
    [
        ("volumes.copy", "src/clone", {"to": "new"}, {"src"}),
        ("volumes.copied", "src/clone", {"to": "new"}, {"src"}),
        ("volumes.rename", "src/rename", {"to": "new"}, {"new"}),
        ("volumes.rename_folder", "src/rename", {"to": "new"}, {"new"}),
        ("volumes.snapshot", "src/snapshots", {"snapshot": "one"}, {"src"}),
        ("volumes.restore", "src/restore", {"snapshot": "zero"}, {"src"}),
        ("volumes.restored", "src/restore", {"snapshot": "zero"}, {"src"}),
    ],
)
def test_a_kill_on_the_way_leaves_volumes_whole_or_absent(
    engine: Engine, filled: str, point: str, path: str, params: dict[str, str], after: set[str]
) -> None:
    engine.api("POST", "/pier/volumes/src/snapshots", snapshot="zero").ok(201)
    engine.restart(PIER_FAIL=f"{point}:kill")
    with pytest.raises((OSError, AssertionError)):
        engine.api("POST", f"/pier/volumes/{path}", timeout_s=20, **params)
    eventually(lambda: engine.namespaces.exit_code(engine.pid) is not None, says="the daemon is dead")
    engine.start()
    assert names(engine) == after
    (left,) = after
    assert seen(engine, left) == filled
    folder = engine.data_root / "volumes"
    assert {p.name for p in folder.iterdir() if not p.name.startswith(".")} == after
    eventually(lambda: not (folder / left / "work").exists(), says="what was half made is gone")
    assert [one["Name"] for one in engine.api.get(f"/pier/volumes/{left}/snapshots")] == os.listdir(folder / left / "snapshots") == ["zero"]
