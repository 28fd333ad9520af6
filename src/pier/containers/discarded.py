"""Children that were let go of before they ran a program. The keeper knows one child of a key at a time: another waits for its forgetting."""

import asyncio
import signal
from dataclasses import dataclass, field

from pier.errors import Internal
from pier.linux import pidfd
from pier.runtime.supervisor import Child, Exit, Supervisor

PATIENCE_S = 10


@dataclass(eq=False)
class Discarded:
    """Those of one key, until the keeper has forgotten them."""

    waiting: dict[int, asyncio.Event] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    """Processes whose end is known and waits to be looked at, until a start is through."""

    def expect(self, pid: int) -> None:
        """The end of a child that ends by itself is to come."""
        self.waiting[pid] = asyncio.Event()

    def let_go(self, child: Child) -> None:
        """End a child that runs no program yet, and forget it."""
        self.expect(child.pid)
        try:
            pidfd.send_signal(child.pidfd, signal.SIGKILL)  # it may be in the middle of its plan, on a mount that hangs
        except ProcessLookupError:
            pass
        child.abandon()

    async def took(self, supervisor: Supervisor, exit: Exit) -> bool:
        """Whether an end was that of one of these; it is forgotten then."""
        if exit.pid not in self.waiting:
            return False
        await self._forget(supervisor, exit.key, exit.pid)
        return True

    async def over(self, supervisor: Supervisor, key: str) -> None:
        """Wait until another child can have the key. Raises Internal where one does not end."""
        for pid, gone in list(self.waiting.items()):
            if pid in self.ended:  # who was to look at its end waits for the caller
                await self._forget(supervisor, key, pid)
                continue
            try:
                await asyncio.wait_for(gone.wait(), PATIENCE_S)
            except TimeoutError:
                raise Internal("the process that was made for it last does not end: it is stuck in the kernel") from None

    async def _forget(self, supervisor: Supervisor, key: str, pid: int) -> None:
        await supervisor.acknowledge(key, pid)
        gone = self.waiting.pop(pid, None)
        if gone is not None:
            gone.set()
