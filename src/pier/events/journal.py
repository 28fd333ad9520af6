"""The journal and its subscribers. Everything runs on the loop's thread; publishing never waits for anybody."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence

from pier.api.models.events import EventActor, EventMessage
from pier.errors import Invalid, Unavailable
from pier.events.filters import EventFilter

_log = logging.getLogger("pier.events")
KEPT = 256
MOST_PENDING = 4096  # events that one subscriber may lie behind before it is let go


class Subscription(AsyncIterator[EventMessage]):
    """The events that one client asked for: first those kept, then those to come. It listens from the moment it is made."""

    def __init__(self, journal: "Journal", wanted: EventFilter, past: Sequence[EventMessage], until_ns: int | None) -> None:
        """Use `Journal.subscribe`."""
        self._journal = journal
        self._wanted = wanted
        self._pending: deque[EventMessage] = deque(past)
        self._until_ns = until_ns
        self._wake: asyncio.Future[None] | None = None
        self._lost = False
        self._closed = False

    def offer(self, event: EventMessage) -> None:
        """Called by the journal for each event; marks a subscriber that is too far behind, and lets it go."""
        if not self._wanted.includes(event):
            return
        if len(self._pending) >= MOST_PENDING:
            _log.warning("a subscriber of events is %d behind and was let go", len(self._pending))
            self._lost = True
            self._journal.unsubscribe(self)
        else:
            self._pending.append(event)
        self._ring()

    def _ring(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def __anext__(self) -> EventMessage:
        """The next event; ends at `until`. Raises Unavailable when this subscriber was too slow and events were lost."""
        while not self._pending:
            if self._lost:
                raise Unavailable(f"more than {MOST_PENDING} events waited for this client: events were lost; ask again with 'since'")
            if self._closed or not await self._wait():
                self.close()
                raise StopAsyncIteration
        event = self._pending.popleft()
        if self._until_ns is not None and event.time_nano > self._until_ns:
            self.close()
            raise StopAsyncIteration
        return event

    async def _wait(self) -> bool:
        """Until an event comes (True) or the time is over (False)."""
        timeout_s = None if self._until_ns is None else (self._until_ns - time.time_ns()) / 1e9
        if timeout_s is not None and timeout_s <= 0:
            return False
        self._wake = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake
        except TimeoutError:
            return bool(self._pending)
        finally:
            self._wake = None
        return True

    def close(self) -> None:
        """Stop listening; who waits in `__anext__` is sent home."""
        self._closed = True
        self._journal.unsubscribe(self)
        self._ring()

    async def aclose(self) -> None:
        """The same, by the name that async generators give it."""
        self.close()


def _seconds(time_ns: int) -> str:
    return f"{time_ns // 10**9}.{time_ns % 10**9:09}".rstrip("0").rstrip(".")


class Journal:
    """Publishes events and remembers the last 256."""

    def __init__(self) -> None:
        """An empty journal."""
        self._kept: deque[EventMessage] = deque(maxlen=KEPT)
        self._subscriptions: set[Subscription] = set()

    def publish(self, type: str, action: str, id: str, attributes: Mapping[str, str]) -> EventMessage:
        """Record an event and hand it to the subscribers; takes microseconds and never waits.

        type: Docker's ("container", "image", "network", "daemon", ...). action: "start", "exec_create: sh", ...
        id: of the actor. attributes: copied; for a container "image" and "name" and its labels.
        """
        now_ns = time.time_ns()
        legacy = type in ("container", "image")
        event = EventMessage(
            status=action if legacy else "",
            id=id if legacy else "",
            from_=attributes.get("image", "") if type == "container" else "",
            type=type,
            action=action,
            actor=EventActor(id=id, attributes=dict(sorted(attributes.items()))),
            scope="local",
            time=now_ns // 1_000_000_000,
            time_nano=now_ns,
        )
        self._kept.append(event)
        for subscription in tuple(self._subscriptions):
            subscription.offer(event)
        return event

    def subscribe(self, filters: Mapping[str, Sequence[str]], since_ns: int | None = None, until_ns: int | None = None) -> Subscription:
        """Listen from now on; close the subscription when done.

        filters: Docker's keys and values. since_ns, until_ns: ns since the epoch, None for open; with either, the kept events of that time come
        first; at `until` it ends. Raises Invalid where since lies after until.
        """
        if since_ns is not None and until_ns is not None and since_ns > until_ns:
            raise Invalid(f"`since` time ({_seconds(since_ns)}) cannot be after `until` time ({_seconds(until_ns)})")
        wanted = EventFilter(filters)
        past: list[EventMessage] = []
        if since_ns is not None or until_ns is not None:
            past = [
                event
                for event in self._kept
                if (since_ns is None or event.time_nano >= since_ns) and (until_ns is None or event.time_nano <= until_ns) and wanted.includes(event)
            ]
        subscription = Subscription(self, wanted, past, until_ns)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscriber; what it has not read yet stays readable for it."""
        self._subscriptions.discard(subscription)

    @property
    def listeners(self) -> int:
        """How many subscribers there are (`NEventsListener` of GET /info)."""
        return len(self._subscriptions)

    def close(self) -> None:
        """Send all subscribers home, as the daemon ends."""
        for subscription in tuple(self._subscriptions):
            subscription.close()
