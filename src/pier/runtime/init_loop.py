"""PID 1 of a container that asked for --init on a host without tini: forwards signals, reaps, exits as its child did."""

import os
import signal
from typing import Any

from pier.linux import processes

# Signals that the kernel or the terminal raises for this process itself, not to be handed on.
_OWN = frozenset({signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU})


def split(channel: Any) -> None:
    """Fork: returns in the child, which goes on to execve; the parent stays and never returns. Raises OSError."""
    everything = signal.valid_signals()
    # Blocked before the fork, so that none is lost between it and the first sigwait.
    signal.pthread_sigmask(signal.SIG_SETMASK, everything)
    pid = os.fork()  # not clone3: seccomp filters answer ENOSYS to that
    if pid == 0:
        # A process group of its own, in the terminal's foreground: ctrl-c reaches it and not its init.
        os.setpgid(0, 0)
        try:
            os.tcsetpgrp(0, os.getpgrp())
        except OSError:
            pass  # no terminal
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return
    channel.close()  # the child's copy is the last: it closes at its execve
    _watch(pid)


def _watch(child: int) -> None:
    for fd in (0, 1, 2):
        os.close(fd)  # the readers of the output see its end when the programs are gone, not when init is
    processes.set_name("pier-init")
    while True:
        number = signal.sigwait(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
        if number not in _OWN:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                pass
            continue
        code = _reap(child)
        if code is not None:
            os._exit(code)


def _reap(child: int) -> int | None:
    """Reap all that is dead; the exit code of `child` when it was among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
