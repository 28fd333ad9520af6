"""Lists that come in pages: where the header Link says that the next one is (RFC 8288; distribution specification, "Listing Tags"). Pure."""

import re
from collections.abc import Iterable

from pier.registry import redirect
from pier.registry.errors import Untrue, clean

MAX_PAGES = 10_000
_LINK = re.compile(r'<([^<>]*)>([^,<]*(?:"[^"]*"[^,<]*)*)')
_NEXT = re.compile(r';\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next)\s*(?:;|$)', re.IGNORECASE)


def next_page(url: str, links: Iterable[str]) -> str | None:
    """The URL of the page after `url`, None after the last one. Raises Untrue for one that is on another host: our credentials would go there."""
    for value in links:
        for target, parameters in _LINK.findall(value[:8192]):
            if not _NEXT.search(parameters.rstrip()):
                continue
            try:
                found = redirect.resolve(url, target, insecure=True)
                same = redirect.origin(found) == redirect.origin(url)
            except redirect.BadLocation as error:
                raise Untrue(f"the registry names a next page that is none: {error}: {clean(target)!r}") from None
            if not same:
                raise Untrue(f"the registry names a next page on another host: {clean(target)!r}")
            return found
    return None
