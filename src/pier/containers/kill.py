"""Sending a signal to a container's process."""

import os
import signal

from pier.containers import pause
from pier.containers.record import Container
from pier.containers.table import Containers
from pier.errors import Conflict, Invalid, NotFound
from pier.linux import pidfd
from pier.runtime import signals


async def kill(ctx: Containers, name: str, signal_name: str | None) -> None:
    """Send a signal (default KILL) to PID 1 of a container; KILL ends every process of it.

    Raises NotFound, Conflict (not running), Invalid (unknown signal) with Docker's texts.
    """
    try:
        container = ctx.find(name)
    except NotFound as problem:
        raise NotFound(f"cannot kill container: {name}: {problem}") from None
    number = signal.SIGKILL
    if signal_name:
        try:
            number = signals.parse_signal(signal_name)  # type: ignore[assignment]
        except Invalid as problem:
            raise Invalid(f"cannot kill container: {name}: {problem}") from None
        if not signals.supported(number):
            raise Invalid(f"cannot kill container: {name}: the linux daemon does not support signal {int(number)}")
    if not await container.is_running():
        raise Conflict(f"cannot kill container: {name}: container {container.id} is not running")
    stop_signal = container.record.config.stop_signal
    if number in (signal.SIGKILL, signals.parse_signal(stop_signal) if isinstance(stop_signal, str) and stop_signal else signal.SIGTERM):
        ctx.set_state(container, stopped_by_user=True)
        if container.record.host.restart_policy.name != "no":
            await ctx.save_state(container)
    send(ctx, container, int(number))
    ctx.publish(container, "kill", signal=str(int(number)))
    if not isinstance(stop_signal, str) or not stop_signal or number == signals.parse_signal(stop_signal):
        pause.wake(ctx, container)


def send(ctx: Containers, container: Container, number: int) -> None:
    """Send a signal to PID 1 through its pidfd; KILL goes to the whole cgroup, so that nothing of it stays.

    A process that is gone already is no error.
    """
    if number == signal.SIGKILL:
        ctx.facts.cgroups.kill(container.id)
    if container.child is not None:
        try:
            pidfd.send_signal(container.child.pidfd, number)
        except ProcessLookupError:
            pass
        except OSError:
            os.kill(container.child.pid, 0)
            raise
