"""Configuration files that docs/guide shows are understood: ```json is daemon.json, ```toml hosts.toml. Commands are run by tests/engine."""

import re
from pathlib import Path

import pytest

from pier.daemon.config import build
from pier.daemon.options import parse_file
from pier.daemon.registries import registry_config
from pier.registry import hosts_toml

GUIDE = Path(__file__).resolve().parents[3] / "docs/guide"
BLOCKS = [
    pytest.param(kind, text, id=f"{page.name}-{number}")
    for page in sorted(GUIDE.glob("*.md"))
    for number, (kind, text) in enumerate(re.findall(r"^```(json|toml)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL), 1)
]


@pytest.mark.parametrize(("kind", "text"), BLOCKS)
def test_a_block_of_the_guide(kind: str, text: str) -> None:
    if kind == "json":
        registry_config(build(parse_file(text.encode(), "daemon.json")), {})
    else:
        hosts_toml.parse(text, Path("/etc/pier/certs.d/registry.example.com/hosts.toml"))


def test_there_is_something_to_test() -> None:
    assert len(BLOCKS) >= 5


def test_the_defaults_that_the_guide_shows_are_the_defaults() -> None:
    (shown,) = [block.values[1] for block in BLOCKS if "range-download-bytes" in str(block.values[1])]
    assert build(parse_file(str(shown).encode(), "daemon.json")) == build({})
