"""The smoke suite, run by the guest's own Python as root: one verdict a line on the serial port.

`VERDICT name ok` or `VERDICT name FAIL reason`; a traceback stands above. Everything goes through the command line and the API, as a user's would.
"""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PIER = Path("/pier")
sys.path.insert(0, str(PIER))  # the project and its dependencies are on the path by a .pth, as installed

from pier.linux import quotas  # noqa: E402
from tests.harness import images  # noqa: E402
from tests.harness.api import Api  # noqa: E402
from tests.harness.commands import Done, eventually, run  # noqa: E402
from tests.harness.registry_server import in_network  # noqa: E402

LIMIT_S = 240.0  # of one wait, on a machine that does much else: a quiet one needs five seconds
CODE = "import sys; from {0} import main; sys.exit(main())"
ENV = {"PATH": os.environ["PATH"], "HOME": "/root", "PIER_AUTOSTART": "0"}
NESTED = """mkdir /sys/fs/cgroup/init && echo 1 > /sys/fs/cgroup/init/cgroup.procs
echo +pids +memory > /sys/fs/cgroup/cgroup.subtree_control && echo ready; exec sleep 600"""
ESCAPE = """
import fcntl, os, struct, sys
fd, words = os.open("/d", os.O_RDONLY), bytearray(28)
fcntl.ioctl(fd, 0x801C581F, words)
was, = struct.unpack_from("I", words, 12)
struct.pack_into("I", words, 12, int((*sys.argv, 0)[1]))
try:
    fcntl.ioctl(fd, 0x401C5820, bytes(words))
    print(was, *struct.unpack_from("I", words, 12))
except OSError as error:
    print(error)
"""
api = Api("/run/pier.sock")
daemon: subprocess.Popen[bytes]


def pier(*words: str, stdin: bytes | None = None) -> Done:
    return run([sys.executable, "-c", CODE.format("pier.cli.main"), *words], ENV, stdin, LIMIT_S)


def start_daemon(*flags: str) -> None:
    global daemon
    with open("/run/pierd.log", "ab") as log:
        argv = [sys.executable, "-c", CODE.format("pier.daemon.main"), *flags]
        daemon = subprocess.Popen(argv, env=ENV, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def answers() -> bool:
        assert daemon.poll() is None, Path("/run/pierd.log").read_text()[-3000:]
        try:
            return api("GET", "/_ping").status == 200
        except OSError:
            return False

    try:
        eventually(answers, LIMIT_S, "the daemon answers")
    except AssertionError:
        daemon.send_signal(signal.SIGUSR1)  # where every task stands, into the log that is shown at the end
        time.sleep(3)
        raise


def sh(script: str, *options: str, image: str = "busybox") -> str:
    return pier("run", "--rm", *options, image, "sh", "-c", script).ok().line


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


def test_layers() -> None:
    """EROFS on every kernel that can: over loop devices where not from files, attached in a place of its own where overlay wants that."""
    said = dict(api.get("/info")["DriverStatus"])["Layers"]
    kernel = tuple(int(number) for number in os.uname().release.split(".")[:2])
    if kernel < (6, 1):
        assert said.startswith("unpacked") and "Unknown parameter" in said, said
    else:
        assert said.startswith("erofs") and ("over loop devices" in said) == (kernel < (6, 12)), said
    lower = images.layer({"a": 0o755, "a/gone": b"1", "a/kept": b"2", "d": 0o755, "d/old": b"3", "f": b"4"})
    upper = images.layer({"a": 0o755, "a/.wh.gone": b"", "d": 0o750, "d/.wh..wh..opq": b"", "d/new": b"6", ".wh.f": b""})
    images.docker_archive(Path("/tmp/layers.tar"), "layers:latest", [images.busybox_layer(), lower, upper])
    pier("load", "-i", "/tmp/layers.tar").ok()
    look = "ls /a /d; cat /a/kept /d/new; ls /f 2>&1 | grep -c 'No such'"
    same(sh(look, image="layers"), "/a:\nkept\n\n/d:\nnew\n261")
    made = background("layers", "sh", "-c", "echo x > /a/new; rm /d/new; sleep 600")
    eventually(lambda: pier("diff", made).ok().out == "C /a\nA /a/new\nC /d\nD /d/new\n", LIMIT_S, "it has written")
    pier("commit", made, "committed").ok()
    pier("image", "squash", "committed", "squashed").ok()
    for image in ("committed", "squashed"):
        same(sh("ls /a /d", image=image), "/a:\nkept\nnew\n\n/d:")
    pier("image", "check").ok()
    pier("rm", "-f", made).ok()
    pier("rmi", "committed", "squashed", "layers").ok()


def test_limits() -> None:
    script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max; cat /proc/self/cgroup"
    same(sh(script, "-m", "64m", "--pids-limit", "33", "--cpus", "0.5").split(), [str(64 << 20), "33", "50000", "100000", "0::/"])
    script = "cd /sys/fs/cgroup; cat memory.swap.max memory.low cpuset.cpus cpu.weight; touch x 2>&1 | grep -c Read-only"
    options = ("-m", "64m", "--memory-swap", "96m", "--memory-reservation", "32m", "--cpuset-cpus", "1", "--cpu-shares", "2048")
    same(sh(script, *options).split(), [str(32 << 20), str(32 << 20), "1", "174", "1"])
    said = pier("run", "--rm", "-m", "64m", "--memory-swappiness", "20", "--oom-kill-disable", "busybox", "true").ok().err
    assert "swappiness discarded" in said and "OomKillDisable discarded" in said, said


def test_cgroup_namespaces() -> None:
    host = background("--cgroupns", "host", "busybox", "sleep", "600")
    assert pier("exec", host, "cat", "/proc/self/cgroup").ok().line == f"0::/pier-pier/{host}"
    own = background("--privileged", "busybox", "sh", "-c", NESTED)
    eventually(lambda: "ready" in pier("logs", own).ok().out, LIMIT_S, "the container has cgroups of its own")
    # It has controllers on for its children, as a Docker inside has: no process may join its own cgroup any more.
    same(pier("exec", own, "cat", "/proc/self/cgroup").ok().line, "0::/init")
    assert f"/pier-pier/{own}/init" in Path(f"/proc/{api.get(f'/containers/{own}/json')['State']['Pid']}/cgroup").read_text()
    same(json.loads(pier("inspect", own).ok().out)[0]["HostConfig"]["CgroupnsMode"], "private")
    pier("rm", "-f", host, own).ok()
    eventually(lambda: not Path(f"/sys/fs/cgroup/pier-pier/{own}").exists(), says="nested cgroups are removed")


def test_out_of_memory() -> None:
    pier("run", "--name", "oom", "-m", "24m", "busybox", "sh", "-c", "tail /dev/zero").fails(137)
    assert api.get("/containers/oom/json")["State"]["OOMKilled"] is True
    pier("rm", "oom").ok()
    child = background("-m", "24m", "--name", "child", "busybox", "sh", "-c", "tail /dev/zero; echo survived; sleep 600")
    eventually(lambda: "survived" in pier("logs", child).ok().out, LIMIT_S, "only the greedy process dies")
    pier("kill", child).ok()
    eventually(lambda: not api.get("/containers/child/json")["State"]["Running"], says="it is dead")
    assert api.get("/containers/child/json")["State"]["OOMKilled"] is True
    pier("rm", child).ok()


def test_devices_are_denied() -> None:
    assert "not permitted" in sh("mknod /k c 1 11; head -c 1 /k 2>&1; mknod /z c 1 5; head -c 1 /z | wc -c")
    numbers = os.stat("/dev/vda").st_rdev
    disk = f"{os.major(numbers)} {os.minor(numbers)}"
    same(sh(f"mknod /k b {disk}; head -c 1 /k 2>&1 | grep -c permitted; true"), "1")
    given = ("--device", "/dev/vdb:/dev/other:r", "--device-cgroup-rule", f"b {disk.replace(' ', ':')} r")
    script = f"head -c 1 /dev/other | wc -c; (echo > /dev/other) 2>&1 | grep -c permitted; mknod /k b {disk}; head -c 1 /k | wc -c"
    same(sh(script, *given).split(), ["1", "1", "1"])
    same(sh("head -c 1 /dev/vdb | wc -c", "--privileged"), "1")


def test_hardening() -> None:
    out = sh("grep -E '^(CapEff|Seccomp):' /proc/self/status; touch /sys/x /proc/sys/kernel/hostname 2>&1 | grep -c Read-only")
    same(out.split(), ["CapEff:", "00000000a80425fb", "Seccomp:", "2", "2"])


def test_apparmor() -> None:
    same(sh("cat /proc/self/attr/current"), "pier-default (enforce)")
    same(sh("cat /proc/self/attr/current", "--security-opt", "apparmor=unconfined"), "unconfined")
    same(sh("cat /proc/self/attr/current", "--privileged"), "unconfined")
    container = background("busybox", "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.2; done")
    same(pier("exec", container, "cat", "/proc/self/attr/current").ok().line, "pier-default (enforce)")
    same(api.get(f"/containers/{container}/json")["AppArmorProfile"], "pier-default")
    pier("stop", container).ok()  # the profile lets the daemon's signals in
    same(api.get(f"/containers/{container}/json")["State"]["ExitCode"], 5)
    pier("rm", container).ok()
    pier("run", "--rm", "--security-opt", "apparmor=nowhere", "busybox", "true").fails(125, "apply AppArmor profile nowhere")
    said = sh("mkdir /m; mount -t tmpfs none /m 2>&1; true", "--cap-add", "SYS_ADMIN")
    assert "denied" in said, said


def test_init() -> None:
    same(sh("cat /proc/1/comm; cat /proc/1/cmdline | tr '\\0' ' '", "--init").split()[:2], ["docker-init", "/sbin/docker-init"])


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


@dataclass
class Process:
    """In whose namespaces to be."""

    pid: int


def test_published_sctp() -> None:
    """From the host by 127.0.0.1 and by the gateway's address, and from another container."""
    run(["modprobe", "sctp"]).ok()
    server, other = background("-p", "5600:7700/sctp", "busybox", "sleep", "600"), background("busybox", "sleep", "600")
    gateway = api.get(f"/containers/{server}/json")["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
    make = functools.partial(socket.socket, socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    with in_network(Process(state(server)["Pid"]), make) as listener:
        listener.bind(("0.0.0.0", 7700))
        listener.listen()
        listener.settimeout(LIMIT_S)
        for inside, address in ((None, "127.0.0.1"), (None, gateway), (Process(state(other)["Pid"]), gateway)):
            with in_network(inside, make) as client:
                client.settimeout(LIMIT_S)
                client.connect((address, 5600))
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"hello")
                    same((inside, address, client.recv(16)), (inside, address, b"hello"))
    pier("rm", "-f", server, other).ok()


def test_networks_on_a_parent() -> None:
    """macvlan, and each mode of ipvlan, on a veth of this host; then VLANs of it, with a neighbour on VLAN 50 behind its other end."""
    run(["sh", "-c", "ip link add lan0 type veth peer name lan1 && ip link set lan0 up && ip link set lan1 up"]).ok()
    kinds = [("macvlan", ()), *(("ipvlan", ("-o", f"ipvlan_mode={mode}")) for mode in ("l2", "l3", "l3s"))]
    for number, (driver, options) in enumerate(kinds):
        subnet = f"10.88.{number}"
        pier("network", "create", "-d", driver, "--subnet", f"{subnet}.0/24", "-o", "parent=lan0", *options, "van").ok()
        one = background("--network", "van", "--ip", f"{subnet}.9", "--name", "one", "busybox", "sleep", "600")
        assert "1 packets received" in sh("ping -c 1 -W 20 one", "--network", "van"), (driver, options)
        pier("rm", "-f", one).ok()
        pier("network", "rm", "van").ok()
    run(["sh", "-c", "ip link add link lan1 name lan1.50 type vlan id 50 && ip link set lan1.50 up && ip addr add 10.89.0.254/24 dev lan1.50"]).ok()
    for driver in ("macvlan", "ipvlan"):
        pier("network", "create", "-d", driver, "--subnet", "10.89.0.0/24", "--gateway", "10.89.0.254", "-o", "parent=lan0.50", "van").ok()
        assert "1 packets received" in sh("ping -c 1 -W 20 10.89.0.254", "--network", "van"), driver
        assert Path("/proc/net/vlan/lan0.50").exists()
        pier("network", "rm", "van").ok()
        eventually(lambda: not Path("/proc/net/vlan/lan0.50").exists(), LIMIT_S, "what was made for the network goes with it")
    run(["ip", "link", "del", "lan0"]).ok()


def test_volume_limits() -> None:
    """`size` of a volume, on the data root's ext4 with project quotas."""
    pier("volume", "create", "--opt", "size=4m", "shelf").ok()
    same(api.get("/volumes/shelf")["Status"], {"Limit": 4 << 20})
    fill = "dd if=/dev/zero of=/d/f bs=1M count=8 2>&1 | grep -c 'Disk quota exceeded'; stat -f -c %b /d; stat -c %s /d/f"
    count, blocks, size = sh(fill, "-v", "shelf:/d").split()
    assert (count, blocks) == ("1", "1024") and 3 << 20 <= int(size) < 4 << 20, (count, blocks, size)
    said = pier("volume", "size", "--bytes", "shelf").ok().line.split()
    assert said[0] == "shelf" and said[2:] == ["of", str(4 << 20)] and int(said[1]) <= 4 << 20, said
    number = project("shelf")
    python = ("-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", "busybox", "/usr/bin/python3", "-c", ESCAPE)
    same(pier("run", "--rm", "--security-opt", "seccomp=unconfined", "-v", "shelf:/d", *python).ok().line, "[Errno 1] Operation not permitted")
    same(project("shelf"), number)
    same(pier("run", "--rm", "-v", "/var/lib/pier/volumes/shelf/_data:/d", *python).ok().line, f"{number} 0")  # a bind of the host's: the call works
    same(pier("run", "--rm", "-v", "/var/lib/pier/volumes/shelf/_data:/d", *python, str(number)).ok().line, f"0 {number}")
    pier("volume", "snapshot", "shelf", "full").ok()
    pier("volume", "clone", "shelf", "copy").ok()
    same(api.get("/volumes/copy")["Options"], {"size": "4m"})
    for volume in ("shelf", "copy"):
        sh("rm /d/f; echo kept > /d/small", "-v", f"{volume}:/d")
    pier("volume", "rename", "copy", "moved").ok()
    same(sh(fill, "-v", "moved:/d").split()[0], "1")
    pier("volume", "restore", "shelf", "full").ok()  # both count while it is made, and it is larger than half of the limit
    same(sh("ls /d; dd if=/dev/zero of=/d/h bs=1M count=4 2>&1 | grep -c quota", "-v", "shelf:/d").split(), ["f", "1"])
    pier("volume", "update", "--opt", "size=1m", "shelf").fails(1, "which is more than a limit of 1048576")
    same(pier("volume", "update", "--opt", "size=16m", "shelf").ok().line, "shelf")
    same(sh("dd if=/dev/zero of=/d/h bs=1M count=8 2>&1 | grep -c quota; stat -f -c %b /d", "-v", "shelf:/d").split(), ["0", "4096"])
    same(api.get("/volumes/shelf")["Status"], {"Limit": 16 << 20})
    numbers = [project(name) for name in ("shelf", "moved")]
    assert 0 not in numbers and len(set(numbers)) == 2, numbers
    pier("volume", "rm", "shelf", "moved").ok()
    same([held(number) for number in numbers], [0, 0])
    pier("volume", "create", "--opt", "size=1m", "shelf").ok()
    assert project("shelf") not in numbers
    pier("volume", "rm", "shelf").ok()
    pier("volume", "create", "--opt", "size=1m", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "ram").fails(1, "give it its size in o=")


def project(volume: str) -> int:
    """The number by which the file system limits a volume."""
    fd = os.open(f"/var/lib/pier/volumes/{volume}/_data", os.O_RDONLY)
    try:
        return quotas.project_of(fd)
    finally:
        os.close(fd)


def held(number: int) -> int:
    """The limit of a project in bytes."""
    fd = os.open("/var/lib/pier", os.O_RDONLY)
    try:
        return quotas.used(fd, number)[1]
    finally:
        os.close(fd)


def test_contracts() -> None:
    """Contract suites that many kernels have to skip, which they must not do here: whole, or (in `make test`) the heart of each."""
    whole = WHOLE in Path("/proc/cmdline").read_text().split()
    for suite, all_of_it, heart in (
        ("networks/test_drivers.py", "ipvlan or vlan_of", "reach_each_other and ipvlan or vlan_of"),
        ("volumes/test_quotas.py", "", "beyond or volumes.limit"),
    ):
        words = ("-rs", "--tb=short", "--rootdir", str(PIER), f"tests/contract/{suite}", "-k", all_of_it if whole else heart)
        done = run([sys.executable, "-m", "pytest", *words], ENV, limit_s=2 * LIMIT_S)
        assert done.code == 0 and "passed" in done.out and "skipped" not in done.out, f"{done.out[-6000:]}{done.err[-1000:]}"
        print(done.out.splitlines()[-1])


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


def test_restart_policies() -> None:
    pier("run", "-d", "--name", "failing", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo again; exit 3").ok()
    eventually(lambda: not state("failing")["Running"] and not state("failing")["Restarting"], LIMIT_S, "it is given up")
    same((api.get("/containers/failing/json")["RestartCount"], state("failing")["ExitCode"]), (2, 3))
    same(pier("logs", "failing").ok().out, "again\n" * 3)
    pier("run", "-d", "--name", "always", "--restart", "always", "busybox", "sleep", "600").ok()
    before = state("always")["Pid"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: state("always")["Running"] and state("always")["Pid"] not in (0, before), LIMIT_S, "it runs again")
    pier("rm", "-f", "failing", "always").ok()


def state(container: str) -> dict[str, Any]:
    return dict(api.get(f"/containers/{container}/json")["State"])


def test_daemon_killed() -> None:
    container = background("busybox", "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.5; done")
    ending = background("busybox", "sh", "-c", "sleep 4; exit 33")
    again = background("--restart", "always", "busybox", "sh", "-c", "sleep 4; exit 34")
    before = api.get(f"/containers/{container}/json")["State"]
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    time.sleep(5)  # the exit happens while nobody listens: that is the point
    for name in ("tini", "tini-static"):
        os.rename(f"/usr/bin/{name}", f"/usr/bin/{name}.away")  # for test_builtin_init: the daemon looks for it at its start
    start_daemon()
    after = api.get(f"/containers/{container}/json")["State"]
    same((after["Running"], after["Pid"], after["StartedAt"]), (True, before["Pid"], before["StartedAt"]))
    ended = api.get(f"/containers/{ending}/json")["State"]
    assert (ended["Running"], ended["ExitCode"]) == (False, 33), ended
    lines = [int(line) for line in pier("logs", container).ok().out.split()]
    assert lines == list(range(1, len(lines) + 1)) and len(lines) >= 8, lines
    pier("exec", container, "true").ok()
    eventually(lambda: state(again)["Running"] or state(again)["Restarting"], says="what ended meanwhile is started again")
    assert api.get(f"/containers/{again}/json")["RestartCount"] >= 1
    pier("rm", "-f", container, ending, again).ok()


def test_builtin_init() -> None:
    """Without a tini: the blank child stays as PID 1, hands signals on and reaps."""
    container = background("--init", "busybox", "sh", "-c", "trap 'exit 7' TERM; (sleep 0.3 &); while :; do sleep 0.2; done")
    same(pier("exec", container, "sh", "-c", "cat /proc/1/comm; sleep 1; ps | grep -c '[Z]ombie\\|\\[sleep\\]'").code, 1)
    same(pier("exec", container, "cat", "/proc/1/comm").ok().line, "pier-init")
    pier("stop", container).ok()
    same(state(container)["ExitCode"], 7)
    pier("rm", container).ok()
    pier("run", "--rm", "--init", "busybox", "sh", "-c", "exit 9").fails(9)


def test_nothing_is_left() -> None:
    for container in api.get("/containers/json", all=True):
        pier("rm", "-f", container["Id"]).ok()
    top = Path("/sys/fs/cgroup/pier-pier")


    def busy() -> list[str]:
        """The cgroups that are not those of the pool's blank children."""
        return [p.name for p in top.iterdir() if p.is_dir() and titles(p) != ["pier-blank"]]

    eventually(lambda: not busy(), says="cgroups of containers are gone")
    daemon.send_signal(signal.SIGQUIT)  # what `make stop` sends
    same(daemon.wait(LIMIT_S), 0)

    def processes() -> list[str]:
        return [name for name in (comm(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()) if name.startswith("pier")]

    eventually(lambda: not processes() and not top.exists(), says="helpers and cgroups are gone")


def titles(cgroup: Path) -> list[str]:
    try:
        return [comm(pid) for pid in (cgroup / "cgroup.procs").read_text().split()]
    except OSError:  # removed: ENOENT; removed while it was being read: ENODEV
        return []


def comm(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


TESTS: list[Callable[[], None]] = [
    test_daemon_starts_and_loads, test_run, test_layers, test_limits, test_cgroup_namespaces, test_out_of_memory, test_devices_are_denied,
    test_hardening, test_apparmor, test_init, test_exec_and_logs, test_network, test_published_sctp, test_networks_on_a_parent, test_volume_limits,
    test_terminal, test_restart_policies, test_daemon_killed, test_builtin_init, test_nothing_is_left, test_contracts,
]  # fmt: skip
NAMES = [test.__name__.removeprefix("test_") for test in TESTS]
ONLY = "pier.tests="  # on the kernel's command line: names, with commas
WHOLE = "pier.whole"  # on the kernel's command line: contract suites in full


def main(tests: list[Callable[[], None]]) -> None:
    os.chdir(PIER)
    wanted = [word.removeprefix(ONLY).split(",") for word in Path("/proc/cmdline").read_text().split() if word.startswith(ONLY)]
    for test in tests:
        name = test.__name__.removeprefix("test_")
        if wanted and name not in wanted[0] and test is not tests[0]:
            continue
        began = time.monotonic()
        try:
            test()
            print(f"VERDICT {name} ok {time.monotonic() - began:.1f} s", flush=True)
        except BaseException as error:
            traceback.print_exc()
            reason = (str(error).strip() or type(error).__name__).replace("\n", " | ")
            print(f"VERDICT {name} FAIL {reason[:1500]}", flush=True)
            if test is tests[0]:
                break
    for log in (Path("/run/pierd.log"), Path("/run/pier/keeper.log")):
        print(f"--- {log}\n" + (log.read_text()[-6000:] if log.exists() else ""), flush=True)


if __name__ == "__main__":
    main(TESTS)
