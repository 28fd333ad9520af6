"""The daemon's side of the workers: one job each, at most one a core, and none that hangs.

A worker that dies, or says nothing for `stall_s`, is given up: its channel is closed, which kills its job and ends it (the
keeper forks another when one is asked for). A job whose caller is cancelled ends the same way.
"""

import asyncio
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pier.archive.refusal import BadArchive
from pier.errors import Internal, Unavailable
from pier.ipc.aio import AsyncChannel, PeerGone, RemoteError
from pier.ipc.channel import Message

Progress = Callable[[Message], None]
STALL_S = 120.0


class WorkerDied(Unavailable):
    """The worker was killed, or there was nobody to start one just now: what it did may be done again."""


class Provider(Protocol):
    """Where workers come from: the supervisor, or a test."""

    def listen(self, name: str, on_event: Callable[[Message, list[int]], None], /) -> None: ...
    async def worker(self) -> AsyncChannel: ...
    def release_worker(self, channel: AsyncChannel, /) -> None: ...


class Workers:
    """Runs jobs in workers of `provider`; `limit` at once (default: the number of cores)."""

    def __init__(self, provider: Provider, limit: int | None = None, stall_s: float = STALL_S) -> None:
        self._provider, self._stall_s = provider, stall_s
        self._free = asyncio.Semaphore(limit or os.cpu_count() or 1)
        self._numbers = itertools.count(1)
        self._hear: dict[str, Callable[[Message], None]] = {}
        provider.listen("worker", self._event)

    async def run(self, op: str, fds: Sequence[int], on_progress: Progress | None = None, **fields: Any) -> Message:
        """Run a job and return its answer. The caller keeps its `fds`, and removes the ingest folder when this raises.

        `on_progress` gets {"bytes", "entry", "state"} some times a second. Raises BadArchive for the archive's faults,
        Unavailable when the disk is full or the worker hung, WorkerDied when it was killed or could not be started, Internal for a bug.
        """
        async with self._free:
            try:
                channel = await self._provider.worker()
            except PeerGone as error:
                raise WorkerDied(f"{op}: no worker can be started: {error}: nothing was changed, try again") from None
            job = f"{os.getpid()}-{next(self._numbers)}"
            alive = asyncio.Event()

            def hear(message: Message) -> None:
                alive.set()
                if on_progress:
                    on_progress(message)

            self._hear[job] = hear
            call = asyncio.ensure_future(channel.call(op, fds, job=job, **fields))
            whole = False
            try:
                message = await self._watch(call, alive, op)
                whole = True
                return message
            except RemoteError as error:
                whole = True
                raise _as_pier_error(op, error) from None
            except PeerGone:
                raise WorkerDied(f"the worker died during {op}: nothing was changed, try again") from None
            finally:
                del self._hear[job]
                call.cancel()
                if whole:
                    self._provider.release_worker(channel)
                else:
                    channel.close()

    async def _watch(self, call: "asyncio.Future[tuple[Message, list[int]]]", alive: asyncio.Event, op: str) -> Message:
        while True:
            alive.clear()
            waiter: asyncio.Future[Any] = asyncio.ensure_future(alive.wait())
            both: set[asyncio.Future[Any]] = {call, waiter}
            try:
                done, _ = await asyncio.wait(both, timeout=self._stall_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiter.cancel()
            if call in done:
                message, fds = call.result()
                for fd in fds:
                    os.close(fd)
                return message
            if not done:
                raise Unavailable(f"the worker did nothing for {self._stall_s:g} s during {op} and was ended: nothing was changed, try again")

    def _event(self, message: Message, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)
        hear = self._hear.get(str(message.get("job")))
        if hear and message.get("op") == "progress":
            hear(message)


def _as_pier_error(op: str, error: RemoteError) -> Exception:
    fields = error.fields
    match fields.get("kind"):
        case "archive":
            return BadArchive(str(fields.get("entry", "")), str(fields.get("reason") or error))
        case "os":
            return Unavailable(f"{op}: {error}")
        case "died":
            return WorkerDied(f"{error}: nothing was changed, try again")
    return Internal(f"{op}: {error}")
