"""Who is measured: Pier in namespaces of its own, and of Docker and Podman what is there."""

import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import fixtures
from tests.harness import images, reference
from tests.harness.api import Api
from tests.harness.engine import Engine, program

IMAGE = "bench/busybox:latest"


@dataclass(frozen=True)
class Contenders:
    """Each may be absent but Pier; `podman` is run inside the reference's namespaces, whose entry is measured and taken off."""

    engine: Engine
    docker_host: str
    docker_client: str
    peers: "reference.Reference | None"

    @classmethod
    def start(cls, stack: ExitStack) -> "Contenders":
        """Start what there is; `stack` takes it down."""
        engine = stack.enter_context(fixtures.engine())
        archive = engine.roots / "busybox.tar"
        images.busybox_archive(archive, IMAGE)
        docker_host, peers = "", None
        if reference.available():
            peers = stack.enter_context(reference.Reference())
            docker_host = peers.start_dockerd()
            peers("podman", "load", "-q", "-i", str(archive))
        elif os.path.exists("/run/docker.sock"):
            docker_host = "unix:///run/docker.sock"
        made = cls(engine, docker_host, docker_client(), peers)
        for argv, env in filter(None, (made.pier("load", "-i", str(archive)), made.docker("load", "-i", str(archive)))):
            timed(argv, env)
        return made

    def versions(self) -> list[str]:
        """One line for each."""
        lines = [f"Pier {self.engine.api.get('/version')['Version']} on Linux {os.uname().release}, {os.cpu_count()} cores"]
        if self.docker_host:
            lines.append(f"Docker {Api(self.docker_host.removeprefix('unix://')).get('/version')['Version']}")
        else:
            lines.append("no Docker here: its ratios are not judged")
        if self.docker_client:
            start_s = statistics.median(timed([self.docker_client, "--version"], self.engine.client_env) for _ in range(9))
            name = said([self.docker_client, "--version"])
            lines.append(f"the docker client of both: {self.docker_client}, {name}, which takes {start_s * 1000:.0f} ms to start")
        lines.append(self.peers("podman", "--version").line if self.peers else "no Podman here")
        return lines

    # a command line and its environment for each contender; None where it is not there

    def pier(self, *words: str) -> tuple[list[str], dict[str, str]]:
        return [*program("pier", "pier.cli.main"), *words], self.engine.client_env

    def docker(self, *words: str) -> tuple[list[str], dict[str, str]] | None:
        if not (self.docker_host and self.docker_client):
            return None
        return [self.docker_client, *words], {**self.engine.client_env, "DOCKER_HOST": self.docker_host}

    def docker_on_pier(self, *words: str) -> tuple[list[str], dict[str, str]] | None:
        return ([self.docker_client, *words], self.engine.client_env) if self.docker_client else None

    def podman(self, *words: str) -> tuple[list[str], dict[str, str]] | None:
        return (self.peers.argv("podman", *words), dict(os.environ)) if self.peers else None

    def entry_cost(self) -> float:
        """Seconds that entering the reference's namespaces costs; what Podman's figures have on top."""
        return min(timed(self.peers.argv("true"), dict(os.environ)) for _ in range(5)) if self.peers else 0.0


def docker_client() -> str:
    """The docker command that speaks to Docker and to Pier: PATH's where it is Docker's own of 28 or newer, else the reference's, "" without any.

    What a distribution builds takes up to five times as long to start as Docker's static executable, so it decides the rows that it is in.
    """
    path = shutil.which("docker") or ""
    if path and (found := re.match(r"Docker version (\d+)", said([path, "--version"]))) and int(found[1]) >= 28:
        return path
    return reference.client() or path


def timed(argv: list[str], env: dict[str, str], stdin: Path | None = None) -> float:
    """Seconds that a command takes; AssertionError with what it said unless it ends with 0. Output goes to a file: nobody reads a pipe meanwhile."""
    with open(stdin or os.devnull, "rb") as source, tempfile.TemporaryFile() as out:  # of its own: threads time beside each other
        began = time.perf_counter()
        code = subprocess.call(argv, env=env, stdin=source, stdout=out, stderr=out)
        took = time.perf_counter() - began
        out.seek(0)
        assert code == 0, f"{' '.join(argv)}: exit code {code}: {out.read(500).decode(errors='replace')}"
    return took


def said(argv: list[str], env: dict[str, str] | None = None) -> str:
    """stdout of a command that must succeed."""
    return subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout.strip()
