"""One command line in a process of its own, with the packages of this environment in reach, as the installed program has them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pier.cli
from tests.unit.client.fake_daemon import FakeDaemon

SOURCE = Path(pier.cli.__file__).parent.parent.parent


def program(module: str = "pier.cli.main") -> list[str]:
    """The command line of one of Pier's programs."""
    return [sys.executable, "-I", "-c", f"import sys; sys.path.append({str(SOURCE)!r}); from {module} import main; main()"]


def call(daemon: FakeDaemon | None, *args: str, stdin: bytes = b"", module: str = "pier.cli.main", **env: Any) -> tuple[int, str, str]:
    """(exit status, stdout, stderr)."""
    done = subprocess.run(
        [*program(module), *args],
        input=stdin,
        capture_output=True,
        env={"HOME": "/nonexistent", "PIER_AUTOSTART": "0", **({"DOCKER_HOST": daemon.host} if daemon else {}), **env},
        timeout=60,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()
