"""The blank child: waits for a plan on its socket, executes its steps in order, becomes the container's program.

It is a clone of the launcher with one thread; gc is off, nothing is imported after the clone, and it leaves only by execve
or os._exit. Protocol, on the SEQPACKET socket: in comes {"op": "plan", "plan": {...}} with descriptors, whole or in parts, each
carried out as it comes; out go {"op": "warning"}, {"op": "copied"}, {"op": "console"} with the pty's master, {"op": "failed", ...}. The socket
closes at execve: success.
"""

import gc
import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from pier import trace
from pier.ipc import Channel
from pier.linux import fds, processes
from pier.runtime import ahead, steps_mounts, steps_names, steps_process, steps_root
from pier.runtime.child_state import State, StepFailed

if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

STEPS = {**steps_root.STEPS, **steps_mounts.STEPS, **steps_names.STEPS, **steps_process.STEPS}


def main(sock_fd: int, steps_ahead: Sequence[Sequence[Any]] = ()) -> NoReturn:
    """Serve one plan on `sock_fd`, in the freshly cloned process; what is likely to be in it is made ahead. Never returns, never raises."""
    code = 125
    try:
        gc.disable()
        # Before anything else: from here on nobody without CAP_SYS_PTRACE over us reads our memory or descriptors (CVE-2016-9962).
        processes.prctl(processes.PR_SET_DUMPABLE, 0)
        # A copy of the launcher's table came along: no descriptor of the host may reach the user's code.
        fds.close_all_but((sock_fd,))
        trace.reopen()
        _reset_signals()
        os.umask(0)  # modes of what the steps make are exact; the container's own is set by `become`
        channel = Channel(socket.socket(fileno=sock_fd))
        state = State([], channel)
        if steps_ahead:
            ahead.make(state, steps_ahead)
        while got := channel.recv():
            message, handed = got
            state.fds += handed
            if failed := _run(message["plan"], state):
                os._exit(failed)
        os._exit(0)
    finally:
        os._exit(code)


def _reset_signals() -> None:
    """Python ignores SIGPIPE and SIGXFSZ, and so would the user's program; handlers of the launcher are nobody's here."""
    for number in range(1, _signal.NSIG):  # the C half of `signal`: the other makes an enumeration of each answer
        if number not in (_signal.SIGKILL, _signal.SIGSTOP) and _signal.getsignal(number) != _signal.SIG_DFL:
            try:
                _signal.signal(number, _signal.SIG_DFL)
            except (OSError, ValueError):
                pass  # 32 and 33 belong to the C library
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def _run(plan: dict[str, Any], state: State) -> int:
    channel = state.channel
    name = "plan"
    try:
        for name, arguments in plan["steps"]:
            trace.point(f"child.{name}")
            STEPS[name](state, **arguments)
    except StepFailed as error:
        return _fail(channel, name, error.errno or 0, error.path, str(error), error.exit_code)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return _fail(channel, name, error.errno or 0, str(error.filename or ""), f"{name.replace('_', ' ')}{where}: {error.strerror}", 128)
    except BaseException as error:
        return _fail(channel, name, 0, "", f"{name.replace('_', ' ')}: {type(error).__name__}: {error}", 128)
    return 0


def _fail(channel: Channel, step: str, number: int, path: str, message: str, exit_code: int) -> int:
    try:
        channel.send({"op": "failed", "step": step, "errno": number, "path": path, "message": message, "exit_code": exit_code})
    except OSError:
        pass  # nobody listens any more
    return exit_code
