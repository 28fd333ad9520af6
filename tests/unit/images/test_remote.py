"""The registry client as the daemon has it: when it is imported."""

import subprocess
import sys

_SCRIPT = """
import asyncio, sys
from pier.images import remote
remote.AHEAD_S = 0.0

async def main():
    made = remote.Remote()
    assert "urllib3" not in sys.modules
    if {closed}:
        made.close()
    await made.get_ready()
    made.close()

asyncio.run(main())
print("urllib3" in sys.modules)
"""


def imported(*, closed: bool) -> str:
    """What a fresh interpreter prints: the modules of this one are the tests' own."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT.format(closed=closed)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_client_is_imported_ahead_of_the_first_call() -> None:
    assert imported(closed=False) == "True"


def test_a_daemon_that_ends_meanwhile_imports_nothing_more() -> None:
    assert imported(closed=True) == "False"
