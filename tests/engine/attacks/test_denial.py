"""Containers that use up what they can: the daemon answers, others start, and the culprit can be ended."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.engine.attacks import attacker
from tests.harness.commands import eventually
from tests.harness.engine import Engine

BOMB = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""


def rss_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) // 1024


def others_are_served(engine: Engine, limit_s: float = 30.0) -> None:
    began = time.monotonic()
    assert max(attacker.ping_s(engine) for _ in range(10)) < 1
    assert attacker.run(engine, ["echo", "served"]) == (0, "served\n")
    assert time.monotonic() - began < limit_s


def removed_quickly(engine: Engine, container: str, limit_s: float = 30.0) -> None:
    began = time.monotonic()
    engine.api("DELETE", f"/containers/{container}", force=True).ok(204)
    assert time.monotonic() - began < limit_s


def test_a_fork_bomb_stays_within_its_limit(engine: Engine) -> None:
    bomb = attacker.start(engine, [*attacker.PYTHON, BOMB], {"PidsLimit": 40, "Binds": attacker.BINDS})
    pids = next(path for path in engine.cgroups() if path.name == bomb and (path / "pids.current").exists())
    eventually(lambda: int((pids / "pids.current").read_text()) >= 35, says="the bomb")
    others_are_served(engine)
    assert int((pids / "pids.current").read_text()) <= 40
    code, said = attacker.execute(engine, bomb, ["true"])  # there may be no room: an answer, and no process of ours left behind
    assert code in (0, 126, 128, 255), (code, said)
    removed_quickly(engine, bomb)


def test_a_flood_of_output_stops_nobody_and_fills_no_memory(engine: Engine) -> None:
    for driver in ("local", "json-file"):
        options = {"max-size": "1m", "max-file": "2"}
        flood = attacker.start(
            engine, ["sh", "-c", "yes 'a line of the flood that goes on and on'"], {"LogConfig": {"Type": driver, "Config": options}}
        )
        time.sleep(1)
        others_are_served(engine)
        assert rss_mb(engine.pid_of("pump")) < 120 and rss_mb(engine.pid) < 200
        removed_quickly(engine, flood)
        kept = sum(path.stat().st_size for path in engine.data_root.glob("containers/*/*") if path.is_file())
        assert kept < 8 << 20


def test_output_without_a_line_feed_fills_no_memory(engine: Engine) -> None:
    flood = attacker.start(engine, ["sh", "-c", "cat /dev/zero"], {"LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}})
    time.sleep(0.7)
    others_are_served(engine)
    assert rss_mb(engine.pid_of("pump")) < 120
    removed_quickly(engine, flood)


def test_a_storm_of_execs(engine: Engine) -> None:
    target = attacker.start(engine, ["sleep", "600"])

    def one(number: int) -> tuple[int, str]:
        return attacker.execute(engine, target, ["echo", str(number)])

    with ThreadPoolExecutor(20) as threads:
        pings = threads.submit(lambda: max(attacker.ping_s(engine) for _ in range(20)))
        results = list(threads.map(one, range(200)))
        assert pings.result() < 2
    assert results == [(0, f"{n}\n") for n in range(200)]


def test_a_container_that_ignores_sigterm_ends(engine: Engine) -> None:
    stubborn = attacker.start(engine, ["sh", "-c", "trap '' TERM INT HUP QUIT; echo ready; while :; do sleep 1; done"])
    eventually(lambda: "ready" in attacker.output(engine, stubborn), says="the trap")
    began = time.monotonic()
    engine.pier("stop", "-t", "1", stubborn).ok()
    assert 0.9 < time.monotonic() - began < 4
    assert engine.api.get(f"/containers/{stubborn}/json")["State"]["ExitCode"] == 137


def deaf_clients(engine: Engine, command: list[str], count: int, then: Callable[[str], None]) -> None:
    made = attacker.create(engine, command, {"LogConfig": {"Type": "none", "Config": {}}}, AttachStdout=True)
    deaf = [engine.api.hijack(f"/containers/{made}/attach", stream=True, stdout=True, stderr=True)[0] for _ in range(count)]
    try:
        engine.api("POST", f"/containers/{made}/start").ok(204)
        then(made)
    finally:
        for sock in deaf:
            sock.close()


def test_output_that_nobody_reads_stops_nobody(engine: Engine) -> None:
    def then(container: str) -> None:
        time.sleep(0.5)
        others_are_served(engine)
        assert rss_mb(engine.pid_of("pump")) < 120
        removed_quickly(engine, container)

    deaf_clients(engine, ["sh", "-c", "yes"], 10, then)


def test_an_exec_whose_output_nobody_reads_stops_nobody(engine: Engine) -> None:
    target = attacker.start(engine, ["sleep", "600"])
    deaf = []
    try:
        for _ in range(10):
            made = engine.api("POST", f"/containers/{target}/exec", {"Cmd": ["yes"], "AttachStdout": True, "AttachStderr": True}).ok(201).json["Id"]
            deaf.append(engine.api.hijack(f"/exec/{made}/start", {"Detach": False, "Tty": False})[0])
        time.sleep(0.5)
        others_are_served(engine)
        assert rss_mb(engine.pid_of("pump")) < 120
        removed_quickly(engine, target)
    finally:
        for sock in deaf:
            sock.close()


def test_input_that_nobody_reads_stops_nobody(engine: Engine) -> None:
    made = attacker.create(engine, ["sleep", "600"], OpenStdin=True, AttachStdin=True)
    sock, _ = engine.api.hijack(f"/containers/{made}/attach", stream=True, stdin=True)
    with sock:
        engine.api("POST", f"/containers/{made}/start").ok(204)
        sock.setblocking(False)
        sent, end = 0, time.monotonic() + 0.7
        while time.monotonic() < end and sent < 64 << 20:
            try:
                sent += sock.send(b"x" * 65536)
            except BlockingIOError:
                time.sleep(0.02)
        assert sent < 64 << 20, "somebody reads all of it into memory"
        others_are_served(engine)
    removed_quickly(engine, made)
