import subprocess
import sys
from pathlib import Path

import pytest

import pier.cli.launcher
from pier.cli.launcher.__main__ import script
from pier.cli.session import VERSION

FOLDER = str(Path(pier.cli.launcher.__file__).parent)
SOURCE = str(Path(pier.cli.launcher.__file__).parent.parent.parent.parent)


@pytest.mark.parametrize("folder", ["plain", "with a blank", "l" * 140])
def test_the_program_starts_wherever_python_lies(tmp_path: Path, folder: str) -> None:
    python = tmp_path / folder / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    text = script(str(python), SOURCE, FOLDER)
    assert text.startswith(f"#!{python} -IS" if folder == "plain" else "#!/bin/sh")
    program = tmp_path / "pier"
    program.write_text(text)
    program.chmod(0o755)
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == (f"Pier version {VERSION}\n", "")
    done = subprocess.run([program, "ps", "a b", "c"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "pier: 'pier ps' accepts no arguments")
