"""The /containers routes whose answers last: wait, logs, attach."""

import contextlib
from collections.abc import AsyncIterator, Awaitable
from http import HTTPStatus
from typing import TYPE_CHECKING

from pier.api.stream import MULTIPLEXED, RAW
from pier.containers import attach as _attach
from pier.containers import logs as _logs
from pier.containers import stats as _stats
from pier.containers import wait as _wait
from pier.daemon.routes.times import unix_ns
from pier.errors import Invalid, PierError
from pier.http.message import Answer, Hijacked, Raw, Request, Stream, Taken, encode, json

if TYPE_CHECKING:
    from pier.api.models.containers import WaitResponse
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route


async def wait(request: Request, engine: "Engine") -> Answer:
    """POST /containers/{name}/wait: the headers go out as soon as the wait is registered, the result when it is there."""
    # conditions came with API 1.30; before, a wait always was for the container not to run
    condition = request.query.get("condition") if request.version >= (1, 30) else ""
    await request.body()  # read to its end, so that a client that hangs up is noticed
    result = await _wait.begin(engine.containers, request.params["name"], condition)
    return Stream(_result(result), "application/json", single=True)


async def _result(result: "Awaitable[WaitResponse]") -> AsyncIterator[bytes]:
    yield encode(await result) + b"\n"


async def logs(request: Request, engine: "Engine") -> Answer:
    """GET /containers/{name}/logs."""
    query = request.query
    options = _logs.LogsOptions(
        stdout=query.bool_("stdout"),
        stderr=query.bool_("stderr"),
        follow=query.bool_("follow"),
        timestamps=query.bool_("timestamps"),
        details=query.bool_("details"),
        since_ns=unix_ns(query.get("since")) or 0,
        until_ns=unix_ns(query.get("until")) or 0,
        tail=tail(query.get("tail")),
    )
    container = _logs.check(engine.containers, request.params["name"], options)
    framed = not container.record.terminal and request.version >= (1, 42)
    return Stream(_logs.logs(engine.containers, request.params["name"], options), MULTIPLEXED if framed else RAW)


def tail(text: str) -> int | None:
    """How many lines; None (all) for what is no number, as Docker takes it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


async def attach(request: Request, engine: "Engine") -> Answer:
    """POST /containers/{name}/attach: the connection becomes the container's streams.

    An error is written onto the connection, which then closes: so does Docker, and its clients read it there.
    """
    query = request.query
    options = _attach.AttachOptions(
        logs=query.bool_("logs"),
        stream=query.bool_("stream"),
        stdin=query.bool_("stdin"),
        stdout=query.bool_("stdout"),
        stderr=query.bool_("stderr"),
        detach_keys=query.get("detachKeys"),
    )
    try:
        container = _attach.check(engine.containers, request.params["name"], options)
    except PierError as error:
        reason = HTTPStatus(error.status).phrase
        return Raw(f"HTTP/1.1 {error.status} {reason}\r\nContent-Type: {RAW}\r\n\r\n{error}\r\n".encode())

    async def hijack() -> Hijacked:
        return await request.hijack(not container.record.terminal)

    await _attach.attach(engine.containers, request.params["name"], options, hijack)
    return Taken()


async def stats(request: Request, engine: "Engine") -> Answer:
    """GET /containers/{name}/stats: one sample, or one each second."""
    query = request.query
    wanted = query.bool_("stream", True)
    one_shot = query.bool_("one-shot") and request.version >= (1, 41)
    if wanted and one_shot:
        raise Invalid("cannot have stream=true and one-shot=true")
    name = request.params["name"]
    if not wanted:
        return json(await _stats.once(engine.containers, name, one_shot))
    container = engine.containers.find(name)

    async def lines() -> AsyncIterator[bytes]:
        async with contextlib.aclosing(_stats.stream(engine.containers, container)) as samples:
            async for sample in samples:
                yield encode(sample) + b"\n"

    return Stream(lines(), "application/json")


ROUTES: "tuple[Route, ...]" = (
    ("POST", "/containers/{name:.*}/wait", wait),
    ("GET", "/containers/{name:.*}/logs", logs),
    ("POST", "/containers/{name:.*}/attach", attach),
    ("GET", "/containers/{name:.*}/stats", stats),
)
