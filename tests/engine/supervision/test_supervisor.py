"""Keeper, launcher and supervisor: children are born, run and end, and who dies on the way does not matter."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from pier.errors import Unavailable
from pier.ipc import PeerGone
from pier.runtime.shape import Shape
from pier.runtime.supervisor import Record, StartFailed, Supervisor
from tests.engine.supervision.conftest import Place

SH = "/bin/sh"
PLAIN = Shape(("mount", "pid"))


async def run(supervisor: Supervisor, script: str, id: str | None = None) -> str:
    """Start a shell in a child; returns its key."""
    child = await supervisor.reserve() if id is None else await supervisor.spawn(id, PLAIN)
    await child.run({"argv": [SH, "-c", script]})
    child.close()
    return child.id


def test_a_reserved_child_has_id_namespaces_cgroups_and_its_exit_is_told(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            child = await supervisor.reserve()
            assert len(child.id) == 64 and int(child.id, 16) >= 0
            for kind in ("mnt", "uts", "ipc", "pid", "net"):
                assert os.readlink(f"/proc/{child.pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
            assert os.fstat(child.netns_fd).st_ino == os.stat(f"/proc/{child.pid}/ns/net").st_ino
            await child.run({"argv": [SH, "-c", "exit 7"]})
            ended = await place.exit_of(child.id)
            assert (ended.code, ended.signal, ended.known, ended.pid) == (7, 0, True, child.pid)
            child.close()

    asyncio.run(body())


def test_it_sits_in_its_cgroups_when_its_program_runs(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            key = await run(supervisor, "sleep 100")
            pids = place.layout.pids(key)
            assert len(pids) >= 1
            os.kill(pids[0], signal.SIGKILL)
            ended = await place.exit_of(key)
            assert (ended.code, ended.signal, ended.oom) == (137, 9, False)

    asyncio.run(body())


def test_a_failing_step_is_raised_with_its_fields(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            child = await supervisor.reserve()
            with pytest.raises(StartFailed, match="no such thing") as caught:
                await child.run({"fail": {"step": "mount /x", "errno": 2, "path": "/x", "message": "no such thing", "exit_code": 127}})
            assert (caught.value.step, caught.value.errno, caught.value.path, caught.value.exit_code) == ("mount /x", 2, "/x", 127)
            child.close()
            await place.exit_of(child.id)

    asyncio.run(body())


def test_a_discarded_child_leaves_nothing_and_is_not_reported(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            child = await supervisor.spawn("c" * 64, PLAIN)
            child.discard()
            await place.until(lambda: "c" * 64 not in place.layout.ids())
            assert "c" * 64 not in place.exits

    asyncio.run(body())


def test_fifty_at_once(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            keys = await asyncio.gather(*(run(supervisor, f"exit {n}") for n in range(50)))
            assert len(set(keys)) == 50
            assert [(await place.exit_of(key)).code for key in keys] == list(range(50))

    asyncio.run(body())


def test_a_child_that_is_taken_and_ends_before_the_keeper_looks_is_reported(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            await place.until(lambda: len(place.layout.ids()) == 4)
            await asyncio.sleep(0.05)  # the pool is full and announced
            os.kill(supervisor.keeper_pid, signal.SIGSTOP)
            child = await supervisor.reserve()
            await child.run({"argv": ["/bin/true"]})
            await place.until(lambda: Path(f"/proc/{child.pid}/stat").read_text().split(") ")[1][0] == "Z")
            os.kill(supervisor.keeper_pid, signal.SIGCONT)
            assert (await place.exit_of(child.id)).code == 0
            child.close()

    asyncio.run(body())


def test_an_exec_is_born_in_the_pid_namespace_and_cgroups_of_its_container(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            container = await supervisor.reserve()
            await container.run({"argv": ["/bin/sleep", "100"]})
            child = await supervisor.spawn_exec("e" * 64, container.pidfd, container.id)
            assert os.readlink(f"/proc/{child.pid}/ns/pid") == os.readlink(f"/proc/{container.pid}/ns/pid")
            await child.run({"argv": [SH, "-c", "exit 3"]})
            assert (await place.exit_of("e" * 64)).code == 3
            # the launcher itself is back in the host's pid namespace: the next container is not born in the old one
            other = await supervisor.spawn("d" * 64, PLAIN)
            assert os.readlink(f"/proc/{other.pid}/ns/pid") != os.readlink(f"/proc/{container.pid}/ns/pid")
            other.discard()
            os.kill(container.pid, signal.SIGKILL)
            await place.exit_of(container.id)
            with pytest.raises(Unavailable):
                await supervisor.spawn_exec("f" * 64, container.pidfd, container.id)
            child.close()
            container.close()

    asyncio.run(body())


def test_nothing_of_the_launcher_is_seen_in_a_blank_child(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            child = await supervisor.spawn("a" * 64, PLAIN)
            # one more for a moment, while it joins its cgroups
            await place.until(lambda: sorted(os.listdir(f"/proc/{child.pid}/fd")) == ["0", "1", "2", "3"])
            assert os.stat(f"/proc/{child.pid}/environ").st_uid == 0
            child.discard()

    asyncio.run(body())


def test_the_interpreter_cannot_be_opened_for_writing_through_a_child(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            child = await supervisor.spawn("a" * 64, PLAIN)
            for pid in (child.pid, supervisor.keeper_pid):
                assert os.statvfs(f"/proc/{pid}/exe").f_flag & os.ST_RDONLY
            child.discard()

    asyncio.run(body())


def test_held_descriptors_outlive_the_daemon(place: Place) -> None:
    async def body() -> None:
        supervisor = await place.connect()
        read, write = os.pipe()
        await supervisor.hold("k", "stdin", write)
        os.close(write)
        supervisor.close()
        async with place.supervisor() as second:
            assert second.keeper_pid == supervisor.keeper_pid
            assert second.held() == {"k": ["stdin"]}
            fd = await second.fetch("k", "stdin")
            os.write(fd, b"x")
            assert os.read(read, 9) == b"x"
            await second.release("k")
            os.close(fd)
            assert os.read(read, 9) == b""
            with pytest.raises(KeyError):
                await second.fetch("k", "stdin")
        os.close(read)

    asyncio.run(body())


def test_an_exit_while_no_daemon_runs_is_kept_until_acknowledged(place: Place) -> None:
    async def body() -> None:
        supervisor = await place.connect()
        key = await run(supervisor, "sleep 0.2; exit 9")
        supervisor.close()
        async with place.supervisor() as second:
            if not (kept := {k.key: k for k in second.kept()})[key].exit:
                assert (await place.exit_of(key)).code == 9
            else:
                assert kept[key].exit.code == 9  # type: ignore[union-attr]
                await second.acknowledge(key)
                assert key not in {k.key for k in second.kept()}

    asyncio.run(body())


def test_kill_9_of_the_launcher(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            key = await run(supervisor, "read line; exit 4")  # stdin is /dev/null: ends at once
            sleeper = await supervisor.reserve()
            await sleeper.run({"argv": ["/bin/sleep", "100"]})
            await place.exit_of(key)
            os.kill(place.pid_of("pier-launcher"), signal.SIGKILL)
            await place.until(lambda: "launcher" in place.lost)
            again = await run(supervisor, "exit 5")
            assert (await place.exit_of(again)).code == 5
            assert Path(f"/proc/{sleeper.pid}").exists()
            os.kill(sleeper.pid, signal.SIGTERM)
            os.kill(sleeper.pid, signal.SIGKILL)
            assert (await place.exit_of(sleeper.id)).code == 137
            sleeper.close()

    asyncio.run(body())


def test_kill_9_of_the_keeper_containers_are_adopted_and_exit_codes_known_where_the_kernel_tells(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            read, write = os.pipe()
            child = await supervisor.reserve()
            await child.run({"argv": [SH, "-c", "read line; exit 6"]}, [read])
            os.close(read)
            old = supervisor.keeper_pid
            os.kill(old, signal.SIGKILL)
            await place.until(lambda: "keeper" in place.lost)
            assert supervisor.keeper_pid != old
            assert Path(f"/proc/{child.pid}").exists()
            os.write(write, b"\n")
            ended = await place.exit_of(child.id)
            kernel = tuple(int(part) for part in os.uname().release.split(".")[:2])
            assert (ended.code, ended.known) == ((6, True) if kernel >= (6, 15) else (255, False))
            os.close(write)
            child.close()

    asyncio.run(body())


def test_kill_9_of_keeper_and_daemon_the_next_daemon_adopts_by_its_records(place: Place) -> None:
    async def body() -> None:
        supervisor = await place.connect()
        child = await supervisor.reserve()
        await child.run({"argv": ["/bin/sleep", "100"]})
        record = Record(child.id, child.pid, child.start_time)
        child.close()
        keeper = supervisor.keeper_pid
        supervisor.close()
        os.kill(keeper, signal.SIGKILL)
        await place.until(lambda: not place.processes())
        strays = place.layout.ids() - {record.key}
        async with place.supervisor() as second:
            assert second.kept() == []
            assert set(await second.sweep({record.key})) == strays  # the spare children of the dead keeper
            await second.adopt([record, Record("9" * 64, record.pid, record.start_time + 1)])
            assert not (await place.exit_of("9" * 64)).known  # the pid is there, the start time says it is somebody else
            os.kill(record.pid, signal.SIGKILL)
            ended = await place.exit_of(record.key)
            assert not ended.known or ended.code == 137

    asyncio.run(body())


def test_the_keeper_executes_itself_and_keeps_everything(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            child = await supervisor.reserve()
            await child.run({"argv": ["/bin/sleep", "100"]})
            read, write = os.pipe()
            await supervisor.hold("k", "stdin", write)
            pid, launcher = supervisor.keeper_pid, place.pid_of("pier-launcher")
            os.close(write)
            keeper = supervisor._keeper
            await supervisor.upgrade_keeper()
            await place.until(lambda: supervisor._keeper is not keeper and not supervisor._tasks)
            assert (supervisor.keeper_pid, place.pid_of("pier-launcher")) == (pid, launcher)
            os.close(await supervisor.fetch("k", "stdin"))
            await supervisor.release("k")
            assert os.read(read, 1) == b""
            assert child.id in {kept.key for kept in supervisor.kept()}
            os.kill(child.pid, signal.SIGKILL)
            assert (await place.exit_of(child.id)).code == 137
            key = await run(supervisor, "exit 8")
            assert (await place.exit_of(key)).code == 8
            os.close(read)
            child.close()

    asyncio.run(body())


def test_a_second_keeper_on_one_root_ends_at_once(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            second = await asyncio.create_subprocess_exec(*supervisor._door._command)
            assert await second.wait() == 0
            assert os.stat(f"/proc/{supervisor.keeper_pid}")
            await supervisor.release("nothing")

    asyncio.run(body())


def test_workers_are_processes_of_their_own_and_end_with_their_channel(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor() as supervisor:
            first, second = await supervisor.worker(), await supervisor.worker()
            pids = [(await channel.call("x"))[0]["pid"] for channel in (first, second)]
            assert len(set(pids)) == 2
            supervisor.release_worker(first)
            assert await supervisor.worker() is first
            first.close()
            second.close()
            await place.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))

    asyncio.run(body())


def test_kill_9_of_the_launcher_between_clone_and_announcement_leaves_no_child_behind(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIER_FAIL", "launcher.cloned:kill@5")  # the pool is 4; each launcher dies at the fifth child

    async def body() -> None:
        async with place.supervisor() as supervisor:
            await place.until(lambda: len(place.layout.ids()) == 4)
            with pytest.raises(PeerGone):
                await supervisor.spawn("b" * 64, PLAIN)
            await place.until(lambda: "launcher" in place.lost)

            def comms() -> list[str]:
                return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in place.processes()]

            await place.until(lambda: comms().count("pier-blank") <= 4 and comms().count("pier-launcher") == 1)
            await supervisor.sweep(set())
            await place.until(lambda: "b" * 64 not in place.layout.ids())
            monkeypatch.undo()

    asyncio.run(body())


def test_kill_9_of_everything_containers_run_on_and_the_next_daemon_has_them(place: Place) -> None:
    async def body() -> None:
        supervisor = await place.connect()
        children = [await supervisor.reserve() for _ in range(3)]
        for child in children:
            await child.run({"argv": ["/bin/sleep", "100"]})
        records = [Record(child.id, child.pid, child.start_time) for child in children]
        for child in children:
            child.close()
        supervisor.close()
        for pid in place.processes():
            os.kill(pid, signal.SIGKILL)
        async with place.supervisor() as second:
            await second.adopt(records)
            await second.sweep({record.key for record in records})
            assert all(Path(f"/proc/{record.pid}").exists() for record in records)
            late = await second.spawn_exec("e" * 64, os.pidfd_open(records[0].pid), records[0].key)
            await late.run({"argv": [SH, "-c", "exit 2"]})
            assert (await place.exit_of("e" * 64)).code == 2
            late.close()
            for record in records:
                os.kill(record.pid, signal.SIGKILL)
                ended = await place.exit_of(record.key)
                assert ended.code == 137 or not ended.known

    asyncio.run(body())


def test_a_keeper_that_cannot_start_says_where_its_log_is(place: Place) -> None:
    async def body() -> None:
        with pytest.raises(Unavailable, match=r"ended with 3; .*keeper.log"):
            await Supervisor.connect(place.root, place.instance, ["/bin/sh", "-c", "exit 3"], place.on_exit)

    asyncio.run(body())


def test_the_processes_are_small(place: Place) -> None:
    async def body() -> None:
        async with place.supervisor():
            await place.until(lambda: len(place.layout.ids()) == 4)
            kilobytes = 0
            for pid in place.processes():
                rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                kilobytes += next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
            assert kilobytes < 60_000

    asyncio.run(body())
