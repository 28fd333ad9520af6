"""The health of containers that run: checks are planned, made, and their answers become the container's state.

Where a container is started, `begin`; where it ends or stands still, `halt`; where a daemon finds it running, `go_on`. In between
nothing of it lives but an entry in the schedule.
"""

import time

import msgspec

from pier import trace
from pier.containers import health, probe
from pier.containers.health import Health, Rules
from pier.containers.record import Container
from pier.containers.table import Containers, log

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Health).decode


def start(ctx: Containers) -> None:
    """All containers are restored: make what checks are due, from now on."""
    ctx.checking.go(lambda container_id: due(ctx, container_id))


def begin(ctx: Containers, container: Container) -> None:
    """A container was started: nothing is known of its health, and the first check is due after an interval."""
    wanted = health.rules(container.record.config)
    if wanted is None:
        return
    _note(ctx, container, health.begun(container.state.health))
    _plan(ctx, container, wanted)


def go_on(ctx: Containers, container: Container) -> None:
    """A container runs that was checked before: the next check is due when it would have been."""
    wanted = health.rules(container.record.config)
    if wanted is None:
        return
    now = container.state.health or health.begun(None)
    _note(ctx, container, now)
    _plan(ctx, container, wanted, since_ns=now.log[-1].end_ns if now.log else container.state.started_ns)


def again(ctx: Containers, container: Container) -> None:
    """A container that stood still goes on: it counts as unhealthy until its next check, an interval from now."""
    wanted = health.rules(container.record.config)
    if wanted is not None:
        _plan(ctx, container, wanted)


def halt(ctx: Containers, container: Container) -> None:
    """A container has ended or is about to stand still: a check that is under way is ended, its answer does not count."""
    now = container.state.health
    if now is None:
        return
    task = ctx.checking.forget(container.id)
    if task is not None:
        task.cancel()
    ctx.set_state(container, health=health.halted(now))


def due(ctx: Containers, container_id: str) -> None:
    """A check is due: make it in the background."""
    container = ctx.table.get(container_id)
    wanted = health.rules(container.record.config) if container is not None else None
    if container is not None and wanted is not None and container.state.running and not container.state.paused and not ctx.stopping:
        ctx.checking.under_way[container_id] = ctx.spawn(_check(ctx, container, wanted), f"health check of {container.record.short_id}")


def close(ctx: Containers) -> None:
    """The daemon ends: no check is left running."""
    ctx.checking.close()
    for task in ctx.checking.under_way.values():
        task.cancel()


def noted(data: bytes | None) -> Health | None:
    """What the note of a running container says of its health; None where it says nothing that can be read."""
    try:
        return _decode(data) if data else None
    except msgspec.MsgspecError:
        return None


async def _check(ctx: Containers, container: Container, wanted: Rules) -> None:
    begun_ns = time.time_ns()
    try:
        answer = await probe.run(ctx, container, wanted)
    except Exception as problem:  # too many open files, for one: the next check may fare better
        log.warning("container %s: its health check could not be made: %s", container.record.short_id, problem)
        answer = health.Check(begun_ns, time.time_ns(), health.FAILED, f"the check could not be made: {problem}")
    before = container.state.health
    if before is None or not container.state.running:
        return
    ctx.checking.under_way.pop(container.id, None)
    now = health.after(before, answer, wanted, container.state.started_ns)
    _note(ctx, container, now)
    trace.point("health.noted")
    if now.status != before.status:
        ctx.publish(container, f"health_status: {now.status}")
    _plan(ctx, container, wanted)


def _note(ctx: Containers, container: Container, now: Health) -> None:
    ctx.set_state(container, health=now)
    ctx.running.remember_health(container.id, _encode(now))


def _plan(ctx: Containers, container: Container, wanted: Rules, since_ns: int | None = None) -> None:
    now_ns = time.time_ns()
    state = container.state
    pause_ns = health.pause_ns(state.health or Health(), wanted, now_ns - state.started_ns)
    late_ns = now_ns - since_ns if since_ns is not None else 0
    ctx.checking.plan(container.id, min(max(pause_ns - late_ns, 0), pause_ns) / 1e9)
