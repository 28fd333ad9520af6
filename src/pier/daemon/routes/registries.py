"""What the daemon asks registries for its clients: /auth, /images/search, /distribution."""

import re
from typing import TYPE_CHECKING, Any

import msgspec

from pier.api.models.registry import AuthRequest, AuthResponse, DistributionInspect, SearchResult
from pier.errors import Internal, Invalid, PierError
from pier.http.message import Answer, Request, json
from pier.oci.reference import parse_any
from pier.registry import credentials
from pier.registry.credentials import Credentials
from pier.registry.errors import for_engine

if TYPE_CHECKING:
    from pier.daemon.engine import Engine
    from pier.daemon.router import Route
    from pier.oci.reference import Reference
    from pier.registry.cancel import Cancel
    from pier.registry.client import Registries
    from pier.registry.login import Login
    from pier.registry.search import Found


def user_of(request: Request) -> Credentials:
    """Who the header X-Registry-Auth says asks a registry; nobody where it says nothing that can be read, as in Docker."""
    try:
        return credentials.from_header(request.headers.get("x-registry-auth", ""))
    except Invalid:
        return Credentials()


async def auth(request: Request, engine: "Engine") -> Answer:
    """POST /auth: try a login. Raises what the registry said; what is no request is 500, as Docker has it."""
    if not (await request.body()).strip():
        raise Internal("EOF")
    try:
        asked = await request.json(AuthRequest)
    except Invalid as error:
        raise Internal(str(error).removeprefix("invalid JSON: ")) from None
    who = credentials.from_config(msgspec.to_builtins(asked))

    def work(registries: "Registries", cancel: "Cancel") -> "Login":
        return registries.login(asked.server_address, who, cancel=cancel)

    try:
        done = await engine.images.remote.call(work, host=asked.server_address)
    except PierError as error:
        raise for_engine(error) from None
    return json(AuthResponse(identity_token=done.identity_token, status=done.status))


async def search(request: Request, engine: "Engine") -> Answer:
    """GET /images/search."""
    query = request.query
    term, filters, text, who = query.get("term"), query.filters(), query.get("limit"), user_of(request)
    if text and not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise Invalid(f'invalid limit specified: strconv.Atoi: parsing "{text}": invalid syntax')

    def work(registries: "Registries", cancel: "Cancel") -> "list[Found]":
        return registries.search(term, int(text or 0), filters, who, cancel=cancel)

    try:
        found = await engine.images.remote.call(work, host=term.partition("/")[0] if "/" in term else "")
    except PierError as error:
        raise for_engine(error) from None
    return json([SearchResult(**{name: getattr(one, name) for name in SearchResult.__struct_fields__}) for one in found])


async def distribution(request: Request, engine: "Engine") -> Answer:
    """GET /distribution/{name}/json: what a name means on its registry now; nothing is fetched but documents."""
    name = parse_any(request.params["name"])
    if isinstance(name, str):
        raise Internal("no manifest found for full image ID")
    reference, who = name.with_default_tag(), user_of(request)

    def work(registries: "Registries", cancel: "Cancel") -> DistributionInspect:
        return _inspect(registries, reference, who, cancel)

    try:
        return json(await engine.images.remote.call(work, host=reference.domain))
    except PierError as error:
        raise for_engine(error) from None


def _inspect(registries: "Registries", reference: "Reference", who: Credentials, cancel: "Cancel") -> DistributionInspect:
    """In a thread: the document of a name, and the platforms that it, or its configuration, says."""
    from pier.oci import image_config
    from pier.oci.manifest import Index
    from pier.registry.transfer import small_blob

    repository = registries.repository(reference, who, cancel=cancel)
    fetched = repository.manifest(reference.digest or reference.tag or "")
    descriptor = {"mediaType": fetched.media_type, "digest": fetched.digest, "size": len(fetched.data)}
    if isinstance(fetched.document, Index):
        platforms: list[dict[str, Any]] = [msgspec.to_builtins(entry.platform) for entry in fetched.document.manifests if entry.platform]
    else:
        config = image_config.parse(small_blob(repository, fetched.document.config))
        fields = {"architecture": config.architecture, "os": config.os, "variant": config.variant}
        platforms = [{name: value for name, value in fields.items() if value}]
    return DistributionInspect(descriptor=descriptor, platforms=platforms)


ROUTES: "tuple[Route, ...]" = (
    ("POST", "/auth", auth),
    ("GET", "/images/search", search),
    ("GET", "/distribution/{name:.*}/json", distribution),
)
