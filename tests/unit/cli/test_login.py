"""login and logout: what is asked of the daemon and of a person, what is kept, and what is never shown."""

import base64
import json
import os
import termios
from pathlib import Path
from typing import Any

import pytest

from tests.harness.registry import Basic, FakeRegistry, TokenServer
from tests.harness.terminal import Terminal
from tests.unit.client.fake_daemon import FakeDaemon, reply

from .command import call, program

HUB = "https://index.docker.io/v1/"
OK = {"POST /auth": {"Status": "Login Succeeded", "IdentityToken": ""}}
INSECURE = "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n"
SECRET = "s3cret-word"


class Home:
    """A configuration folder, and a daemon to try logins at."""

    def __init__(self, path: Path, routes: dict[str, Any] | None = None) -> None:
        self.path = path / "config"
        self.path.mkdir()
        self.daemon = FakeDaemon(path, OK if routes is None else routes)
        self.env = {"DOCKER_CONFIG": str(self.path)}

    def __call__(self, *args: str, stdin: str = "", **env: str) -> tuple[int, str, str]:
        return call(self.daemon, *args, stdin=stdin.encode(), **{**self.env, **env})

    def kept(self, server: str) -> dict[str, Any] | None:
        """What docker-credential-pier has of a server."""
        status, out, _ = call(None, "get", stdin=server.encode(), module="pier.cli.credential_helper", **self.env)
        return None if status else json.loads(out)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir())

    def config(self, **content: Any) -> None:
        (self.path / "config.json").write_text(json.dumps(content))

    def terminal(self, *args: str) -> Terminal:
        return Terminal([*program(), *args], {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": self.daemon.host, **self.env})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.parametrize(
    ("args", "server"),
    [([], HUB), (["docker.io"], HUB), (["reg.example:5000"], "reg.example:5000"), (["https://reg.example/v2/"], "reg.example")],
)
def test_a_password_on_stdin(home: Home, args: list[str], server: str) -> None:
    assert home("login", "-u", "bob", "--password-stdin", *args, stdin=f"{SECRET}\n") == (0, "Login Succeeded\n", "")
    assert home.daemon.body("POST /auth") == {"username": "bob", "password": SECRET, "serveraddress": server}
    assert home.kept(server) == {"ServerURL": server, "Username": "bob", "Secret": SECRET}
    assert not any(SECRET.encode() in path.read_bytes() for path in home.path.iterdir()) and "config.json" not in home.files()
    assert home("logout", *args) == (0, f"Removing login credentials for {server}\n", "")
    assert home.kept(server) is None and home.files() == []


@pytest.mark.parametrize(("typed", "password"), [("a b \n", "a b "), ("x\r\n", "x"), ("x\n\n", "x\n"), ("x", "x")])
def test_what_of_stdin_is_the_password(home: Home, typed: str, password: str) -> None:
    home("login", "-u", "bob", "--password-stdin", "reg", stdin=typed)
    assert home.daemon.body("POST /auth")["password"] == password


@pytest.mark.parametrize(
    ("args", "stdin", "err"),
    [
        ([], "", "Error: Cannot perform an interactive login from a non TTY device\n"),
        (["-u", "bob"], "", "Error: Cannot perform an interactive login from a non TTY device\n"),
        (["-p", "x"], "", f"{INSECURE}Error: Cannot perform an interactive login from a non TTY device\n"),
        (["--password-stdin"], "x", "the --password-stdin option requires --username to be set\n"),
        (["-u", "b", "-p", "x", "--password-stdin"], "x", "conflicting options: cannot specify both --password and --password-stdin\n"),
        (["-u", "b", "--password-stdin"], "", "Error: Cannot perform an interactive login from a non TTY device\n"),
        (["-u", "b", "--password-stdin"], "x" * 70_000, "--password-stdin: what came is longer than 65536 bytes\n"),
        (["-u", "", "-p", "x"], "", "username is empty\n"),
        (["-u", "b", "-p", ""], "", "password is empty\n"),
        (["-u", "b", "-p", "x", "bob@reg"], "", "'bob@reg' is no registry: give its HOST or HOST:PORT\n"),
    ],
)
def test_refusals(home: Home, args: list[str], stdin: str, err: str) -> None:
    assert home("login", *args, stdin=stdin) == (1, "", err)
    assert home.daemon.requests() == [] and home.files() == []


def test_a_login_that_fails_keeps_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path, {"POST /auth": reply(401, {"message": 'Get "https://reg/v2/": unauthorized: incorrect username or password'})})
    status, out, err = home("login", "-u", "bob", "-p", SECRET, "reg")
    assert (status, out) == (1, "") and home.files() == []
    assert err == f'{INSECURE}Error response from daemon: Get "https://reg/v2/": unauthorized: incorrect username or password\n'


def test_what_is_stored_is_tried_first(home: Home) -> None:
    home("login", "-u", "bob", "-p", SECRET, "reg")
    status, out, err = home("login", "reg")
    assert (status, out) == (0, "Login Succeeded\n") and err.startswith("Authenticating with existing credentials... [Username: bob]\n")
    home.daemon.routes = {"POST /auth": reply(401, {"message": "no"})}
    status, out, err = home("login", "reg")
    assert (status, out) == (1, "")
    assert err.endswith("Stored credentials invalid or expired\nError: Cannot perform an interactive login from a non TTY device\n")
    home.daemon.routes = {"POST /auth": reply(500, {"message": "broken"})}
    assert "Login did not succeed, error: Error response from daemon: broken\n" in home("login", "reg")[2]


def test_an_identity_token_stands_for_the_password(tmp_path: Path) -> None:
    home = Home(tmp_path, {"POST /auth": {"Status": "Login Succeeded", "IdentityToken": "t0k"}, "POST /images/create": reply(200, b"")})
    home("login", "-u", "bob", "-p", SECRET)
    assert home.kept(HUB) == {"ServerURL": HUB, "Username": "<token>", "Secret": "t0k"}
    assert home("pull", "-q", "app")[0] == 0
    assert home.daemon.registry_auth("POST /images/create") == {"username": "bob", "serveraddress": HUB, "identitytoken": "t0k"}


@pytest.mark.parametrize("how", ["flag", "setting"])
def test_plain_text_when_told(home: Home, how: str) -> None:
    if how == "setting":
        home.config(pierCredentials="plain")
    status, out, err = home("login", "-u", "bob", "-p", "x", *(["--plaintext"] if how == "flag" else []), "reg")
    assert (status, out) == (0, "Login Succeeded\n")
    assert f"WARNING! Your credentials are stored unencrypted in '{home.path}/config.json'." in err
    config = json.loads((home.path / "config.json").read_text())
    assert config["auths"] == {"reg": {"auth": base64.b64encode(b"bob:x").decode()}} and home.files() == ["config.json"]
    assert (home.path / "config.json").stat().st_mode & 0o777 == 0o600


def test_plain_text_of_docker_is_replaced(home: Home) -> None:
    home.config(auths={"reg": {"auth": base64.b64encode(b"bob:old").decode()}})
    status, _, err = home("login", "-u", "bob", "-p", "new", "reg")
    assert status == 0 and "The plain text of reg in config.json is gone" in err
    assert json.loads((home.path / "config.json").read_text()) == {"auths": {}} and home.kept("reg") is not None


def test_a_helper_that_fails(home: Home) -> None:
    home.config(credsStore="missing")
    status, _, err = home("login", "-u", "bob", "-p", SECRET, "reg")
    missing = "docker-credential-missing: executable file not found in $PATH"
    assert (status, err) == (1, f"{INSECURE}Error saving credentials: error storing credentials - {missing}\n")
    status, out, err = home("logout", "reg")
    assert (status, out) == (0, "Removing login credentials for reg\n")
    assert err == f"WARNING: could not erase credentials:\nreg: error erasing credentials - {missing}\n"


def test_the_environment_outweighs(home: Home) -> None:
    env = {"DOCKER_AUTH_CONFIG": json.dumps({"auths": {"reg.example": {"auth": base64.b64encode(b"ci:token").decode()}}})}
    assert "DOCKER_AUTH_CONFIG is set" in home("login", "-u", "bob", "-p", "x", "reg.example", **env)[2]
    home.daemon.routes = {"POST /images/create": reply(200, b"")}
    home("pull", "-q", "reg.example/app", **env)
    assert home.daemon.registry_auth("POST /images/create")["username"] == "ci"


def test_no_command_line_or_error_has_the_secret(home: Home) -> None:
    for routes in (OK, {"POST /auth": reply(500, {"message": "no"})}, {"POST /auth": reply(200, b"[")}):
        home.daemon.routes = routes
        for args in (["reg"], ["--plaintext", "reg"]):
            _, out, err = home("login", "-u", "bob", "--password-stdin", *args, stdin=SECRET)
            assert SECRET not in out + err and "Traceback" not in err


# On a terminal


def test_a_person_is_asked(home: Home) -> None:
    with home.terminal("login", "reg") as terminal:
        terminal.expect("Username: ")
        assert termios.tcgetattr(terminal.fd)[3] & termios.ECHO
        terminal.type("bob\r")
        terminal.expect("Password: ")
        assert not termios.tcgetattr(terminal.fd)[3] & termios.ECHO
        terminal.type(f"{SECRET}\r")
        shown = terminal.expect("Login Succeeded")
        assert terminal.wait() == 0 and SECRET not in shown + terminal.seen.decode()
        assert termios.tcgetattr(terminal.fd)[3] & termios.ECHO
    assert home.daemon.body("POST /auth") == {"username": "bob", "password": SECRET, "serveraddress": "reg"}


def test_return_takes_the_usual_name(home: Home) -> None:
    home("login", "-u", "bob", "-p", "old", "reg")
    home.daemon.routes = {"POST /auth": reply(401, {"message": "no"})}
    with home.terminal("login", "reg") as terminal:
        terminal.expect("Username (bob): ")
        home.daemon.routes = OK
        terminal.type("\r")
        terminal.expect("Password: ")
        terminal.type("new\r")
        assert terminal.wait() == 0
    assert home.kept("reg") == {"ServerURL": "reg", "Username": "bob", "Secret": "new"}


@pytest.mark.parametrize(("typed", "text"), [("\r", "Error: Non-null Username Required"), ("\x04", "Error: Non-null Username Required")])
def test_nobody(home: Home, typed: str, text: str) -> None:
    with home.terminal("login", "reg") as terminal:
        terminal.expect("Username: ")
        terminal.type(typed)
        terminal.expect(text)
        assert terminal.wait() == 1


@pytest.mark.parametrize("typed", ["\r", "\x04"])
def test_no_password(home: Home, typed: str) -> None:
    with home.terminal("login", "-u", "bob", "reg") as terminal:
        terminal.expect("Password: ")
        terminal.type(typed)
        terminal.expect("Error: Password Required")
        assert terminal.wait() == 1 and termios.tcgetattr(terminal.fd)[3] & termios.ECHO


@pytest.mark.parametrize(("how", "status"), [("\x03", 130), (15, 143), (1, 129)])
def test_leaving_at_the_password_gives_the_terminal_back(home: Home, how: "str | int", status: int) -> None:
    with home.terminal("login", "-u", "bob", "reg") as terminal:
        terminal.expect("Password: ")
        assert not termios.tcgetattr(terminal.fd)[3] & termios.ECHO
        if isinstance(how, str):
            terminal.type(how)
        else:
            os.kill(terminal.pid, how)
        assert terminal.wait() == status
        assert termios.tcgetattr(terminal.fd)[3] & termios.ECHO
    assert home.daemon.requests() == []


# Without a daemon


def alone(path: Path, *args: str, stdin: str) -> tuple[int, str, str]:
    return call(None, "-H", f"unix://{path}/none", *args, stdin=stdin.encode(), DOCKER_CONFIG=str(path / "config"))


def test_without_a_daemon_the_registry_is_asked_from_here(tmp_path: Path) -> None:
    with FakeRegistry(auth=Basic({"alice": "secret"})) as registry:
        status, out, err = alone(tmp_path, "login", "-u", "alice", "--password-stdin", registry.name, stdin="secret")
        assert (status, out, err) == (0, "Login Succeeded\n", "")
        status, out, err = alone(tmp_path, "login", "-u", "alice", "--password-stdin", registry.name, stdin="wrong")
        assert status == 1 and "401 Unauthorized" in err and "wrong" not in err


def test_a_token_server_without_a_daemon(tmp_path: Path) -> None:
    with TokenServer({"alice": "secret"}) as tokens, FakeRegistry(auth=tokens) as registry:
        status, _, err = alone(tmp_path, "login", "-u", "alice", "--password-stdin", registry.name, stdin="wrong")
        assert status == 1 and "unauthorized: incorrect username or password" in err
        assert alone(tmp_path, "login", "-u", "alice", "--password-stdin", registry.name, stdin="secret")[:2] == (0, "Login Succeeded\n")
        config = {"DOCKER_CONFIG": str(tmp_path / "config")}
        kept = json.loads(call(None, "get", stdin=registry.name.encode(), module="pier.cli.credential_helper", **config)[1])
        assert kept["Secret"] in tokens.refresh and kept["Username"] == "<token>"
