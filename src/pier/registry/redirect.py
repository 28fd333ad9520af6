"""Where an answer sends us, and what may go along. Pure.

An origin is (scheme, host, port). What belongs to a host (Authorization, its configured headers, its client certificate) goes to its own origin only.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

STATUSES = frozenset({301, 302, 303, 307, 308})
MAX_HOPS = 10
PORTS = {"http": 80, "https": 443}
Origin = tuple[str, str, int]
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")  # so plain that any two parsers of URLs find the same host in it


class BadLocation(Exception):
    """An address that is not followed; the text says why."""


def origin(url: str) -> Origin:
    """Raises BadLocation for what is no URL of http or https with a host."""
    try:
        parts = urlsplit(url)
        return _origin(parts)
    except ValueError as error:
        raise BadLocation(f"not a URL: {error}") from None


def _origin(parts: SplitResult) -> Origin:
    if parts.scheme not in PORTS:
        raise BadLocation("not a URL of http or https")
    if not _AUTHORITY.fullmatch(parts.netloc.rpartition("@")[2]) or not parts.hostname:
        raise BadLocation("no name of a host in it")
    return parts.scheme, parts.hostname, PORTS[parts.scheme] if parts.port is None else parts.port


@dataclass(frozen=True)
class Step:
    """The next request on the way to an answer."""

    method: str
    url: str
    keeps_body: bool


def resolve(base: str, location: str, *, insecure: Callable[[str], bool]) -> str:
    """The absolute URL of a Location seen at `base`. Raises BadLocation: no URL, credentials in it, or from https down to plain http.

    insecure: whether plain http will do at a URL.
    """
    if not location or any(c <= " " or c > "~" or c == "\\" for c in location):
        raise BadLocation("an address with spaces, backslashes or other than ASCII characters in it" if location else "an empty address")
    try:
        said = urlsplit(location)
        if said.scheme and not said.netloc:
            raise BadLocation("no name of a host in it")
        url = urljoin(base, location)
        parts = urlsplit(url)
        scheme = _origin(parts)[0]
    except ValueError as error:
        raise BadLocation(f"not a URL: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise BadLocation("an address with credentials in it")
    if scheme == "http" and base.startswith("https:") and not insecure(url):
        raise BadLocation("from https to plain http")
    return url.partition("#")[0]


def follow(method: str, url: str, status: int, location: str, *, insecure: Callable[[str], bool]) -> Step:
    """The request that a redirect asks for (RFC 9110, section 15.4); `insecure` as in `resolve`. Raises BadLocation."""
    target = resolve(url, location, insecure=insecure)
    if method in ("GET", "HEAD") or status in (307, 308):
        return Step(method, target, keeps_body=True)
    return Step("GET", target, keeps_body=False)
