"""A disk that is full, at every page: a sweep over what is left when an operation begins, from nothing to where it succeeds.

Archives leave 64 MB free (archive.limits.Limits.reserve_bytes), so there are two edges: the disk's own end, and the reserve's. At both each page is
tried, then every few. Wherever the room ends, the image is whole or not there, nothing is left over, and what is here works on.
"""

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import warm_up
from tests.harness import images
from tests.harness.commands import eventually, run
from tests.harness.engine import Engine
from tests.harness.registry import FakeRegistry, attestation, image, index

PAGE, RESERVE = 4096, 64 << 20
EDGE = (*range(8), *range(8, 60, 13), *range(60, 240, 45))  # pages
LEVELS = (*(PAGE * pages for pages in EDGE), 30_000_000, *(RESERVE + PAGE * pages for pages in (-1, *EDGE)))
HERE = "amd64" if images.busybox_is_amd64() else "arm64"
LAYERS = [images.layer({f"sweep/{n}": os.urandom(30_000), f"sweep/d{n}": 0o755}) for n in range(2)]


class Disk:
    """The file system of the engine's data root, of which a filler takes what it is told to."""

    def __init__(self, engine: Engine) -> None:
        self.root = Path(f"/proc/{engine.namespaces.pid}/root{engine.data_root}")
        self._filler = os.open(self.root / "filler", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def free(self) -> int:
        found = os.statvfs(self.root)
        return found.f_bavail * found.f_frsize

    def leave(self, size: int) -> None:
        for _ in range(20):
            os.ftruncate(self._filler, 0)
            try:
                return os.posix_fallocate(self._filler, 0, max(self.free() - size, 1))
            except OSError as error:  # the engine has written something meanwhile
                if error.errno != errno.ENOSPC:
                    raise
        raise AssertionError(f"the disk cannot be left with {size} bytes")

    def give_back(self) -> None:
        os.ftruncate(self._filler, 0)

    def unfinished(self) -> list[str]:
        return os.listdir(self.root / "content/ingests")

    def files(self) -> list[str]:
        """What images consist of; the database grows and shrinks as it likes."""
        folders = [path for name in ("content", "layers") for path in os.walk(self.root / name)]
        return sorted(f"{folder}/{name}" for folder, _, names in folders for name in names)

    def close(self) -> None:
        os.close(self._filler)


@pytest.fixture(scope="module")
def cramped() -> Iterator[Engine]:
    engine = Engine()
    try:
        engine.data_root.mkdir()
        run(engine.namespaces.argv("mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(engine.data_root))).ok()
        engine.start()
        warm_up(engine)
        yield engine
    finally:
        engine.close()


def sweep(engine: Engine, name: str, act: Callable[[], str]) -> None:
    """Do it at every level. act: does it once, and gives what it says of an error, "" where there was none."""
    disk = Disk(engine)
    try:
        assert act() == ""
        whole = content(engine, name)
        engine.api("DELETE", f"/images/{name}", force=True).ok()
        eventually(lambda: not any("/.trash/" in path for path in disk.files()), says="what was removed is gone")
        before, failed = disk.files(), 0
        for level in LEVELS:
            disk.leave(level)
            error = act()
            there = engine.api("GET", f"/images/{name}/json").status == 200
            assert there == (not error), (level, error)
            if error:
                failed += 1
                assert "no space left" in error.lower() or "disk full" in error.lower(), (level, error)
            disk.give_back()
            if there:
                assert content(engine, name) == whole, level
                engine.api("DELETE", f"/images/{name}", force=True).ok()
            eventually(lambda: disk.unfinished() == [], says=f"nothing is left over at {level}")
            if error and failed % 8 == 1:
                assert act() == "", (level, "once there is room")
                assert content(engine, name) == whole
                engine.api("DELETE", f"/images/{name}", force=True).ok()
        assert len(EDGE) < failed < len(LEVELS), "both edges were met, and passed"
        eventually(lambda: disk.files() == before, says="nothing of it is left")
        assert engine.pier("run", "--rm", "busybox", "echo", "still").ok().out == "still\n"
    finally:
        disk.close()
        engine.api("DELETE", f"/images/{name}", force=True)


def content(engine: Engine, name: str) -> tuple[list[str], int]:
    """What an image consists of, read to the end: each layer's digest is checked as it is."""
    layers: list[str] = engine.api.get(f"/images/{name}/json")["RootFS"]["Layers"]
    return layers, len(engine.api("GET", f"/images/{name}/get").ok().body)


def last_error(body: bytes) -> str:
    lines: list[dict[str, Any]] = [json.loads(line) for line in body.splitlines() if line.strip()]
    return str(lines[-1].get("error") or lines[-1].get("message") or "") if lines else "nothing was answered"


def refusal(answer: Any) -> str:
    return "" if answer.status < 300 else str(answer.json["message"])


def test_load(cramped: Engine, tmp_path: Path) -> None:
    images.docker_archive(tmp_path / "i.tar", "swept:1", LAYERS)
    data = (tmp_path / "i.tar").read_bytes()
    sweep(cramped, "swept:1", lambda: last_error(cramped.api("POST", "/images/load", data=data, quiet=True).body))


def test_import(cramped: Engine) -> None:
    query = {"fromSrc": "-", "repo": "swept", "tag": "1"}
    sweep(cramped, "swept:1", lambda: last_error(cramped.api("POST", "/images/create", data=LAYERS[0], **query).body))


def test_commit(cramped: Engine) -> None:
    cramped.pier("run", "--name", "written", "busybox", "sh", "-c", "mkdir /sweep && head -c 60000 /dev/urandom > /sweep/f").ok()
    try:
        sweep(cramped, "swept:1", lambda: refusal(cramped.api("POST", "/commit", {}, container="written", repo="swept", tag="1")))
    finally:
        cramped.pier("rm", "written").ok()


def test_pull(cramped: Engine) -> None:
    made = image(LAYERS)
    with FakeRegistry(inside=cramped.namespaces) as registry:
        name = registry.add("swept", index([(made, f"linux/{HERE}")], about=[(attestation(os.urandom(20_000)), made)]), "1")
        sweep(cramped, name, lambda: last_error(cramped.api("POST", "/images/create", fromImage=name).body))


def test_save_needs_no_room(cramped: Engine, tmp_path: Path) -> None:
    """An archive is sent from what is here: it is the same on a disk that has nothing left."""
    images.docker_archive(tmp_path / "i.tar", "swept:1", LAYERS)
    cramped.api("POST", "/images/load", data=(tmp_path / "i.tar").read_bytes()).ok()
    whole = cramped.api("GET", "/images/swept:1/get").ok().body
    disk = Disk(cramped)
    try:
        for level in LEVELS[:4]:
            disk.leave(level)
            assert cramped.api("GET", "/images/swept:1/get").ok().body == whole
    finally:
        disk.give_back()
        disk.close()
        cramped.api("DELETE", "/images/swept:1", force=True).ok()


