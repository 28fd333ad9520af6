"""Compression in the worker: what leaves through a pipe, what it may use, and what becomes of it when the reader goes."""

import asyncio
import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pier.archive.workers import Workers
from pier.errors import Internal, Unavailable
from pier.oci import digest as digests

from .test_worker import Provider, pytestmark, run

__all__ = ["pytestmark"]


class Job:
    """A tar, a pipe for what comes out and an empty folder: the descriptors of the operation."""

    def __init__(self, folder: Path, data: bytes) -> None:
        (folder / "in").write_bytes(data)
        (folder / "empty").mkdir()
        self.read_fd, write_fd = os.pipe()
        self.fds = [os.open(folder / "in", os.O_RDONLY), write_fd, os.open(folder / "empty", os.O_RDONLY | os.O_DIRECTORY)]
        self.folder = folder

    def started(self) -> None:
        """The worker has its own: the pipe ends with it."""
        os.close(self.fds.pop(1))

    def all(self) -> bytes:
        parts = []
        while data := os.read(self.read_fd, 1 << 20):
            parts.append(data)
        return b"".join(parts)

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)
        os.close(self.read_fd)


@pytest.mark.parametrize(("form", "threads"), [("gzip", 1), ("gzip", 2), ("zstd", 2)])
def test_a_layer_is_compressed(tmp_path: Path, form: str, threads: int) -> None:
    async def go() -> None:
        provider, data = Provider(), os.urandom(1 << 20) + bytes(5 << 20)
        job = Job(tmp_path, data)
        reading = asyncio.create_task(asyncio.to_thread(job.all))
        said: list[object] = []
        answer = await Workers(provider).run("compress", job.fds, said.append, form=form, threads=threads)
        job.started()
        out = await reading
        assert (answer["diff_id"], answer["tar_bytes"], answer["size"]) == (digests.of(data), len(data), len(out))
        plain = gzip.decompress(out) if form == "gzip" else subprocess.run(["zstd", "-dc"], input=out, capture_output=True, check=True).stdout
        assert plain == data and os.listdir(tmp_path / "empty") == []
        job.close()
        await provider.ended()

    run(go())


def test_a_reader_that_goes_ends_the_job(tmp_path: Path) -> None:
    async def go() -> None:
        provider = Provider()
        job = Job(tmp_path, os.urandom(8 << 20))
        os.close(job.read_fd)
        with pytest.raises(Unavailable, match="Broken pipe"):
            await Workers(provider).run("compress", job.fds)
        job.read_fd = os.open("/dev/null", os.O_RDONLY)
        job.close()
        await provider.ended()

    run(go())


@pytest.mark.parametrize("fields", [{"form": "xz"}, {"level": 9}, {"threads": 0}, {"threads": 1000}])
def test_what_it_does_not_know_is_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    async def go() -> None:
        provider = Provider()
        job = Job(tmp_path, b"x")
        with pytest.raises(Internal):
            await Workers(provider).run("compress", job.fds, **fields)
        job.started()
        assert job.all() == b""
        job.close()
        await provider.ended()

    run(go())


def test_memory_does_not_grow_with_the_layer(tmp_path: Path) -> None:
    """In a process of its own, whose peak is its own."""
    program = (
        "import sys, os, resource; from pier.archive import compress;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "compress.compress(0, 1, compress.Gzip(), 2);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, file=sys.stderr)"
    )
    with open(tmp_path / "in", "wb") as file:
        file.truncate(300 << 20)
    with open(tmp_path / "in", "rb") as source:
        done = subprocess.run([sys.executable, "-c", program], stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    assert int(done.stderr) < 40 << 10  # kB
