"""The reference engine, where its tool lies beside this checkout (scripts/peers makes and starts it)."""

import os
import subprocess
from functools import cache
from pathlib import Path

TOOL = Path(__file__).resolve().parents[3] / "shared/tools/peers"


def _ask(*words: str) -> str:
    if not os.access(TOOL, os.X_OK) or os.geteuid() != 0:
        return ""
    done = subprocess.run([TOOL, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


@cache
def client(name: str = "docker") -> str:
    """The path of a client of the reference that runs on this machine as it is; "" where there is none."""
    return _ask("bin", name)


@cache
def host() -> str:
    """DOCKER_HOST of the running reference dockerd (started if needed); "" where there is none."""
    return _ask("start").removeprefix("export DOCKER_HOST=")


def within(*command: str) -> list[str]:
    """The command line that runs `command` in the reference's namespaces (podman, ...)."""
    return [str(TOOL), "run", *command]
