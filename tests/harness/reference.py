"""The reference engine: a dockerd (and Podman) of the folder that `../shared/tools/peers make` fills, in namespaces of its own.

`peers start` keeps its engine in a chroot, where `docker exec` lands in the host's root (setns(2) takes the namespace's own root, not the chroot's).
Here the folder becomes the root by pivot_root(2), and data, exec root and socket are this run's, so that nobody else's dockerd is in the way.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

from .commands import Done, eventually, run

FOLDER = Path(os.environ.get("PIER_PEERS") or Path.home() / ".cache/pier-peers")
ROOT = FOLDER / "root"

ENTER = """
set -e
mount --rbind "$1" "$1"
for d in sys dev tmp; do mount --rbind /$d "$1/$d"; done
mount -t proc proc "$1/proc"
for d in run var/tmp; do mount -t tmpfs tmpfs "$1/$d"; done
mkdir -p "$1/run/lock"
mount --bind "$2" "$1/var/lib"
ip link set lo up
cd "$1"
pivot_root . .
umount -l .
exec sleep infinity
"""


def available() -> bool:
    """Whether the reference can be run here: root, and the folder is complete."""
    return os.geteuid() == 0 and (FOLDER / "made").exists()


@cache
def client(name: str = "docker") -> str:
    """The path of a client of the reference that runs on this machine as it is; "" where there is none."""
    path = ROOT / "usr/bin" / name
    return str(path) if os.access(path, os.X_OK) else ""


@cache
def compose() -> str:
    """The path of the reference's docker-compose, which runs on this machine as it is; "" where there is none."""
    path = ROOT / "usr/libexec/docker/cli-plugins/docker-compose"
    return str(path) if os.access(path, os.X_OK) else client("docker-compose")


class Reference:
    """Namespaces with the reference's root and, on demand, its dockerd. Use as a context; at its end nothing is left."""

    def __init__(self) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="pier-reference-", dir="/tmp"))
        self.host = f"unix://{self.state}/docker.sock"
        self._holder: subprocess.Popen[bytes] | None = None
        self._dockerd: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Reference":
        (self.state / "lib").mkdir()
        for name in ("dpkg", "ca-certificates"):  # tools look for their own folders there
            (self.state / "lib" / name).mkdir()
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", ENTER, "sh", ROOT, self.state / "lib"], stdin=subprocess.DEVNULL
        )
        eventually(lambda: self._comm() == "sleep", says="the reference's namespaces")
        return self

    def _comm(self) -> str:
        assert self._holder is not None and self._holder.poll() is None, "the reference's namespaces did not come up"
        return Path(f"/proc/{self._holder.pid}/comm").read_text().strip()

    @property
    def pid(self) -> int:
        """The process that holds the namespaces."""
        assert self._holder is not None
        return self._holder.pid

    def argv(self, *command: str) -> list[str]:
        """The command line that runs `command` inside."""
        assert self._holder is not None
        enter = ["nsenter", "--target", str(self._holder.pid), "--mount", "--net", "--root", "--wd"]
        return [*enter, "env", "-i", "HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command]

    def __call__(self, *command: str, stdin: bytes | None = None, limit_s: float = 120.0) -> Done:
        return run(self.argv(*command), None, stdin, limit_s)

    def start_dockerd(self) -> str:
        """Start dockerd; returns its DOCKER_HOST once it answers."""
        log = (self.state / "dockerd.log").open("wb")
        self._dockerd = subprocess.Popen(
            self.argv("dockerd", "--host", self.host, "--group", "root"), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

        def answers() -> bool:
            assert self._dockerd is not None and self._dockerd.poll() is None, (self.state / "dockerd.log").read_text()[-2000:]
            return self("docker", "-H", self.host, "version").code == 0

        eventually(answers, 60.0, "the reference dockerd")
        return self.host

    def __exit__(self, *_: object) -> None:
        if self._dockerd is not None and self._dockerd.poll() is None:
            ids = self("docker", "-H", self.host, "ps", "-aq").out.split()
            if ids:
                self("docker", "-H", self.host, "rm", "-f", *ids)
            self._dockerd.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._dockerd.wait(20)
        if self._holder is not None:
            self._kill_inside()
            self._holder.wait()
        shutil.rmtree(self.state, ignore_errors=True)

    def _kill_inside(self) -> None:
        """End whatever lives in the namespaces made above, and nothing else."""
        assert self._holder is not None
        own = {kind: os.readlink(f"/proc/{self._holder.pid}/ns/{kind}") for kind in ("mnt", "net")}
        for _ in range(50):
            alive = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _shares(pid, own)]
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._holder.poll()
            if self._dockerd is not None:
                self._dockerd.poll()
            if not alive:
                return
            time.sleep(0.05)


def _shares(pid: int, own: dict[str, str]) -> bool:
    for kind, value in own.items():
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/{kind}") == value:
                return True
    return False
