"""pull, push, and the pulls of run and create: what is asked of the daemon, and what is shown of its answers."""

import base64
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.harness.terminal import Terminal
from tests.unit.client.fake_daemon import FakeDaemon, reply, stream

from .command import call, program

DIGEST = "sha256:" + "0123456789abcdef" * 4
ID = "ab" * 32
HUB = "https://index.docker.io/v1/"


def step(name: str, status: str, current: int = 0, total: int = 0, **more: Any) -> dict[str, Any]:
    return {"status": status, "progressDetail": {key: value for key, value in (("current", current), ("total", total)) if value} | more, "id": name}


PULL = (
    {"status": "Pulling from library/app", "id": "latest"},
    step("aaa", "Pulling fs layer"),
    step("bbb", "Pulling fs layer"),
    step("aaa", "Downloading", 500_000, 1_000_000),
    step("bbb", "Downloading", 5_000),
    step("aaa", "Pull complete"),
    step("bbb", "Pull complete"),
    {"status": f"Digest: {DIGEST}"},
    {"status": "Status: Downloaded newer image for app:latest"},
)
SHOWN = "latest: Pulling from library/app\naaa: Pulling fs layer\nbbb: Pulling fs layer\naaa: Pull complete\nbbb: Pull complete\n"
SHOWN += f"Digest: {DIGEST}\nStatus: Downloaded newer image for app:latest\n"
PUSH = (
    {"status": "The push refers to repository [reg.example/app]"},
    step("aaa", "Pushing", 5, 10),
    step("aaa", "Pushed"),
    {"status": f"v1: digest: {DIGEST} size: 528"},
    {"progressDetail": {}, "aux": {"Tag": "v1", "Digest": DIGEST, "Size": 528}},
)


def asked(daemon: FakeDaemon) -> list[str]:
    return [line.replace("%2F", "/").replace("%3A", ":") for line in daemon.requests()]


@pytest.mark.parametrize(
    ("args", "query", "before", "after"),
    [
        (["app"], "fromImage=docker.io/library/app&tag=latest", "Using default tag: latest\n", "docker.io/library/app:latest\n"),
        (["app:v1"], "fromImage=docker.io/library/app&tag=v1", "", "docker.io/library/app:v1\n"),
        (["reg.example:5000/a/b"], "fromImage=reg.example:5000/a/b&tag=latest", "Using default tag: latest\n", "reg.example:5000/a/b:latest\n"),
        ([f"app@{DIGEST}"], f"fromImage=docker.io/library/app&tag={DIGEST}", "", f"docker.io/library/app@{DIGEST}\n"),
        ([f"app:v1@{DIGEST}"], f"fromImage=docker.io/library/app&tag={DIGEST}", "", f"docker.io/library/app:v1@{DIGEST}\n"),
        (["-a", "app"], "fromImage=docker.io/library/app", "", "docker.io/library/app\n"),
        (["--platform", "linux/arm64", "app:v1"], "fromImage=docker.io/library/app&platform=linux/arm64&tag=v1", "", "docker.io/library/app:v1\n"),
        (["--disable-content-trust", "app:v1"], "fromImage=docker.io/library/app&tag=v1", "", "docker.io/library/app:v1\n"),
    ],
)
def test_pull(tmp_path: Path, args: list[str], query: str, before: str, after: str) -> None:
    daemon = FakeDaemon(tmp_path, {"POST /images/create": stream(*PULL)})
    assert call(daemon, "pull", *args) == (0, before + SHOWN + after, "")
    assert asked(daemon) == [f"POST /images/create?{query}"]
    assert daemon.registry_auth("POST /images/create") == {}


@pytest.mark.parametrize("command", [["pull"], ["image", "pull"]])
def test_a_quiet_pull_prints_the_name(tmp_path: Path, command: list[str]) -> None:
    daemon = FakeDaemon(tmp_path, {"POST /images/create": stream(*PULL)})
    assert call(daemon, *command, "-q", "app") == (0, "docker.io/library/app:latest\n", "")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["pull", "-a", "app:v1"], "tag can't be used with --all-tags/-a"),
        (["pull", "APP"], "invalid reference format: repository name (library/APP) must be lowercase"),
        (["pull", "a" * 64], f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
        (["pull", "--disable-content-trust=false", "app"], "content trust is not supported by Pier: leave --disable-content-trust=false away"),
        (["push", "-a", "reg.example/app:v1"], "tag can't be used with --all-tags/-a"),
        (["push", f"reg.example/app@{DIGEST}"], "cannot push a digest reference"),
        (["push", "--platform", "a/b/c/d", "reg.example/app"], 'invalid platform: "a/b/c/d": cannot parse platform specifier: invalid argument'),
        (["push", "--disable-content-trust=false", "app"], "content trust is not supported by Pier: leave --disable-content-trust=false away"),
    ],
)
def test_what_is_refused_before_anything_is_asked(args: list[str], text: str) -> None:
    assert call(None, *args) == (1, "", f"{text}\n")


@pytest.mark.parametrize("args", [["pull", "app"], ["push", "app"], ["run", "app"], ["create", "app"]])
@pytest.mark.parametrize("value", ["1", "true", "anything"])
def test_content_trust_of_the_environment_is_refused(args: list[str], value: str) -> None:
    status, out, err = call(None, *args, DOCKER_CONTENT_TRUST=value)
    text = "content trust is not supported by Pier: unset DOCKER_CONTENT_TRUST, or give --disable-content-trust\n"
    if args[0] in ("run", "create"):
        assert (status, out, err) == (125, "", f"pier: {text}\nRun 'pier {args[0]} --help' for more information\n")
    else:
        assert (status, out, err) == (1, "", text)


def test_the_flag_outweighs_the_environment(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, {"POST /images/create": stream(*PULL)})
    assert call(daemon, "pull", "-q", "--disable-content-trust", "app", DOCKER_CONTENT_TRUST="1")[0] == 0
    assert call(daemon, "pull", "-q", "app", DOCKER_CONTENT_TRUST="0")[0] == 0


@pytest.mark.parametrize(
    ("args", "query", "out"),
    [
        (["reg.example/app:v1"], "?tag=v1", ""),
        (["reg.example/app"], "?tag=latest", "Using default tag: latest\n"),
        (["-a", "reg.example/app"], "", ""),
    ],
)
def test_push(tmp_path: Path, args: list[str], query: str, out: str) -> None:
    daemon = FakeDaemon(tmp_path, {"POST /images/reg.example/app/push": stream(*PUSH)})
    lines = f"The push refers to repository [reg.example/app]\naaa: Pushed\nv1: digest: {DIGEST} size: 528\n"
    assert call(daemon, "push", *args) == (0, out + lines, "")
    assert asked(daemon) == [f"POST /images/reg.example/app/push{query}"]


def test_push_to_hub_quietly_for_a_platform(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, {"POST /images/docker.io/library/app/push": stream(*PUSH)})
    assert call(daemon, "push", "-q", "--platform", "linux/arm/v6", "app") == (0, "app:latest\n", "")
    assert unquote(daemon.requests()[0]).endswith('?platform={"architecture":"arm","os":"linux","variant":"v6"}&tag=latest')


@pytest.mark.parametrize(("name", "server"), [("app", HUB), ("docker.io/user/app", HUB), ("reg.example:5000/app", "reg.example:5000")])
def test_the_login_goes_to_its_registry_only(tmp_path: Path, name: str, server: str) -> None:
    auths = {key: {"auth": base64.b64encode(f"bob:{key}-pass".encode()).decode()} for key in (HUB, "reg.example:5000", "reg.example")}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    routes = {"POST /images/create": stream(*PULL), "POST /images/docker.io/library/app/push": stream(*PUSH)}
    routes |= {f"POST /images/{path}/push": stream(*PUSH) for path in ("docker.io/user/app", "reg.example:5000/app")}
    daemon = FakeDaemon(tmp_path, routes)
    for verb, line in (("pull", "POST /images/create"), ("push", "POST /images/")):
        daemon.seen.clear()
        daemon.headers.clear()
        assert call(daemon, verb, "-q", name, DOCKER_CONFIG=str(tmp_path))[0] == 0
        assert daemon.registry_auth(line) == {"username": "bob", "password": f"{server}-pass", "serveraddress": server}


def test_a_login_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"credsStore": "not-there"}')
    daemon = FakeDaemon(tmp_path, {"POST /images/create": stream(*PULL)})
    status, out, err = call(daemon, "pull", "-q", "app", DOCKER_CONFIG=str(tmp_path))
    assert (status, out) == (0, "docker.io/library/app:latest\n")
    assert err == (
        f"WARNING: going on without the login at {HUB}: error getting credentials - docker-credential-not-there: executable file not found in $PATH\n"
    )


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_an_error_in_the_stream(tmp_path: Path, quiet: list[str]) -> None:
    daemon = FakeDaemon(tmp_path, {"POST /images/create": stream(PULL[0], {"errorDetail": {"message": "oops"}, "error": "oops"})})
    status, out, err = call(daemon, "pull", *quiet, "app:v1")
    assert (status, out, err) == (1, "" if quiet else "latest: Pulling from library/app\n", "oops\n")


def test_a_daemon_that_dies_is_no_traceback(tmp_path: Path) -> None:
    def dies(_: FakeDaemon, connection: socket.socket, *__: Any) -> bool:
        piece = json.dumps(PULL[0]).encode() + b"\r\n"
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        return False

    daemon = FakeDaemon(tmp_path, {"POST /images/create": dies})
    assert call(daemon, "pull", "app:v1") == (1, "latest: Pulling from library/app\n", "the daemon's answer broke off: unexpected EOF\n")


# run and create


class Missing:
    """A daemon that has the image once it was pulled; counts what it is asked."""

    def __init__(self, pull: bytes | None = None) -> None:
        self.pulled = False
        self._pull = pull or stream(*PULL)

    def routes(self) -> dict[str, Any]:
        return {"POST /containers/create": self.create, "POST /images/create": self.pull, f"POST /containers/{ID}/start": reply(204)}

    def create(self, _: FakeDaemon, connection: socket.socket, *__: Any) -> bool:
        connection.sendall(reply(201, {"Id": ID, "Warnings": []}) if self.pulled else reply(404, {"message": "No such image: app:latest"}))
        return True

    def pull(self, _: FakeDaemon, connection: socket.socket, *__: Any) -> bool:
        self.pulled = True
        connection.sendall(self._pull)
        return True


def paths(daemon: FakeDaemon) -> list[str]:
    return [line.partition("?")[0] for line in daemon.requests()]


@pytest.mark.parametrize("command", [["create"], ["run", "-d"]])
def test_what_is_missing_is_pulled_once(tmp_path: Path, command: list[str]) -> None:
    daemon = FakeDaemon(tmp_path, Missing().routes())
    status, out, err = call(daemon, *command, "--platform", "linux/arm64", "app")
    assert (status, out, err) == (0, f"{ID}\n", f"Unable to find image 'app:latest' locally\n{SHOWN}")
    assert paths(daemon)[:3] == ["POST /containers/create", "POST /images/create", "POST /containers/create"]
    assert asked(daemon)[1] == "POST /images/create?fromImage=docker.io/library/app&platform=linux/arm64&tag=latest"
    assert daemon.registry_auth("POST /images/create") == {}


def test_quietly(tmp_path: Path) -> None:
    assert call(FakeDaemon(tmp_path, Missing().routes()), "create", "-q", "app") == (0, f"{ID}\n", "")


def test_pull_always_asks_first(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, Missing().routes())
    assert call(daemon, "create", "--pull", "always", "app") == (0, f"{ID}\n", SHOWN)
    assert paths(daemon) == ["POST /images/create", "POST /containers/create"]


@pytest.mark.parametrize(("pull", "image"), [("never", "app"), ("", "app"), ("missing", "a" * 64), ("missing", DIGEST)])
def test_what_is_not_pulled(tmp_path: Path, pull: str, image: str) -> None:
    daemon = FakeDaemon(tmp_path, Missing().routes())
    status, _, err = call(daemon, "run", "--pull", pull, image)
    assert (status, err.splitlines()[0]) == (125, "pier: Error response from daemon: No such image: app:latest")
    assert paths(daemon) == ["POST /containers/create"]


def test_a_pull_that_fails(tmp_path: Path) -> None:
    daemon = FakeDaemon(tmp_path, Missing(reply(404, {"message": "pull access denied for app"})).routes())
    status, _, err = call(daemon, "run", "app")
    assert (status, err) == (
        125,
        "Unable to find image 'app:latest' locally\npier: Error response from daemon: pull access denied for app\n\n"
        "Run 'pier run --help' for more information\n",
    )
    (tmp_path / "other").mkdir()
    daemon = FakeDaemon(tmp_path / "other", Missing(stream({"error": "oops"})).routes())
    status, _, err = call(daemon, "create", "app")
    assert (status, err) == (1, "Unable to find image 'app:latest' locally\noops\n")


def test_an_unknown_way_of_pulling() -> None:
    status, _, err = call(None, "run", "--pull", "often", "app")
    assert status == 125 and err.startswith('pier: invalid pull option: \'often\': must be one of "always", "missing" or "never"')


# On a terminal


@pytest.mark.parametrize("command", [["pull", "app"], ["run", "app"]])
def test_control_c_ends_the_pull(tmp_path: Path, command: list[str]) -> None:
    gone = threading.Event()

    def slow(_: FakeDaemon, connection: socket.socket, *__: Any) -> bool:
        data = b"".join(json.dumps(message).encode() + b"\r\n" for message in PULL[:4])
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + f"{len(data):x}\r\n".encode() + data + b"\r\n")
        connection.settimeout(20)
        try:
            went = connection.recv(1) == b""
        except ConnectionResetError:  # with bytes of ours unread
            went = True
        if went:
            gone.set()
        return False

    routes = {"POST /images/create": slow, "POST /containers/create": reply(404, {"message": "No such image: app:latest"})}
    daemon = FakeDaemon(tmp_path, routes)
    env = {"HOME": "/nonexistent", "DOCKER_HOST": daemon.host, "PATH": os.environ["PATH"]}
    with Terminal([*program(), *command], env) as terminal:
        terminal.expect("500kB/1MB")
        terminal.type("\x03")
        assert terminal.wait() == 130
    assert gone.wait(20), "the daemon sees the client go"
