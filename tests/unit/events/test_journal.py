"""The journal: what Docker's clients see in GET /events."""

import asyncio
import json

import msgspec
import pytest

from pier.errors import Invalid, Unavailable
from pier.events import Journal
from pier.events import journal as journal_module


async def take(subscription, count: int) -> list[str]:  # type: ignore[no-untyped-def]
    return [(await anext(subscription)).action for _ in range(count)]


def test_a_container_event_on_the_wire_is_dockers_letter_for_letter() -> None:
    event = Journal().publish("container", "create", "4f8a", {"name": "evc", "image": "busybox", "x": "y"})
    wire = msgspec.json.encode(event)
    body = json.loads(wire)
    assert list(body) == ["status", "id", "from", "Type", "Action", "Actor", "scope", "time", "timeNano"]
    assert body["Actor"] == {"ID": "4f8a", "Attributes": {"image": "busybox", "name": "evc", "x": "y"}}
    assert list(body["Actor"]["Attributes"]) == ["image", "name", "x"]
    assert (body["status"], body["id"], body["from"], body["scope"]) == ("create", "4f8a", "busybox", "local")
    assert body["time"] == body["timeNano"] // 10**9


def test_other_types_have_no_legacy_fields_and_images_no_from() -> None:
    journal = Journal()
    network = json.loads(msgspec.json.encode(journal.publish("network", "connect", "d06f", {"name": "bridge"})))
    image = json.loads(msgspec.json.encode(journal.publish("image", "tag", "sha256:e9", {"name": "a:1"})))
    assert list(network) == ["Type", "Action", "Actor", "scope", "time", "timeNano"]
    assert list(image) == ["status", "id", "Type", "Action", "Actor", "scope", "time", "timeNano"]


def test_a_subscriber_hears_what_comes_after_it_subscribed() -> None:
    async def main() -> None:
        journal = Journal()
        journal.publish("container", "before", "c", {})
        subscription = journal.subscribe({})
        journal.publish("container", "start", "c", {})
        waiting = asyncio.ensure_future(take(subscription, 2))
        await asyncio.sleep(0)
        journal.publish("container", "die", "c", {})
        assert await waiting == ["start", "die"]
        subscription.close()
        assert journal.listeners == 0

    asyncio.run(main())


def test_since_and_until_replay_the_kept_events_of_that_time_and_end() -> None:
    async def main() -> None:
        journal = Journal()
        events = [journal.publish("container", str(i), "c", {}) for i in range(5)]
        subscription = journal.subscribe({}, since_ns=events[1].time_nano, until_ns=events[3].time_nano)
        got = [event.action async for event in subscription]
        assert got[0] == "1" or events[0].time_nano == events[1].time_nano
        assert ("2" in got and "3" in got and "4" not in got) or events[3].time_nano == events[4].time_nano
        assert [event.action async for event in journal.subscribe({}, until_ns=1)] == []

    asyncio.run(main())


def test_the_last_256_are_kept() -> None:
    async def main() -> None:
        journal = Journal()
        for number in range(300):
            journal.publish("container", str(number), "c", {})
        subscription = journal.subscribe({}, since_ns=0)
        assert await take(subscription, 256) == [str(number) for number in range(44, 300)]

    asyncio.run(main())


def test_since_after_until_is_refused() -> None:
    with pytest.raises(Invalid, match="cannot be after"):
        Journal().subscribe({}, since_ns=2, until_ns=1)


def test_a_subscriber_that_does_not_read_is_let_go_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MOST_PENDING", 3)

    async def main() -> None:
        journal = Journal()
        slow, other = journal.subscribe({}), journal.subscribe({})
        for number in range(6):
            journal.publish("container", str(number), "c", {})
            assert (await anext(other)).action == str(number)
        assert await take(slow, 3) == ["0", "1", "2"]
        with pytest.raises(Unavailable, match="events were lost"):
            await anext(slow)
        assert journal.listeners == 1

    asyncio.run(main())


def test_closing_the_journal_ends_the_waiting_subscribers() -> None:
    async def main() -> None:
        journal = Journal()
        waiting = asyncio.ensure_future(anext(journal.subscribe({}), None))
        await asyncio.sleep(0)
        journal.close()
        assert await waiting is None

    asyncio.run(main())


def included(filters: dict[str, list[str]]) -> list[str]:
    async def main() -> list[str]:
        journal = Journal()
        label = {"image": "host:5000/busybox:1", "name": "web", "color": "red", "size": "1"}
        journal.publish("container", "start", "c0ffee", label)
        journal.publish("container", "exec_create: sh -c true", "c0ffee", label)
        journal.publish("image", "tag", "sha256:e9", {"name": "busybox:1"})
        journal.publish("network", "connect", "d06f", {"container": "c0ffee", "name": "bridge", "type": "bridge"})
        journal.publish("daemon", "reload", "52eb", {"name": "host1"})
        last = journal.publish("container", "die", "beef", {"image": "debian", "name": "db"})
        return [event.action.partition(":")[0] async for event in journal.subscribe(filters, 0, last.time_nano)]

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"container": ["web"]}, ["start", "exec_create"]),
        ({"container": ["c0f"]}, ["start", "exec_create"]),
        ({"container": ["web", "db"]}, ["start", "exec_create", "die"]),
        ({"event": ["exec_create"]}, ["exec_create"]),
        ({"event": ["exec_create: sh -c true"]}, ["exec_create"]),
        ({"event": ["sta"]}, []),
        ({"event": ["start", "exec_create"]}, ["start", "exec_create"]),
        ({"image": ["busybox"]}, ["tag"]),
        ({"image": ["busybox:1"]}, ["tag"]),
        ({"image": ["host:5000/busybox"]}, ["start", "exec_create"]),
        ({"image": ["debian"]}, ["die"]),
        ({"type": ["image", "daemon"]}, ["tag", "reload"]),
        ({"label": ["color"]}, ["start", "exec_create"]),
        ({"label": ["color=red", "size=1"]}, ["start", "exec_create"]),
        ({"label": ["color=red", "size=2"]}, []),
        ({"network": ["bridge"]}, ["connect"]),
        ({"network": ["d0"]}, ["connect"]),
        ({"daemon": ["host1"]}, ["reload"]),
        ({"scope": ["swarm"]}, []),
        ({"scope": ["local"], "type": ["container"], "container": ["db"]}, ["die"]),
        ({"nope": ["x"]}, ["start", "exec_create", "tag", "connect", "reload", "die"]),
    ],
)
def test_filters(filters: dict[str, list[str]], expected: list[str]) -> None:
    assert included(filters) == expected
