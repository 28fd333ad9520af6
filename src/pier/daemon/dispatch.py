"""What happens around every handler: redirects, versions, errors as Docker words them, the common headers."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from pier.api import versions
from pier.api.fields import VERSION
from pier.daemon.engine import Engine
from pier.daemon.router import Route, Router, cleaned, split_version
from pier.errors import PierError, http_status
from pier.http.message import Answer, ClientGone, ProtocolError, Request, Response, Segments, Stream, empty, json

_log = logging.getLogger("pier.api")
SERVER = f"Pier/{VERSION} (linux)"
_GATE_HEADERS = (("Api-Version", versions.text(versions.NEWEST)), ("Ostype", "linux"), ("Server", SERVER))
COMMON_HEADERS = (_GATE_HEADERS[0], ("Docker-Experimental", "false"), *_GATE_HEADERS[1:])


class Dispatcher:
    """The handler that the server calls: `await dispatcher(request)`."""

    def __init__(self, engine: Engine, routes: Sequence[Route]) -> None:
        self._engine, self._router = engine, Router(routes)

    async def __call__(self, request: Request) -> Answer:
        started = time.monotonic()
        answer = await self._answer(request)
        if _log.isEnabledFor(logging.DEBUG):
            status = getattr(answer, "status", type(answer).__name__.lower())
            _log.debug("%s %s: %s in %.1f ms", request.method, request.target, status, (time.monotonic() - started) * 1000)
        return answer

    async def _answer(self, request: Request) -> Answer:
        if (path := cleaned(request.path)) != request.path:
            query = request.target.partition("?")[2]
            return Response(301, headers=(("Location", quote(path, safe="/:@!$&'()*+,;=~") + (f"?{query}" if query else "")),))
        version, path = split_version(request.path)
        match = self._router.match(request.method, path)
        if match is None and request.method != "OPTIONS":
            return json({"message": "page not found"}, 404)
        if version and (message := versions.too_new(version)):
            return json({"message": message}, 400, _GATE_HEADERS)
        if version and (message := versions.too_old(version)):
            # text, since such clients did not read errors as JSON
            return Response(400, f"{message}\n".encode(), "text/plain; charset=utf-8", _GATE_HEADERS)
        if match is None:
            return _with_headers(empty(200))
        request.path, request.params = path, match.params
        request.version = versions.parse(version) if version else versions.NEWEST
        try:
            return _with_headers(await match.handler(request, self._engine))
        except (ProtocolError, ClientGone):
            raise
        except Exception as error:
            return _with_headers(error_answer(error, request))


def error_answer(error: Exception, request: Request) -> Response:
    """The answer that stands for an error; one that is no PierError is a bug, and logged with where it happened."""
    status = http_status(error)
    if isinstance(error, PierError):
        _log.debug("%s %s: %s", request.method, request.target, error)
        return empty(304) if status == 304 else json({"message": str(error)}, status)
    _log.error("%s %s failed", request.method, request.target, exc_info=error)
    return json({"message": f"internal error in {request.method} {request.path}: {type(error).__name__}: {error}"}, 500)


def _with_headers(answer: Answer) -> Answer:
    if isinstance(answer, (Response, Stream, Segments)):
        return replace(answer, headers=(*COMMON_HEADERS, *answer.headers))
    return answer
