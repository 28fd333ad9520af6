"""docker-credential-pier speaks the protocol of Docker's helpers: through Pier's own client of it, and byte by byte."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from pier.client.credentials.auth import AuthConfig, CredentialError
from pier.client.credentials.helper_program import Helper

from .command import SOURCE, call

MODULE = "pier.cli.credential_helper"


def ask(folder: Path, action: str, stdin: str = "") -> tuple[int, str, str]:
    return call(None, action, stdin=stdin.encode(), module=MODULE, DOCKER_CONFIG=str(folder))


@pytest.fixture
def helper(tmp_path: Path) -> Helper:
    """The helper as an installed program that is called by its name."""
    code = f"import sys; sys.path.append({str(SOURCE)!r}); from {MODULE} import main; main()"
    program = tmp_path / "docker-credential-pier"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -c {shlex.quote(code)} "$@"\n')
    program.chmod(0o755)
    return Helper("pier", {"PATH": f"{tmp_path}:/usr/bin:/bin", "DOCKER_CONFIG": str(tmp_path / "config")})


def test_a_login_goes_and_comes_back(helper: Helper) -> None:
    assert helper.get("reg") is None
    helper.put(AuthConfig("reg", "bob", "s3cret"))
    helper.put(AuthConfig("https://index.docker.io/v1/", identity_token="t0k"))
    found, token = helper.get("reg"), helper.get("https://index.docker.io/v1/")
    assert found is not None and (found.username, found.password) == ("bob", "s3cret")
    assert token is not None and (token.username, token.identity_token) == ("", "t0k")
    assert sorted(helper.logged_in()) == ["https://index.docker.io/v1/", "reg"]
    helper.drop("reg")
    helper.drop("reg")
    assert helper.get("reg") is None


@pytest.mark.parametrize(
    ("action", "stdin", "said"),
    [
        ("get", "reg", "credentials not found in native keychain"),
        ("get", "", "no credentials server URL"),
        ("erase", "\n", "no credentials server URL"),
        ("store", "{", "the request is not an object with ServerURL, Username and Secret"),
        ("store", '{"ServerURL": "a", "Username": "b"}', "the request is not an object with ServerURL, Username and Secret"),
        ("store", '{"ServerURL": "", "Username": "b", "Secret": "c"}', "no credentials server URL"),
        ("store", '{"ServerURL": "a", "Username": "", "Secret": "c"}', "no credentials username"),
        ("nope", "", "Unknown credential action `nope`"),
    ],
)
def test_what_goes_wrong_is_told_on_stdout(tmp_path: Path, action: str, stdin: str, said: str) -> None:
    assert ask(tmp_path, action, stdin) == (1, f"{said}\n", "")


def test_a_key_that_is_gone(tmp_path: Path) -> None:
    ask(tmp_path, "store", '{"ServerURL": "a", "Username": "b", "Secret": "c"}')
    next(tmp_path.glob("*.key")).unlink()
    status, out, _ = ask(tmp_path, "get", "a")
    assert status == 1 and "the key of the stored credentials is gone" in out


def test_list_and_version(tmp_path: Path) -> None:
    assert json.loads(ask(tmp_path, "list")[1]) == {}
    ask(tmp_path, "store", '{"ServerURL": "a", "Username": "b", "Secret": "c"}')
    assert json.loads(ask(tmp_path, "list")[1]) == {"a": "b"}
    assert ask(tmp_path, "version")[1].startswith("docker-credential-pier (pier) ")
    assert call(None, module=MODULE)[0] == 1


def test_a_store_that_is_damaged_is_named(helper: Helper, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/pier-credentials.json").write_text("[")
    with pytest.raises(CredentialError, match=r"docker-credential-pier: exit status 1, out: `.*pier-credentials\.json: this is no store"):
        helper.get("a")
