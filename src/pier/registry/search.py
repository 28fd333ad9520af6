"""Looking for images: Docker Hub's search (its API v1), the same on registries that have it, and the catalogue of any other.

Source of the API: Docker's engine, `GET /v1/search?q=TERM&n=LIMIT`; of filters and their words: `docker search` on Docker 28.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from pier.errors import Internal, Invalid
from pier.oci.manifest import MAX_DOCUMENT_BYTES
from pier.registry.endpoints import Endpoint
from pier.registry.errors import Answered, Overloaded, Untrue, clean, shown_url
from pier.registry.exchange import Ask, Exchange
from pier.registry.hosts import Host
from pier.registry.pages import names

DEFAULT_LIMIT = 25
MAX_LIMIT = 100
HUB_INDEX = "https://index.docker.io"  # Docker Hub's search is not where its images are
SEARCH_SCOPE = ("registry:catalog:search",)
CATALOGUE_SCOPE = ("registry:catalog:*",)
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


@dataclass(frozen=True)
class Found:
    """One line of `docker search`. name: as it is pulled, without the domain where the registry's search said so itself."""

    name: str
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


@dataclass(frozen=True)
class Wanted:
    """What is looked for. domain: "" is Docker Hub."""

    domain: str
    term: str
    limit: int
    official: bool | None = None
    automated: bool | None = None
    stars: int = 0

    def takes(self, found: Found) -> bool:
        """Whether the filters let it through."""
        return found.star_count >= self.stars and self.official in (None, found.is_official) and self.automated in (None, found.is_automated)


def wanted(term: str, limit: int, filters: Mapping[str, Sequence[str]]) -> Wanted:
    """The query of `docker search`: `HOST/TERM`, or TERM on Docker Hub. limit: 0 is 25. Raises Invalid with Docker's words. Pure."""
    for name in filters:
        if name not in ("is-automated", "is-official", "stars"):
            raise Invalid(f"invalid filter '{clean(name)}'")
    stars = [_number(text) for text in filters.get("stars", ())]
    if "://" in term:
        raise Invalid(f"invalid repository name: repository name ({clean(term)}) should not have a scheme")
    limit = limit or DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(f"limit {limit} is outside the range of [1, {MAX_LIMIT}]")
    first, slash, rest = term.partition("/")
    named = bool(slash) and ("." in first or ":" in first or first == "localhost")
    domain = "" if not named or first in ("docker.io", "index.docker.io") else first
    sought = rest if named else term
    official, automated = (_boolean(name, filters.get(name, ())) for name in ("is-official", "is-automated"))
    return Wanted(domain, sought if domain else sought.removeprefix("library/"), limit, official, automated, max(stars, default=0))


def _number(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise Invalid(f'invalid filter \'stars={clean(text)}\': strconv.Atoi: parsing "{clean(text)}": invalid syntax')
    return int(text)


def _boolean(name: str, values: Sequence[str]) -> bool | None:
    if not values:
        return None
    if len(values) > 1 or values[0] not in _TRUE | _FALSE:
        raise Invalid(f"invalid filter '{name}=[{clean(' '.join(values))}]'")
    return values[0] in _TRUE


def read(data: bytes, url: str) -> list[Found]:
    """The results in an answer of the API v1. Raises Untrue."""
    try:
        rows = json.loads(data)["results"] or []
        return [_row(row) for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise Untrue(f"{shown_url(url)}: not the JSON of a search") from None


def _row(row: Mapping[str, object]) -> Found:
    stars = row.get("star_count")
    count = stars if isinstance(stars, int) else 0
    return Found(clean(str(row["name"])), clean(str(row.get("description") or "")), count, row.get("is_official") is True)


def search(exchange: Exchange, endpoint: Endpoint, query: Wanted) -> list[Found]:
    """What an endpoint finds. A registry without search is asked for its catalogue, in which names that contain the term are found."""
    if query.automated:  # nothing is, since Docker Hub gave that up
        return []
    place = endpoint if query.domain else Endpoint(Host(HUB_INDEX), HUB_INDEX)
    url = f"{place.base.removesuffix('/v2')}/v1/search?{urlencode({'q': query.term, 'n': query.limit})}"
    try:
        found = read(_get(exchange, place, url, hub=not query.domain), url)
    except (Answered, Untrue) as error:
        if query.domain and not isinstance(error, Overloaded):
            found = _catalogue(exchange, endpoint, query, error)
        elif isinstance(error, Answered):
            raise Internal(f"Unexpected status code {error.answer.status}") from None
        else:
            raise
    return [one for one in found if query.takes(one)][: query.limit]


def _get(exchange: Exchange, endpoint: Endpoint, url: str, *, hub: bool) -> bytes:
    """Hub's search answers nobody in particular, too, with what is public: who has a login sends it before being asked, as Docker does."""
    scopes: tuple[str, ...] = ()
    if hub and exchange.credentials.identity_token:
        scopes = SEARCH_SCOPE
        exchange.ask(endpoint, Ask("GET", f"{HUB_INDEX}/v2/", scopes)).close()  # whose challenge names the token server
    with exchange.ask(endpoint, Ask("GET", url, scopes, {"Accept": "application/json"}, unasked=hub)) as response:
        data = response.read_bounded(MAX_DOCUMENT_BYTES)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise Untrue(f"{shown_url(url)}: more than {MAX_DOCUMENT_BYTES} bytes")
    return data


def _catalogue(exchange: Exchange, endpoint: Endpoint, query: Wanted, missing: Exception) -> list[Found]:
    try:
        found = catalogue(exchange, endpoint, None)
    except Answered as error:
        raise Internal(f"{query.domain} has neither a search ({missing}) nor a catalogue: {error}") from None
    return [Found(f"{query.domain}/{name}") for name in found if query.term in name]


def catalogue(exchange: Exchange, endpoint: Endpoint, limit: int | None) -> list[str]:
    """The names of all repositories of a registry, or the first `limit`."""
    return names(exchange, endpoint, "/_catalog", "repositories", CATALOGUE_SCOPE, limit)
