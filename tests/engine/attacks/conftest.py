"""One daemon for all attacks, with a secret in its own environment, and an image in which an attacker finds a Python to work with."""

import os
import time
from collections.abc import Iterator

import pytest

from tests.engine.attacks import attacker
from tests.engine.conftest import warm_up
from tests.harness import images, leaks
from tests.harness.canary import Canary
from tests.harness.engine import Engine


@pytest.fixture(scope="package")
def engine_of_module() -> Iterator[tuple[Engine, Canary]]:
    with Engine("-D", env={"ALL_PROXY": attacker.DAEMON_SECRET, "PIER_UNKNOWN": attacker.DAEMON_SECRET}) as engine:
        warm_up(engine)
        links = {name: os.readlink(f"/{name}") for name in ("lib", "lib64") if os.path.islink(f"/{name}")}
        evil: dict[str, bytes | str | int | tuple[bytes, int]] = {
            "evil": (f"#!/proc/self/exe\n{attacker.ASK_READ_ONLY}\n".encode(), 0o755),
            "self": "/proc/self/exe",
            **links,
        }
        attacker.load(engine, "attacker", images.layer(evil))
        attacker.run(engine, ["true"])  # its layers are mounted once, with the first container
        canary = Canary.start(engine)
        for _ in range(20):
            before = leaks.snapshot(engine)
            time.sleep(0.3)
            if not leaks.difference(before, leaks.snapshot(engine)):
                break
        yield engine, canary
