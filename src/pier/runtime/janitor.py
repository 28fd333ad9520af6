"""The launcher's janitor: a short-lived process that closes what is slow to close and removes the cgroups of the dead.

The last descriptor of a dead container's mount namespace takes 4-6 ms to close (measured), and a cgroup stays EBUSY for a
moment after its last process; neither may hold up keeper, launcher or daemon.
"""

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pier.runtime import forked

if TYPE_CHECKING:
    from pier.linux.cgroups import CgroupLayout

_TRIES, _PAUSE_S = 40, 0.02


def start(layout: "CgroupLayout", keys: Sequence[str], fds: Sequence[int]) -> int:
    """Fork a janitor for dead children `keys`; it owns `fds` from now on. Returns its pid, which the caller reaps."""
    gate_read, gate_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(gate_write)
            forked.rename_process("pier-janitor")
            os.read(gate_read, 1)  # until the launcher has closed its copies, so that ours are the last
            for fd in fds:
                os.close(fd)
            code = sum(not remove(layout, key) for key in keys)
        finally:
            os._exit(min(code, 255))
    os.close(gate_read)
    for fd in fds:
        os.close(fd)
    os.close(gate_write)
    return pid


def remove(layout: "CgroupLayout", key: str) -> bool:
    """Remove the cgroups of a dead container; False, with a line in the log, where something lives on in them."""
    for _ in range(_TRIES):
        try:
            if layout.remove(key):
                return True
        except OSError as error:
            os.write(2, f"pier-janitor: cgroup of {key[:12]}: {error}\n".encode())
            return False
        time.sleep(_PAUSE_S)
    os.write(2, f"pier-janitor: cgroup of {key[:12]}: still has processes; the next start of the daemon removes it\n".encode())
    return False
