"""Docker's plain text and the keys of servers."""

import base64
from typing import Any

import pytest

from pier.client.credentials import plain, servers
from pier.client.credentials.auth import AuthConfig, CredentialError, header


def auth_of(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("", servers.HUB), ("docker.io", servers.HUB), ("index.docker.io", servers.HUB), ("https://index.docker.io/v1/", servers.HUB),
        ("reg.example", "reg.example"), ("reg.example:5000", "reg.example:5000"), ("https://reg.example/v2/", "reg.example"),
        ("http://reg.example:80", "reg.example:80"), ("reg.example/team", "reg.example"), ("[::1]:5000", "[::1]:5000"),
    ],
)  # fmt: skip
def test_what_a_user_calls_a_server(text: str, server: str) -> None:
    assert servers.of_argument(text) == server


@pytest.mark.parametrize("text", ["https://", "/", "bob@reg.example", "a b", "reg\n", "x?y", "\x1b[1m"])
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(ValueError, match="is no registry"):
        servers.of_argument(text)


@pytest.mark.parametrize("key", ["reg.example", "https://reg.example", "https://reg.example/v1/", "http://reg.example/v2/"])
def test_older_spellings_are_found_and_replaced(key: str) -> None:
    config: dict[str, Any] = {"auths": {"other": auth_of("a:b"), key: auth_of("bob:se:cret")}}
    found = plain.find(config, "reg.example")
    assert found is not None and (found.username, found.password, found.server) == ("bob", "se:cret", "reg.example")
    plain.put(config, AuthConfig("reg.example", "amy", "new"))
    assert config["auths"] == {"other": auth_of("a:b"), "reg.example": auth_of("amy:new")}
    assert plain.drop(config, "reg.example") and not plain.drop(config, "reg.example")
    assert config["auths"] == {"other": auth_of("a:b")}


def test_tokens_are_kept_as_docker_keeps_them() -> None:
    config: dict[str, Any] = {}
    plain.put(config, AuthConfig(servers.HUB, "bob", "gone", identity_token="t0k"))
    assert config == {"auths": {servers.HUB: {**auth_of("bob:"), "identitytoken": "t0k"}}}
    found = plain.find(config, servers.HUB)
    assert found is not None and (found.username, found.password, found.identity_token) == ("bob", "", "t0k")


@pytest.mark.parametrize("entry", [{}, {"auth": ""}, None])
def test_nobody_is_logged_in(entry: Any) -> None:
    assert plain.find({"auths": {"x": entry}} if entry is not None else {}, "x") is None


@pytest.mark.parametrize("entry", [{"auth": "%%%"}, auth_of("nocolon"), auth_of(":x"), {"auth": 1}, "text", {"username": ["x"]}, {"auth": "/w=="}])
def test_entries_that_cannot_be_read_are_named_without_their_content(entry: Any) -> None:
    with pytest.raises(CredentialError, match=r"config\.json: the entry x of auths") as raised:
        plain.find({"auths": {"x": entry}}, "x")
    assert "%%%" not in str(raised.value) and "nocolon" not in str(raised.value)


def test_marks_of_helped_servers() -> None:
    config: dict[str, Any] = {"auths": {"https://x/v1/": auth_of("a:b")}}
    assert plain.mark(config, "x") and config == {"auths": {"x": {}}}
    assert not plain.mark(config, "x")


def test_the_header_is_dockers() -> None:
    assert header(None) == ("X-Registry-Auth", "e30=")
    auth = AuthConfig("https://index.docker.io/v1/", "bob", "a?>~~~ÿ")
    _, value = header(auth)
    assert base64.urlsafe_b64decode(value).decode() == '{"username":"bob","password":"a?\\u003e~~~ÿ","serveraddress":"https://index.docker.io/v1/"}'
    assert set(value) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


def test_no_secret_is_shown() -> None:
    auth = AuthConfig("reg", "bob", "secret1", "secret2", "secret3")
    assert repr(auth) == "AuthConfig('reg')" and "secret" not in f"{auth} {[auth]}"
