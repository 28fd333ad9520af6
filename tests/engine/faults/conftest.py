"""The engine of a module of faults: it may be killed and started as tests please; what they leave fails them."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.engine.conftest import warm_up
from tests.engine.faults import steps
from tests.harness import leaks
from tests.harness.canary import Canary
from tests.harness.engine import Engine

Site = tuple[Engine, Canary, Counter[str]]
SETTLE_S = 15.0


def holds(engine: Engine) -> Counter[str]:
    """What the leak check sees, but for the sleep between two heartbeats of the canary."""
    found = leaks.snapshot(engine)
    del found["processes: sleep"]
    return found


def at_rest(engine: Engine) -> Counter[str]:
    """What it holds once that does not change any more: the pool is full, the janitor is through."""
    last, same, end = holds(engine), 0, time.monotonic() + SETTLE_S
    while same < 3:
        assert time.monotonic() < end, "the engine does not come to rest"
        time.sleep(0.1)
        now = holds(engine)
        same, last = (same + 1 if now == last else 0), now
    return last


def _more(before: Counter[str], now: Counter[str]) -> list[str]:
    """The difference; a mount less is somebody else's on this machine, who removed what all namespaces had inherited."""
    return [line for line in leaks.difference(before, now) if not (line.startswith("-") and " mounts: " in line)]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Engine() as engine:
        warm_up(engine)
        canary = Canary.start(engine)
        engine.restart()
        steps.run_one(engine)
        yield engine, canary, at_rest(engine)


@pytest.fixture
def broken(site: Site) -> Iterator[Engine]:
    """The module's daemon for a test that kills it: the test leaves a fresh one, which must hold what the first one held."""
    engine, canary, before = site
    if engine.namespaces.exit_code(engine.pid) is not None:
        engine.start()  # the test before this one failed
    yield engine
    steps.remove_all(engine, canary.id)
    steps.run_one(engine)
    end = time.monotonic() + SETTLE_S
    while (left := _more(before, holds(engine))) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left, "left behind:\n  " + "\n  ".join(left) + f"\n--- log of the engine\n{engine.log_text()[-4000:]}"
    canary.check()
