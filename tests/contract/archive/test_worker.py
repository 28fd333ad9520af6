"""The worker as a process: what it can do, what it cannot, and what becomes of it when things go wrong."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pier.archive.refusal import BadArchive
from pier.archive.workers import Workers
from pier.errors import Internal, Unavailable
from pier.ipc import pair
from pier.ipc.aio import AsyncChannel
from pier.ipc.channel import Message
from tests.unit.archive import tars
from tests.unit.archive.images import archive, docker_archive, layer, sha

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="giving up privileges needs some")

MAIN = "import sys; from pier.archive import worker; worker.main(int(sys.argv[1]))"
# A job that looks around, in the place of the real one: how far does the process get?
SPY = """
import os, sys, socket, threading
from pier.linux.syscalls import call
from pier.archive import jobs, worker
def look(op, fields, fds, say):
    def attempt(what):
        try:
            what(); return "done"
        except BaseException as error:
            return type(error).__name__
    status = dict(line.split(":", 1) for line in STATUS.read().splitlines() if line.startswith(("Cap", "NoNewPrivs", "Seccomp:")))
    return {
        "status": {key: value.strip() for key, value in status.items()},
        "root": sorted(os.listdir("/")),
        "open": attempt(lambda: open("/etc/passwd")),
        "up": sorted(os.listdir("/../..")),
        "connect": attempt(lambda: socket.socket()),
        "fork": attempt(os.fork),
        "namespace": attempt(lambda: call("unshare", 0x20000)),
        "thread": attempt(lambda: (thread := threading.Thread(target=int), thread.start(), thread.join())),
        "device": attempt(lambda: os.mknod("dev", 0o20600, os.makedev(1, 3), dir_fd=fds[-1])),
        "chown": attempt(lambda: (os.mkdir("d", dir_fd=fds[-1]), os.chown("d", 5, 5, dir_fd=fds[-1]))),
        "execute": attempt(lambda: os.execv(sys.executable, ["python", "-c", "pass"])),
        "fds": [fd for fd in range(64) if attempt(lambda: os.fstat(fd)) == "done"],
    }
STATUS = None
def late(op, fields, fds, say):
    global STATUS
    return look(op, fields, fds, say)
jobs.run = late
enter = worker.confinement.enter
def keep_status(*arguments):
    global STATUS
    proc = os.open("/proc", os.O_RDONLY)
    enter(*arguments[:2], [proc, *arguments[2]], arguments[3])
    STATUS = os.fdopen(os.open("self/status", os.O_RDONLY, dir_fd=proc))
    os.close(proc)
worker.confinement.enter = keep_status
worker.main(int(sys.argv[1]))
"""
STUCK = "import sys, time; from pier.archive import jobs, worker; jobs.run = lambda *_: time.sleep(1000); worker.main(int(sys.argv[1]))"
DYING = "import sys, ctypes; from pier.archive import jobs, worker; jobs.run = lambda *_: ctypes.string_at(0); worker.main(int(sys.argv[1]))"
BUGGY = "import sys; from pier.archive import jobs, worker; jobs.run = lambda *_: 1 / 0; worker.main(int(sys.argv[1]))"


class Provider:
    """Starts a process for each worker that is asked for, as the keeper does."""

    def __init__(self, main: str = MAIN) -> None:
        self._main, self._hear = main, lambda message, fds: None
        self.processes: list[subprocess.Popen[bytes]] = []
        self.released = 0

    def listen(self, name: str, on_event: Callable[[Message, list[int]], None]) -> None:
        self._hear = on_event

    async def worker(self) -> AsyncChannel:
        ours, theirs = pair()
        fd = theirs.fileno()
        self.processes.append(subprocess.Popen([sys.executable, "-c", self._main, str(fd)], pass_fds=[fd], stderr=subprocess.DEVNULL))
        theirs.close()
        return AsyncChannel(ours, lambda message, fds: self._hear(message, fds))

    def release_worker(self, channel: AsyncChannel) -> None:
        self.released += 1
        channel.close()

    async def ended(self) -> None:
        for process in self.processes:
            assert await asyncio.to_thread(process.wait, 30) is not None


@asynccontextmanager
async def job_fds(tmp_path: Path, data: bytes | None) -> AsyncIterator[tuple[list[int], Path, int]]:
    """[input, ingest], the ingest folder, and the pipe's other end where data is None."""
    ingest = tmp_path / "ingest"
    ingest.mkdir()
    write_fd = -1
    if data is None:
        read_fd, write_fd = os.pipe()
    else:
        (tmp_path / "input").write_bytes(data)
        read_fd = os.open(tmp_path / "input", os.O_RDONLY)
    fds = [read_fd, os.open(ingest, os.O_RDONLY | os.O_DIRECTORY)]
    try:
        yield fds, ingest, write_fd
    finally:
        for fd in fds:
            os.close(fd)
        with suppress(OSError):
            os.close(write_fd)


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("kind", ["erofs", "unpacked"])
def test_load_in_the_worker(tmp_path: Path, kind: str) -> None:
    async def go() -> None:
        provider = Provider()
        data = archive(docker_archive([layer(0), tars.tar(tars.header(b"null", b"3", device=(1, 3), uid=7))], ["a:1"]))
        async with job_fds(tmp_path, data) as (fds, ingest, _):
            said: list[Message] = []
            answer = await Workers(provider).run("load", fds, said.append, kind=kind)
            assert answer["images"][0]["tags"] == ["a:1"] and said[-1]["state"] == "syncing"
            found = {path.name for path in (ingest / "layers/1").iterdir()}
            assert found == ({"layer.tar", "layer.erofs"} if kind == "erofs" else {"fs", "layer.skeleton", "layer.json"})
            if kind == "unpacked":
                info = (ingest / "layers/1/fs/null").stat()
                assert (info.st_rdev, info.st_uid) == (os.makedev(1, 3), 7)
        await provider.ended()
        assert provider.released == 1

    run(go())


@pytest.mark.parametrize(("name", "shown"), [(b"../x", "../x"), (b"../\n\xff\xc3\xa9", "../\\n\\xff\u00e9")])
def test_a_refusal_leaves_the_worker_in_use(tmp_path: Path, name: bytes, shown: str) -> None:
    async def go() -> None:
        provider = Provider()
        async with job_fds(tmp_path, tars.tar(tars.file(name))) as (fds, _, _w):
            with pytest.raises(BadArchive) as caught:
                await Workers(provider).run("load", fds, kind="erofs")
            assert caught.value.entry == shown and "leads out" in caught.value.reason and provider.released == 1

    run(go())


@pytest.mark.parametrize(("kind", "kept"), [("erofs", 0), ("unpacked", 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 27 | 1 << 31 | 1 << 21)])
def test_what_a_job_has_given_up(tmp_path: Path, kind: str, kept: int) -> None:
    async def go() -> None:
        provider = Provider(SPY)
        async with job_fds(tmp_path, b"x") as (fds, _, _w):
            seen = await Workers(provider).run("load", fds, kind=kind)
        status = seen["status"]
        assert [int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")] == [kept, kept, kept, 0, 0]
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert seen["root"] == [] == seen["up"] and seen["open"] == "FileNotFoundError"
        assert (seen["connect"], seen["execute"], seen["fork"], seen["namespace"]) == ("PermissionError",) * 4
        assert seen["thread"] == "done"
        assert (seen["device"], seen["chown"]) == (("done", "done") if kept else ("PermissionError", "PermissionError"))
        assert len([fd for fd in seen["fds"] if fd > 2]) <= 4  # the channel, the input, the folder, and the spy's own

    run(go())


def test_a_hung_job_is_killed_with_its_worker(tmp_path: Path) -> None:
    async def go() -> None:
        provider = Provider(STUCK)
        async with job_fds(tmp_path, b"x") as (fds, _, _w):
            with pytest.raises(Unavailable, match="did nothing for"):
                await Workers(provider, stall_s=0.5).run("load", fds, kind="erofs")
        await provider.ended()
        assert provider.released == 0

    run(go())


def test_a_slow_client_is_no_hung_job(tmp_path: Path) -> None:
    async def go() -> None:
        provider = Provider(MAIN.replace("worker.main", "import pier.archive.jobs as jobs; jobs._WAIT_MS = 50; worker.main"))
        data = archive(docker_archive([layer(0)], ["a:1"]))
        async with job_fds(tmp_path, None) as (fds, _, write_fd):
            waiting = asyncio.Event()
            task = asyncio.ensure_future(
                Workers(provider, stall_s=20).run("load", fds, lambda said: waiting.set() if said["state"] == "waiting" else None, kind="erofs")
            )
            await waiting.wait()
            os.write(write_fd, data[:1000])
            waiting.clear()
            await waiting.wait()
            os.write(write_fd, data[1000:])
            os.close(write_fd)
            assert (await task)["images"][0]["tags"] == ["a:1"]

    run(go())


def test_a_cancelled_job_ends_at_once(tmp_path: Path) -> None:
    async def go() -> None:
        provider = Provider()
        async with job_fds(tmp_path, None) as (fds, _, _w):
            task = asyncio.ensure_future(Workers(provider).run("load", fds, kind="erofs"))
            while not provider.processes or not children(provider.processes[0].pid):
                await asyncio.sleep(0.01)
            (job,) = children(provider.processes[0].pid)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await provider.ended()
            assert not Path(f"/proc/{job}").exists()

    run(go())


@pytest.mark.parametrize(("main", "error", "text"), [(DYING, Unavailable, "killed by SIGSEGV"), (BUGGY, Internal, "ZeroDivisionError")])
def test_a_job_that_crashes_is_answered_for(tmp_path: Path, main: str, error: type[Exception], text: str) -> None:
    async def go() -> None:
        async with job_fds(tmp_path, b"x") as (fds, _, _w):
            with pytest.raises(error, match=text):
                await Workers(Provider(main)).run("load", fds, kind="erofs")

    run(go())


def test_a_killed_worker_takes_its_job_along_and_the_next_one_works(tmp_path: Path) -> None:
    async def go() -> None:
        provider = Provider()
        workers = Workers(provider)
        async with job_fds(tmp_path, None) as (fds, _, _w):
            task = asyncio.ensure_future(workers.run("load", fds, kind="erofs"))
            while not provider.processes or not children(provider.processes[0].pid):
                await asyncio.sleep(0.01)
            (job,) = children(provider.processes[0].pid)
            provider.processes[0].send_signal(signal.SIGKILL)
            with pytest.raises(Unavailable, match="the worker died during load"):
                await task
            while Path(f"/proc/{job}").exists():
                await asyncio.sleep(0.01)
        (tmp_path / "next").mkdir()
        async with job_fds(tmp_path / "next", layer(1)) as (fds, _, _w):
            assert (await workers.run("import", fds, kind="erofs"))["diff_id"] == "sha256:" + sha(layer(1))

    run(go())


def test_no_more_jobs_at_once_than_allowed(tmp_path: Path) -> None:
    async def go() -> None:
        provider = Provider()
        workers = Workers(provider, limit=1)
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        async with job_fds(tmp_path / "a", None) as (slow, _, write_fd), job_fds(tmp_path / "b", layer(1)) as (quick, _, _w):
            first = asyncio.ensure_future(workers.run("import", slow, kind="erofs"))
            while not provider.processes:
                await asyncio.sleep(0.01)
            second = asyncio.ensure_future(workers.run("import", quick, kind="erofs"))
            await asyncio.sleep(0.1)
            assert len(provider.processes) == 1 and not second.done()
            os.write(write_fd, layer(0))
            os.close(write_fd)
            assert (await first)["diff_id"] == "sha256:" + sha(layer(0))
            assert (await second)["diff_id"] == "sha256:" + sha(layer(1))

    run(go())
