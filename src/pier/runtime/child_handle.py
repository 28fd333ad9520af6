"""The daemon's hold on one blank child: send the plan, hear what became of it."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from pier.errors import PierError
from pier.ipc import AsyncChannel, PeerGone


class StartFailed(PierError):
    """A step of the plan failed in the child; nothing of the user's ran. `exit_code` is what the container ends with."""

    status = 400

    def __init__(self, step: str, errno: int | None, path: str | None, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.step, self.errno, self.path, self.message, self.exit_code = step, errno, path, message, exit_code


class Child:
    """A blank child. The daemon owns `pidfd`, `netns_fd` and, after `run`, `console_fd`, each -1 where there is none.

    `id` is the container's, or the exec's; `start_time` is field 22 of /proc/PID/stat. `warnings` are what the plan had to
    do without, `copied` the destinations of volumes that have their copy of the image's files. The keeper has its own duplicate
    of the pidfd, and `on_exit` tells the end, which may come before `run` returns.
    """

    def __init__(self, id: str, pid: int, start_time: int, fds: Sequence[int], on_discard: Callable[[str], None]) -> None:
        self.id, self.pid, self.start_time = id, pid, start_time
        self.pidfd, self.netns_fd = fds[1], fds[2] if len(fds) > 2 else -1
        self.console_fd = -1
        self._on_discard = on_discard
        self.warnings: list[str] = []
        self.copied: set[str] = set()
        self._sockets: list[int] = []
        self.on_console: Callable[[int], None] | None = None
        self._failure: StartFailed | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._channel: AsyncChannel | None = AsyncChannel(socket.socket(fileno=fds[0]), self._heard, self._closed)

    @classmethod
    def adopted(cls, id: str, pid: int, start_time: int, pidfd: int) -> "Child":
        """The handle of a container that another daemon started; it owns `pidfd`."""
        self = cls.__new__(cls)
        self.id, self.pid, self.start_time, self.pidfd, self.netns_fd, self.console_fd = id, pid, start_time, pidfd, -1, -1
        self.warnings, self.copied, self._sockets, self.on_console, self._failure = [], set(), [], None, None
        self._channel = None
        return self

    def begin(self, plan: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send the first part of a plan, all but the program, and duplicates of `fds`; `run` sends the rest. Raises PeerGone."""
        if self._channel is None:
            raise PeerGone("the process runs a plan already")
        self._channel.post("plan", fds, plan=plan)

    @property
    def gone(self) -> bool:
        """Whether a child that got no plan, or a part of one, is no more."""
        if self._channel is not None:
            self._channel.hear()
        return self._channel is None or self._channel.closed

    async def run(self, plan: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send the plan, or the rest of it, and duplicates of `fds`; return when the child has executed the user's program.

        `on_console(fd)`, where set, is called the moment the terminal is there, before the program runs.
        Raises StartFailed where a step failed, PeerGone where the child was gone before it got the plan.
        """
        if self._channel is None:
            raise PeerGone("the process runs a plan already")
        self._channel.post("plan", fds, plan=plan)
        if self._channel.closed and self._failure is None:
            raise PeerGone("the process was killed before it got its plan")
        await asyncio.shield(self._over)
        if self._failure is not None:
            raise self._failure

    def discard(self) -> None:
        """Let go of a child that got no plan: it exits, and its end is not reported. Closes all descriptors but the console."""
        self._on_discard(self.id)
        self.abandon()

    def abandon(self) -> None:
        """Let go of a child that got no plan, or failed at it: it exits, and its end is reported as any other. Closes what `discard` closes."""
        if self._channel is not None:
            self._channel.close()
        self.close()

    def take_sockets(self) -> list[int]:
        """The descriptors that the plan handed over: the caller's from now on."""
        sockets, self._sockets = self._sockets, []
        return sockets

    def close(self) -> None:
        """Close `pidfd`, `netns_fd`; harmless when done before. Sockets that nobody took stay for `take_sockets`."""
        for fd in (self.pidfd, self.netns_fd):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.netns_fd = -1

    def _heard(self, message: dict[str, Any], fds: list[int]) -> None:
        op = message.get("op")
        if op == "console" and fds:
            self.console_fd = fds.pop(0)
            if self.on_console:
                self.on_console(self.console_fd)
        elif op == "sockets":
            self._sockets += fds
            fds = []
        elif op == "warning":
            self.warnings.append(str(message.get("message", "")))
        elif op == "copied":
            self.copied.add(str(message.get("destination", "")))
        elif op == "failed":
            self._failure = StartFailed(
                str(message.get("step", "")), message.get("errno"), message.get("path"),
                str(message.get("message", "")), int(message.get("exit_code", 128)),
            )  # fmt: skip
        for fd in fds:
            os.close(fd)

    def _closed(self) -> None:
        if not self._over.done():
            self._over.set_result(None)


__all__ = ["Child", "PeerGone", "StartFailed"]
