"""Trace points and failpoints at every hand-over, so that a race or a crash can be replayed in a test.

`point("start.overlay")` costs one attribute look-up while nothing is armed. PIER_FAIL arms points:
`PIER_FAIL=step:kill`, `step:error`, `step:sleep` or `step:sleep=0.5`, several with commas; `step:kill@3` acts on the
third pass only. PIER_TRACE=FILE appends a line (monotonic ns, pid, point) for each pass.
"""

import errno
import os
import signal
import time

_armed: dict[str, tuple[str, int]] = {}
_passes: dict[str, int] = {}
_log_fd = -1
active = False


def configure(fail: str = "", trace_file: str = "") -> None:
    """Arm the points of a PIER_FAIL text and open the trace file.

    Raises ValueError for a text that is not `point:action[=seconds][@pass]`.
    """
    global _log_fd, active
    _armed.clear()
    _passes.clear()
    for part in filter(None, fail.split(",")):
        name, _, action = part.partition(":")
        action, _, nth = action.partition("@")
        if action.partition("=")[0] not in ("kill", "error", "sleep"):
            raise ValueError(f"PIER_FAIL: {part!r} is not point:kill|error|sleep[=seconds][@pass]")
        _armed[name] = (action, int(nth or 0))
    if trace_file:
        _log_fd = os.open(trace_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    active = bool(_armed) or _log_fd >= 0


def reopen(again: bool = True) -> None:
    """After closing every descriptor in a new process: the log's number may mean something else by now; $PIER_TRACE is opened again or left."""
    global _log_fd
    if _log_fd >= 0:
        path = os.environ.get("PIER_TRACE", "") if again else ""
        _log_fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600) if path else -1


def point(name: str) -> None:
    """Pass a named point: does nothing unless it is armed or traced. Raises OSError(EIO) where armed with `error`."""
    if active:
        _pass(name)


def _pass(name: str) -> None:
    if _log_fd >= 0:
        os.write(_log_fd, f"{time.monotonic_ns()} {os.getpid()} {name}\n".encode())
    if name not in _armed:
        return
    action, nth = _armed[name]
    _passes[name] = _passes.get(name, 0) + 1
    if nth and _passes[name] != nth:
        return
    kind, _, seconds = action.partition("=")
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "sleep":
        time.sleep(float(seconds or 1))
    else:
        raise OSError(errno.EIO, f"failpoint {name}")


configure(os.environ.get("PIER_FAIL", ""), os.environ.get("PIER_TRACE", ""))
