"""Waiting for a container: `not-running` (the default), `next-exit`, `removed`."""

import asyncio
from collections.abc import Awaitable

from msgspec import UNSET

from pier.api.models.containers import WaitError, WaitResponse
from pier.containers.record import Container
from pier.containers.table import Containers
from pier.errors import Invalid

CONDITIONS = ("not-running", "next-exit", "removed")


async def begin(ctx: Containers, name: str, condition: str) -> Awaitable[WaitResponse]:
    """Register a waiter: whatever happens after this returns is seen by the awaitable it returns.

    Raises NotFound, Invalid (`invalid condition: "X"`).
    """
    condition = condition or "not-running"
    if condition not in CONDITIONS:
        raise Invalid(f'invalid condition: "{condition}"')
    container = ctx.find(name)
    future: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
    if condition == "not-running" and not (container.state.running or container.state.restarting):
        future.set_result((container.state.exit_code, ""))
    else:
        container.waiters.append((condition, future))
        future.add_done_callback(lambda done: _forget(container, done))
    return _answer(future)


async def wait(ctx: Containers, name: str, condition: str) -> WaitResponse:
    """`begin` and the answer in one."""
    return await (await begin(ctx, name, condition))


def tell_exit(container: Container) -> None:
    """Answer the waiters of an exit: `next-exit` always, `not-running` unless a restart follows."""
    state = container.state
    for condition, future in list(container.waiters):
        if not future.done() and (condition == "next-exit" or (condition == "not-running" and not state.restarting)):
            future.set_result((state.exit_code, ""))


def tell_removed(container: Container) -> None:
    """Answer every waiter: the container is gone."""
    for _, future in list(container.waiters):
        if not future.done():
            future.set_result((container.state.exit_code, ""))


def tell_failed_start(container: Container) -> None:
    """Answer waiters of a run that never came to be: with its exit code; the error is the answer of the start."""
    for condition, future in list(container.waiters):
        if not future.done() and condition != "removed":
            future.set_result((container.state.exit_code, ""))


def _forget(container: Container, done: "asyncio.Future[tuple[int, str]]") -> None:
    container.waiters = [(condition, future) for condition, future in container.waiters if future is not done]


async def _answer(future: "asyncio.Future[tuple[int, str]]") -> WaitResponse:
    code, error = await future
    return WaitResponse(status_code=code, error=WaitError(message=error) if error else UNSET)
