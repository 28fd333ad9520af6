"""What the tests of pulls share: a registry on loopback, and a world for a story."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.images.world import tell
from tests.harness.registry import FakeRegistry


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/contract/images/test_pull" in str(item.path):
            item.add_marker(pytest.mark.skipif(os.geteuid() != 0, reason="giving up privileges needs some"))


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture(params=["erofs", "unpacked"])
def over_kinds(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Runs a story with either kind of layers."""
    return lambda story, config=None, **more: tell(tmp_path, request.param, story, config, **more)


@pytest.fixture
def once(tmp_path: Path) -> Callable[..., None]:
    """Runs a story in which the kind of layers has no part."""
    return lambda story, config=None, **more: tell(tmp_path, "erofs", story, config, **more)
