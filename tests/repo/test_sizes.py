"""Files stay readable in one sitting: about 150 lines, seldom over 400 (the rule of CONTRIBUTING.md)."""

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src/pier").rglob("*.py"))

LONGEST = 400
LONGER = {  # path under src/pier: (lines allowed, why it is one file)
}  # type: dict[str, tuple[int, str]]


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_source_file_is_too_long(path: Path) -> None:
    allowed, _why = LONGER.get(str(path.relative_to(ROOT / "src/pier")), (LONGEST, ""))
    assert lines(path) <= allowed, f"{path}: {lines(path)} lines, {allowed} allowed: split it, or say in LONGER why not"


def test_every_exception_is_needed() -> None:
    for name in LONGER:
        path = ROOT / "src/pier" / name
        assert path.exists() and lines(path) > LONGEST, f"{name} needs no exception any more: take it off the list"


def test_the_usual_file_is_short() -> None:
    sizes = [lines(p) for p in SOURCES if p.name != "__init__.py"]
    assert statistics.median(sizes) <= 200


def test_every_module_says_what_it_is() -> None:
    silent = [str(p.relative_to(ROOT)) for p in SOURCES if p.name != "__main__.py" and not ast.get_docstring(ast.parse(p.read_text()))]
    assert not silent, f"no docstring at the top of {silent}"


def test_no_vague_names() -> None:
    vague = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    found = [str(p.relative_to(ROOT)) for p in (ROOT / "src").rglob("*") if p.stem in vague]
    assert not found, f"name these after what they do: {found}"
