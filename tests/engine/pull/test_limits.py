"""Pulls at the edges: many layers, many tags, large sparse files, disks that are full."""

import contextlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import images
from tests.harness.commands import eventually, run
from tests.harness.engine import Engine
from tests.harness.registry import FakeRegistry, image, small

from .conftest import present, pull, pulled, remove


@pytest.mark.no_leak_check  # the list of a container's layers is collected at the next start
def test_two_hundred_layers(engine: Engine, registry: FakeRegistry) -> None:
    made = image([images.busybox_layer(), *(images.layer({f"n/{n}": f"{n}\n".encode()}) for n in range(199))])
    name = registry.add("deep", made, "1")
    pulled(engine, name)
    assert engine.pier("run", "--rm", name, "sh", "-c", "ls /n | wc -l; cat /n/198").ok().out.split() == ["199", "198"]
    remove(engine, name)


def test_a_thousand_tags(engine: Engine, registry: FakeRegistry) -> None:
    registry.add("many", small("many"), *(f"t{n:03}" for n in range(1000)))
    name = f"{registry.name}/many"
    lines = pulled(engine, name)
    assert len([line for line in lines if line["status"] == "Pulling from many"]) == 1000
    assert len(engine.api.get(f"/images/{name}:t999/json")["RepoTags"]) == 1000
    assert len(registry.asked("blobs/")) == 2, "the layer and the configuration, once"
    remove(engine, engine.api.get(f"/images/{name}:t999/json")["Id"])
    assert not present(engine, f"{name}:t000")


def sparse(size: int) -> bytes:
    """A layer with one file of `size` bytes that is a hole but for its last five (GNU sparse format 1.0)."""
    out = io.BytesIO()
    data = f"1\n{size - 5}\n5\n".encode().ljust(512, b"\0") + b"tail\n"
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("GNUSparseFile.0/hole")
        entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "hole", "GNU.sparse.realsize": str(size)}
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.no_leak_check
def test_ten_gigabytes_of_nothing(engine: Engine, registry: FakeRegistry) -> None:
    made = image([images.busybox_layer(), sparse(10 << 30)])
    name = registry.add("hole", made, "1")
    before = os.statvfs(engine.data_root).f_bavail
    pulled(engine, name)
    assert (before - os.statvfs(engine.data_root).f_bavail) * os.statvfs(engine.data_root).f_frsize < 1 << 30
    assert engine.pier("run", "--rm", name, "sh", "-c", "stat -c %s /hole; tail -c 5 /hole").ok().out.split() == [str(10 << 30), "tail"]
    remove(engine, name)


@pytest.fixture(scope="module")
def cramped() -> Iterator[Engine]:
    """An engine whose data root is a file system of 120 MB, of which archives leave 64 free (archive.limits.Limits.reserve_bytes)."""
    engine = Engine()
    try:
        engine.data_root.mkdir()
        run(engine.namespaces.argv("mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(engine.data_root))).ok()
        engine.start()
        yield engine
    finally:
        engine.close()


@pytest.mark.parametrize("left", [1_000_000, 3_000_000, 6_000_000, 30_000_000, 66_000_000, 71_000_000])
def test_a_disk_that_is_full(cramped: Engine, left: int) -> None:
    """Wherever it happens: in the first blob, in the second, in what is made of them. What was fetched makes room again, what is here works on."""
    with FakeRegistry(inside=cramped.namespaces) as registry:
        first = registry.add("first", image([images.busybox_layer()]), "1")
        pulled(cramped, first)
        name = registry.add("large", small("large", layers=2, size=2_500_000), "1")
        filler = str(cramped.data_root / "filler")
        inside(cramped, "fallocate", "-l", str(free(cramped) - left), filler)
        error = pull(cramped, name)[-1]["error"]
        assert "no space left" in error.lower() and f"{registry.name}/large" in error, error
        assert not present(cramped, name) and inside(cramped, "ls", str(cramped.data_root / "content/ingests")) == ""
        eventually(lambda: abs(left - free(cramped)) < 500_000, says="the room that it took is there again")
        inside(cramped, "rm", filler)
        assert cramped.pier("run", "--rm", first, "echo", "still").ok().out == "still\n"
        pulled(cramped, name)
        for shown in (first, name):
            remove(cramped, shown)


@contextlib.contextmanager
def filled(engine: Engine, left: int) -> Iterator[None]:
    """A disk that has so many bytes left; at the end as many are there again."""
    filler = str(engine.data_root / "filler")
    inside(engine, "fallocate", "-l", str(free(engine) - left), filler)
    there = free(engine)
    try:
        yield
        eventually(lambda: abs(there - free(engine)) < 500_000, says="the room that it took is there again")
        assert inside(engine, "ls", str(engine.data_root / "content/ingests")) == ""
    finally:
        inside(engine, "rm", filler)


@pytest.mark.parametrize("left", [8_000, 1_000_000, 3_000_000, 66_000_000])
def test_a_disk_that_is_full_under_a_load(cramped: Engine, tmp_path: Path, left: int) -> None:
    images.docker_archive(tmp_path / "i.tar", "loaded:1", [images.layer({f"f{n}": os.urandom(2_500_000)}) for n in range(2)])
    with filled(cramped, left):
        cramped.pier("load", "-i", str(tmp_path / "i.tar")).fails(1, "load: no space left on the disk")
        assert not present(cramped, "loaded:1")
    assert cramped.pier("load", "-i", str(tmp_path / "i.tar")).ok().out == "Loaded image: loaded:1\n"
    remove(cramped, "loaded:1")


@pytest.mark.parametrize("left", [8_000, 1_000_000, 66_000_000])
def test_a_disk_that_is_full_under_a_commit(cramped: Engine, left: int) -> None:
    cramped.load_busybox()
    made = cramped.pier("run", "-d", "busybox", "sh", "-c", "head -c 3000000 /dev/urandom > /data; echo there; sleep 600").ok().line
    try:
        eventually(lambda: cramped.pier("logs", made).out == "there\n", says="the file is there")
        with filled(cramped, left):
            cramped.pier("commit", made, "kept:1").fails(1, "o space left")
            assert not present(cramped, "kept:1")
        assert cramped.pier("exec", made, "echo", "on").ok().out == "on\n"
        cramped.pier("commit", made, "kept:1").ok()
        remove(cramped, "kept:1")
    finally:
        cramped.pier("rm", "-f", made)
        cramped.pier("rmi", "-f", "busybox")


@pytest.mark.parametrize("left", [8_000, 1_000_000])
def test_a_disk_that_is_full_under_a_push(cramped: Engine, tmp_path: Path, left: int) -> None:
    with FakeRegistry(inside=cramped.namespaces) as registry:
        name = f"{registry.name}/app:1"
        images.docker_archive(tmp_path / "i.tar", name, [images.layer({"f": os.urandom(3_000_000)})])
        cramped.api("POST", "/images/load", data=(tmp_path / "i.tar").read_bytes()).ok()
        layer = cramped.api.get(f"/images/{name}/json")["RootFS"]["Layers"][0]
        with filled(cramped, left):
            failed = cramped.pier("push", name).fails(1, "o space left")
            assert layer in failed.err and not registry.repositories["app"].tags
        cramped.pier("push", name).ok()
        remove(cramped, name)


def inside(engine: Engine, *command: str) -> str:
    return run(engine.namespaces.argv(*command)).ok().out


def free(engine: Engine) -> int:
    blocks, size = inside(engine, "stat", "-f", "-c", "%a %S", str(engine.data_root)).split()
    return int(blocks) * int(size)
