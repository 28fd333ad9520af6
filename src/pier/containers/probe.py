"""One check of a container: its command as an exec, what it wrote, and its end, which is brought about where it takes too long."""

import asyncio
import contextlib
import hashlib
import os
import secrets
import signal
import socket
import time

from pier import trace
from pier.api.models.execs import ExecCreateRequest, ExecStartRequest
from pier.containers import execs
from pier.containers.execprocess import Exec
from pier.containers.health import FAILED, OUTPUT_BYTES, Check, Rules, output, too_late
from pier.containers.record import Container
from pier.containers.table import Containers
from pier.errors import PierError
from pier.http.message import Hijacked
from pier.linux import pidfd
from pier.linux.cgroups import CgroupLayout

_END_S = 10.0
_ROUNDS = 10


def mark(container_id: str) -> str:
    """What the IDs of a container's checks begin with: who comes after a daemon that was killed can tell them from a user's execs."""
    return hashlib.sha256(f"health check of {container_id}".encode()).hexdigest()[:16]


async def run(ctx: Containers, container: Container, wanted: Rules) -> Check:
    """Make one check. What keeps it from running is its answer, too. Cancelled, its processes are ended, and nothing waits for that."""
    start_ns = time.time_ns()
    request = ExecCreateRequest(attach_stdout=True, attach_stderr=True, cmd=list(wanted.command))
    found = Exec(mark(container.id) + secrets.token_hex(24), container, request, list(wanted.command), keep_s=0)
    theirs, written = _Written.open()
    try:
        try:
            async with ctx.checking.starting:
                execs.register(ctx, found)
                found.started = found.running = True
                trace.point("health.start")
                await execs.launch(ctx, found, ExecStartRequest(), Hijacked(theirs, b""), framed=False)
        except PierError as problem:
            return Check(start_ns, time.time_ns(), FAILED, str(problem))
        trace.point("health.running")
        try:
            await asyncio.wait_for(found.over.wait(), wanted.timeout_ns / 1e9)
        except TimeoutError:
            await asyncio.to_thread(end, ctx.facts.cgroups, container.id, found.pid)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(found.over.wait(), _END_S)
            if not found.over.is_set():  # it is stuck in the kernel, or its end was lost with the keeper
                execs.abandon(ctx, found)
            return Check(start_ns, time.time_ns(), FAILED, too_late(wanted, output(written.take())))
        code = FAILED if found.exit_code is None else found.exit_code
        return Check(start_ns, time.time_ns(), code, output(written.take()))
    except asyncio.CancelledError:
        if found.pid and not found.over.is_set():
            ctx.spawn(asyncio.to_thread(end, ctx.facts.cgroups, container.id, found.pid), f"end a check of {container.record.short_id}")
        raise
    finally:
        if not found.pid and not found.over.is_set():
            execs.abandon(ctx, found)  # it never came to run
        written.close()
        theirs.close()


class _Written:
    """The beginning of a check's output; for the rest nobody is there, and the pump throws it away."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._data = sock, bytearray()
        asyncio.get_running_loop().add_reader(sock, self._read)

    @classmethod
    def open(cls) -> "tuple[socket.socket, _Written]":
        """(the end that is to be the client's connection, what is read at the other end)."""
        theirs, ours = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        return theirs, cls(ours)

    def _read(self) -> None:
        try:
            data = self._sock.recv(OUTPUT_BYTES + 1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._data += data
        if not data or len(self._data) > OUTPUT_BYTES:
            self.close()

    def take(self) -> bytes:
        """What came until now, a byte more than is kept where there was more."""
        while self._sock.fileno() >= 0:
            before = len(self._data)
            self._read()
            if len(self._data) == before:
                break
        return bytes(self._data[: OUTPUT_BYTES + 1])

    def close(self) -> None:
        """Harmless twice."""
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()


def end(cgroups: CgroupLayout, container_id: str, leader: int) -> None:
    """SIGKILL the process that a check began with, and all of its session in the container: a shell's children go with it. Blocking.

    Each is looked at through its pidfd, so that a reused pid is left alone. What has made a session of its own stays, as in Docker.
    """
    for _ in range(_ROUNDS):
        left = False
        try:
            pids = cgroups.pids(container_id)
        except OSError:
            return
        for pid in pids:
            try:
                process = pidfd.pidfd_open(pid)
            except OSError:
                continue
            try:
                if _session(pid) == leader:
                    pidfd.send_signal(process, signal.SIGKILL)
                    left = True
            except OSError:
                pass
            finally:
                os.close(process)
        if not left:
            return
        time.sleep(0.005)


def _session(pid: int) -> int:
    """Field 6 of /proc/PID/stat (proc(5)); 0 for a process that has ended and waits for its parent. Raises OSError."""
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fields = os.read(fd, 1024).rpartition(b")")[2].split()
    finally:
        os.close(fd)
    return 0 if fields[0] in (b"Z", b"X") else int(fields[3])
