"""An engine whose /etc is its own, so that certs.d, hosts.toml and /etc/hosts are the tests' to write; nothing of the machine's is seen."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.conftest import warm_up
from tests.harness.canary import Canary
from tests.harness.commands import eventually, run
from tests.harness.engine import Engine


@pytest.fixture(scope="module")
def engine_of_module() -> Iterator[tuple[Engine, Canary]]:
    engine = Engine(env={"NO_PROXY": "past.example.com"})
    etc(engine)
    with engine:
        warm_up(engine)
        yield engine, Canary.start(engine)


def etc(engine: Engine) -> Path:
    """Make /etc of the engine's namespaces writable, seen by it alone. Returns where what is written is found."""
    upper, work = engine.roots / "etc", engine.roots / "etc-work"
    upper.mkdir()
    work.mkdir()
    options = f"lowerdir=/etc,upperdir={upper},workdir={work}"
    run(engine.namespaces.argv("mount", "-t", "overlay", "overlay", "-o", options, "/etc")).ok()
    for name in ("docker", "containerd"):  # the machine's own
        run(engine.namespaces.argv("sh", "-c", f"rm -rf /etc/{name}; mkdir -p /etc/{name}/certs.d")).ok()
    return upper


@pytest.fixture
def configure(engine: Engine) -> Iterator[Callable[..., None]]:
    """Write daemon.json and have it read; at the end it is empty again. A folder of hosts.toml is always the engine's own."""

    def written(**options: object) -> None:
        values = {"registry-hosts-dir": str(engine.roots / "hosts")} | {name.replace("_", "-"): value for name, value in options.items()}
        (engine.roots / "daemon.json").write_text(json.dumps(values))
        before = engine.log_text().count("configuration reloaded")
        os.kill(engine.pid, signal.SIGHUP)
        eventually(lambda: engine.log_text().count("configuration reloaded") > before, says="the reload")

    yield written
    written()


@pytest.fixture
def place(engine: Engine) -> Iterator[Callable[..., Path]]:
    """Write a file into the engine's /etc or, with another `root`, elsewhere below its roots; all of them go at the end."""
    made: list[Path] = []

    def placed(path: str, content: str | bytes) -> Path:
        inside = engine.namespaces.argv("sh", "-c", 'mkdir -p "${1%/*}" && cat > "$1"', "sh", path)
        run(inside, None, content if isinstance(content, bytes) else content.encode()).ok()
        made.append(Path(path))
        return Path(path)

    yield placed
    for path in made:
        run(engine.namespaces.argv("rm", "-f", str(path))).ok()
