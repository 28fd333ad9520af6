"""The pump: output to log and clients, input to containers, its end and its successors. The "container" is this process."""

import asyncio
import fcntl
import os
import pty
import signal
import socket
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pier.errors import Invalid
from pier.logs import fifos, framing
from pier.logs.client import LogConfig, Lost, Pump
from pier.runtime.supervisor import Supervisor
from tests.engine.supervision.conftest import Place

KEY = "k" * 64


class Streams:
    """The container's ends of its FIFOs, opened as a container does."""

    def __init__(self, paths: fifos.Fifos) -> None:
        self.out = os.open(paths.stdout or "", os.O_RDWR)
        self.err = os.open(paths.stderr or "", os.O_RDWR)
        self.stdin = os.open(paths.stdin, os.O_RDONLY | os.O_NONBLOCK) if paths.stdin else -1

    def close(self) -> None:
        for fd in (self.out, self.err, self.stdin):
            if fd >= 0:
                os.close(fd)
        self.out = self.err = self.stdin = -1


@asynccontextmanager
async def pumping(place: Place) -> AsyncIterator[tuple[Supervisor, Pump]]:
    async with place.supervisor() as supervisor:
        pump = Pump(lambda: supervisor.helper("pump"))
        supervisor.listen("pump", pump.on_event)
        report = supervisor._on_lost

        def lost(name: str) -> None:
            if name == "pump":
                pump.on_lost()
            report(name)

        supervisor._on_lost = lost
        yield supervisor, pump
        await pump.close(KEY)


def local(place: Place, **options: str) -> LogConfig:
    return LogConfig("local", str(place.root / "log"), {name.replace("_", "-"): value for name, value in options.items()})


def frames(place: Place) -> list[tuple[int, bytes]]:
    data = (place.root / "log/container.log").read_bytes()
    return [(stream, payload) for _, (stream, _, payload) in framing.decode(data)]


def logged(place: Place, stream: int) -> bytes:
    return b"".join(payload for number, payload in frames(place) if number == stream)


async def begin(place: Place, pump: Pump, log: LogConfig | None, stdin: bool = False, stdin_once: bool = False) -> Streams:
    paths = fifos.make(place.root, KEY, stdin=stdin, terminal=False)
    ends = paths.open()
    await pump.open(KEY, stdin=ends.stdin, stdout=ends.stdout, stderr=ends.stderr, log=log, stdin_once=stdin_once)
    ends.close()
    return Streams(paths)


async def read_all(sock: socket.socket) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    sock.setblocking(False)
    while part := await loop.sock_recv(sock, 1 << 20):
        data += part
    return data


async def read_some(sock: socket.socket, count: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    sock.setblocking(False)
    while len(data) < count:
        part = await loop.sock_recv(sock, count - len(data))
        assert part, f"ended after {data!r}"
        data += part
    return data


def test_output_goes_to_the_log_and_as_frames_to_the_client(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            streams = await begin(place, pump, local(place))
            ours, theirs = socket.socketpair()
            handle = await pump.attach(KEY, theirs.fileno(), stdin=False, stdout=True, stderr=True, multiplexed=True)
            theirs.close()
            os.write(streams.out, b"one\n")
            assert await read_some(ours, 12) == b"\x01\0\0\0\0\0\0\x04one\n"
            os.write(streams.err, b"two\n")
            streams.close()
            assert await pump.drain(KEY) is None
            assert await handle.done == "eof"
            assert await read_all(ours) == b"\x02\0\0\0\0\0\0\x04two\n"
            assert (logged(place, 1), logged(place, 2)) == (b"one\n", b"two\n")
            ours.close()

    asyncio.run(body())


def test_a_client_that_came_before_the_start_types_into_stdin_which_ends_with_its_half_close(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            ours, theirs = socket.socketpair()
            handle = await pump.attach(KEY, theirs.fileno(), stdin=True, stdout=True, stderr=False, multiplexed=False, initial=b"a\xff")
            theirs.close()
            ours.sendall(b"b")
            ours.shutdown(socket.SHUT_WR)
            streams = await begin(place, pump, None, stdin=True, stdin_once=True)
            os.set_blocking(streams.stdin, False)
            got = b""

            def ended() -> bool:
                nonlocal got
                try:
                    part = os.read(streams.stdin, 100)
                except BlockingIOError:
                    return False
                got += part
                return not part

            await place.until(ended)
            assert got == b"a\xffb"
            os.write(streams.out, b"answer")
            streams.close()
            await pump.drain(KEY)
            assert await read_all(ours) == b"answer"
            assert await handle.done == "eof"
            ours.close()

    asyncio.run(body())


def at_its_end(fd: int) -> bool:
    """Whether a FIFO that nothing was written to has lost its last writer."""
    try:
        return os.read(fd, 100) == b""
    except BlockingIOError:
        return False


def test_a_client_that_says_nothing_ends_stdin_at_once_and_harms_nobody(place: Place) -> None:
    """`docker exec -i c tr a b </dev/null`: its input has ended before the start, and stdin is closed while it is opened."""

    async def body() -> None:
        async with pumping(place) as (supervisor, pump):
            ours, theirs = socket.socketpair()
            handle = await pump.attach(KEY, theirs.fileno(), stdin=True, stdout=True, stderr=False, multiplexed=False)
            theirs.close()
            ours.shutdown(socket.SHUT_WR)
            before = place.pid_of("pier-pump")
            streams = await begin(place, pump, None, stdin=True, stdin_once=True)
            await place.until(lambda: at_its_end(streams.stdin))
            with pytest.raises(KeyError):  # nobody keeps it open, once the keeper has read what the pump told it
                for _ in range(200):
                    os.close(await supervisor.fetch(KEY, "stdin"))
                    await asyncio.sleep(0.02)
            os.write(streams.out, b"answer")
            streams.close()
            await pump.drain(KEY)
            assert await read_all(ours) == b"answer"
            assert await handle.done == "eof"
            assert (place.pid_of("pier-pump"), place.lost) == (before, [])
            ours.close()

    asyncio.run(body())


def test_stdin_stays_open_where_it_is_not_once(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            streams = await begin(place, pump, None, stdin=True)
            for text in (b"first", b"second"):
                ours, theirs = socket.socketpair()
                handle = await pump.attach(KEY, theirs.fileno(), stdin=True, stdout=True, stderr=True, multiplexed=False)
                theirs.close()
                ours.sendall(text)
                ours.close()
                assert await handle.done == "client-gone"
                assert os.read(streams.stdin, 100) == text
            with pytest.raises(BlockingIOError):
                os.read(streams.stdin, 1)
            streams.close()

    asyncio.run(body())


def test_detach_keys_end_the_client_and_are_not_passed_on(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            streams = await begin(place, pump, None, stdin=True, stdin_once=True)
            ours, theirs = socket.socketpair()
            handle = await pump.attach(KEY, theirs.fileno(), stdin=True, stdout=True, stderr=True, multiplexed=False, detach_keys=b"\x10\x11")
            theirs.close()
            ours.sendall(b"x\x10y\x10\x11z")
            assert await handle.done == "detached"
            assert await read_all(ours) == b""
            assert os.read(streams.stdin, 100) == b"x\x10y"
            with pytest.raises(BlockingIOError):
                os.read(streams.stdin, 1)  # detaching does not close the input
            streams.close()
            ours.close()

    asyncio.run(body())


def test_a_terminal_is_pumped_resized_and_its_last_words_arrive(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            master, slave = pty.openpty()
            attributes = termios.tcgetattr(slave)
            attributes[1] &= ~termios.OPOST
            attributes[3] &= ~(termios.ECHO | termios.ICANON)
            termios.tcsetattr(slave, termios.TCSANOW, attributes)
            await pump.open(KEY, console=master, log=local(place))
            os.close(master)
            ours, theirs = socket.socketpair()
            handle = await pump.attach(KEY, theirs.fileno(), stdin=True, stdout=True, stderr=True, multiplexed=False)
            theirs.close()
            await pump.resize(KEY, 33, 111)
            assert struct.unpack("HHHH", fcntl.ioctl(slave, termios.TIOCGWINSZ, bytes(8)))[:2] == (33, 111)
            ours.sendall(b"typed")
            os.set_blocking(slave, False)
            got = b""

            def typed() -> bool:
                nonlocal got
                try:
                    got += os.read(slave, 100)
                except BlockingIOError:
                    pass
                return got == b"typed"

            await place.until(typed)
            os.write(slave, b"bye" * 1000)
            os.close(slave)
            await pump.drain(KEY)
            assert await handle.done == "eof"
            assert await read_all(ours) == b"bye" * 1000 == logged(place, 1)
            ours.close()

    asyncio.run(body())


def test_resize_without_a_terminal_is_refused(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            streams = await begin(place, pump, None)
            with pytest.raises(Invalid, match="no terminal"):
                await pump.resize(KEY, 1, 1)
            streams.close()

    asyncio.run(body())


def test_a_single_client_that_does_not_read_makes_the_container_wait_and_loses_nothing(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            streams = await begin(place, pump, local(place))
            ours, theirs = socket.socketpair()
            await pump.attach(KEY, theirs.fileno(), stdin=False, stdout=True, stderr=True, multiplexed=False)
            theirs.close()
            os.set_blocking(streams.out, False)
            block, written, idle = b"0123456789abcdef" * 4096, 0, 0
            while idle < 20:  # until nothing more fits anywhere
                try:
                    written += os.write(streams.out, block)
                    idle = 0
                except BlockingIOError:
                    idle += 1
                    await asyncio.sleep(0.01)
            assert (1 << 20) <= written <= (3 << 20)
            streams.close()
            drained = asyncio.ensure_future(pump.drain(KEY))
            received = await read_all(ours)
            assert len(received) == written
            assert await drained is None
            assert logged(place, 1) == received
            ours.close()

    asyncio.run(body())


def test_with_another_client_attached_the_slow_one_is_dropped(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            streams = await begin(place, pump, None)
            slow, fast = socket.socketpair(), socket.socketpair()
            handles = [await pump.attach(KEY, pair[1].fileno(), stdin=False, stdout=True, stderr=True, multiplexed=False) for pair in (slow, fast)]
            slow[1].close()
            fast[1].close()
            reader = asyncio.ensure_future(read_all(fast[0]))
            os.set_blocking(streams.out, False)
            block, written = b"x" * 65536, 0
            while written < 8 << 20:
                try:
                    written += os.write(streams.out, block)
                except BlockingIOError:
                    await asyncio.sleep(0.005)
            assert await handles[0].done == "too-slow"
            assert "dropped" in place.log()
            streams.close()
            await pump.drain(KEY)
            assert len(await reader) == written
            slow[0].close()
            fast[0].close()

    asyncio.run(body())


def test_kill_9_of_the_pump_with_output_under_way_the_next_one_goes_on_by_itself(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            streams = await begin(place, pump, local(place), stdin=True)
            ours, theirs = socket.socketpair()
            handle = await pump.attach(KEY, theirs.fileno(), stdin=False, stdout=True, stderr=True, multiplexed=False)
            theirs.close()
            os.write(streams.out, b"before\n")
            await read_some(ours, 7)
            os.kill(place.pid_of("pier-pump"), signal.SIGKILL)
            os.write(streams.out, b"between\n")
            await place.until(lambda: "pump" in place.lost)
            assert await handle.done == "pump-lost"
            assert await read_all(ours) == b""
            again, theirs = socket.socketpair()
            await pump.attach(KEY, theirs.fileno(), stdin=True, stdout=True, stderr=True, multiplexed=False)
            theirs.close()
            again.sendall(b"typed")
            await place.until(lambda: _read(streams.stdin) == b"typed")
            os.write(streams.out, b"after\n")
            streams.close()
            assert await pump.drain(KEY) is None
            assert logged(place, 1) == b"before\nbetween\nafter\n"
            ours.close()
            again.close()

    asyncio.run(body())


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 100)
    except BlockingIOError:
        return b""


def test_output_of_a_container_that_ended_while_the_pump_was_dead_is_kept(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            streams = await begin(place, pump, local(place))
            pid = place.pid_of("pier-pump")
            os.kill(pid, signal.SIGSTOP)
            os.write(streams.out, b"last words\n")
            streams.close()
            os.kill(pid, signal.SIGKILL)
            assert await pump.drain(KEY) is None  # waits for the next pump
            assert logged(place, 1) == b"last words\n"

    asyncio.run(body())


def test_an_opening_is_made_again_where_the_pump_dies_of_it(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            pid = place.pid_of("pier-pump")
            os.kill(pid, signal.SIGSTOP)
            opening = asyncio.ensure_future(begin(place, pump, local(place)))
            await asyncio.sleep(0.1)
            os.kill(pid, signal.SIGKILL)
            streams = await opening
            os.write(streams.out, b"words\n")
            streams.close()
            assert await pump.drain(KEY, close=True) is None
            assert logged(place, 1) == b"words\n"

    asyncio.run(body())


def test_a_terminal_survives_the_death_of_the_pump(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            master, slave = pty.openpty()
            await pump.open(KEY, console=master, log=local(place))
            os.close(master)
            os.kill(place.pid_of("pier-pump"), signal.SIGKILL)
            await place.until(lambda: "pump" in place.lost)
            os.write(slave, b"still here")  # EIO after a hang-up
            os.close(slave)
            await pump.drain(KEY)
            assert logged(place, 1) == b"still here"

    asyncio.run(body())


def test_a_full_disk_stops_nothing_and_is_counted_and_noted(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (_, pump):
            folder = place.root / "log"
            folder.mkdir()
            (folder / "container.log").symlink_to("/dev/full")  # O_NOFOLLOW refuses it: no log at all
            paths = fifos.make(place.root, KEY, stdin=False, terminal=False)
            ends = paths.open()
            warning = await pump.open(KEY, stdout=ends.stdout, stderr=ends.stderr, log=local(place))
            assert warning and "container.log" in warning
            ends.close()
            streams = Streams(paths)
            os.write(streams.out, b"x" * 1000)
            streams.close()
            assert await pump.drain(KEY) == Lost(1000, warning)

    asyncio.run(body())


def test_nothing_is_left_in_keeper_and_pump_after_close(place: Place) -> None:
    async def body() -> None:
        async with pumping(place) as (supervisor, pump):
            pids = [supervisor.keeper_pid, place.pid_of("pier-pump")]
            await supervisor.set_pool_size(0)

            def count() -> list[int]:
                return [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]

            await place.until(lambda: not place.layout.ids())
            before = count()
            streams = await begin(place, pump, local(place), stdin=True)
            assert count() != before
            streams.close()
            await pump.drain(KEY)
            await pump.close(KEY)
            await place.until(lambda: count() == before)
            assert Path(f"/proc/{pids[0]}").exists()

    asyncio.run(body())
