"""The finder takes what is current, and nothing else; the ordinary import goes on from there."""

import importlib.util
import os
import py_compile
from pathlib import Path

import pytest

from pier.cli import quick


@pytest.fixture
def module(tmp_path: Path) -> Path:
    source = tmp_path / "thing.py"
    source.write_text('"""A module."""\nVALUE = 1\n')
    py_compile.compile(str(source), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    return source


def find(source: Path) -> object:
    return quick.QuickFinder.find_spec("pier.package.thing", [str(source.parent)])


def test_a_current_module_is_what_an_ordinary_import_makes(module: Path) -> None:
    spec = quick.QuickFinder.find_spec("pier.package.thing", [str(module.parent)])
    assert spec is not None
    made = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(made)
    usual = importlib.util.spec_from_file_location("pier.package.thing", module)
    assert usual is not None
    assert (made.VALUE, made.__doc__, made.__name__, made.__package__) == (1, "A module.", "pier.package.thing", "pier.package")
    assert (made.__file__, made.__cached__) == (usual.origin, usual.cached)


def test_what_is_older_than_its_source_is_left_alone(module: Path) -> None:
    before = module.stat()
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns + 2_000_000_000))
    assert find(module) is None
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert find(module) is not None
    module.write_text('"""A module."""\nVALUE = 10\n')
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))  # as old as before, and longer
    assert find(module) is None


def test_what_another_interpreter_compiled_is_left_alone(module: Path) -> None:
    compiled = Path(importlib.util.cache_from_source(str(module)))
    data = compiled.read_bytes()
    for wrong in (b"\0\0\r\n" + data[4:], data[:4] + b"\1\0\0\0" + data[8:], data[:10], b"", data.ljust(48 << 10, b"\0")):
        compiled.write_bytes(wrong)
        assert find(module) is None
    compiled.write_bytes(data)
    assert find(module) is not None
    compiled.unlink()
    assert find(module) is None


def test_others_modules_are_left_alone(module: Path) -> None:
    assert quick.QuickFinder.find_spec("other.thing", [str(module.parent)]) is None
    assert quick.QuickFinder.find_spec("pier") is None
    assert quick.QuickFinder.find_spec("pier.package", [str(module.parent)]) is None
