"""The public surface changes on purpose only: the list is in the repository, so that a change of it is seen in review."""

import importlib

import pytest

from .public_names import LIST, public_names


def test_the_list_is_what_the_sources_say() -> None:
    assert LIST.read_text().split() == public_names(), "the public names changed: `make names`, and say so in CHANGELOG.md"


@pytest.mark.parametrize("name", LIST.read_text().split())
def test_each_name_can_be_imported(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    found = importlib.import_module(module)
    if not hasattr(found, attribute):
        importlib.import_module(name)  # a submodule
