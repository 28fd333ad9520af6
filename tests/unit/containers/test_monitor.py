"""What answers of checks do to a container; the checks themselves and the clock are replaced."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from pier.api.models.containers import ContainerConfig, HealthConfig
from pier.containers import monitor, probe
from pier.containers.health import Check
from pier.containers.record import State

S = 10**9


class Context:
    """As much of Containers as the monitor needs; what it does is in `done`."""

    def __init__(self, *answers: Check | Exception) -> None:
        self.answers, self.done = list(answers), list[Any]()
        check = HealthConfig(test=["CMD", "x"], interval=7 * S, retries=2)
        record = SimpleNamespace(config=ContainerConfig(healthcheck=check), short_id="c")
        self.container: Any = SimpleNamespace(id="c", record=record, state=State(status="running", started_ns=1))
        self.running = SimpleNamespace(remember_health=lambda key, data: None)
        self.checking = SimpleNamespace(plan=lambda key, in_s: self.done.append(in_s), under_way={}, forget=lambda key: None)

    def set_state(self, container: Any, **changes: Any) -> None:
        container.state = msgspec.structs.replace(container.state, **changes)

    def publish(self, container: Any, action: str) -> None:
        self.done.append(action)


def told(monkeypatch: pytest.MonkeyPatch, *answers: Check | Exception) -> tuple[list[Any], Any]:
    """(events and pauses, the health after all answers)."""
    context: Any = Context(*answers)

    async def run(*_: object) -> Check:
        answer = context.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(probe, "run", run)
    monitor.begin(context, context.container)

    async def all_of_them() -> None:
        wanted = monitor.health.rules(context.container.record.config)
        assert wanted is not None
        for _ in answers:
            await monitor._check(context, context.container, wanted)

    asyncio.run(all_of_them())
    return context.done, context.container.state.health


def test_events_tell_of_changes_only_and_the_next_check_is_always_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    well, ill = Check(1, 2, 0, ""), Check(1, 2, 1, "")
    done, now = told(monkeypatch, well, well, ill, ill, ill)
    assert done == [7.0, "health_status: healthy", 7.0, 7.0, 7.0, "health_status: unhealthy", 7.0, 7.0]
    assert (now.status, now.failing_streak, len(now.log)) == ("unhealthy", 3, 5)


def test_a_check_that_cannot_be_made_is_a_failure_and_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    done, now = told(monkeypatch, OSError(24, "Too many open files"), Check(1, 2, 0, ""))
    assert done == [7.0, 7.0, "health_status: healthy", 7.0]
    assert now.log[0].exit_code == -1 and "Too many open files" in now.log[0].output


def test_an_answer_for_a_container_that_has_ended_meanwhile_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    context: Any = Context()
    monitor.begin(context, context.container)
    context.set_state(context.container, status="exited")

    async def run(*_: object) -> Check:
        return Check(1, 2, 0, "")

    monkeypatch.setattr(probe, "run", run)
    wanted = monitor.health.rules(context.container.record.config)
    assert wanted is not None
    asyncio.run(monitor._check(context, context.container, wanted))
    assert context.done == [7.0] and context.container.state.health.status == "starting"
