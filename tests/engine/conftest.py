"""The engine of a test module, its canary, and the leak check after every test.

`engine` is one daemon for the module, warmed up (busybox loaded, one container run, one exec), with a canary in it. After each test that
uses it, what the test left of containers is removed, and then the engine must hold exactly what it held before
(tests/harness/leaks.py). `fresh_engine` is a daemon for one
test alone, for tests that break it; they call `leaks.settled` themselves or take the `no_leak_check` marker's word for it.
"""

import os
from collections.abc import Iterator

import pytest

from tests.harness import leaks
from tests.harness.canary import Canary
from tests.harness.commands import eventually
from tests.harness.engine import Engine

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="engine tests need root")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/engine/" in str(item.path):
            item.add_marker(needs_root)


def warm_up(engine: Engine) -> None:
    """Let the engine start what it starts on demand, so that the first test is no exception."""
    engine.load_busybox()
    made = engine.api("POST", "/containers/create", {"Image": "busybox:latest", "Cmd": ["sleep", "60"]}).ok(201).json["Id"]
    engine.api("POST", f"/containers/{made}/start").ok(204)
    execution = engine.api("POST", f"/containers/{made}/exec", {"Cmd": ["true"], "AttachStdout": True}).ok(201).json["Id"]
    engine.api("POST", f"/exec/{execution}/start", {"Detach": False, "Tty": False}).ok()
    engine.api("GET", f"/containers/{made}/logs", stdout=True).ok()
    engine.api("DELETE", f"/containers/{made}", force=True).ok(204)
    eventually(lambda: not leaks.links_of_containers(engine), says="its link is gone")


@pytest.fixture(scope="module")
def engine_of_module() -> Iterator[tuple[Engine, Canary]]:
    with Engine() as engine:
        warm_up(engine)
        yield engine, Canary.start(engine)


@pytest.fixture
def engine(engine_of_module: tuple[Engine, Canary], request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The module's daemon; what this test leaves behind fails it."""
    engine, canary = engine_of_module
    if request.node.get_closest_marker("no_leak_check"):
        yield engine
        return
    before = leaks.snapshot(engine)
    yield engine
    for container in set(engine.containers()) - {canary.id}:
        engine.api("DELETE", f"/containers/{container}", force=True)
    left = leaks.settled(engine, before)
    assert not left, "left behind:\n  " + "\n  ".join(left) + f"\n--- log of the engine\n{engine.log_text()[-4000:]}"
    canary.check()


@pytest.fixture
def fresh_engine() -> Iterator[Engine]:
    """A daemon for this test alone, with busybox; nothing of it outlives the test, and its cgroups must be removable."""
    with Engine() as engine:
        engine.load_busybox()
        yield engine
