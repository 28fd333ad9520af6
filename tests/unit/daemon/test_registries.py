"""/auth, /images/search and /distribution over a real socket, against registries on loopback: the answers and errors that Docker's engine gives."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from pier.daemon.dispatch import Dispatcher
from pier.daemon.routes.table import ROUTES
from pier.images.remote import Remote
from pier.registry.config import RegistryConfig
from tests.harness.registry import Answer, Basic, FakeRegistry, TokenServer, index, small
from tests.unit.http.talk import served

AMD, ARM = small("amd", platform="linux/amd64"), small("arm", docker=True, platform="linux/arm64/v8")
USERS = {"alice": "s3cret"}


class Daemon:
    """Requests to a daemon that has nothing but registries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remote = Remote(RegistryConfig(certs_folders=(), hosts_folders=(), max_attempts=1), "tests")

    def __call__(self, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        engine: Any = SimpleNamespace(images=SimpleNamespace(remote=self.remote), config=None)
        lines = [f"{method} {target} HTTP/1.1", "Host: docker", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

        async def main() -> tuple[int, Any]:
            async with served(self.folder, Dispatcher(engine, ROUTES)) as connect:
                client = await connect()
                await client.send("\r\n".join([*lines, "", ""]).encode() + body)
                status, _, data = await client.answer()
                return status, json.loads(data)

        return asyncio.run(main())

    def auth(self, **fields: str) -> tuple[int, Any]:
        return self("POST", "/v1.51/auth", json.dumps(fields).encode(), Content_Type="application/json")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path)
    yield made
    made.remote.close()


def header(**fields: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


# auth


def test_passwords(daemon: Daemon) -> None:
    with FakeRegistry(auth=Basic(USERS)) as registry:
        for server in (registry.name, f"http://{registry.name}/v2/"):
            assert daemon.auth(serveraddress=server, username="alice", password="s3cret") == (200, {"IdentityToken": "", "Status": "Login Succeeded"})
        text = f"login attempt to http://{registry.name}/v2/ failed with status: 401 Unauthorized"
        assert daemon.auth(serveraddress=registry.name, username="alice", password="wrong") == (500, {"message": text})
        text = f'Get "http://{registry.name}/v2/": no basic auth credentials'
        assert daemon.auth(serveraddress=registry.name) == (500, {"message": text})


def test_tokens(daemon: Daemon) -> None:
    with TokenServer(USERS) as tokens, FakeRegistry(auth=tokens) as registry:
        status, answer = daemon.auth(serveraddress=registry.name, username="alice", password="s3cret")
        assert (status, answer["Status"]) == (200, "Login Succeeded") and answer["IdentityToken"] in tokens.refresh
        assert daemon.auth(serveraddress=registry.name, identitytoken=answer["IdentityToken"])[0] == 200
        text = f'Get "http://{registry.name}/v2/": unauthorized: incorrect username or password'
        assert daemon.auth(serveraddress=registry.name, username="alice", password="wrong") == (401, {"message": text})
        assert daemon.auth(serveraddress=registry.name, identitytoken="nope") == (401, {"message": text})


def test_a_registry_that_asks_nobody(daemon: Daemon) -> None:
    with FakeRegistry() as registry:
        assert daemon.auth(serveraddress=registry.name, username="x", password="y")[0] == 200


def test_nobody_there(daemon: Daemon) -> None:
    status, answer = daemon.auth(serveraddress="127.0.0.1:1", username="x", password="s3cret")
    assert (status, answer["message"]) == (500, 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused')


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "EOF"),
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (b"[]", ""),
        (b'{"serveraddress": 1}', "serveraddress"),
    ],
)
def test_what_is_no_request(daemon: Daemon, body: bytes, text: str) -> None:
    status, answer = daemon("POST", "/auth", body, Content_Type="application/json")
    assert status == 500 and text in answer["message"]


def test_a_request_is_shown_without_its_secrets() -> None:
    from pier.api.models.registry import AuthRequest

    assert repr(AuthRequest(username="bob", password="s3cret", server_address="reg")) == "AuthRequest('reg')"


# search


@pytest.fixture
def searched() -> Iterator[FakeRegistry]:
    rows = [
        {"name": "app", "description": "an app", "star_count": 7, "is_official": True},
        {"name": "bob/app", "description": "", "star_count": 2, "is_official": False},
    ]
    with FakeRegistry() as registry:
        data = json.dumps({"results": rows}).encode()
        registry.fault("^GET /v1/search", times=None, answer=lambda request: Answer(200, data, {"Content-Type": "application/json"}))
        yield registry


def test_search(daemon: Daemon, searched: FakeRegistry) -> None:
    status, found = daemon("GET", f"/images/search?term={searched.name}/app")
    first = {"star_count": 7, "is_official": True, "name": "app", "is_automated": False, "description": "an app"}
    assert (status, found[0], [one["name"] for one in found]) == (200, first, ["app", "bob/app"])
    assert [one["name"] for one in daemon("GET", f"/images/search?term={searched.name}/app&limit=1")[1]] == ["app"]
    for filters, names in (({"stars": ["3"]}, ["app"]), ({"is-official": {"false": True}}, ["bob/app"])):
        query = f"term={searched.name}/app&filters={quote(json.dumps(filters))}"
        assert [one["name"] for one in daemon("GET", f"/images/search?{query}")[1]] == names


def test_a_registry_without_search_is_asked_for_its_catalogue(daemon: Daemon) -> None:
    with TokenServer(USERS) as tokens, FakeRegistry(auth=tokens) as registry:
        for name in ("team/app", "team/other", "application"):
            registry.add(name, AMD, "v1")
        status, found = daemon("GET", f"/images/search?term={registry.name}/app", X_Registry_Auth=header(username="alice", password="s3cret"))
        assert (status, sorted(one["name"] for one in found)) == (200, [f"{registry.name}/application", f"{registry.name}/team/app"])


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("term=app&limit=x", 400, 'invalid limit specified: strconv.Atoi: parsing "x": invalid syntax'),
        ("term=app&limit=200", 400, "limit 200 is outside the range of [1, 100]"),
        ('term=app&filters={"bogus":["1"]}', 400, "invalid filter 'bogus'"),
        ('term=app&filters={"stars":["x"]}', 400, "invalid filter 'stars=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        ("term=https://x", 400, "invalid repository name: repository name (https://x) should not have a scheme"),
        ("term=127.0.0.1:1/app", 500, 'Get "http://127.0.0.1:1/v1/search": dial tcp 127.0.0.1:1: connect: connection refused'),
    ],
)
def test_what_search_refuses(daemon: Daemon, query: str, status: int, text: str) -> None:
    assert daemon("GET", f"/images/search?{query}") == (status, {"message": text})


# distribution


def test_an_index(daemon: Daemon) -> None:
    with FakeRegistry() as registry:
        both = index([(AMD, "linux/amd64"), (ARM, "linux/arm64/v8")])
        registry.add("app", both, "latest")
        status, found = daemon("GET", f"/v1.51/distribution/{registry.name}/app/json")
        assert (status, found["Descriptor"]) == (200, {"mediaType": both.media_type, "digest": both.digest, "size": len(both.data)})
        assert found["Platforms"] == [{"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux", "variant": "v8"}]
        assert not registry.asked("/blobs/")


@pytest.mark.parametrize(("image", "variant"), [(AMD, {}), (ARM, {"variant": "v8"})])
def test_one_image(daemon: Daemon, image: Any, variant: dict[str, str]) -> None:
    platform = {"architecture": "arm64" if variant else "amd64", "os": "linux", **variant}
    with FakeRegistry() as registry:
        registry.add("app", image, "v1")
        for name in (f"{registry.name}/app:v1", f"{registry.name}/app@{image.digest}"):
            status, found = daemon("GET", f"/distribution/{name}/json")
            assert (status, found["Platforms"], found["Descriptor"]["digest"]) == (200, [platform], image.digest)
        assert len(registry.asked("/blobs/")) == 2, "nothing but the configuration"


def test_who_asks(daemon: Daemon) -> None:
    with TokenServer(USERS) as tokens, FakeRegistry(auth=tokens) as registry:
        registry.add("app", AMD, "v1")
        target = f"/distribution/{registry.name}/app:v1/json"
        assert daemon("GET", target, X_Registry_Auth=header(username="alice", password="s3cret"))[0] == 200
        assert daemon("GET", target, X_Registry_Auth=header(username="alice", password="wrong"))[0] == 401
        assert daemon("GET", target)[0] in (401, 403)
        assert daemon("GET", target, X_Registry_Auth="no base64")[0] in (401, 403), "as nobody"


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("{host}/app:none", 404, "manifest unknown: manifest unknown"),
        ("UPPER", 400, "invalid reference format: repository name (library/UPPER) must be lowercase"),
        ("a" * 64, 500, "no manifest found for full image ID"),
        ("127.0.0.1:1/app", 500, "dial tcp 127.0.0.1:1: connect: connection refused"),
    ],
)
def test_what_distribution_refuses(daemon: Daemon, name: str, status: int, text: str) -> None:
    with FakeRegistry() as registry:
        registry.add("app", AMD, "v1")
        got, answer = daemon("GET", f"/distribution/{name.format(host=registry.name)}/json")
        assert got == status and text in answer["message"]


def test_documents_that_lie(daemon: Daemon) -> None:
    with FakeRegistry() as registry:
        registry.add("app", AMD, "v1")
        registry.fault(f"/blobs/{AMD.json['config']['digest']}", flip=1)
        status, answer = daemon("GET", f"/distribution/{registry.name}/app:v1/json")
        assert status == 500 and "the registry sent other bytes" in answer["message"]
