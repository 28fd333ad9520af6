"""The registry client, which blocks, from the loop: each call in a thread, and ended at once when nobody waits for it any more.

Threads for calls (manifests, tags) and for bulk (blobs, both ways) are not the same, so that a slow transfer keeps no short call waiting;
one registry gets a quarter of them, so that one that hangs keeps nobody else waiting; how many transfers there are at once is for the verbs
to say. urllib3 is imported a while after the start (`get_ready`), or by the first call, in its thread.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from pier.errors import Unavailable
from pier.registry.cancel import Cancel, Cancelled
from pier.registry.config import RegistryConfig

if TYPE_CHECKING:
    from pier.registry.client import Registries

T = TypeVar("T")
_CALLS, _BULK = 32, 128
_ENDS = "the daemon ends: ask the next one again"
_SHARE = 4  # one registry gets a quarter
IDLE_S = 30.0  # how long connections are kept that nobody uses
AHEAD_S = 3.0  # a daemon is often started by the command that it then serves: not beside that


class Remote:
    """All registries, for this daemon. Use from the loop's thread, but for `registries`."""

    def __init__(self, config: RegistryConfig | None = None, user_agent: str = "pier") -> None:
        self._config, self._user_agent = config or RegistryConfig(), user_agent
        self._made: Registries | None = None
        self._making = threading.Lock()
        self._calls = ThreadPoolExecutor(_CALLS, thread_name_prefix="registry")
        self._bulk = ThreadPoolExecutor(_BULK, thread_name_prefix="transfer")
        self._turns: dict[tuple[str, bool], _Turns] = {}
        self._running: set[Cancel] = set()
        self._closed = False
        self._resting: asyncio.TimerHandle | None = None

    @property
    def config(self) -> RegistryConfig:
        """What is configured; setting another holds for calls from then on (what was learnt about servers is learnt again)."""
        return self._config

    @config.setter
    def config(self, config: RegistryConfig) -> None:
        with self._making:
            self._config, self._made = config, None

    def registries(self) -> "Registries":
        """The client; in a thread only, as its first use imports what it stands on."""
        with self._making:
            if self._made is None:
                from pier.registry.client import Registries

                self._made = Registries(self._config, self._user_agent)
            return self._made

    async def get_ready(self) -> None:
        """AHEAD_S from now, import the client and read the system's authorities: 200 ms of the interpreter's time, which every request of the
        daemon's would have to share in the middle of the first pull."""
        await asyncio.sleep(AHEAD_S)
        if not self._closed:
            await asyncio.get_running_loop().run_in_executor(self._calls, self._get_ready)

    def _get_ready(self) -> None:
        from pier.registry.certificates import Tls, context

        self.registries()
        context(Tls())

    async def call(self, work: "Callable[[Registries, Cancel], T]", *, host: str, bulk: bool = False) -> T:
        """`work(registries, cancel)` in a thread; what it raises is raised. When the caller is cancelled, `cancel` is thrown and its end awaited.

        host: the registry that is asked, however it is named; "" for Docker Hub. bulk: it takes as long as its bytes take.
        """
        async with self._turn(host, bulk):
            return await self._called(work, bulk)

    async def aside(self, work: Callable[[], T]) -> T:
        """Work without a registry that takes as long as its bytes take, in such a thread."""
        return await self._called(lambda registries, cancel: work(), bulk=True)

    @contextlib.asynccontextmanager
    async def _turn(self, host: str, bulk: bool) -> AsyncIterator[None]:
        turns = self._turns.setdefault((host, bulk), _Turns((_BULK if bulk else _CALLS) // _SHARE))
        turns.users += 1
        try:
            async with turns.free:
                yield
        finally:
            turns.users -= 1
            if not turns.users:
                del self._turns[host, bulk]

    async def _called(self, work: "Callable[[Registries, Cancel], T]", bulk: bool) -> T:
        if self._closed:
            raise Unavailable(_ENDS)
        cancel = Cancel()
        future = asyncio.get_running_loop().run_in_executor(self._bulk if bulk else self._calls, lambda: work(self.registries(), cancel))
        self._running.add(cancel)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            cancel.cancel()
            await _ended(future)
            if self._closed and future.cancelled():  # it had no thread yet
                raise Unavailable(_ENDS) from None
            raise
        except Cancelled:
            raise Unavailable(_ENDS) from None
        finally:
            self._running.discard(cancel)
            self._rest()

    def _rest(self) -> None:
        """Connections end that no call wants for a while."""
        if self._resting is not None:
            self._resting.cancel()
        made = self._made
        self._resting = None
        if made is not None and not self._running:
            self._resting = asyncio.get_running_loop().call_later(IDLE_S, self._calls.submit, made.close_idle)

    def close(self) -> None:
        """End every call that is under way, and the threads; who still waits for one is told."""
        self._closed = True
        for cancel in tuple(self._running):
            cancel.cancel()
        if self._resting is not None:
            self._resting.cancel()
        for pool in (self._calls, self._bulk):
            pool.shutdown(wait=True, cancel_futures=True)


class _Turns:
    """The threads of one registry."""

    def __init__(self, most: int) -> None:
        self.users, self.free = 0, asyncio.Semaphore(most)


async def _ended(future: "asyncio.Future[T]") -> None:
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        future.exception()  # heard
