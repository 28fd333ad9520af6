"""What the keeper knows of a permanent helper."""

import socket

from pier.ipc.polled import PolledChannel


class Helper:
    """A permanent helper: its process, the channel to it, and how soon it may be forked again."""

    __slots__ = ("channel", "not_before", "pid", "started", "waiting")

    def __init__(self) -> None:
        self.pid = 0
        self.channel: PolledChannel | None = None
        self.started = self.not_before = 0.0
        self.waiting: list[socket.socket] = []
