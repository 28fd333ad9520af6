"""The test registries, one after the other: ours, and docker-registry where it is made."""

from collections.abc import Iterator

import pytest

from pier.registry.cancel import Cancel
from tests.harness.registry import DockerRegistry, FakeRegistry, needs_docker_registry

Registry = FakeRegistry | DockerRegistry
BOTH = [pytest.param(FakeRegistry, id="fake"), pytest.param(DockerRegistry, id="docker-registry", marks=needs_docker_registry)]


@pytest.fixture(params=BOTH)
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    """An empty registry that lets everybody do everything."""
    with request.param() as made:
        yield made


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have waited between its tries, in seconds; it does not."""
    waits: list[float] = []

    def wait(self: Cancel, seconds: float) -> None:
        waits.append(seconds)
        self.check()

    monkeypatch.setattr(Cancel, "wait", wait)
    return waits
