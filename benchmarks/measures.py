"""The measures, by name: each takes the contenders and a number of rounds and returns rows with their bars (issue "the first slice")."""

import concurrent.futures
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import fixtures
from benchmarks.contenders import IMAGE, Contenders, said, timed
from benchmarks.table import Row, judged, median_ms, percentile
from tests.harness import images
from tests.harness.api import Api
from tests.harness.commands import eventually
from tests.harness.engine import Engine

Command = tuple[list[str], dict[str, str]] | None


def interleaved(rounds: int, *commands: Command, before: Callable[[], None] = lambda: None) -> list[float | None]:
    """Median milliseconds of each command, one after the other in every round; two rounds ahead warm up."""
    took: list[list[float]] = [[] for _ in commands]
    for turn in range(rounds + 2):
        for times, command in zip(took, commands, strict=True):
            if command is not None:
                before()
                seconds = timed(*command)
                if turn >= 2:
                    times.append(seconds)
    return [median_ms(times) if times else None for times in took]


def run(c: Contenders, rounds: int) -> list[Row]:
    words = ("run", "--rm", IMAGE, "true")
    pier, through, docker, podman = interleaved(rounds, c.pier(*words), c.docker_on_pier(*words), c.docker(*words), c.podman(*words))
    podman = podman and podman - c.entry_cost() * 1000
    return [
        judged(Row("run --rm busybox true, bridge", pier, docker, podman), least_ratio=10, most=35),
        judged(Row("the same by the docker client on Pier", through, docker), least_ratio=6),
    ]


def version(c: Contenders, rounds: int) -> list[Row]:
    pier, docker, podman = interleaved(rounds, c.pier("version"), c.docker("version"), c.podman("version"))
    return [judged(Row("version", pier, docker, podman and podman - c.entry_cost() * 1000), least_ratio=1, most=20)]


def execute(c: Contenders, rounds: int) -> list[Row]:
    ids: dict[str, str] = {}
    for name, command in {"pier": c.pier, "docker": c.docker, "podman": c.podman}.items():
        if made := command("run", "-d", IMAGE, "sleep", "3600"):
            ids[name] = said(*made).splitlines()[-1]
    pier, docker, podman = interleaved(
        rounds,
        c.pier("exec", ids["pier"], "true"),
        c.docker("exec", ids["docker"], "true") if "docker" in ids else None,
        c.podman("exec", ids["podman"], "true") if "podman" in ids else None,
    )
    for name, command in {"pier": c.pier, "docker": c.docker, "podman": c.podman}.items():
        if name in ids and (removal := command("rm", "-f", ids[name])):
            timed(*removal)
    return [judged(Row("exec true", pier, docker, podman and podman - c.entry_cost() * 1000), least_ratio=4)]


def hundred(c: Contenders, rounds: int) -> list[Row]:
    """100 x run -d one after another, ps with them, rm -f of all; Docker takes half a minute, so this is one round."""
    figures: dict[str, list[float]] = {}
    for name, command in {"pier": c.pier, "docker": c.docker}.items():
        create = command("run", "-d", IMAGE, "sleep", "3600")
        if create is None:
            continue
        began = time.perf_counter()
        ids = [said(*create) for _ in range(100)]
        started = time.perf_counter() - began
        (listed,) = interleaved(rounds, command("ps"))
        removal = command("rm", "-f", *ids)
        assert removal is not None and listed is not None
        figures[name] = [started * 1000, listed, timed(*removal) * 1000]
    pier, docker = figures["pier"], figures.get("docker", [None] * 3)  # type: ignore[list-item]
    return [
        judged(Row("100 x run -d, one after another", pier[0], docker[0]), least_ratio=8),
        judged(Row("ps with 100 containers", pier[1], docker[1]), least_ratio=1, most=25),
        judged(Row("rm -f of 100", pier[2], docker[2]), least_ratio=5),
    ]


def thousand(c: Contenders, rounds: int) -> list[Row]:
    """1,000 containers on a daemon of its own; each pings its gateway; memory of our processes per container."""
    with fixtures.engine() as engine:
        images.busybox_archive(engine.roots / "i.tar", IMAGE)
        engine.api("POST", "/images/load", data=(engine.roots / "i.tar").read_bytes()).ok()
        idle = engine_pss(engine)
        script = "ping -c 1 -W 20 $(ip route | awk '/^default/{print $3}') >/dev/null && echo reached; exec sleep 3600"
        body = {"Image": IMAGE, "Cmd": ["sh", "-c", script]}

        def start(_: int) -> str:
            made: str = engine.api("POST", "/containers/create", body).ok(201).json["Id"]
            engine.api("POST", f"/containers/{made}/start").ok(204)
            return made

        began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            ids = list(pool.map(start, range(1000)))
            started = time.perf_counter() - began

            def reached(made: str) -> bool:
                def asked() -> bool:
                    return b"reached" in engine.api("GET", f"/containers/{made}/logs", stdout=True).ok().body

                return eventually(asked, 60.0, f"container {made[:12]} reaches its gateway")

            count = sum(pool.map(reached, ids))
        each = (engine_pss(engine) - idle) / 1000
        began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda made: engine.api("DELETE", f"/containers/{made}", force=True).ok(204), ids))
        note = f"{count} reached it; removed in {time.perf_counter() - began:.1f} s"
    return [
        judged(Row("1,000 containers started, all reach the gateway", started, unit="s", note=note), most=30),
        judged(Row("our memory for each of them", each, unit="MB"), most=0.2),
    ]


def load(c: Contenders, rounds: int) -> list[Row]:
    """Load and remove in turn, so that every load is a first one."""
    archive = c.engine.roots / "debian.tar"  # in /tmp, which Podman sees too
    shutil.copyfile(fixtures.debian(), archive)
    took: dict[str, list[float]] = {"pier": [], "docker": [], "podman": []}
    for _ in range(max(3, rounds // 4)):
        for name, command in {"pier": c.pier, "docker": c.docker, "podman": c.podman}.items():
            words, removal = command("load", "-q", "-i", str(archive)), command("rmi", "-f", "debian:latest")
            if words and removal:
                took[name].append(timed(*words))
                timed(*removal)
    pier, docker, podman = (median_ms(t) if t else None for t in took.values())
    return [judged(Row(f"load of a Debian image ({archive.stat().st_size >> 20} MB)", pier, docker, podman), least_ratio=4)]


def idle(c: Contenders, rounds: int) -> list[Row]:
    with fixtures.engine() as engine:
        eventually(lambda: len(engine.namespaces.processes()) > 3, says="helpers")
        time.sleep(1)  # the pool fills when idle
        return [judged(Row("all of Pier's processes, idle", engine_pss(engine), unit="MB"), most=100)]


def ping(c: Contenders, rounds: int) -> list[Row]:
    """How long a ping waits while an image of six layers is loaded."""
    archive = c.engine.roots / "layers.tar"
    images.layered_archive(archive, "bench/layers:latest", count=6, files=2000, size=8192)
    took: list[float] = []
    done = threading.Event()

    def ask() -> None:
        api = Api(str(c.engine.socket))
        while not done.is_set():
            began = time.perf_counter()
            api("GET", "/_ping").ok()
            took.append((time.perf_counter() - began) * 1000)
            time.sleep(0.002)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(3):
            timed(*c.pier("load", "-q", "-i", str(archive)))
            timed(*c.pier("rmi", "-f", "bench/layers:latest"))
    finally:
        done.set()
        thread.join()
    note = f"median {percentile(took, 0.5):.1f} ms, worst {max(took):.1f}, {len(took)} pings"
    return [judged(Row("_ping while six layers are loaded, p99", percentile(took, 0.99), note=note), most=20)]


def engine_pss(engine: Engine) -> float:
    """Megabytes (PSS) of the daemon, its helpers and the blank children, containers left out."""
    total = 0
    for pid in engine.namespaces.processes():
        try:
            title = Path(f"/proc/{pid}/comm").read_text().strip()
            if pid == engine.pid or title.startswith(("pier", "python")):
                total += next(int(x.split()[1]) for x in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if x.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1024


MEASURES: dict[str, Callable[[Contenders, int], list[Row]]] = {
    "run": run, "version": version, "exec": execute, "hundred": hundred, "load": load, "ping": ping, "idle": idle, "thousand": thousand,
}  # fmt: skip
