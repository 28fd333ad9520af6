import subprocess
import sys
from pathlib import Path

import pytest

import pier.cli.launcher
from pier.cli.launcher.__main__ import PROGRAMS, script
from pier.cli.session import VERSION

FOLDER = str(Path(pier.cli.launcher.__file__).parent)
SOURCE = str(Path(pier.cli.launcher.__file__).parent.parent.parent.parent)


@pytest.mark.parametrize("folder", ["plain", "with a blank", "l" * 140])
def test_the_program_starts_wherever_python_lies(tmp_path: Path, folder: str) -> None:
    python = tmp_path / folder / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    text = script(str(python), [SOURCE, str(tmp_path / "packages")], FOLDER)
    assert text.startswith(f"#!{python} -IS" if folder == "plain" else "#!/bin/sh")
    program = tmp_path / "pier"
    program.write_text(text)
    program.chmod(0o755)
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == (f"Pier version {VERSION}\n", "")
    done = subprocess.run([program, "ps", "a b", "c"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "pier: 'pier ps' accepts no arguments")


@pytest.mark.parametrize("folder", ["plain", "with a blank"])
def test_the_other_program_and_the_packages_behind_the_source(tmp_path: Path, folder: str) -> None:
    python = tmp_path / folder / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "cryptography.py").write_text("raise ImportError('found')")
    program = tmp_path / "docker-credential-pier"
    program.write_text(script(str(python), [SOURCE, str(packages)], FOLDER, PROGRAMS["docker-credential-pier"]))
    program.chmod(0o755)
    environ = {"DOCKER_CONFIG": str(tmp_path / "config")}
    done = subprocess.run([program, "version"], capture_output=True, text=True, timeout=30, env=environ)
    assert (done.stdout, done.returncode) == (f"docker-credential-pier (pier) {VERSION}\n", 0)
    login = '{"ServerURL": "a", "Username": "b", "Secret": "c"}'
    done = subprocess.run([program, "store"], input=login, capture_output=True, text=True, timeout=30, env=environ)
    assert "ImportError: found" in done.stderr
