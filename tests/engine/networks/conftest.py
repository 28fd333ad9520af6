import os

import pytest

from . import stage


@pytest.fixture(autouse=True)
def _root_only() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")


__all__ = ["stage"]
