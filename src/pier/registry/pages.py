"""Lists that come in pages: the header Link says where the next one is (RFC 8288; distribution specification, "Listing Tags")."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping

from pier.oci.manifest import MAX_DOCUMENT_BYTES
from pier.registry import redirect
from pier.registry.endpoints import Endpoint
from pier.registry.errors import Untrue, clean, shown_url
from pier.registry.exchange import Ask, Exchange
from pier.registry.transport import Response

MAX_PAGES = 10_000
MAX_LIST_BYTES = 64 << 20  # of all pages together: a list is kept in memory
MAX_LINK_CHARS = 8192
_LINK = re.compile(r'<([^<>]*+)>((?:\s*+;\s*+[^\s=;,"<>]++\s*+(?:=\s*+(?:"[^"]*+"|[^\s;,"<>]*+))?+)*+)')
_PARAMETER = re.compile(r';\s*+([^\s=;,"<>]++)\s*+(?:=\s*+(?:"([^"]*+)"|([^\s;,"<>]*+)))?+')


def next_page(url: str, links: Iterable[str]) -> str | None:
    """The URL of the page after `url`, None after the last one. Raises Untrue for one that is on another host: our credentials would go there."""
    for value in links:
        for target, parameters in _LINK.findall(value[:MAX_LINK_CHARS]):
            relations = [quoted or plain for name, quoted, plain in _PARAMETER.findall(parameters) if name.lower() == "rel"]
            if "next" not in (relations[0].lower().split() if relations else ()):
                continue
            try:
                found = redirect.resolve(url, target, insecure=lambda _: True)
                same = redirect.origin(found) == redirect.origin(url)
            except redirect.BadLocation as error:
                raise Untrue(f"the registry names a next page that is none: {error}: {clean(target)!r}") from None
            if not same:
                raise Untrue(f"the registry names a next page on another host: {clean(target)!r}")
            return found
    return None


def pages(
    exchange: Exchange, endpoint: Endpoint, path: str, wanted: tuple[str, ...], headers: Mapping[str, str] | None = None
) -> Iterator[tuple[Response, bytes]]:  # fmt: skip
    """Each page with its (closed) answer. Raises what `Exchange.ask` does; Untrue for a page that is too large, and for pages without an end."""
    at, left = path, MAX_LIST_BYTES
    for _ in range(MAX_PAGES):
        with exchange.ask(endpoint, Ask("GET", at, wanted, headers or {})) as response:
            data = response.read_bounded(MAX_DOCUMENT_BYTES)
        if len(data) > MAX_DOCUMENT_BYTES:
            raise Untrue(f"{shown_url(response.url)}: more than {MAX_DOCUMENT_BYTES} bytes on one page")
        left -= len(data)
        if left < 0:
            raise Untrue(f"{shown_url(response.url)}: more than {MAX_LIST_BYTES} bytes on all pages")
        yield response, data
        after = next_page(response.url, response.all("link"))
        if after is None:
            return
        at = after
    raise Untrue(f"{shown_url(at)}: more than {MAX_PAGES} pages")


def names(exchange: Exchange, endpoint: Endpoint, path: str, key: str, wanted: tuple[str, ...], limit: int | None) -> list[str]:
    """The strings under `key` on all pages, the first `limit` of them; each name once, so that a list which goes in circles ends."""
    found: dict[str, None] = {}
    for response, data in pages(exchange, endpoint, f"{path}?n={limit}" if limit else path, wanted):
        try:
            page = json.loads(data)
            fresh = [name for name in page[key] or [] if isinstance(name, str)]
        except (ValueError, RecursionError, TypeError, KeyError):
            raise Untrue(f"{shown_url(response.url)}: not the JSON of a list of {key}") from None
        before = len(found)
        found.update(dict.fromkeys(map(clean, fresh)))
        if len(found) == before or (limit is not None and len(found) >= limit):
            break
    return list(found)[:limit]
