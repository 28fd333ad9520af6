"""Volumes on the file systems that people have: copies share their content where it can be shared (btrfs, xfs), and are copies everywhere."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import warm_up
from tests.harness.commands import run
from tests.harness.engine import Engine

MAKE = {"ext4": ("mkfs.ext4", "-q", "-F"), "btrfs": ("mkfs.btrfs", "-q", "-f"), "xfs": ("mkfs.xfs", "-q", "-f", "-m", "reflink=1")}
SHARES = {"btrfs", "xfs"}
SIZE, FILE = 320 << 20, 24 << 20  # mkfs.xfs makes none below 300 MB


@pytest.fixture(scope="module", params=list(MAKE))
def kind(request: pytest.FixtureRequest) -> str:
    """A file system that can be made and mounted here."""
    name = str(request.param)
    if shutil.which(MAKE[name][0], path="/sbin:/usr/sbin:/bin:/usr/bin") is None:
        pytest.skip(f"there is no {MAKE[name][0]} here")
    if f"\t{name}\n" not in Path("/proc/filesystems").read_text():
        pytest.skip(f"this kernel has no {name}")
    return name


@pytest.fixture(scope="module")
def site(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose data root is such a file system, in a sparse file."""
    file = tmp_path_factory.mktemp("disk") / "disk"
    with file.open("wb") as disk:
        disk.truncate(SIZE)
    run([*MAKE[kind], str(file)]).ok()
    engine = Engine()
    try:
        engine.data_root.mkdir()
        run(engine.namespaces.argv("mount", "-t", kind, "-o", "loop", str(file), str(engine.data_root))).ok()
        engine.start()
        warm_up(engine)
        yield engine
    finally:
        engine.close()
        file.unlink()


def root(engine: Engine) -> Path:
    return Path(f"/proc/{engine.namespaces.pid}/root{engine.data_root}")


def taken(engine: Engine) -> int:
    """Bytes of the disk that are in use, once all is written."""
    fd = os.open(root(engine), os.O_RDONLY)
    os.sync()
    os.close(fd)
    found = os.statvfs(root(engine))
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def inside(engine: Engine, volume: str, script: str) -> str:
    return engine.pier("run", "--rm", "-v", f"{volume}:/v", "busybox", "sh", "-c", script).ok().out


def test_a_clone_and_a_snapshot_are_copies_and_share_what_they_can(site: Engine, kind: str) -> None:
    site.pier("volume", "create", "one").ok()
    files = root(site) / "volumes/one/_data"
    (files / "large").write_bytes(os.urandom(FILE))
    with (files / "hole").open("wb") as hole:
        hole.truncate(1 << 30)
    os.setxattr(files / "large", "user.note", b"kept")
    os.link(files / "large", files / "link")
    os.chown(files / "large", 7, 8)
    before = taken(site)
    site.pier("volume", "clone", "one", "two").ok()
    site.pier("volume", "snapshot", "one", "then").ok()
    grown = taken(site) - before
    assert grown < FILE // 4 if kind in SHARES else grown >= 2 * FILE - (1 << 20), grown
    copy = root(site) / "volumes/two/_data"
    assert (copy / "large").read_bytes() == (files / "large").read_bytes() and (copy / "hole").stat().st_size == 1 << 30
    found = (copy / "large").stat()
    assert (found.st_uid, found.st_gid, found.st_nlink) == (7, 8, 2) and os.getxattr(copy / "large", "user.note") == b"kept"
    # Who writes to one changes that one alone.
    inside(site, "two", "echo other > /v/large; echo new > /v/own")
    assert (files / "large").stat().st_size == FILE and not (files / "own").exists()
    inside(site, "one", "rm /v/large /v/link; echo gone > /v/marker")
    site.pier("volume", "restore", "one", "then").ok()
    assert inside(site, "one", "ls /v; stat -c '%s %h' /v/large").split() == ["hole", "large", "link", str(FILE), "2"]
    for words in (("snapshot", "--rm", "one", "then"), ("rm", "one", "two")):
        site.pier("volume", *words).ok()
    assert abs(taken(site) - before) < FILE + (4 << 20)


def test_an_archive_of_it_comes_back(site: Engine) -> None:
    site.pier("volume", "create", "three").ok()
    inside(site, "three", "mkdir -m 750 /v/d; echo kept > /v/d/f; ln -s d/f /v/l; chown 5:6 /v/d")
    archive = site.api("GET", "/pier/volumes/three/export").ok().body
    site.api("POST", "/pier/volumes/four/import", data=archive).ok(201)
    assert inside(site, "four", "cat /v/l; stat -c '%u %g %a' /v/d").split() == ["kept", "5", "6", "750"]
    site.pier("volume", "rm", "three", "four").ok()
