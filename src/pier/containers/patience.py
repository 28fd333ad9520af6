"""Waiting for a process for as long as it gets on with its work.

A child that copies a large image folder into a volume may take minutes; one that waits for a server which is gone never runs again. What tells
them apart is whether the kernel has given it a processor since the last look.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

REST_S = 10.0
"""A process that has not run for so long is stuck."""


async def while_it_runs(work: Coroutine[Any, Any, None], pid: int, rest_s: float = REST_S) -> None:
    """Await `work`, which is done when process `pid` has done its part.

    Raises what `work` raises; TimeoutError, `work` cancelled, where the process did not run for `rest_s` seconds.
    """
    task = asyncio.ensure_future(work)
    seen, since = -1, time.monotonic()
    try:
        while not (await asyncio.wait((task,), timeout=rest_s / 5))[0]:
            turns, now = switches(pid), time.monotonic()
            if turns != seen:
                seen, since = turns, now
            elif now - since >= rest_s:
                raise TimeoutError
        task.result()
    finally:
        task.cancel()


def switches(pid: int) -> int:
    """How often the main thread of a process was given a processor and let go of it (proc_pid_status(5)); -1 where there is no such process."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return -1
    return sum(int(line.rpartition(b"\t")[2]) for line in lines if b"ctxt_switches:" in line)
