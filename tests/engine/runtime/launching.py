"""A launcher for tests of the blank child: one single-threaded process a container, that clones it and serves its socket.

The container's root is a folder with Debian's static busybox over an overlay, in a mount namespace of the launcher's own,
so that nothing is left on the host whatever happens.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pier.runtime.plan import Plan, Write

BUSYBOX = "/bin/busybox"
_APPLETS = (
    "sh cat ls id mount stat echo grep env true sleep touch mknod readlink head tty stty ps kill wc dd chmod pwd hostname unshare su sed find od tr "
    "ln mkdir rm seq mv"
)
_SERVER = "from tests.engine.runtime.launching import _serve; _serve()"


@dataclass
class Outcome:
    """What came of a container: its exit code and output, or the `failed` message; warnings in order."""

    code: int
    output: str
    failed: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)


def make_root(folder: Path) -> Path:
    """A root filesystem with busybox and the files that every test expects."""
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "usr"):
        (folder / name).mkdir(parents=True)
    os.chmod(folder / "tmp", 0o1777)
    shutil.copy(BUSYBOX, folder / "bin/busybox")
    for name in _APPLETS.split():
        (folder / "bin" / name).symlink_to("busybox")
    (folder / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www:/var/www:/bin/false\nalice:x:1000:1000::/home/alice:/bin/sh\n"
    )
    (folder / "etc/group").write_text("root:x:0:\nadm:x:4:alice\nwww-data:x:33:\nalice:x:1000:\n")
    return folder


def run(
    plan: Plan,
    *,
    namespaces: tuple[str, ...] = ("mount", "uts", "ipc", "pid", "network"),
    cgroup: str = "",
    instance: str = "",
    timeout_s: float = 20,
    fds: tuple[int, ...] = (),
    execs: tuple[Plan, ...] = (),
    limits: list[Write] | None = None,
) -> Outcome:
    """Run the plan in a child of a fresh process and wait for its end; `execs` run in it one after another, their output follows."""
    request = {
        "plan": plan.encode(), "namespaces": namespaces, "cgroup": cgroup, "instance": instance, "fds": list(fds),
        "execs": [each.encode() for each in execs], "limits": limits or [],
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", _SERVER], input=json.dumps(request).encode(), capture_output=True, timeout=timeout_s, pass_fds=fds)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode())
    return Outcome(**json.loads(done.stdout))


def _serve() -> None:
    import gc
    import select
    import signal
    import time

    from pier.ipc import Channel, pair
    from pier.linux import mounts, namespaces, processes
    from pier.linux.cgroups import CgroupLayout
    from pier.linux.device_filter import DeviceRule
    from pier.runtime import child
    from pier.runtime.limits import apply

    request = json.load(sys.stdin)
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.set_propagation("/", mounts.MS_REC | mounts.MS_PRIVATE)
    gc.disable()
    layout = CgroupLayout.detect(request["instance"]) if request["cgroup"] else None
    if layout:
        layout.prepare()
        layout.create(request["cgroup"])
        apply(request["cgroup"], [Write(w[0], w[1], w[2], tuple(DeviceRule(*rule) for rule in w[3])) for w in request["limits"]], layout)
    result: dict[str, Any] = {"code": -1, "output": "", "failed": None, "warnings": []}

    def start(encoded: dict[str, Any], flags: int, fds: list[int]) -> tuple[int, int, int]:
        """(pid, reading end of its output, channel drained until execve or failure)"""
        read_end, write_end = os.pipe()
        ours, theirs = pair()
        pid, pidfd = processes.clone3(flags, signal.SIGCHLD)
        if pid == 0:
            if layout:
                layout.join(request["cgroup"])
            child.main(theirs.fileno())
        theirs.close()
        os.set_inheritable(write_end, True)
        for name, arguments in encoded["steps"]:
            if name == "open_streams":
                for stream in ("stdout", "stderr"):
                    arguments[stream] = f"/proc/{os.getpid()}/fd/{write_end}"
        channel = Channel(ours)
        channel.send({"op": "plan", "plan": encoded}, fds)
        master = -1
        while (got := channel.recv()) is not None:
            message, received = got
            if message["op"] == "warning":
                result["warnings"].append(message["message"])
            elif message["op"] == "console":
                master = received[0]
            elif message["op"] == "failed":
                result["failed"] = message
        os.close(write_end)
        return pid, master if master >= 0 else read_end, pidfd

    def drain(fd: int, pid: int) -> None:
        status = None
        while True:
            ready, _, _ = select.select([fd], [], [], 0.05)
            if ready:
                try:
                    data = os.read(fd, 65536)
                except OSError:
                    data = b""
                if not data:
                    break
                result["output"] += data.decode(errors="replace")
            elif status is None:
                done, found = os.waitpid(pid, os.WNOHANG)
                if done:
                    status = found
            else:
                break
        if status is None:
            _, status = os.waitpid(pid, 0)
        result["code"] = os.waitstatus_to_exitcode(status)

    flags = namespaces.flags_of(tuple(request["namespaces"]))
    pid, fd, pidfd = start(request["plan"], flags, request["fds"])
    if request["execs"] and not result["failed"]:
        spaces = {kind: namespaces.open_namespace(pid, kind) for kind in ("cgroup", "ipc", "uts", "network", "mount", "pid")}
        for encoded in request["execs"]:
            namespaces.setns(spaces["pid"], namespaces.CLONE_NEWPID)
            exec_pid, exec_fd, _ = start(encoded, 0, [*(spaces[kind] for kind in ("cgroup", "ipc", "uts", "network", "mount")), pidfd])
            drain(exec_fd, exec_pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    else:
        drain(fd, pid)
    if layout:
        for _ in range(100):
            if layout.remove(request["cgroup"]):
                break
            time.sleep(0.01)
        layout.remove_parent()
    print(json.dumps(result))
