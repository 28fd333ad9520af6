"""The linters as tests: ruff, mypy --strict, pyright, the import contracts. Each failing test prints what the tool said."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def test_ruff() -> None:
    run(str(BIN / "ruff"), "check", "--no-cache", "--quiet", "src", "tests", "benchmarks", "scripts")


def test_mypy_strict() -> None:
    run(str(BIN / "mypy"))


def test_pyright() -> None:
    run(str(BIN / "pyright"))


def test_import_contracts() -> None:
    run(str(BIN / "lint-imports"), "--no-cache")


@pytest.mark.parametrize("script", sorted(p.name for p in (ROOT / "scripts").iterdir() if p.read_bytes().startswith(b"#!/bin/sh")))
def test_shell_scripts_parse(script: str) -> None:
    run("sh", "-n", f"scripts/{script}")
    if shutil.which("shellcheck"):
        run("shellcheck", f"scripts/{script}")
