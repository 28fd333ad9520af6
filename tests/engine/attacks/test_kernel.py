"""The kernel's own doors: files that name a program of the host, devices, sockets without a path, system calls, processes outside."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.attacks import attacker
from tests.engine.runtime.test_attacks import PROBE
from tests.harness.engine import Engine

DOORS = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/sys/kernel/uevent_helper", "/proc/sysrq-trigger",
    "/proc/sys/fs/binfmt_misc/register", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/randomize_va_space", "/sys/power/state",
    "/sys/kernel/mm/transparent_hugepage/enabled", "/proc/irq/default_smp_affinity", "/sys/module/kernel/parameters/panic",
)  # fmt: skip
READABLE = [path for path in DOORS if os.access(path, os.R_OK) and path not in ("/proc/sysrq-trigger", "/proc/sys/fs/binfmt_misc/register")]


def values() -> dict[str, str]:
    return {path: Path(path).read_text() for path in READABLE}


@pytest.mark.parametrize("host", [{}, {"CapAdd": ["NET_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"]}, {"NetworkMode": "host"}])
def test_files_that_name_a_program_of_the_host_are_not_written(engine: Engine, host: dict[str, Any]) -> None:
    before = values()
    names = " -o ".join(f"-name {name}" for name in ("release_agent", "devices.allow", "notify_on_release", "cgroup.procs"))
    write = f"for f in $DOORS $(find /sys/fs/cgroup {names} 2>/dev/null); do (echo '|/tmp/evil' > $f) 2>/dev/null && echo written $f; done;"
    write += " mount -o remount,rw /sys 2>/dev/null && echo remounted /sys;"
    write += " mount -o remount,rw /proc/sys 2>/dev/null && echo remounted /proc/sys; umount /proc/sys 2>/dev/null && echo unmounted;"
    write += " mkdir /tmp/c; mount -t cgroup -o rdma x /tmp/c 2>/dev/null && echo mounted;"
    write += " mount -t proc x /tmp/c 2>/dev/null && echo mounted proc; echo end"
    assert attacker.run(engine, ["sh", "-c", write], host, Env=["DOORS=" + " ".join(DOORS)]) == (0, "end\n")
    assert values() == before


def test_devices_of_the_host_made_by_mknod_cannot_be_opened(engine: Engine) -> None:
    device = os.stat("/").st_dev
    disks = {(os.major(device), os.minor(device))} | {
        tuple(int(n) for n in (disk / "dev").read_text().split(":")) for disk in Path("/sys/class/block").iterdir() if (disk / "dev").exists()
    }
    nodes = [("b", *pair) for pair in sorted(disks)] + [
        ("c", 1, 1),
        ("c", 1, 2),
        ("c", 1, 4),
        ("c", 10, 229),
        ("c", 10, 232),
        ("c", 4, 0),
        ("c", 5, 3),
    ]
    make = "".join(
        f"mknod /tmp/{k}{a}.{i} {k} {a} {i} && head -c 1 /tmp/{k}{a}.{i} > /dev/null 2>&1 && echo opened {k} {a} {i};" for k, a, i in nodes
    )
    made = attacker.start(engine, ["sleep", "600"])
    for config in ({}, {"Privileged": True}):  # a privileged exec has capabilities, but its cgroup is the container's
        assert attacker.execute(engine, made, ["sh", "-c", f"cd /tmp; rm -f b* c*; {make} ls | wc -l"], **config) == (0, f"{len(nodes)}\n")


LISTENER = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind('\\0pier-attack'); s.listen(); print('ready', flush=True); sys.stdin.read()"
CALLER = """
import socket
s = socket.socket(socket.AF_UNIX)
try:
    s.connect('\\0pier-attack')
    print('reached')
except OSError as error:
    print(error.strerror)
"""


def test_abstract_sockets_of_the_host_are_not_reached(engine: Engine) -> None:
    argv = engine.namespaces.argv(sys.executable, "-c", LISTENER)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None and listener.stdout.readline() == b"ready\n"
        assert attacker.python(engine, CALLER, host={"NetworkMode": "host"}) == (0, "reached\n")  # so the others say something
        assert attacker.python(engine, CALLER) == (0, "Connection refused\n")
        assert attacker.python(engine, CALLER, host={"NetworkMode": "none"}) == (0, "Connection refused\n")
        assert listener.stdin is not None
        listener.stdin.close()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86-64")
@pytest.mark.parametrize("user", ["", "1000"])
def test_system_calls_of_the_attack_surface_are_refused_in_run_and_exec(engine: Engine, user: str) -> None:
    sleeper = attacker.start(engine, ["sleep", "600"], {"Binds": attacker.BINDS})
    for code, said in (
        attacker.python(engine, PROBE, User=user),
        attacker.execute(engine, sleeper, [*attacker.PYTHON, PROBE], User=user),
    ):
        assert code == 0, said
        found = dict(line.split(" = ") for line in said.splitlines())
        passed = {name for name, answer in found.items() if answer not in ("Operation not permitted", "Function not implemented")}
        assert passed == {"unix", "personality32"}, found
        assert len(found) == 18


TRACER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
inside = os.fork()
if inside == 0:
    os.execv('/bin/sleep', ['sleep', '5'])
def attach(pid):
    if libc.ptrace(16, pid, 0, 0) == 0:
        os.waitpid(pid, 0x40000000)
        return 'traced'
    return os.strerror(ctypes.get_errno())
def write(pid):
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
    ctypes.set_errno(0)
    return 'read' if libc.process_vm_readv(pid, vector, 1, vector, 1, 0) >= 0 else os.strerror(ctypes.get_errno())
print(attach(inside))
os.kill(inside, 9)
for pid in map(int, sys.argv[1:]):
    try:
        os.kill(pid, 0)
        print('signalled')
    except OSError as error:
        print(attach(pid), '/', write(pid), '/', error.strerror, '/', os.path.exists(f'/proc/{pid}'))
"""


def test_processes_outside_are_out_of_reach(engine: Engine) -> None:
    """ptrace works inside, as in Docker, and finds nobody outside: the daemon, its helpers, the test itself."""
    outside = [str(engine.pid_of(name)) for name in ("daemon", "keeper", "launcher", "pump")] + [str(os.getpid())]
    code, said = attacker.python(engine, TRACER, *outside, host={"CapAdd": ["SYS_PTRACE"]})
    assert code == 0, said
    assert said.splitlines() == ["traced", *["No such process / No such process / No such process / False"] * len(outside)]


def test_processes_of_the_host_shown_by_pid_host_keep_their_secrets(engine: Engine) -> None:
    """--pid host shows them; without more capabilities nothing of the daemon's is read."""
    look = "; ".join(
        f"for f in environ maps mem fd/0 root/etc exe; do cat /proc/{engine.pid_of(n)}/$f > /dev/null 2>&1 && echo {n} $f; done"
        for n in ("daemon", "keeper", "launcher", "pump")
    )
    code, said = attacker.run(engine, ["sh", "-c", f"ls -d /proc/{engine.pid}; {look}; :"], {"PidMode": "host"})
    assert (code, said) == (0, f"/proc/{engine.pid}\n")
