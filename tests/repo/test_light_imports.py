"""What must start fast or stay small imports little: each module in a fresh interpreter, then a look at sys.modules.

The command line: `pier version` must answer in 20 ms, and `import asyncio` alone takes longer. The helpers stay resident,
and what the keeper imports every container's child is forked with.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
PACKAGES = next(p for p in sys.path if p.endswith("site-packages"))

FAST_PATH = {"msgspec", "asyncio", "re", "dataclasses", "typing", "argparse", "json", "urllib", "http", "subprocess", "logging", "inspect", "ssl"}
HELPER = {"asyncio", "msgspec", "h11", "sqlite3", "ssl", "logging", "argparse", "http", "email"}

CHILD = HELPER | {"hashlib", "random", "secrets", "traceback", "inspect", "dataclasses", "lzma", "isal", "backports", "zlib", "ipaddress"}

HELPERS = ["pier.runtime.keeper", "pier.runtime.launcher", "pier.runtime.child", "pier.logs.pump", "pier.archive.worker", "pier.ipc.channel"]
CLI = ["pier.cli.main", "pier.cli.run", "pier.cli.ps", "pier.cli.version", "pier.cli.exec", "pier.cli.pull", "pier.client"]


def imported_by(module: str) -> set[str]:
    """The top-level names in sys.modules of an interpreter (-I -S, as the launcher starts it) that imported one module."""
    code = f"import sys; sys.path[:0] = [{str(SRC)!r}, {PACKAGES!r}]; import {module}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.split()}


def exists(module: str) -> bool:
    path = SRC / module.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@pytest.mark.parametrize("module", HELPERS)
def test_helpers_stay_small(module: str) -> None:
    assert exists(module), f"{module} went elsewhere: name it here"
    assert not imported_by(module) & HELPER


def test_children_of_the_launcher_stay_smaller() -> None:
    """What the keeper has imported when it forks the launcher is copied, and thrown away, with each container and each exec."""
    assert not imported_by("pier.daemon.keeper") & CHILD


@pytest.mark.parametrize("module", CLI)
def test_the_command_line_starts_light(module: str) -> None:
    assert exists(module), f"{module} went elsewhere: name it here"
    assert not imported_by(module) & FAST_PATH


def test_the_probe_sees_what_is_imported() -> None:
    assert "json" in imported_by("json") and json.__name__ not in imported_by("pier.errors")
