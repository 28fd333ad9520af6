"""The /images routes."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pier.api.fields import VERSION
from pier.api.models.images import inspect_at, summary_at
from pier.daemon.routes.registries import user_of
from pier.errors import Invalid, NotImplementedByPier
from pier.http.message import Answer, Request, Stream, empty, encode, json
from pier.images.pull_plan import asked
from pier.oci import platform as platforms
from pier.oci.platform import Platform

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route


class _PlatformParameter(msgspec.Struct):
    """A `platform` parameter in its JSON form (API 1.48 on)."""

    os: str = ""
    architecture: str = ""
    variant: str = ""


def platform_parameter(text: str) -> Platform | None:
    """The platform that a query names, in the JSON form; None where it names none. Raises Invalid."""
    if not text:
        return None
    try:
        given = msgspec.json.decode(text, type=_PlatformParameter)
    except msgspec.MsgspecError as error:
        raise Invalid(f"failed to parse platform: {error}") from None
    if not given.os or not given.architecture:
        raise Invalid("both OS and Architecture must be provided")
    return platforms.parse("/".join(filter(None, (given.os, given.architecture, given.variant))))


async def list_images(request: Request, engine: "Engine") -> Answer:
    """GET /images/json."""
    query, filters = request.query, request.query.filters()
    if request.version < (1, 41) and "filter" in query:
        filters.setdefault("reference", []).append(query.get("filter"))  # left the API in 1.41
    every, shared_size, users = query.bool_("all"), query.bool_("shared-size"), engine.containers.users_of
    if request.version >= (1, 47) and query.bool_("manifests"):
        found = await engine.images.list_with_manifests(filters, users, all=every, shared_size=shared_size)
    else:
        found = engine.images.list(filters, all=every, shared_size=shared_size, users=users)
    return json([summary_at(image, request.version) for image in found])


async def inspect(request: Request, engine: "Engine") -> Answer:
    """GET /images/{name}/json."""
    query = request.query
    platform = platform_parameter(query.get("platform")) if request.version >= (1, 49) else None
    manifests = request.version >= (1, 48) and query.bool_("manifests")
    found = await engine.images.inspect(request.params["name"], platform, manifests=manifests, users=engine.containers.users_of)
    return json(inspect_at(found, request.version))


async def history(request: Request, engine: "Engine") -> Answer:
    """GET /images/{name}/history."""
    platform = platform_parameter(request.query.get("platform")) if request.version >= (1, 48) else None
    return json(engine.images.history(request.params["name"], platform))


async def tag(request: Request, engine: "Engine") -> Answer:
    """POST /images/{name}/tag."""
    made = await engine.images.tag(request.params["name"], request.query.get("repo"), request.query.get("tag"))
    return empty(201 if made else 200)


async def remove(request: Request, engine: "Engine") -> Answer:
    """DELETE /images/{name}."""
    query = request.query
    given = query.get_all("platforms") if request.version >= (1, 50) else ()
    chosen = [platform for text in given if (platform := platform_parameter(text))]
    gone = await engine.images.remove(request.params["name"], query.bool_("force"), query.bool_("noprune"), engine.containers.users_of, chosen)
    return json(gone)


async def prune(request: Request, engine: "Engine") -> Answer:
    """POST /images/prune."""
    return json(await engine.images.prune(request.query.filters(), engine.containers.users_of))


async def load(request: Request, engine: "Engine") -> Answer:
    """POST /images/load: the archive is read as it comes; what goes wrong is told in the stream, as its status was sent before."""
    platform = platform_parameter(request.query.get("platform")) if request.version >= (1, 48) else None
    quiet = request.query.bool_("quiet", True)
    return Stream(lines(engine.images.load(request.chunks(), quiet, platform)), "application/json")


async def lines(messages: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    """Progress messages as Docker's clients read them: an object a line."""
    try:
        async for message in messages:
            yield encode(message) + b"\r\n"
    finally:
        if close := getattr(messages, "aclose", None):
            await close()


async def create(request: Request, engine: "Engine") -> Answer:
    """POST /images/create: a pull (`fromImage`), or an import of the body (`fromSrc=-`)."""
    query = request.query
    if query.get("fromImage"):
        return await _pull(request, engine)
    source = query.get("fromSrc")
    if not source:
        raise Invalid("neither fromImage nor fromSrc is given: use fromSrc=- to import the request's body")
    if source != "-":
        raise NotImplementedByPier(f"fromSrc={source}: importing from a URL", "send the archive as the body, with fromSrc=-")
    made = await engine.images.import_(
        request.chunks(),
        repo=query.get("repo"),
        tag=query.get("tag"),
        message=query.get("message"),
        changes=query.get_all("changes"),
        platform=query.get("platform") if request.version >= (1, 32) else "",
        version=VERSION,
    )
    return json({"status": made})


async def _pull(request: Request, engine: "Engine") -> Answer:
    """What is wrong before there is anything to tell has a status of its own, later it is told in the stream."""
    query = request.query
    wanted = asked(query.get("fromImage"), query.get("tag"))
    text = query.get("platform") if request.version >= (1, 32) else ""
    told = engine.images.pull(wanted, platforms.parse(text) if text else None, user_of(request))
    try:
        first = await anext(told)
    except BaseException:
        await told.aclose()
        raise
    return Stream(lines(_after(first, told)), "application/json")


async def _after(first: Mapping[str, Any], rest: AsyncGenerator[Mapping[str, Any], None]) -> AsyncIterator[Mapping[str, Any]]:
    try:
        yield first
        async for line in rest:
            yield line
    finally:
        await rest.aclose()


ROUTES: "tuple[Route, ...]" = (
    ("GET", "/images/json", list_images),
    ("POST", "/images/load", load),
    ("POST", "/images/create", create),
    ("POST", "/images/prune", prune),
    ("GET", "/images/{name:.*}/history", history),
    ("GET", "/images/{name:.*}/json", inspect),
    ("POST", "/images/{name:.*}/tag", tag),
    ("DELETE", "/images/{name:.*}", remove),
)
