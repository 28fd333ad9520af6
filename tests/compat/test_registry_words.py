"""What clients read when a registry says no: the words of Docker's engine and its status, for pull, push, login and distribution inspect."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.registry import Answer, FakeRegistry, small

from .conftest import Target

DENIED = "requested access to the resource is denied"
HIDDEN = "pull access denied for {}/x/y, repository does not exist or may require 'docker login'"
BASIC = {"WWW-Authenticate": 'Basic realm="r"'}


def coded(status: int, code: str, message: str, **headers: str) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": {"x": 1}}]}).encode()
    return Answer(status, body, {"Content-Type": "application/json", **headers})


def text(status: int, words: str) -> Answer:
    return Answer(status, words.encode(), {"Content-Type": "text/plain"})


@pytest.fixture(scope="module")
def server(loaded: Target) -> Iterator[FakeRegistry]:
    with FakeRegistry(inside=loaded.inside) as made:
        yield made


@pytest.fixture
def registry(server: FakeRegistry) -> Iterator[FakeRegistry]:
    yield server
    server.forget()


def token(registry: FakeRegistry, **more: str) -> dict[str, str]:
    """A challenge that names the registry itself as its token server."""
    words = {"realm": f"{registry.url}/token", "service": "s", "scope": "repository:x/y:pull", **more}
    return {"WWW-Authenticate": "Bearer " + ",".join(f'{name}="{value}"' for name, value in words.items())}


def refused(client: Any, registry: FakeRegistry, name: str = "x/y", tag: str = "t") -> tuple[int, str]:
    """Status and message of a pull."""
    from docker.errors import APIError

    with pytest.raises(APIError) as raised:
        client.images.pull(f"{registry.name}/{name}", tag=tag)
    return raised.value.response.status_code, raised.value.explanation


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (coded(404, "MANIFEST_UNKNOWN", "manifest unknown"), 404, "manifest for {}/x/y:t not found: manifest unknown: manifest unknown"),
        (coded(404, "NAME_UNKNOWN", "not known here"), 404, "repository {}/x/y not found: name unknown: not known here"),
        (coded(403, "DENIED", DENIED), 404, f"{HIDDEN}: denied: {DENIED}"),
        (text(403, "go away"), 404, f"{HIDDEN}: denied: go away"),
        (coded(401, "UNAUTHORIZED", "authentication required"), 401, "unauthorized: authentication required"),
        (text(401, "go away"), 401, "unauthorized: go away"),
        (
            coded(429, "TOOMANYREQUESTS", "You have reached your pull rate limit", **{"Retry-After": "3600"}),
            429,
            "toomanyrequests: You have reached your",
        ),
        (text(418, "tea"), 500, "unknown: tea"),
    ],
)
def test_a_pull(client: Any, registry: FakeRegistry, answer: Answer, status: int, words: str) -> None:
    registry.fault("manifests", answer=lambda _: answer, times=None)
    found = refused(client, registry)
    assert found[0] == status and words.format(registry.name) in found[1], found


@pytest.mark.parametrize(
    ("challenge", "answer", "status", "words"),
    [
        ({}, coded(200, "", ""), 500, "authorization server did not include a token in the response"),
        ({"error": "insufficient_scope"}, Answer(200, b'{"token":"t"}'), 404, f"{HIDDEN}: denied: {DENIED}"),
        ({"error": "invalid_token"}, Answer(200, b'{"token":"t"}'), 401, "unauthorized: authentication required"),
        ({}, Answer(200, b'{"token":"t"}'), 401, "unauthorized: authentication required"),
        ({}, Answer(401, b'{"details":"incorrect username or password"}', {"Content-Type": "application/json"}), 401,
         '/v2/x/y/manifests/t": unauthorized: incorrect username or password'),
    ],
)  # fmt: skip
def test_a_pull_that_needs_a_token(client: Any, registry: FakeRegistry, challenge: dict[str, str], answer: Answer, status: int, words: str) -> None:
    registry.fault("/token", answer=lambda _: answer, times=None)
    registry.fault("/v2/", answer=lambda _: coded(401, "UNAUTHORIZED", "authentication required", **token(registry, **challenge)), times=None)
    found = refused(client, registry)
    assert found[0] == status and words.format(registry.name) in found[1], found


def test_a_pull_that_needs_a_password(client: Any, registry: FakeRegistry) -> None:
    registry.fault("/v2/", answer=lambda _: coded(401, "UNAUTHORIZED", "authentication required", **BASIC), times=None)
    status, words = refused(client, registry)
    assert status == 500 and words.endswith(f'"http://{registry.name}/v2/x/y/manifests/t": no basic auth credentials')


def test_other_bytes_than_the_digest(client: Any, registry: FakeRegistry) -> None:
    from docker.errors import APIError

    made, other = small("made", docker=True), small("other", docker=True)
    registry.add("x/y", made)
    registry.fault("manifests", answer=lambda _: Answer(200, other.data, {"Content-Type": other.media_type}), times=None)
    try:
        *_, last = client.api.pull(f"{registry.name}/x/y@{made.digest}", stream=True, decode=True)
        words = last["error"]  # Docker says "Pulling from" first, so that its status is 200
    except APIError as error:
        words = error.explanation
    assert words.startswith(f"manifest verification failed for digest {made.digest}")


def test_nobody_there(client: Any, registry: FakeRegistry) -> None:
    from docker.errors import APIError

    with pytest.raises(APIError) as raised:
        client.images.pull("127.0.0.1:1/x/y", tag="t")
    assert raised.value.response.status_code == 500
    assert raised.value.explanation.startswith('Get "http://127.0.0.1:1/v2/')
    assert raised.value.explanation.endswith("dial tcp 127.0.0.1:1: connect: connection refused")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (coded(403, "DENIED", DENIED), f"denied: {DENIED}"),
        (coded(401, "UNAUTHORIZED", "authentication required"), "unauthorized: authentication required"),
        (coded(401, "UNAUTHORIZED", "authentication required", **BASIC), "no basic auth credentials"),
        (coded(405, "UNSUPPORTED", "The operation is unsupported."), "unsupported: The operation is unsupported."),
    ],
)
def test_a_push(docker: Target, client: Any, registry: FakeRegistry, answer: Answer, words: str) -> None:
    name = f"{registry.name}/x/y"
    client.images.get(docker.image).tag(name, "t")
    registry.fault("POST|PUT|PATCH", answer=lambda _: answer, times=None)
    if "WWW-Authenticate" in answer.headers:
        registry.fault("/v2/", answer=lambda _: answer, times=None)
    try:
        *_, last = client.images.push(name, "t", stream=True, decode=True)
    finally:
        client.images.remove(f"{name}:t")
    assert last["error"].endswith(words) and last["errorDetail"]["message"] == last["error"]


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (coded(404, "MANIFEST_UNKNOWN", "manifest unknown"), 404, "manifest unknown: manifest unknown"),
        (coded(403, "DENIED", DENIED), 403, f"denied: {DENIED}"),
        (coded(401, "UNAUTHORIZED", "authentication required"), 401, "unauthorized: authentication required"),
        (coded(429, "TOOMANYREQUESTS", "slow", **{"Retry-After": "3600"}), 429, "toomanyrequests: slow"),
        (Answer(501), 500, "received unexpected HTTP status: 501 Not Implemented"),
    ],
)
def test_distribution_inspect(client: Any, registry: FakeRegistry, answer: Answer, status: int, words: str) -> None:
    from docker.errors import APIError

    registry.fault("manifests", answer=lambda _: answer, times=None)
    with pytest.raises(APIError) as raised:
        client.api.inspect_distribution(f"{registry.name}/x/y:t")
    assert raised.value.response.status_code == status and raised.value.explanation.endswith(words)


@pytest.mark.parametrize("status", [(403, "Forbidden"), (404, "Not Found"), (500, "Internal Server Error")])
def test_a_login(client: Any, registry: FakeRegistry, status: tuple[int, str]) -> None:
    from docker.errors import APIError

    registry.fault("/v2/", status=status[0], times=None)
    with pytest.raises(APIError) as raised:
        client.login("alice", "secret", registry=registry.name, reauth=True)
    assert raised.value.response.status_code == 500
    assert raised.value.explanation == f"login attempt to http://{registry.name}/v2/ failed with status: {status[0]} {status[1]}"
