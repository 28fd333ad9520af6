"""The smoke suite, run by the guest's own Python as root: one verdict a line on the serial port.

`VERDICT name ok` or `VERDICT name FAIL reason`; a traceback stands above. Everything goes through the command line and the API, as a user's would.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

PIER = Path("/pier")
sys.path.insert(0, str(PIER))  # the project and its dependencies are on the path by a .pth, as installed

from tests.harness.api import Api  # noqa: E402
from tests.harness.commands import Done, eventually, run  # noqa: E402

LIMIT_S = 90.0
CODE = "import sys; from {0} import main; sys.exit(main())"
ENV = {"PATH": os.environ["PATH"], "HOME": "/root", "PIER_AUTOSTART": "0", "PYTHONDONTWRITEBYTECODE": "1"}
api = Api("/run/pier.sock")
daemon: subprocess.Popen[bytes]


def pier(*words: str, stdin: bytes | None = None) -> Done:
    return run([sys.executable, "-c", CODE.format("pier.cli.main"), *words], ENV, stdin, LIMIT_S)


def start_daemon() -> None:
    global daemon
    with open("/run/pierd.log", "ab") as log:
        daemon = subprocess.Popen([sys.executable, "-c", CODE.format("pier.daemon.main")], env=ENV, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def answers() -> bool:
        assert daemon.poll() is None, Path("/run/pierd.log").read_text()[-3000:]
        try:
            return api("GET", "/_ping").status == 200
        except OSError:
            return False

    eventually(answers, LIMIT_S, "the daemon answers")


def sh(script: str, *options: str) -> str:
    return pier("run", "--rm", *options, "busybox", "sh", "-c", script).ok().line


def background(*words: str) -> str:
    return pier("run", "-d", *words).ok().line


def same(seen: object, wanted: object) -> None:
    """AssertionError that shows both: there is no pytest in the guest."""
    assert seen == wanted, f"{seen!r} is not {wanted!r}"


def test_daemon_starts_and_loads() -> None:
    start_daemon()
    info = api.get("/info")
    print("info:", json.dumps({k: info.get(k) for k in ("KernelVersion", "CgroupVersion", "Driver", "SecurityOptions", "Warnings")}))
    same(info["CgroupVersion"], "2")
    pier("load", "-i", "/pier/busybox.tar").ok()


def test_run() -> None:
    same(sh("echo hello; id -u"), "hello\n0")
    pier("run", "--rm", "busybox", "sh", "-c", "exit 42").fails(42)
    pier("run", "--rm", "busybox", "nope").fails(127, "nope")


def test_limits() -> None:
    script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max; cat /proc/self/cgroup"
    same(sh(script, "-m", "64m", "--pids-limit", "33", "--cpus", "0.5").split(), [str(64 << 20), "33", "50000", "100000", "0::/"])


def test_out_of_memory() -> None:
    pier("run", "--name", "oom", "-m", "24m", "busybox", "sh", "-c", "tail /dev/zero").fails(137)
    assert api.get("/containers/oom/json")["State"]["OOMKilled"] is True
    pier("rm", "oom").ok()


def test_devices_are_denied() -> None:
    assert "not permitted" in sh("mknod /k c 1 11; head -c 1 /k 2>&1; mknod /z c 1 5; head -c 1 /z | wc -c")


def test_hardening() -> None:
    out = sh("grep -E '^(CapEff|Seccomp):' /proc/self/status; touch /sys/x /proc/sys/kernel/hostname 2>&1 | grep -c Read-only")
    same(out.split(), ["CapEff:", "00000000a80425fb", "Seccomp:", "2", "2"])


def test_apparmor() -> None:
    same(sh("cat /proc/self/attr/current"), "pier-default (enforce)")
    same(sh("cat /proc/self/attr/current", "--security-opt", "apparmor=unconfined"), "unconfined")
    said = sh("mkdir /m; mount -t tmpfs none /m 2>&1; true", "--cap-add", "SYS_ADMIN")
    assert "denied" in said, said


def test_exec_and_logs() -> None:
    container = background("busybox", "sh", "-c", "echo one; echo two >&2; sleep 600")
    pier("exec", container, "sh", "-c", "exit 9").fails(9)
    same(pier("exec", "-i", container, "tr", "a-z", "A-Z", stdin=b"loud\n").ok().out, "LOUD\n")
    done = pier("logs", container).ok()
    same((done.out, done.err), ("one\n", "two\n"))
    pier("rm", "-f", container).ok()


def test_network() -> None:
    script = "gw=$(ip route | awk '/^default/{print $3}'); ping -c 1 -W 20 $gw | grep -c '1 packets received'; cat /etc/resolv.conf | wc -l"
    same(sh(script).split()[0], "1")
    first = background("busybox", "sleep", "600")
    address = api.get(f"/containers/{first}/json")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert "1 packets received" in sh(f"ping -c 1 -W 20 {address}")
    pier("rm", "-f", first).ok()


def test_terminal() -> None:
    body = {"Image": "busybox:latest", "Cmd": ["sh", "-c", "tty; read x; echo got $x"], "Tty": True, "OpenStdin": True}
    made = api("POST", "/containers/create", body).ok(201)
    sock, seen = api.hijack(f"/containers/{made.json['Id']}/attach", stream=True, stdin=True, stdout=True)
    api("POST", f"/containers/{made.json['Id']}/start").ok(204)
    sock.sendall(b"word\r")
    while data := sock.recv(4096):
        seen += data
    assert b"/dev/pts/0" in seen and b"got word" in seen, seen
    pier("rm", "-f", made.json["Id"]).ok()


def test_daemon_killed() -> None:
    container = background("busybox", "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.5; done")
    ending = background("busybox", "sh", "-c", "sleep 4; exit 33")
    before = api.get(f"/containers/{container}/json")["State"]
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    time.sleep(5)  # the exit happens while nobody listens: that is the point
    start_daemon()
    after = api.get(f"/containers/{container}/json")["State"]
    same((after["Running"], after["Pid"], after["StartedAt"]), (True, before["Pid"], before["StartedAt"]))
    ended = api.get(f"/containers/{ending}/json")["State"]
    assert (ended["Running"], ended["ExitCode"]) == (False, 33), ended
    lines = [int(line) for line in pier("logs", container).ok().out.split()]
    assert lines == list(range(1, len(lines) + 1)) and len(lines) >= 8, lines
    pier("exec", container, "true").ok()
    pier("rm", "-f", container, ending).ok()


def test_nothing_is_left() -> None:
    for container in api.get("/containers/json", all=True):
        pier("rm", "-f", container["Id"]).ok()
    top = Path("/sys/fs/cgroup/pier-pier")

    def named() -> list[str]:
        return [p.name for p in top.iterdir() if p.is_dir() and (p / "cgroup.procs").read_text().strip() and "sleep" in titles(p)]

    eventually(lambda: not named(), says="cgroups of containers are gone")


def titles(cgroup: Path) -> str:
    return " ".join(Path(f"/proc/{pid}/comm").read_text().strip() for pid in (cgroup / "cgroup.procs").read_text().split())


TESTS: list[Callable[[], None]] = [
    test_daemon_starts_and_loads, test_run, test_limits, test_out_of_memory, test_devices_are_denied, test_hardening, test_apparmor,
    test_exec_and_logs, test_network, test_terminal, test_daemon_killed, test_nothing_is_left,
]  # fmt: skip
NAMES = [test.__name__.removeprefix("test_") for test in TESTS]


def main() -> None:
    for test, name in zip(TESTS, NAMES, strict=True):
        began = time.monotonic()
        try:
            test()
            print(f"VERDICT {name} ok {time.monotonic() - began:.1f} s", flush=True)
        except BaseException as error:
            traceback.print_exc()
            reason = (str(error).strip() or type(error).__name__).replace("\n", " | ")
            print(f"VERDICT {name} FAIL {reason[:1500]}", flush=True)
            if test is test_daemon_starts_and_loads:
                break
    for log in (Path("/run/pierd.log"), Path("/run/pier/keeper.log")):
        print(f"--- {log}\n" + (log.read_text()[-6000:] if log.exists() else ""), flush=True)


if __name__ == "__main__":
    main()
