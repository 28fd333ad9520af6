"""What surrounds every handler, over a fake engine and requests without sockets. Statuses and texts were seen from a 28.5 engine."""

import asyncio
from typing import Any

import msgspec
import pytest

from pier.api.fields import VERSION
from pier.daemon.dispatch import Dispatcher
from pier.daemon.router import Router, cleaned, split_version
from pier.errors import Conflict, Invalid, NotImplementedByPier, NotModified
from pier.http.message import Answer, Hijacked, Request, Response, Stream, empty, json
from pier.http.query import Query


class NoWire:
    """A request's body without a connection."""

    def __init__(self, body: bytes = b"") -> None:
        self._parts = [body] if body else []

    async def read_body(self) -> bytes:
        return self._parts.pop() if self._parts else b""

    async def take(self, head: bytes) -> Hijacked:
        raise AssertionError("nothing here is hijacked")


async def _seen(request: Request, engine: Any) -> Answer:
    return json({"name": request.params.get("name"), "version": request.version, "q": request.query.get("q")})


async def _not_modified(request: Request, engine: Any) -> Answer:
    raise NotModified("container is already running")


async def _conflict(request: Request, engine: Any) -> Answer:
    raise Conflict("taken")


async def _later(request: Request, engine: Any) -> Answer:
    raise NotImplementedByPier("pulling", "use 'pier load'")


async def _bug(request: Request, engine: Any) -> Answer:
    raise KeyError("x")


async def _empty(request: Request, engine: Any) -> Answer:
    return empty()


ROUTES = (
    ("GET", "/containers/json", _seen),
    ("GET", "/containers/{name:.*}/json", _seen),
    ("POST", "/same", _not_modified),
    ("POST", "/taken", _conflict),
    ("POST", "/later", _later),
    ("POST", "/bug", _bug),
    ("DELETE", "/things/{name}", _empty),
)


def ask(method: str, target: str, body: bytes = b"", **headers: str) -> Response | Stream:
    path, _, query = target.partition("?")
    request = Request(method, path, Query(query), headers, NoWire(body), target)
    answer = asyncio.run(Dispatcher(None, ROUTES)(request))  # type: ignore[arg-type]
    assert isinstance(answer, (Response, Stream))
    return answer


def message(answer: Answer) -> str:
    assert isinstance(answer, Response)
    return str(msgspec.json.decode(answer.body)["message"])


def test_versions_and_parameters_reach_the_handler() -> None:
    for target, name, version in [
        ("/v1.44/containers/a/b/json?q=1", "a/b", [1, 44]),
        ("/containers/x/json", "x", [1, 51]),
        ("/v1.24/containers/json", None, [1, 24]),
    ]:
        answer = ask("GET", target)
        assert isinstance(answer, Response)
        got = msgspec.json.decode(answer.body)
        assert (got["name"], got["version"]) == (name, version)
        assert answer.body.endswith(b"\n")


def test_the_common_headers() -> None:
    headers = dict(ask("GET", "/containers/json").headers)
    assert headers == {"Api-Version": "1.51", "Docker-Experimental": "false", "Ostype": "linux", "Server": f"Pier/{VERSION} (linux)"}


@pytest.mark.parametrize(
    "line",
    [
        "GET /nope", "GET /v1.44/nope", "PUT /containers/json", "GET /vabc/info", "GET /", "GET /containers/json/", "HEAD /containers/json",
        "GET /v9.99/nope",
    ],
)  # fmt: skip
def test_unknown_routes(line: str) -> None:
    method, target = line.split()
    answer = ask(method, target)
    assert (answer.status, message(answer), answer.headers) == (404, "page not found", ())


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("//containers/json", "/containers/json"),
        ("/containers//json?a=b%20c", "/containers/json?a=b%20c"),
        ("/a/../containers/./json", "/containers/json"),
        ("/x//", "/x/"),
    ],
)
def test_unclean_paths_are_redirected(target: str, location: str) -> None:
    answer = ask("GET", target)
    assert (answer.status, dict(answer.headers)) == (301, {"Location": location})


def test_versions_that_are_not_spoken() -> None:
    new = ask("GET", "/v9.99/containers/json")
    assert (new.status, message(new)) == (400, "client version 9.99 is too new. Maximum supported API version is 1.51")
    assert "Docker-Experimental" not in dict(new.headers)
    old = ask("GET", "/v1.23/containers/json")
    assert isinstance(old, Response)
    assert (old.status, old.content_type) == (400, "text/plain; charset=utf-8")
    assert old.body == b"client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version\n"


def test_options_is_answered_everywhere() -> None:
    answer = ask("OPTIONS", "/whatever")
    assert (answer.status, dict(answer.headers)["Api-Version"]) == (200, "1.51")


def test_errors_have_their_status_and_words() -> None:
    same = ask("POST", "/same")
    assert isinstance(same, Response)
    assert (same.status, same.body) == (304, b"")
    assert (ask("POST", "/taken").status, message(ask("POST", "/taken"))) == (409, "taken")
    assert (ask("POST", "/later").status, message(ask("POST", "/later"))) == (400, "pulling is not supported by Pier yet: use 'pier load'")
    assert ask("DELETE", "/things/x").status == 204


def test_a_bug_is_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    answer = ask("POST", "/bug")
    assert (answer.status, message(answer)) == (500, "internal error in POST /bug: KeyError: 'x'")
    assert "Traceback" in caplog.text


def test_patterns() -> None:
    router = Router(ROUTES)
    assert router.match("DELETE", "/things/a/b") is None
    found = router.match("GET", "/containers/json")
    assert found is not None
    assert found.params == {}
    assert router.match("GET", "/containers//json") is None
    assert split_version("/v1.44") == ("", "/v1.44")
    assert cleaned("/") == "/"


def test_a_body_that_is_no_json_is_the_callers_fault() -> None:
    async def read(request: Request, engine: Any) -> Answer:
        await request.json(dict)
        return empty()

    request = Request("POST", "/x", Query(""), {"content-type": "text/plain", "content-length": "2"}, NoWire(b"{}"), "/x")
    answer = asyncio.run(Dispatcher(None, [("POST", "/x", read)])(request))  # type: ignore[arg-type]
    assert message(answer) == str(Invalid("unsupported Content-Type header (text/plain): must be 'application/json'"))
