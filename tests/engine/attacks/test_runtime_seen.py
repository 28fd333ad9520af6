"""What of the runtime a container sees while it enters: nothing to overwrite, no secret, no way to the host (CVE-2019-5736, CVE-2016-9962)."""

import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.engine.attacks import attacker
from tests.harness.commands import eventually
from tests.harness.engine import Engine

SECRET = "8d1f-other-container"

# Looks at every process that was not there before, again and again, as long as it lives; tells in /found what it saw. A secret comes in reversed
# halves, so that what is found is not the watcher's own.
WATCHER = r"""
import json, os, stat, sys
secrets = [(a[::-1] + b[::-1]).encode() for a, b in (word.split("|") for word in sys.argv[2:])]
canary, own = sys.argv[1], {os.getpid(), 1}
os.chdir("/")
root, program = os.stat("/"), os.stat("/bin/busybox")
seen = {"processes": 0, "read": 0, "problems": []}
def problem(*words):
    text = " ".join(map(str, words))
    if text not in seen["problems"]:
        seen["problems"].append(text)
def attempt(action, *words):
    try:
        result = action(*words)
    except (OSError, ValueError):
        return None
    seen["read"] += 1
    return result
def content(path):
    with open(path, "rb") as file:
        return file.read(1 << 20)
def search(what, data):
    for secret in secrets:
        if secret in (data or b""):
            problem("a secret in", what)
def memory(pid):
    maps = attempt(content, f"/proc/{pid}/maps")
    with open(f"/proc/{pid}/mem", "rb", 0) as file:
        for line in (maps or b"").decode(errors="replace").splitlines():
            span, mode = line.split()[:2]
            if "rw" not in mode:
                continue
            begin, end = (int(part, 16) for part in span.split("-"))
            file.seek(begin)
            search("mem", file.read(min(end - begin, 4 << 20)))
def look(pid):
    at = f"/proc/{pid}/"
    executable = attempt(os.stat, at + "exe")
    if executable is not None and (executable.st_dev, executable.st_ino) != (program.st_dev, program.st_ino):
        fd = attempt(os.open, at + "exe", os.O_RDONLY)
        if fd is not None:
            if not os.fstatvfs(fd).f_flag & os.ST_RDONLY:
                problem("exe on a writable mount:", attempt(os.readlink, at + "exe"))
            os.close(fd)
    for name in ("root", "cwd"):
        there = attempt(os.stat, at + name)
        if there is not None and (there.st_dev, there.st_ino) != (root.st_dev, root.st_ino):
            problem(name, "leads to", there.st_dev, there.st_ino, attempt(os.readlink, at + name))
        if there is not None and os.path.exists(at + name + canary):
            problem("the host through", name)
    for name in attempt(os.listdir, at + "fd") or ():
        target = attempt(os.readlink, at + "fd/" + name) or ""
        there = attempt(os.stat, at + "fd/" + name)
        if there is None or stat.S_ISFIFO(there.st_mode):
            continue  # its own streams
        named = attempt(os.stat, target)
        if named is not None and (named.st_dev, named.st_ino) == (there.st_dev, there.st_ino):
            continue  # a file of the container, which it may open by its name
        if target.endswith("/oom_score_adj") and target.count("/") == 2:
            continue  # of a procfs that the exec made of the container's own pid namespace, for its own score
        if target.startswith("/") and target not in ("/", "/dev/null", "/proc"):
            problem("descriptor", target)
        elif target.startswith(("pidfd", "anon_inode:[pidfd]", "anon_inode:[eventpoll]", "mnt:", "net:", "pid:", "cgroup:", "uts:", "ipc:")):
            problem("descriptor", target.partition("[")[0], target if "anon" in target else "")
        elif target.startswith("socket:"):
            sockets.add(target)
    for name in ("environ", "maps", "cmdline"):
        search(name, attempt(content, at + name))
    attempt(memory, pid)
open("/ready", "w").close()
while not os.path.exists("/stop"):
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in own:
            seen["processes"] += 1
            sockets = set()
            try:
                look(int(name))
            except (OSError, ValueError):
                pass  # it ended meanwhile
            except Exception as error:
                problem("the watcher failed:", repr(error))
            if len(sockets) > 1:
                problem("more sockets than its own")
with open("/found.new", "w") as file:
    json.dump(seen, file)
os.rename("/found.new", "/found")
"""


@pytest.mark.parametrize("host", [{}, {"CapAdd": ["SYS_PTRACE"]}, {"Privileged": True}], ids=["default capabilities", "SYS_PTRACE", "privileged"])
def test_a_watcher_of_every_process_that_enters_finds_nothing_of_others(engine: Engine, host: dict[str, Any]) -> None:
    canary = Path(engine.roots) / "canary-of-the-host"
    canary.write_text("")
    words = [f"{s[: len(s) // 2][::-1]}|{s[len(s) // 2 :][::-1]}" for s in (SECRET, attacker.DAEMON_SECRET)]
    command = [*attacker.PYTHON, WATCHER, str(canary), *words]
    watcher = attacker.start(engine, command, {"Binds": attacker.BINDS, "Init": False, **host}, Entrypoint=["/bin/sh", "-c", '"$@"; sleep 600', "x"])
    other = attacker.start(engine, ["sleep", "600"], Env=[f"TOKEN={SECRET}"])
    pid = engine.api.get(f"/containers/{watcher}/json")["State"]["Pid"]
    eventually(lambda: os.path.exists(f"/proc/{pid}/root/ready"), says="the watcher watches")

    def enter(number: int) -> None:
        if number % 2:
            attacker.execute(engine, other, ["true"], Env=[f"TOKEN={SECRET}"])
            return
        assert attacker.execute(engine, watcher, ["true"])[0] == 0

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(enter, range(40)))
    for _ in range(3):
        assert attacker.run(engine, ["true"], Env=[f"TOKEN={SECRET}"])[0] == 0
    assert attacker.execute(engine, watcher, ["touch", "/stop"]) == (0, "")
    found = eventually(lambda: _found(pid), says="what the watcher found")
    assert found["processes"] and found["read"], found  # it saw execs enter, and something of them
    assert found["problems"] == []


def _found(pid: int) -> dict[str, Any]:
    try:
        with open(f"/proc/{pid}/root/found") as file:
            return dict(json.load(file))
    except FileNotFoundError:
        return {}


def test_the_interpreter_of_the_runtime_is_neither_run_nor_written(engine: Engine) -> None:
    """`#!/proc/self/exe` and a link to it, as entrypoint and as exec: what the kernel takes for it lies on a read-only mount."""
    interpreter = os.path.realpath(sys.executable)
    before = hashlib.sha256(Path(interpreter).read_bytes()).digest()
    code, said = attacker.run(engine, ["/evil"])
    assert code != 0 and "read-only" not in said, said
    sleeper = attacker.start(engine, ["sleep", "600"], {"Binds": attacker.BINDS, "CapAdd": ["SYS_PTRACE"]})
    program = attacker.ASK_READ_ONLY
    for code, said in (
        attacker.execute(engine, sleeper, ["/evil"]),
        attacker.run(engine, ["/self", "-I", "-S", "-c", program], {"Binds": attacker.BINDS}),
        attacker.execute(engine, sleeper, ["/self", "-I", "-S", "-c", program]),
    ):
        assert "read-only False" not in said, said
        assert code != 0 or "read-only True" in said
    assert hashlib.sha256(Path(interpreter).read_bytes()).digest() == before


WRITER = r"""
while :; do
  for exe in /proc/[0-9]*/exe; do
    case $exe in /proc/1/*) ;; *) (: >> $exe) 2>/dev/null && echo "written $exe $(readlink $exe)" >> /written ;; esac
  done
done
"""


def test_a_loop_that_opens_every_program_for_writing_gets_none_of_the_host(engine: Engine) -> None:
    watcher = attacker.start(engine, ["sh", "-c", WRITER], {"CapAdd": ["SYS_PTRACE"], "Binds": attacker.BINDS})
    for _ in range(15):
        attacker.execute(engine, watcher, ["true"])
    code, said = attacker.execute(engine, watcher, ["sh", "-c", "cat /written; true"])
    assert code == 0
    assert [line for line in said.splitlines() if line.startswith("written") and "/bin/" not in line.split()[-1]] == []
    assert sys.version.split()[0] not in said and "python" not in said
