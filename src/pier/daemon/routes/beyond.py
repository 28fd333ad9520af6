"""Routes that Docker does not have, all below /pier: what images can do here beyond its API (docs/api.md)."""

import base64
import os
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pier.api.models.images import CheckRequest, IdResponse
from pier.api.models.ports import PortsChange
from pier.containers import explain as _explain
from pier.containers import republish
from pier.daemon.routes.images import lines
from pier.errors import Invalid
from pier.http.message import Answer, FileSegment, Request, Segments, Stream, empty, json
from pier.images.check import Asked
from pier.registry.credentials import Credentials, from_config

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route


async def squash(request: Request, engine: "Engine") -> Answer:
    """POST /pier/images/{name}/squash: `repo`, `tag` name the result, `from` is the lowest layer that goes into the new one."""
    query = request.query
    made = await engine.images.squash(request.params["name"], query.get("repo"), query.get("tag"), query.get("from"))
    return json(IdResponse(id=made), 201)


async def diff(request: Request, engine: "Engine") -> Answer:
    """GET /pier/images/diff: what the image `to` shows and says that the image `from` does not."""
    before, after = request.query.get("from"), request.query.get("to")
    if not before or not after:
        raise Invalid("two images are needed: from and to")
    head, fd, size = await engine.images.diff(before, after)
    head, end = head + b',"Files":[', b"]}\n"

    def parts() -> Generator[bytes | FileSegment, None, None]:
        yield head
        yield FileSegment(fd, size)
        yield end

    async def release() -> None:
        os.close(fd)

    return Segments(parts(), len(head) + size + len(end), "application/json", release)


async def check(request: Request, engine: "Engine") -> Answer:
    """POST /pier/images/check: lines of progress, then the report. X-Registry-Config: {DOMAIN: login}, as for a build, for what is fetched."""
    body = await request.json_or(CheckRequest)
    asked = Asked(body.names, body.digests, body.repair, _logins(request.headers.get("x-registry-config", "")))
    return Stream(await _begun(engine.images.check(asked, engine.containers.users_of)), "application/json")


async def _begun(messages: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    """Once the first message is there: a wrong name is an answer of its own."""
    first = await anext(messages)

    async def all_of_them() -> AsyncGenerator[Mapping[str, Any], None]:
        try:
            yield first
            async for message in messages:
                yield message
        finally:
            if close := getattr(messages, "aclose", None):
                await close()

    return lines(all_of_them())


def _logins(text: str) -> dict[str, Credentials]:
    """Raises Invalid for a header that cannot be read."""
    if not text:
        return {}
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=dict[str, dict[str, Any]])
    except (ValueError, msgspec.MsgspecError) as error:
        raise Invalid(f"X-Registry-Config: {error}") from None
    return {domain: from_config(login) for domain, login in found.items()}


async def ports(request: Request, engine: "Engine") -> Answer:
    """GET /pier/containers/{name}/ports: the way of a packet to each published port, up to where it stops."""
    return json(await _explain.explain(engine.containers, request.params["name"]))


async def change_ports(request: Request, engine: "Engine") -> Answer:
    """POST /pier/containers/{name}/ports: publish and withdraw ports of a container, whether it runs or not."""
    await republish.change(engine.containers, request.params["name"], await request.json(PortsChange))
    return empty(204)


ROUTES: "tuple[Route, ...]" = (
    ("GET", "/pier/containers/{name:.*}/ports", ports),
    ("POST", "/pier/containers/{name:.*}/ports", change_ports),
    ("POST", "/pier/images/check", check),
    ("POST", "/pier/images/{name:.*}/squash", squash),
    ("GET", "/pier/images/diff", diff),
)
