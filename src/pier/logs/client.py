"""The daemon's side of the pump: open a container's streams, attach clients, wait until all output is where it belongs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pier.errors import Invalid
from pier.ipc import AsyncChannel, PeerGone, RemoteError

_RECONNECT_S = 10.0
_PUMPS = 3  # so many die of one request before it is given up


@dataclass(frozen=True)
class LogConfig:
    """`driver` is "local", "json-file" or "none"; `directory` the container's own folder; `options` as the user gave them, checked."""

    driver: str
    directory: str
    options: dict[str, str]


@dataclass(frozen=True)
class Lost:
    """Output that is in no log: how much, and why (the log's disk is full)."""

    bytes: int
    cause: str


class AttachHandle:
    """An attached client. `done` gives why it ended: "eof", "detached", "client-gone", "too-slow", or "pump-lost"."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()


class Pump:
    """Requests to the pump over `channel()`, which gives the connection of the moment (raises PeerGone while there is none:
    what is asked for then waits for the next pump).

    The owner passes the pump's events to `on_event`, and calls `on_lost` when the pump was replaced. Sessions survive that: the
    next pump gets their descriptors from the keeper. Attached clients do not; their connections have ended.
    """

    def __init__(self, channel: Callable[[], AsyncChannel]) -> None:
        self._channel = channel
        self._attached: dict[int, AttachHandle] = {}
        self._last_number = 0
        self._replaced = asyncio.Event()

    async def open(
        self, key: str, *, stdin: int = -1, stdout: int = -1, stderr: int = -1, console: int = -1,
        log: LogConfig | None, stdin_once: bool = False,
    ) -> str | None:  # fmt: skip
        """Begin to move output and input. The descriptors are duplicated (-1: none): close your own, stdin above all.

        Pump and keeper hold them until `close`. A pump that dies meanwhile is waited for. Returns a warning where no log can be written. Raises
        Invalid, PeerGone.
        """
        given = {"console": console} if console >= 0 else {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        names = {name: fd for name, fd in given.items() if fd >= 0}
        fields = None if log is None else {"driver": log.driver, "directory": log.directory, "options": log.options}
        message = await self._patiently("open", key, list(names.values()), names=list(names), log=fields, stdin_once=stdin_once)
        warning: str | None = message.get("warning")
        return warning

    async def attach(
        self, key: str, client_fd: int, *, stdin: bool, stdout: bool, stderr: bool, multiplexed: bool,
        detach_keys: bytes = b"", initial: bytes = b"",
    ) -> AttachHandle:  # fmt: skip
        """Hand over a client's connection (a duplicate of it), also before `open`; `initial` is input that was read from it already.

        When `done` is set the client has been sent the end of its stream; the caller closes its own descriptor. Raises PeerGone.
        """
        await self._connection()  # who is registered before the pump is replaced is told that it is lost
        self._last_number += 1
        handle = self._attached[self._last_number] = AttachHandle(self._last_number)
        try:
            await self._call(
                "attach", key, [client_fd], number=handle.number, stdin=stdin, stdout=stdout, stderr=stderr, multiplexed=multiplexed,
                detach_keys=detach_keys.decode("latin-1"), initial=initial.decode("latin-1"),
            )  # fmt: skip
        except BaseException:
            self._attached.pop(handle.number, None)
            raise
        return handle

    async def drain(self, key: str, close: bool = False) -> Lost | None:
        """After the exit, before the keeper is told to forget: all that was written is in the log, and with the clients; then `close`, if asked for.

        A client that does not read for 2 s gets the rest later. A pump that dies meanwhile is waited for. Raises PeerGone.
        """
        message = await self._patiently("drain", key, close=close)
        return Lost(*message["lost"]) if message.get("lost") else None

    async def resize(self, key: str, rows: int, cols: int) -> None:
        """Set the size of the terminal. Raises Invalid where there is none."""
        await self._call("resize", key, rows=rows, cols=cols)

    async def close_stdin(self, key: str) -> None:
        """End the container's input for good."""
        await self._call("stdin-close", key)

    async def close(self, key: str) -> None:
        """Forget the session: log closed, clients ended, descriptors closed here and in the keeper. Harmless twice."""
        await self._patiently("close", key)

    def on_event(self, message: dict[str, Any], fds: list[int]) -> None:
        """An event of the pump."""
        if message.get("op") == "attach-done":
            handle = self._attached.pop(int(message["number"]), None)
            if handle and not handle.done.done():
                handle.done.set_result(str(message["why"]))

    def on_lost(self) -> None:
        """The pump was replaced: its clients are gone."""
        attached, self._attached = self._attached, {}
        for handle in attached.values():
            if not handle.done.done():
                handle.done.set_result("pump-lost")
        self._replaced.set()
        self._replaced = asyncio.Event()

    async def _connection(self) -> AsyncChannel:
        """The connection of the moment, or the one to the next pump. Raises PeerGone where none comes."""
        try:
            return self._channel()
        except PeerGone:
            await self._next()
            return self._channel()

    async def _next(self) -> None:
        """Until the pump was replaced. Raises PeerGone."""
        try:
            await asyncio.wait_for(self._replaced.wait(), _RECONNECT_S)
        except TimeoutError:
            raise PeerGone(f"the pump did not come back within {_RECONNECT_S:.0f} s") from None

    async def _call(self, op: str, key: str, fds: list[int] | None = None, **fields: Any) -> dict[str, Any]:
        try:
            message, _ = await (await self._connection()).call(op, fds or (), key=key, **fields)
        except RemoteError as error:
            raise Invalid(str(error)) from error
        return message

    async def _patiently(self, op: str, key: str, fds: list[int] | None = None, **fields: Any) -> dict[str, Any]:
        """A request that may be made again of the next pump, and of some after it. Raises Invalid, PeerGone."""
        for _ in range(_PUMPS - 1):
            replaced = self._replaced
            try:
                return await self._call(op, key, fds, **fields)
            except PeerGone:
                if not replaced.is_set():
                    await self._next()
        return await self._call(op, key, fds, **fields)
