"""Which handler answers a method and a path: a table made once, read as Docker's engine reads paths."""

import posixpath
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pier.http.message import Answer, Request

if TYPE_CHECKING:
    from pier.daemon.engine import Engine

Handler = Callable[[Request, "Engine"], Awaitable[Answer]]
Route = tuple[str, str, Handler]
"""(method, pattern, handler); `{name}` in a pattern stands for one segment, `{name:.*}` for one or more."""

_VERSIONED = re.compile(r"/v([0-9.]+)(/.*)")
_PARAMETER = re.compile(r"\{(\w+)(:\.\*)?\}")


@dataclass(frozen=True)
class Match:
    """The handler of a path and what its parameters are."""

    handler: Handler
    params: dict[str, str]


class Router:
    """Finds routes by method and first segment, then by pattern, in the order of the table."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes: dict[tuple[str, str], list[tuple[re.Pattern[str], Handler]]] = {}
        for method, pattern, handler in routes:
            place = self._routes.setdefault((method, _first(pattern)), [])
            place.append((_compiled(pattern), handler))

    def match(self, method: str, path: str) -> Match | None:
        """The route of a decoded path without its version; None where there is none."""
        for pattern, handler in self._routes.get((method, _first(path)), ()):
            if found := pattern.fullmatch(path):
                return Match(handler, found.groupdict())
        return None


def _first(path: str) -> str:
    return path[1:].partition("/")[0]


def _compiled(pattern: str) -> re.Pattern[str]:
    text, at = "", 0
    for found in _PARAMETER.finditer(pattern):
        text += re.escape(pattern[at : found.start()]) + f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})"
        at = found.end()
    return re.compile(text + re.escape(pattern[at:]), re.DOTALL)


def split_version(path: str) -> tuple[str, str]:
    """(`1.44`, `/info`) of `/v1.44/info`; the version is empty where the path has none."""
    found = _VERSIONED.fullmatch(path)
    return (found[1], found[2]) if found else ("", path)


def cleaned(path: str) -> str:
    """A path without `//`, `/./` and `/../`, its final slash kept: where it differs, Docker redirects there."""
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return clean + "/" if path.endswith("/") and clean != "/" else clean
