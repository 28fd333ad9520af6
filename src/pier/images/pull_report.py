"""What a pull tells its client: Docker's lines, a layer's progress at most ten times a second."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping

from pier.images import progress
from pier.images.pull_layers import COMPLETE, DOWNLOADED, VERIFYING, Transfer
from pier.images.pull_plan import Step
from pier.oci.reference import Reference

_EVERY_S, _PATIENCE_S = 0.1, 1.0


def short(digest: str) -> str:
    """The twelve digits by which a layer is told of."""
    return digest.removeprefix("sha256:")[:12]


class Report:
    """Puts lines. What is retried before the line that says that there is something to pull waits for that one, but not for long."""

    def __init__(self, put: Callable[[progress.Line], None]) -> None:
        self._put = put
        self._begun = False
        self._held: list[progress.Line] = []
        self._waiting: asyncio.TimerHandle | None = None

    def notice(self, text: str) -> None:
        """Something is retried, or asked elsewhere."""
        line = {"status": text[:1].upper() + text[1:]}
        if self._begun:
            self._put(line)
            return
        self._held.append(line)
        if self._waiting is None:
            # Up to the first line a failure is an answer of its own, with its status: who fails at once is not told of retries.
            self._waiting = asyncio.get_running_loop().call_later(_PATIENCE_S, self._begin)

    def _begin(self) -> None:
        """From now on everything is told as it comes."""
        self.close()
        self._begun = True
        for line in self._held:
            self._put(line)
        self._held.clear()

    def close(self) -> None:
        """Nothing more is told of itself."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def pulling(self, reference: Reference) -> None:
        """The image is there, and this is it."""
        self._put({"status": f"Pulling from {reference.path}", "id": str(reference) if reference.digest else reference.tag or ""})
        self._begin()

    def layer(self, step: Step, status: str) -> None:
        """What becomes of a layer."""
        self._put(progress.step(status, short(step.blob.digest), 0, 0))

    def status(self, text: str) -> None:
        """A line about the whole."""
        self._put({"status": text})

    @contextlib.asynccontextmanager
    async def following(self, transfers: Mapping[str, Transfer]) -> AsyncIterator[None]:
        """Tell of transfers (by digest) while the block runs, and to the end of those that are through at its end."""
        views = [_View(transfer, short(digest), self._put) for digest, transfer in transfers.items()]
        news = asyncio.Event()
        for transfer in transfers.values():
            transfer.watchers.add(news.set)
        telling = asyncio.ensure_future(_tell(views, news))
        try:
            yield
        finally:
            telling.cancel()
            for transfer in transfers.values():
                transfer.watchers.discard(news.set)
            for view in views:
                view.tell()


async def _tell(views: "list[_View]", news: asyncio.Event) -> None:
    while True:
        news.clear()
        for view in views:
            view.tell()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EVERY_S):
                await news.wait()


class _View:
    """A transfer as one client has heard of it."""

    def __init__(self, transfer: Transfer, name: str, put: Callable[[progress.Line], None]) -> None:
        self._transfer, self._name, self._put = transfer, name, put
        self._told = 0
        self._last: tuple[str, int] = ("", 0)
        self._last_s = 0.0

    def tell(self) -> None:
        """What is new."""
        transfer, size = self._transfer, self._transfer.blob.size
        while self._told < len(transfer.statuses):
            status = transfer.statuses[self._told]
            self._told += 1
            if status == VERIFYING:
                self._progress("Downloading", size, at_once=True)
            if status == COMPLETE:
                self._progress("Extracting", size, at_once=True)
            self._put(progress.step(status, self._name, 0, 0))
        if COMPLETE in transfer.statuses[: self._told]:
            return
        if DOWNLOADED in transfer.statuses[: self._told]:
            self._progress("Extracting", min(transfer.read_bytes, size))
        else:
            self._progress("Downloading", min(transfer.there_bytes, size))

    def _progress(self, status: str, current: int, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if (status, current) == self._last or not current or (not at_once and now - self._last_s < _EVERY_S):
            return
        self._last, self._last_s = (status, current), now
        self._put(progress.step(status, self._name, current, self._transfer.blob.size))
