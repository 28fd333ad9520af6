"""`python -m benchmarks.cpu [run|exec|version|ps|docker-run ...]`: CPU time of each process for one command, on a machine that others use too.

CPU_ROUNDS=N sets how often each is done (default 50). The daemon's and the helpers' time is the sum of their threads' schedstat; what their
ended children took (containers, janitors, midwives) is in ticks of 10 ms over all rounds. Faults are minor page faults.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import fixtures
from benchmarks.contenders import IMAGE, docker_client
from tests.harness import images
from tests.harness.commands import eventually
from tests.harness.engine import Engine, program

HELPERS = ("daemon", "keeper", "launcher", "pump")
_TICKS_PER_MS = os.sysconf("SC_CLK_TCK") / 1000


@dataclass(frozen=True)
class Used:
    """What a process has used so far: milliseconds of CPU, minor page faults, voluntary context switches; and its ended children."""

    cpu_ms: float
    faults: int
    switches: int
    children_ms: float
    children_faults: int

    def __sub__(self, before: "Used") -> "Used":
        return Used(*(getattr(self, name) - getattr(before, name) for name in self.__dataclass_fields__))


def used(pid: int) -> Used:
    """What a process and its ended children used since they began."""
    cpu_ns = switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        cpu_ns += int((task / "schedstat").read_text().split()[0])
        switches += next(int(row.split()[1]) for row in (task / "status").read_text().splitlines() if row.startswith("voluntary"))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # from field 3 on
    return Used(cpu_ns / 1e6, int(fields[7]), switches, (int(fields[13]) + int(fields[14])) / _TICKS_PER_MS, int(fields[8]))


def client(argv: list[str], env: dict[str, str]) -> Used:
    """Run one command to its end; what it used. AssertionError where it fails."""
    process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{' '.join(argv)}: exit code {process.returncode}"
    return Used((usage.ru_utime + usage.ru_stime) * 1000, usage.ru_minflt, usage.ru_nvcsw, 0.0, 0)


def measure(engine: Engine, argv: list[str], env: dict[str, str], rounds: int) -> list[str]:
    """Do a command `rounds` times; one line for each process, of its average."""
    for _ in range(5):
        client(argv, env)
    pids = {name: engine.pid_of(name) for name in HELPERS}
    before = {name: used(pid) for name, pid in pids.items()}
    own = [client(argv, env) for _ in range(rounds)]
    after = {name: used(pid) - before[name] for name, pid in pids.items()}
    rows = {"client": (sum(u.cpu_ms for u in own), sum(u.faults for u in own), sum(u.switches for u in own))}
    for name, value in after.items():
        rows[name] = (value.cpu_ms, value.faults, value.switches)
        if value.children_ms:
            rows[f"{name}'s children"] = (value.children_ms, value.children_faults, 0)
    rows["all"] = tuple(sum(row[i] for row in rows.values()) for i in range(3))  # type: ignore[assignment]
    lines = [f"  {name:20} {row[0] / rounds:7.2f} ms {row[1] / rounds:7.0f} faults {row[2] / rounds:6.1f} waits" for name, row in rows.items()]
    return [*lines, f"  smallest of the client {min(u.cpu_ms for u in own):.2f} ms"]


def main() -> int:
    """Returns the exit code."""
    rounds = int(os.environ.get("CPU_ROUNDS", "50"))
    with ExitStack() as stack:
        engine = stack.enter_context(fixtures.engine())
        archive = engine.roots / "busybox.tar"
        images.busybox_archive(archive, IMAGE)
        pier = program("pier", "pier.cli.main")
        docker = docker_client()
        engine.pier("load", "-i", str(archive)).ok()
        running = engine.pier("run", "-d", IMAGE, "sleep", "3600").ok().line
        commands: dict[str, Callable[[], list[str]]] = {
            "bare": lambda: [sys.executable, "-IS", "-c", "pass"],
            "version": lambda: [*pier, "version"],
            "run": lambda: [*pier, "run", "--rm", IMAGE, "true"],
            "run-d": lambda: [*pier, "run", "-d", "--rm", IMAGE, "true"],
            "exec": lambda: [*pier, "exec", running, "true"],
            "ps": lambda: hundred(engine, [*pier, "ps"]),
            "docker-version": lambda: [docker, "version"],
            "docker-run": lambda: [docker, "run", "--rm", IMAGE, "true"],
            "docker-exec": lambda: [docker, "exec", running, "true"],
            "docker-ps": lambda: hundred(engine, [docker, "ps"]),
        }
        for name in sys.argv[1:] or commands:
            if name not in commands:
                print(f"no command {name}: there are {', '.join(commands)}", file=sys.stderr)
                return 2
            argv = commands[name]()
            if argv[0]:
                print(f"{name}, {rounds} times", *measure(engine, argv, engine.client_env, rounds), sep="\n", flush=True)
    return 0


def hundred(engine: Engine, argv: list[str]) -> list[str]:
    """The command line, once 100 containers run."""
    while len(engine.containers()) < 100:
        engine.pier("run", "-d", IMAGE, "sleep", "3600").ok()
    eventually(lambda: len(engine.containers()) >= 100, says="100 containers")
    return argv


if __name__ == "__main__":
    sys.exit(main())
