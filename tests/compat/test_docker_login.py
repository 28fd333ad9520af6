"""Logins through the docker command and docker-py, at registries with passwords and with tokens; search; docker-credential-pier for both clients."""

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.registry import PASSWORD, USER, Answer, DockerRegistry, FakeRegistry, TokenServer, needs_docker_registry, small

from .conftest import Target

APP = small("private", docker=True)


@pytest.fixture
def mine(docker: Target, tmp_path: Path) -> Target:
    """The command with a configuration folder of its own."""
    return docker.configured(tmp_path)


@pytest.fixture(scope="module")
def passwords(loaded: Target) -> Iterator[DockerRegistry]:
    with DockerRegistry(loaded.inside, htpasswd=True) as made:
        made.push("app", APP, "v1")
        yield made


@pytest.fixture(scope="module")
def tokens(loaded: Target) -> Iterator[FakeRegistry]:
    with TokenServer({USER: PASSWORD}, inside=loaded.inside) as server, FakeRegistry(auth=server, inside=loaded.inside) as made:
        made.add("app", APP, "v1")
        yield made


@pytest.fixture(params=[pytest.param("passwords", marks=needs_docker_registry), "tokens"])
def registry(request: pytest.FixtureRequest) -> DockerRegistry | FakeRegistry:
    """A registry that wants a login, of either kind."""
    found: DockerRegistry | FakeRegistry = request.getfixturevalue(request.param)
    return found


def test_in_and_out(mine: Target, registry: DockerRegistry | FakeRegistry) -> None:
    name = f"{registry.name}/app:v1"
    assert mine("pull", "-q", name).code == 1
    done = mine("login", "-u", USER, "--password-stdin", registry.name, stdin=f"{PASSWORD}\n".encode()).ok()
    assert "Login Succeeded\n" in done.out and PASSWORD not in done.out + done.err
    assert mine("pull", "-q", name).ok().out == f"{name}\n" and mine.inspect(name, "{{.Id}}") == APP.image_id
    mine("tag", name, f"{registry.name}/pushed:v1").ok()
    mine("push", "-q", f"{registry.name}/pushed:v1").ok()
    mine("rmi", name, f"{registry.name}/pushed:v1").ok()
    assert mine("logout", registry.name).ok().out == f"Removing login credentials for {registry.name}\n"
    assert mine("pull", "-q", name).code == 1


def test_run_pulls_as_who_is_logged_in(mine: Target, registry: DockerRegistry | FakeRegistry) -> None:
    name = f"{registry.name}/app:v1"
    mine("create", "-q", name, "x").fails(1)
    mine("login", "-u", USER, "-p", PASSWORD, registry.name).ok()
    container = mine("create", "-q", name, "x").ok().line
    mine("rm", container).ok()
    mine("rmi", name).ok()


def test_a_wrong_password(mine: Target, passwords: DockerRegistry, tokens: FakeRegistry, tmp_path: Path) -> None:
    mine("login", "-u", USER, "-p", "wrong", passwords.name).fails(1, f"login attempt to http://{passwords.name}/v2/ failed with status: 401 Unauthorized")
    mine("login", "-u", USER, "-p", "wrong", tokens.name).fails(1, f'Get "http://{tokens.name}/v2/": unauthorized: incorrect username or password')
    assert not (tmp_path / "config.json").exists() or "auth" not in (tmp_path / "config.json").read_text()


def test_again_with_what_is_stored(mine: Target, passwords: DockerRegistry) -> None:
    mine("login", "-u", USER, "-p", PASSWORD, passwords.name).ok()
    done = mine("login", passwords.name).ok()
    assert "Login Succeeded\n" in done.out and f"Authenticating with existing credentials... [Username: {USER}]" in done.out + done.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "Error: Cannot perform an interactive login from a non TTY device"),
        (["-u", USER], "Error: Cannot perform an interactive login from a non TTY device"),
        (["--password-stdin"], "the --password-stdin option requires --username to be set"),
        (["-u", USER, "-p", "x", "--password-stdin"], "conflicting options: cannot specify both --password and --password-stdin"),
        (["-u", "", "-p", "x"], "username is empty"),
        (["-u", USER, "-p", ""], "password is empty"),
        (["a", "b"], "login' requires at most 1 argument"),
        (["-u", USER, "-p", "x", "127.0.0.1:1"], "dial tcp 127.0.0.1:1: connect: connection refused"),
    ],
)
def test_mistakes(mine: Target, words: list[str], text: str) -> None:
    mine("login", *words, stdin=b"").fails(1, text)


def test_on_a_terminal(mine: Target, tokens: FakeRegistry) -> None:
    with mine.terminal("login", tokens.name) as terminal:
        terminal.expect("Username: ")
        terminal.type(f"{USER}\r")
        terminal.expect("Password: ")
        assert not terminal.echoes()
        terminal.type(f"{PASSWORD}\r")
        shown = terminal.expect("Login Succeeded")
        assert terminal.wait() == 0 and PASSWORD not in shown


def test_plain_text_of_dockers_file(mine: Target, passwords: DockerRegistry, tmp_path: Path) -> None:
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {passwords.name: {"auth": auth}}}))
    mine("pull", "-q", f"{passwords.name}/app:v1").ok()
    mine("rmi", f"{passwords.name}/app:v1").ok()


def test_a_helper_of_ours_serves_every_client(mine: Target, tokens: FakeRegistry, tmp_path: Path) -> None:
    assert (Path(sys.executable).parent / "docker-credential-pier").exists(), "scripts/setup puts it there"
    (tmp_path / "config.json").write_text('{"credsStore": "pier"}')
    mine("login", "-u", USER, "-p", PASSWORD, tokens.name).ok()
    assert json.loads((tmp_path / "config.json").read_text()) == {"auths": {tokens.name: {}}, "credsStore": "pier"}
    assert PASSWORD.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    mine("pull", "-q", f"{tokens.name}/app:v1").ok()
    mine("rmi", f"{tokens.name}/app:v1").ok()
    mine("logout", tokens.name).ok()
    assert mine("pull", "-q", f"{tokens.name}/app:v1").code == 1


def test_docker_py(client: Any, passwords: DockerRegistry, tokens: FakeRegistry) -> None:
    from docker.errors import APIError

    for registry in (passwords, tokens):
        answer = client.login(username=USER, password=PASSWORD, registry=registry.name, reauth=True)
        assert answer["Status"] == "Login Succeeded" and bool(answer["IdentityToken"]) == (registry is tokens)
        with pytest.raises(APIError) as raised:
            client.login(username=USER, password="wrong", registry=registry.name, reauth=True)
        assert raised.value.status_code == (401 if registry is tokens else 500)
    client.images.pull(f"{passwords.name}/app", tag="v1")
    client.images.remove(f"{passwords.name}/app:v1")


# search


@pytest.fixture
def searched(loaded: Target) -> Iterator[FakeRegistry]:
    """A registry with the old search."""
    row = {"name": "app", "description": "an app", "star_count": 7, "is_official": True, "is_automated": False}
    rows = [row, {**row, "name": "bob/app", "star_count": 2, "is_official": False}]
    data = json.dumps({"num_results": 2, "query": "app", "results": rows}).encode()
    with FakeRegistry(inside=loaded.inside) as made:
        made.fault("^GET /v1/search", times=None, answer=lambda request: Answer(200, data, {"Content-Type": "application/json"}))
        yield made


def test_search(docker: Target, searched: FakeRegistry) -> None:
    out = docker("search", f"{searched.name}/app").ok().out.splitlines()
    assert [line.split() for line in out] == [["NAME", "DESCRIPTION", "STARS", "OFFICIAL"], ["app", "an", "app", "7", "[OK]"], ["bob/app", "an", "app", "2"]]
    assert searched.asked("^GET /v1/search")[0].query == {"q": "app", "n": "25"}
    form = ("--format", "{{.Name}}")
    assert docker("search", "--limit", "1", *form, f"{searched.name}/app").ok().out.splitlines()[0] == "app"
    assert docker("search", "-f", "stars=3", *form, f"{searched.name}/app").ok().out == "app\n"
    assert docker("search", "-f", "is-official=false", *form, f"{searched.name}/app").ok().out == "bob/app\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-f", "bogus=1", "app"], "Error response from daemon: invalid filter 'bogus'"),
        (["-f", "stars=x", "app"], "Error response from daemon: invalid filter 'stars=x'"),
        (["-f", "is-official=x", "app"], "Error response from daemon: invalid filter 'is-official=[x]'"),
        (["--limit", "200", "app"], "limit 200 is outside the range of [1, 100]"),
        (["https://reg.example/app"], "repository name (https://reg.example/app) should not have a scheme"),
        (["127.0.0.1:1/app"], "dial tcp 127.0.0.1:1: connect: connection refused"),
    ],
)
def test_what_search_refuses(docker: Target, words: list[str], text: str) -> None:
    docker("search", *words).fails(1, text)


def test_search_with_docker_py(client: Any, searched: FakeRegistry) -> None:
    assert client.images.search(f"{searched.name}/app")[0] == {
        "star_count": 7, "is_official": True, "name": "app", "is_automated": False, "description": "an app"
    }  # fmt: skip
