"""Forking a helper from the keeper, and what every helper does first.

A helper has the stdio of the keeper and one more descriptor, 3: its channel. It never returns into the keeper's frames,
so that no object of the keeper is ever finalised in it.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable

from pier import trace
from pier.ipc import Channel
from pier.ipc.polled import PolledChannel

Entry = Callable[[Channel], None]
_CHANNEL_FD = 3


class Helper:
    """A permanent helper: its process, the channel to it, and how soon it may be forked again."""

    __slots__ = ("channel", "not_before", "pid", "started", "waiting")

    def __init__(self) -> None:
        self.pid = 0
        self.channel: PolledChannel | None = None
        self.started = self.not_before = 0.0
        self.waiting: list[socket.socket] = []


def fork(name: str, entry: Entry, theirs: socket.socket, oom_score_adj: int) -> int:
    """Fork a process that runs `entry` on the channel and exits; returns its pid. The caller closes `theirs`."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _run(name, entry, theirs.fileno(), oom_score_adj)
            code = 0
        except BaseException as error:
            sys.__excepthook__(type(error), error, error.__traceback__)  # `traceback` is not worth its memory in every child
            sys.stderr.flush()
        finally:
            os._exit(code)
    return pid


def keep_only(fd: int, traced: bool = True) -> int:
    """Make `fd` descriptor 3 and close every other above stdio; objects that owned one must never be finalised.

    `traced` opens the trace log again, where there is one; it is not for a process that is in a container's root already.
    """
    if fd != _CHANNEL_FD:
        os.dup2(fd, _CHANNEL_FD, inheritable=False)
    os.closerange(_CHANNEL_FD + 1, max(65536, os.sysconf("SC_OPEN_MAX")))
    trace.reopen(traced)
    return _CHANNEL_FD


def rename_process(name: str, oom_score_adj: int | None = None) -> None:
    """Give this process a name in `ps -o comm` (15 bytes), and an OOM score where the kernel allows."""
    for path, text in (("/proc/self/comm", name[:15]), ("/proc/self/oom_score_adj", oom_score_adj)):
        if text is not None:
            try:
                with open(path, "w") as file:
                    file.write(str(text))
            except OSError:
                pass  # without CAP_SYS_RESOURCE a score cannot be lowered; a name is only for readers of ps


def _run(name: str, entry: Entry, fd: int, oom_score_adj: int) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the end of its channel tells a helper to finish its work and to end
    rename_process(f"pier-{name}", oom_score_adj)
    entry(Channel(socket.socket(fileno=keep_only(fd))))
