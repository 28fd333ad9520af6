"""Who follows a log hears of what is written to it: one queue of inotify for all, which is there while somebody follows."""

import asyncio
import contextlib
import os
from collections.abc import Iterator

from pier.linux import inotify

_MASK = inotify.MODIFY | inotify.MOVED_TO | inotify.CREATE | inotify.DELETE
_REST_S = 0.01
"""After a change for so long nobody is woken: what floods a log wakes its readers a hundred times a second."""
_POLL_S = 0.2
"""Where the kernel has no queue or watch left for us."""


class Changes:
    """Use from the loop's thread only."""

    def __init__(self) -> None:
        self._queue = -1
        self._numbers: dict[str, int] = {}
        self._followers: dict[str, set[asyncio.Event]] = {}
        self._rest: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def follow(self, directory: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something in a directory may have changed, or `tell` says so; the caller clears it before it looks."""
        event = asyncio.Event()
        self._followers.setdefault(directory, set()).add(event)
        polls = None if self._watch(directory) else asyncio.create_task(_poll(event))
        try:
            yield event
        finally:
            if polls is not None:
                polls.cancel()
            self._leave(directory, event)

    def tell(self, directory: str) -> None:
        """Wake who follows a directory: something else than its files has changed."""
        for event in self._followers.get(directory, ()):
            event.set()

    def __bool__(self) -> bool:
        """Whether anybody follows anything."""
        return bool(self._followers)

    def _watch(self, directory: str) -> bool:
        if directory in self._numbers:
            return True
        try:
            if self._queue < 0:
                self._queue = inotify.open_queue()
                asyncio.get_running_loop().add_reader(self._queue, self._heard)
            self._numbers[directory] = inotify.watch(self._queue, directory, _MASK)
        except OSError:
            return False
        return True

    def _leave(self, directory: str, event: asyncio.Event) -> None:
        followers = self._followers[directory]
        followers.discard(event)
        if followers:
            return
        del self._followers[directory]
        number = self._numbers.pop(directory, -1)
        if number >= 0:
            inotify.unwatch(self._queue, number)
        if not self._numbers and self._queue >= 0:
            if self._rest is not None:
                self._rest.cancel()
                self._rest = None
            asyncio.get_running_loop().remove_reader(self._queue)
            os.close(self._queue)
            self._queue = -1

    def _heard(self) -> None:
        directories = {number: directory for directory, number in self._numbers.items()}
        for number, mask in inotify.events(self._queue):
            if mask & inotify.OVERFLOW:
                for directory in self._followers:
                    self.tell(directory)
            elif number in directories:
                self.tell(directories[number])
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._queue)
        self._rest = loop.call_later(_REST_S, self._listen)

    def _listen(self) -> None:
        self._rest = None
        asyncio.get_running_loop().add_reader(self._queue, self._heard)


async def _poll(event: asyncio.Event) -> None:
    while True:
        await asyncio.sleep(_POLL_S)
        event.set()
