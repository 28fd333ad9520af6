"""The command line starts in milliseconds: what it imports is watched, by name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pier.cli

SOURCE = Path(pier.cli.__file__).parent.parent.parent
HEAVY = [
    "argparse", "asyncio", "base64", "collections", "contextlib", "dataclasses", "datetime", "enum", "fractions", "functools", "hashlib",
    "inspect", "json", "logging", "msgspec", "os", "pathlib", "random", "re", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile",
    "threading", "typing", "urllib", "csv", "pier.cli.goformat", "pier.cli.remote", "pier.oci", "pier.registry", "cryptography",
    "pier.client.credentials.sealed",
]  # fmt: skip
NOT_FOR_ALL = ["pier.cli.container_values", "pier.client.contexts", "pier.cli.completion", "pier.cli.help"]


def modules(*args: str) -> set[str]:
    read_fd, write_fd = os.pipe()
    code = f"""
import sys
sys.path.append({str(SOURCE)!r})
import posix
out = posix._exit
def leave(status):
    posix.write({write_fd}, "\\n".join(sys.modules).encode())
    out(0)
posix._exit = leave
sys.argv[1:] = {list(args)!r}
from pier.cli.main import main
main()
"""
    env = {"DOCKER_HOST": "unix:///nonexistent/d.sock", "HOME": "/nonexistent"}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code],
        pass_fds=[write_fd],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(write_fd)
        with open(read_fd) as file:
            found = set(file.read().split())
        process.wait()
    assert "pier.cli.main" in found
    return found


@pytest.mark.parametrize(
    "args",
    [
        ["version"], ["ps"], ["run", "--rm", "busybox", "true"], ["exec", "c", "true"], ["images"], ["inspect", "x"], ["logs", "x"], ["rm", "x"],
        ["pull", "x"], ["push", "x"],
    ],
)  # fmt: skip
def test_nothing_heavy_is_imported(args: list[str]) -> None:
    found = modules(*args)
    assert sorted(found & set(HEAVY)) == []


def test_only_the_commands_own_module_is_imported() -> None:
    found = modules("ps")
    assert sorted(found & set(NOT_FOR_ALL)) == []
    assert sorted(name for name in found if name in ("pier.cli.run", "pier.cli.images", "pier.cli.version")) == []


def test_few_modules_in_all() -> None:
    assert len([name for name in modules("version") if name.startswith("pier.")]) <= 14
    assert len([name for name in modules("run", "busybox") if name.startswith("pier.")]) <= 20


def test_source_files_stay_small() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for folder in ("cli", "client") for path in (SOURCE / "pier" / folder).rglob("*.py")}
    # tables of flags apart, which are data
    assert {name: count for name, count in lines.items() if count > 400 and name != "container_options.py"} == {}
