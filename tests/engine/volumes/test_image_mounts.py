"""Images mounted into containers: what is shown, what is refused, and that an image stays for who mounts it."""

from pathlib import Path
from typing import Any

import pytest

from tests.engine.volumes.containers import run
from tests.harness import images
from tests.harness.engine import Engine


@pytest.fixture(scope="module", autouse=True)
def tree(engine_of_module: tuple[Engine, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """An image of two layers without a program; shown once, so that the engine has its layers before the leak check looks."""
    engine, _ = engine_of_module
    load(engine, tmp_path_factory.mktemp("image"), "tree:1")
    run(engine, "true", {"Mounts": [shown("tree:1")]})


def load(engine: Engine, folder: Path, name: str, more: bytes = b"") -> None:
    lower = images.layer({"a": 0o755, "a/gone": b"1", "a/kept": b"2" + more, "out": b"outside"})
    upper = images.layer({"a/.wh.gone": b"", "b": 0o755, "b/deep": b"3"})
    images.docker_archive(folder / "i.tar", name, [lower, upper])
    engine.api("POST", "/images/load", data=(folder / "i.tar").read_bytes()).ok()


def shown(source: str, subpath: str = "", target: str = "/i") -> dict[str, Any]:
    options = {"ImageOptions": {"Subpath": subpath}} if subpath else {}
    return {"Type": "image", "Source": source, "Target": target, **options}


def test_an_image_is_shown_read_only(engine: Engine) -> None:
    assert run(engine, "cd /i; find . | sort; touch x 2>&1 || true", {"Mounts": [shown("tree:1")]}).split("\n")[:-2] == [
        ".", "./a", "./a/kept", "./b", "./b/deep", "./out",
    ]  # fmt: skip
    assert run(engine, "cat /i /j/deep", {"Mounts": [shown("tree:1", "a/kept"), shown("tree:1", "b", "/j")]}) == "23"
    said = run(engine, "touch /i/x 2>&1; mount -o remount,rw /i 2>&1; touch /i/y 2>&1; true", {"Mounts": [shown("tree:1")], "CapAdd": ["SYS_ADMIN"]})
    assert "Read-only" in said


def test_inspect_and_volumes_from(engine: Engine) -> None:
    body = {"Image": "busybox:latest", "Cmd": ["true"], "HostConfig": {"Mounts": [shown("tree:1", "b")]}}
    made = engine.api("POST", "/containers/create", body).ok(201).json["Id"]
    (mount,) = engine.api.get(f"/containers/{made}/json")["Mounts"]
    assert mount["Source"].startswith("sha256:")
    del mount["Source"]
    assert mount == {"Type": "image", "Name": "tree:1", "Destination": "/i", "Mode": "", "RW": False, "Propagation": "rprivate"}
    assert run(engine, "ls /i", {"VolumesFrom": [made]}) == "deep\n"


@pytest.mark.parametrize(
    ("mount", "status", "text"),
    [
        (shown("nope:1"), 404, "No such image: nope:1"),
        (shown(""), 400, 'invalid mount config for type "image": field Source must not be empty'),
        (shown("tree:1", "../x"), 400, 'invalid mount config for type "image": subpath must be a relative path within the volume'),
        (shown("tree:1", "/x"), 400, 'invalid mount config for type "image": subpath must be a relative path within the volume'),
        ({**shown("tree:1"), "BindOptions": {}}, 400, 'BindOptions must not be specified on mount type "image"'),
        ({"Type": "npipe", "Source": r"\\.\pipe\x", "Target": "/x"}, 400, "mount type 'npipe'"),
        ({"Type": "cluster", "Source": "x", "Target": "/x"}, 400, "mount type 'cluster'"),
    ],
)
def test_what_cannot_be_is_refused_at_create(engine: Engine, mount: dict[str, Any], status: int, text: str) -> None:
    engine.api("POST", "/containers/create", {"Image": "busybox:latest", "HostConfig": {"Mounts": [mount]}}).refused(status, text)


def test_a_path_that_is_not_in_the_image_fails_the_start(engine: Engine) -> None:
    body = {"Image": "busybox:latest", "HostConfig": {"Mounts": [shown("tree:1", "a/gone")]}}
    made = engine.api("POST", "/containers/create", body).ok(201).json["Id"]
    engine.api("POST", f"/containers/{made}/start").refused(500, "cannot access path a/gone of the image at /i: no such file or directory")


def test_an_image_stays_for_the_container_that_mounts_it(engine: Engine, tmp_path: Path) -> None:
    load(engine, tmp_path, "other:1", b"2")
    body = {"Image": "busybox:latest", "Cmd": ["cat", "/i/a/kept"], "HostConfig": {"Mounts": [shown("other:1")]}}
    made = engine.api("POST", "/containers/create", body).ok(201).json["Id"]
    engine.api("DELETE", "/images/other:1").refused(409, f"(must force) - container {made[:12]} is using its referenced image")
    engine.api("DELETE", "/images/other:1", force=True).ok()
    engine.restart()
    engine.api("POST", f"/containers/{made}/start").ok(204)
    assert engine.api("POST", f"/containers/{made}/wait").ok().json["StatusCode"] == 0
    engine.api("DELETE", f"/containers/{made}").ok(204)
