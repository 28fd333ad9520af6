"""Every route over a real socket and a fake engine: what reaches the verbs, and what the client gets.

The verbs of containers are replaced by recorders; their own tests are elsewhere.
"""

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from pier.api.models.containers import CreateResponse, WaitResponse
from pier.api.models.images import ImageSummary
from pier.daemon.dispatch import Dispatcher
from pier.daemon.routes.table import ROUTES
from pier.errors import Conflict, NotFound
from pier.events import Journal
from tests.unit.http.talk import Client, served

Connect = Callable[[], Awaitable[Client]]


class FakeImages:
    """Records what the routes ask for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def list(self, filters: dict[str, Any], **rest: Any) -> list[ImageSummary]:
        self.asked.append((filters, rest["all"], rest["shared_size"]))
        return [
            ImageSummary(
                containers=1, created=1, id="sha256:a", labels=None, parent_id="", repo_digests=[], repo_tags=["b:1"], shared_size=-1, size=7
            )
        ]

    async def load(self, stream: AsyncIterator[bytes], quiet: bool, platform: Any) -> AsyncIterator[dict[str, str]]:
        size = 0
        async for chunk in stream:
            size += len(chunk)
        yield {"stream": f"{size} bytes, quiet {quiet}, {platform}\n"}

    async def import_(self, stream: AsyncIterator[bytes], **rest: Any) -> str:
        self.asked.append(rest)
        return "sha256:" + str(len(b"".join([chunk async for chunk in stream])))

    async def tag(self, name: str, repo: str, tag: str) -> bool:
        self.asked.append((name, repo, tag))
        return bool(repo)

    async def list_with_manifests(self, filters: dict[str, Any], users: Any, **rest: Any) -> Sequence[ImageSummary]:
        self.asked.append("manifests")
        return self.list(filters, **rest)

    def history(self, name: str, platform: Any) -> Sequence[Any]:
        self.asked.append((name, str(platform)))
        return []

    async def disk_usage(self, users: Any) -> tuple[int, Sequence[ImageSummary]]:
        return 12, self.list({}, all=False, shared_size=True)

    async def remove(self, name: str, force: bool, noprune: bool, users: Any, platforms: Sequence[Any]) -> Sequence[dict[str, str]]:
        if name == "used":
            raise Conflict("in use")
        return [{"Untagged": f"{name} {force} {noprune} {' '.join(map(str, platforms))}".rstrip()}]


@pytest.fixture
def engine() -> Any:
    containers = SimpleNamespace(users_of=lambda image: [], table={}, find=None, image_label=lambda name, image: name)
    return SimpleNamespace(images=FakeImages(), journal=Journal(), containers=containers, networks=None, config=None)


def talk(tmp_path: Path, engine: Any, scene: Callable[[Connect], Awaitable[None]]) -> None:
    async def main() -> None:
        async with served(tmp_path, Dispatcher(engine, ROUTES)) as connect:
            await scene(connect)

    asyncio.run(main())


def call(tmp_path: Path, engine: Any, method: str, target: str, body: bytes = b"", content_type: str = "") -> tuple[int, dict[str, str], bytes]:
    got: list[tuple[int, dict[str, str], bytes]] = []

    async def scene(connect: Connect) -> None:
        client = await connect()
        head = f"{method} {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        head += f"Content-Type: {content_type}\r\n" if content_type else ""
        await client.send(head.encode() + b"\r\n" + body)
        if method == "HEAD":
            got.append((*await client.head(), b""))
        else:
            got.append(await client.answer())

    talk(tmp_path, engine, scene)
    return got[0]


def replace(monkeypatch: pytest.MonkeyPatch, verb: str, answer: Any = None, error: Exception | None = None) -> list[tuple[Any, ...]]:
    """Put a recorder in the place of pier.containers.<module>.<function>."""
    calls: list[tuple[Any, ...]] = []

    async def record(ctx: Any, *args: Any) -> Any:
        calls.append(args)
        if error:
            raise error
        return answer

    module, function = verb.split(".")
    monkeypatch.setattr(importlib.import_module(f"pier.containers.{module}"), function, record)
    return calls


def test_ping(tmp_path: Path, engine: Any) -> None:
    status, headers, body = call(tmp_path, engine, "GET", "/v1.44/_ping")
    assert (status, body, headers["api-version"], headers["ostype"], headers["swarm"]) == (200, b"OK", "1.51", "linux", "inactive")
    assert headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert call(tmp_path, engine, "HEAD", "/_ping")[0] == 200


def test_events_end_at_until_and_filter(tmp_path: Path, engine: Any) -> None:
    engine.journal.publish("container", "start", "c1", {"image": "i", "name": "n"})
    engine.journal.publish("image", "tag", "i1", {"name": "i"})
    now_ns = time.time_ns()
    until = f"{now_ns // 10**9}.{now_ns % 10**9:09d}"
    status, headers, body = call(tmp_path, engine, "GET", f"/events?since=1&until={until}&filters=%7B%22type%22%3A%5B%22image%22%5D%7D")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert [msgspec.json.decode(line)["Action"] for line in body.splitlines()] == ["tag"]


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/events?since=abc&until=2", 500, 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ("/events?since=10&until=5", 400, "`since` time (10) cannot be after `until` time (5)"),
        ("/events?filters=zz", 400, "invalid filter"),
        ("/containers/json?filters=zz", 400, "invalid filter"),
        ("/containers/json?limit=abc", 500, 'strconv.Atoi: parsing "abc": invalid syntax'),
        ("/containers/x/logs?stdout=1&since=abc", 500, 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ("/containers/x/logs", 400, "Bad parameters: you must choose at least one stream"),
    ],
)
def test_wrong_parameters(tmp_path: Path, engine: Any, target: str, status: int, text: str) -> None:
    got = call(tmp_path, engine, "GET", target)
    assert (got[0], msgspec.json.decode(got[2])["message"]) == (status, text)


def test_create(tmp_path: Path, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = replace(monkeypatch, "create.create", CreateResponse(id="abc", warnings=[]))
    target = "/containers/create?name=x&platform=linux/amd64"
    status, _, body = call(tmp_path, engine, "POST", target, b'{"Image":"b","hostconfig":{"AutoRemove":true}}', "application/json")
    assert (status, body) == (201, b'{"Id":"abc","Warnings":[]}\n')
    request, name, platform = calls[0]
    assert (request.image, request.host_config.auto_remove, name, platform) == ("b", True, "x", "linux/amd64")
    call(tmp_path, engine, "POST", "/v1.40" + target, b'{"Image":"b"}', "application/json")
    assert calls[1][1:] == ("x", None)
    status, _, body = call(tmp_path, engine, "POST", target, b'{"Image":5}', "application/json")
    assert (status, len(calls)) == (400, 2)
    assert b"cannot unmarshal number into Go struct field .Image of type string" in body


@pytest.mark.parametrize(
    ("method", "target", "verb", "args", "status"),
    [
        ("POST", "/containers/x/start?detachKeys=ctrl-a", "start.start", ("x", "ctrl-a"), 204),
        ("POST", "/containers/x/stop?t=3&signal=SIGINT", "stop.stop", ("x", "SIGINT", 3), 204),
        ("POST", "/v1.41/containers/x/stop?t=3&signal=SIGINT", "stop.stop", ("x", None, 3), 204),
        ("POST", "/containers/x/restart", "restart.restart", ("x", None, None), 204),
        ("POST", "/containers/x/kill?signal=9", "kill.kill", ("x", "9"), 204),
        ("POST", "/containers/x/rename?name=y", "rename.rename", ("x", "y"), 204),
        ("POST", "/containers/x/resize?h=40&w=100", "resize.resize", ("x", 40, 100), 200),
        ("DELETE", "/containers/x?force=1&v=true", "remove.remove", ("x", True, True, False), 204),
        ("GET", "/containers/json?limit=2&size=1", "listing.list_containers", (True, 2, True, {}), 200),
        ("GET", "/containers/x/json?size=1", "inspect.inspect", ("x", True), 200),
        ("GET", "/containers/x/top?ps_args=aux", "top.top", ("x", "aux"), 200),
        ("POST", "/containers/prune", "prune.prune", ({},), 200),
        ("GET", "/exec/e/json", "execs.inspect", ("e",), 200),
        ("POST", "/exec/e/resize?h=1&w=2", "execs.resize", ("e", 1, 2), 200),
    ],
)
def test_verbs(
    tmp_path: Path, engine: Any, monkeypatch: pytest.MonkeyPatch, method: str, target: str, verb: str, args: tuple[Any, ...], status: int
) -> None:
    calls = replace(monkeypatch, verb)
    assert call(tmp_path, engine, method, target)[0] == status
    assert calls == [args]


@pytest.mark.parametrize("target", ["/containers/x/resize?h=x&w=1", "/exec/e/resize?h=x&w=1"])
def test_sizes_that_are_none(tmp_path: Path, engine: Any, target: str) -> None:
    status, _, body = call(tmp_path, engine, "POST", target)
    assert (status, msgspec.json.decode(body)["message"]) == (400, 'invalid resize height "x": invalid syntax')


def test_wait_sends_its_headers_before_the_end(tmp_path: Path, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(connect: Connect) -> None:
        over = asyncio.Event()

        async def result() -> WaitResponse:
            await over.wait()
            return WaitResponse(status_code=7)

        calls = replace(monkeypatch, "wait.begin", result())
        client = await connect()
        await client.send(b"POST /containers/x/wait?condition=next-exit HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
        assert (await client.head())[0] == 200
        assert calls == [("x", "next-exit")]
        over.set()
        assert b'{"StatusCode":7}' in await client.reader.readuntil(b"0\r\n\r\n")

    talk(tmp_path, engine, scene)


def test_an_attach_that_fails_is_told_on_the_raw_connection(tmp_path: Path, engine: Any) -> None:
    def find(name: str) -> Any:
        raise NotFound(f"No such container: {name}")

    engine.containers.find = find

    async def scene(connect: Connect) -> None:
        client = await connect()
        await client.send(b"POST /containers/nope/attach?stream=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        assert await client.rest() == (
            b"HTTP/1.1 404 Not Found\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nNo such container: nope\r\n"
        )

    talk(tmp_path, engine, scene)


def test_exec_start_takes_the_connection_over(tmp_path: Path, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(ctx: Any, exec_id: str, body: Any, hijack: Any) -> None:
        connection = await hijack()
        await connection.send(f"{exec_id} {body.tty} ".encode() + connection.initial)
        connection.sock.close()

    monkeypatch.setattr(importlib.import_module("pier.containers.execs"), "start", start)

    async def scene(connect: Connect) -> None:
        client = await connect()
        head = b"POST /exec/e/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        await client.send(head + b"Upgrade: tcp\r\nConnection: Upgrade\r\n\r\n{}input")
        status, headers = await client.head()
        assert (status, headers["content-type"], headers["api-version"]) == (101, "application/vnd.docker.multiplexed-stream", "1.51")
        assert await client.rest() == b"e False input"

    talk(tmp_path, engine, scene)


def test_images(tmp_path: Path, engine: Any) -> None:
    _, _, body = call(tmp_path, engine, "GET", "/v1.40/images/json?all=1&filter=b*")
    assert msgspec.json.decode(body)[0]["VirtualSize"] == 7
    assert engine.images.asked == [({"reference": ["b*"]}, True, False)]
    assert call(tmp_path, engine, "POST", "/images/a/b/tag?repo=r&tag=t")[0] == 201
    assert call(tmp_path, engine, "POST", "/images/a/tag")[0] == 200
    assert engine.images.asked[1:] == [("a/b", "r", "t"), ("a", "", "")]
    assert call(tmp_path, engine, "DELETE", "/images/a/b:1?force=1")[2] == b'[{"Untagged":"a/b:1 True False"}]\n'
    assert call(tmp_path, engine, "DELETE", "/images/used")[0] == 409


ARM = "%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22arm64%22%7D"
S390 = ARM.replace("arm64", "s390x")


def test_platforms_and_manifests_are_looked_at_from_their_versions_on(tmp_path: Path, engine: Any) -> None:
    for version in ("1.46", "1.47"):
        call(tmp_path, engine, "GET", f"/v{version}/images/json?manifests=1")
    assert [asked == "manifests" for asked in engine.images.asked] == [False, True, False]
    engine.images.asked.clear()
    for version in ("1.47", "1.48"):
        call(tmp_path, engine, "GET", f"/v{version}/images/a/history?platform={ARM}")
    assert engine.images.asked == [("a", "None"), ("a", "linux/arm64")]
    assert b'"a False False"' in call(tmp_path, engine, "DELETE", f"/v1.49/images/a?platforms={ARM}")[2]
    assert b'"a False False linux/arm64 linux/s390x"' in call(tmp_path, engine, "DELETE", f"/v1.50/images/a?platforms={ARM}&platforms={S390}")[2]
    for given, text in (("linux/arm64", "failed to parse platform: "), ("{", "failed to parse platform: "), ("{}", "both OS and Architecture must")):
        status, _, body = call(tmp_path, engine, "DELETE", f"/images/a?platforms={given}")
        assert status == 400 and text in msgspec.json.decode(body)["message"]


def test_disk_usage_of_what_is_asked_for(tmp_path: Path, engine: Any) -> None:
    async def usage(users: Any) -> list[Any]:
        return []

    engine.volumes = SimpleNamespace(usage=usage)
    engine.bin = SimpleNamespace(removed=list)
    engine.containers.users_of_volume = lambda name: []

    def df(query: str = "", version: str = "") -> dict[str, Any]:
        status, _, body = call(tmp_path, engine, "GET", f"{version}/system/df{query}")
        assert status == 200
        answer: dict[str, Any] = msgspec.json.decode(body)
        return answer

    whole = df()
    assert list(whole) == ["LayersSize", "Images", "Containers", "Volumes", "BuildCache"]
    assert (whole["LayersSize"], whole["Containers"], whole["Volumes"], whole["BuildCache"]) == (12, [], [], [])
    assert whole["Images"][0]["Containers"] == 1 == df(version="/v1.43")["Images"][0]["Containers"]
    assert df("?type=container") == {"LayersSize": 0, "Images": None, "Containers": [], "Volumes": None, "BuildCache": None}
    assert df("?type=volume&type=build-cache") == {"LayersSize": 0, "Images": None, "Containers": None, "Volumes": [], "BuildCache": []}
    assert df("?type=volume", "/v1.41")["BuilderSize"] == 0 and df("?type=volume", "/v1.41")["LayersSize"] == 12
    status, _, body = call(tmp_path, engine, "GET", "/system/df?type=bogus")
    assert (status, msgspec.json.decode(body)["message"]) == (400, "unknown object type: bogus")


def test_load_and_import(tmp_path: Path, engine: Any) -> None:
    status, headers, body = call(tmp_path, engine, "POST", "/images/load", b"x" * 100_000)
    assert (status, headers["content-type"], body) == (200, "application/json", b'{"stream":"100000 bytes, quiet True, None\\n"}\r\n')
    platform = "%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22arm64%22%7D"
    body = call(tmp_path, engine, "POST", f"/images/load?quiet=0&platform={platform}", b"x")[2]
    assert b"quiet False" in body
    assert b"arm64" in body
    assert call(tmp_path, engine, "POST", "/images/load?platform=arm64", b"x")[0] == 400
    status, _, body = call(tmp_path, engine, "POST", "/images/create?fromSrc=-&repo=r&tag=t&message=m&changes=CMD%20x&changes=ENV%20a=b", b"tar")
    assert (status, msgspec.json.decode(body)) == (200, {"status": "sha256:3"})
    assert engine.images.asked[0]["changes"] == ["CMD x", "ENV a=b"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("fromSrc=http://x", "fromSrc=http://x: importing from a URL is not supported by Pier yet: send the archive as the body, with fromSrc=-"),
        ("", "neither fromImage nor fromSrc is given: use fromSrc=- to import the request's body"),
    ],
)
def test_what_create_refuses(tmp_path: Path, engine: Any, query: str, text: str) -> None:
    status, _, body = call(tmp_path, engine, "POST", f"/images/create?{query}")
    assert (status, msgspec.json.decode(body)["message"]) == (400, text)


def test_routes_of_later_issues_are_not_found(tmp_path: Path, engine: Any) -> None:
    for method, target in [("POST", "/build"), ("POST", "/swarm/init"), ("POST", "/plugins/pull")]:
        status, _, body = call(tmp_path, engine, method, target)
        assert (status, msgspec.json.decode(body)["message"]) == (404, "page not found"), target
