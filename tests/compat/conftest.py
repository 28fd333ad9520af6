"""The engine under test and its image; each test gets a clean slate, and what it made is removed after it."""

import copy
import os
import shutil
import sys
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import images, reference
from tests.harness.commands import Done, run
from tests.harness.registry_server import Inside
from tests.harness.terminal import Terminal


class Target:
    """An engine, seen through the docker command. Containers made by `docker()` carry a label of this test, by which they are removed."""

    def __init__(self, kind: str, host: str, inside: Inside, docker: str) -> None:
        self.kind, self.host, self.inside, self._docker, self.token = kind, host, inside, docker, ""
        self.image = "pier-test/busybox:latest"
        self.image_id = ""
        self.env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": host, "DOCKER_CONFIG": "/nonexistent/docker"}

    def argv(self, *words: str) -> list[str]:
        """The command line; `run` and `create` get the label of this test."""
        if words[0] in ("run", "create"):
            words = (words[0], "--label", f"pier.test={self.token}", *words[1:])
        return [self._docker, *words]

    def __call__(self, *words: str, stdin: bytes | None = None, limit_s: float = 60.0) -> Done:
        return run(self.argv(*words), self.env, stdin, limit_s)

    def configured(self, folder: Path) -> "Target":
        """The same with a configuration folder of its own, for logins; credential helpers of this checkout are found."""
        found = copy.copy(self)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        found.env = {**self.env, "DOCKER_CONFIG": str(folder), "HOME": str(folder), "PATH": path}
        return found

    def beside(self, *words: str) -> Done:
        """The command in the engine's network, for what it asks registries itself."""
        return run(["nsenter", "--target", str(self.inside.pid), "--net", "--", *self.argv(*words)], self.env)

    def reads(self, address: str, port: int) -> str:
        """What a TCP server says to the engine's host, "" where there is none."""
        reader = f"import socket; s = socket.create_connection(({address!r}, {port}), 5); s.shutdown(1); print(s.makefile().read(), end='')"
        return run(["nsenter", "--target", str(self.inside.pid), "--net", "--", sys.executable, "-c", reader]).out

    def terminal(self, *words: str, rows: int = 24, cols: int = 80) -> Terminal:
        """The command on a terminal of its own."""
        return Terminal(self.argv(*words), self.env, rows, cols)

    def name(self) -> str:
        """A name nothing else uses."""
        return "pt-" + uuid.uuid4().hex[:10]

    def background(self, *words: str) -> str:
        """`run -d` of the test image with these options and command; returns the full ID."""
        return self("run", "-d", *words).ok().line

    def inspect(self, name: str, template: str) -> str:
        """`docker inspect --format`."""
        return self("inspect", "--format", template, name).ok().line


def docker_command(config: pytest.Config) -> str:
    """--docker, the reference's own client (API 1.51), or the machine's."""
    return config.getoption("--docker") or reference.client() or shutil.which("docker") or pytest.skip("no docker command on this machine")


@pytest.fixture(scope="session")
def engine_host(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, Inside]]:
    """(kind, DOCKER_HOST, namespaces) of the engine under test; registries have to be in its network."""
    if request.config.getoption("--target") == "reference":
        if not reference.available():
            pytest.skip("no reference dockerd here")
        with reference.Reference() as peers:
            yield "reference", peers.start_dockerd(), peers
        return
    from tests.harness.engine import Engine

    with Engine() as engine:
        yield "pier", engine.host, engine.namespaces


@pytest.fixture(scope="session")
def loaded(request: pytest.FixtureRequest, engine_host: tuple[str, str, Inside], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    target = Target(*engine_host, docker_command(request.config))
    archive = tmp_path_factory.mktemp("images") / "busybox.tar"
    target.image_id = images.busybox_archive(archive, target.image)
    target("load", "-i", str(archive)).ok()
    yield target


@pytest.fixture
def docker(loaded: Target) -> Iterator[Target]:
    """The docker command on the engine under test; containers of the test are removed after it."""
    loaded.token = uuid.uuid4().hex
    yield loaded
    left = loaded("ps", "-aq", "--filter", f"label=pier.test={loaded.token}").ok().out.split()
    if left:
        loaded("rm", "-f", *left).ok()


@pytest.fixture
def image(loaded: Target) -> str:
    return loaded.image


@pytest.fixture
def client(docker: Target) -> Generator[Any]:
    """docker-py on the engine under test."""
    import docker as docker_py

    made = docker_py.DockerClient(base_url=docker.host, timeout=60)
    yield made
    made.close()


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that this process and the engine under test both see at the same path."""
    path = Path("/tmp") / f"pier-compat-{uuid.uuid4().hex[:10]}"
    path.mkdir(mode=0o755)
    yield path
    shutil.rmtree(path)
