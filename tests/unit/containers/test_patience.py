"""Waiting for processes that get on, and for one that stands still."""

import asyncio
import subprocess
import sys

import pytest

from pier.containers import patience


def wait_for(program: str, rest_s: float, work_s: float) -> bool:
    """Whether a process was waited for until the work was done."""
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        try:
            asyncio.run(patience.while_it_runs(asyncio.sleep(work_s), process.pid, rest_s))
        except TimeoutError:
            return False
        finally:
            process.kill()
    return True


def test_one_that_gets_on_is_waited_for() -> None:
    assert wait_for("import time\nwhile True: time.sleep(0.01)", rest_s=0.4, work_s=1.5)


def test_one_that_pauses_is_waited_for() -> None:
    assert wait_for("import time\nwhile True: time.sleep(0.7)", rest_s=1.0, work_s=3.0)


def test_one_that_stands_still_is_not() -> None:
    assert not wait_for("import signal; signal.pause()", rest_s=1.0, work_s=60)


def test_one_that_is_gone_is_not() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert patience.switches(process.pid) == -1
    with pytest.raises(TimeoutError):
        asyncio.run(patience.while_it_runs(asyncio.sleep(60), process.pid, 0.02))


def test_what_the_work_raises_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        asyncio.run(patience.while_it_runs(fail(), 1))
