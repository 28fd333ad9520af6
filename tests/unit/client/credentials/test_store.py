"""Which place a login goes to, where it is looked for, and what is left of it."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from pier.client import configfile
from pier.client.credentials.auth import AuthConfig, CredentialError
from pier.client.credentials.servers import HUB
from pier.client.credentials.store import Credentials

from .test_helper_program import KEEPS, install


def auth_of(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


class Folder:
    """A configuration folder, and the credentials as a new process sees them."""

    def __init__(self, path: Path, **config: Any) -> None:
        self.path = path
        self.environ = install(path, KEEPS, "good")
        if config:
            (path / "config.json").write_text(json.dumps(config))

    @property
    def credentials(self) -> Credentials:
        return Credentials(str(self.path), configfile.read(str(self.path)), self.environ)

    @property
    def config(self) -> Any:
        return configfile.read(str(self.path))

    def password(self, server: str) -> str | None:
        found = self.credentials.get(server)
        return found.password if found else None

    def files(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir() if path.name.startswith(("config", "pier-")))


def test_nobody(tmp_path: Path) -> None:
    assert Folder(tmp_path).credentials.get(HUB) is None


def test_without_a_setting_it_is_sealed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    kept = folder.credentials.put(AuthConfig(HUB, "bob", "s3cret"))
    assert (kept.place, kept.moved, kept.lost) == ("sealed", False, [])
    assert "config.json" not in folder.files() and folder.password(HUB) == "s3cret" and folder.password("other") is None
    folder.credentials.drop(HUB)
    assert folder.files() == [] and folder.password(HUB) is None


def test_plain_text_of_docker_is_read_and_a_login_takes_it_away(tmp_path: Path) -> None:
    folder = Folder(tmp_path, auths={"https://reg.example/v1/": auth_of("bob:old"), "b": auth_of("b:b")}, other=1)
    assert folder.password("reg.example") == "old"
    assert folder.credentials.put(AuthConfig("reg.example", "bob", "new")).moved
    assert folder.config == {"auths": {"b": auth_of("b:b")}, "other": 1} and folder.password("reg.example") == "new"


def test_plain_text_that_came_later_counts(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.credentials.put(AuthConfig("reg.example", "bob", "pier's"))
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"reg.example": auth_of("bob:docker's")}}))
    assert folder.password("reg.example") == "docker's"
    folder.credentials.drop("reg.example")
    assert folder.password("reg.example") is None and folder.config == {"auths": {}}


@pytest.mark.parametrize("how", ["flag", "setting"])
def test_plain_text_only_when_told(tmp_path: Path, how: str) -> None:
    folder = Folder(tmp_path, **({"pierCredentials": "plain"} if how == "setting" else {"x": 1}))
    (tmp_path / "config.json").chmod(0o644)
    Folder(tmp_path).credentials.put(AuthConfig("other", "bob", "s3cret"), plaintext=False)
    kept = folder.credentials.put(AuthConfig("reg.example", "bob", "s3cret"), plaintext=how == "flag")
    assert kept.place == "plain" and folder.config["auths"]["reg.example"] == auth_of("bob:s3cret")
    assert (tmp_path / "config.json").stat().st_mode & 0o777 == 0o600
    assert folder.password("reg.example") == "s3cret"
    assert ("pier-credentials.json" in folder.files()) == (how == "flag")


def test_plain_text_in_place_of_a_sealed_login(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.credentials.put(AuthConfig("reg.example", "bob", "sealed"))
    folder.credentials.put(AuthConfig("reg.example", "bob", "plain"), plaintext=True)
    assert folder.files() == ["config.json"] and folder.password("reg.example") == "plain"


@pytest.mark.parametrize("config", [{"credsStore": "good"}, {"credHelpers": {"reg.example": "good"}}])
def test_a_helper_has_it_where_one_is_named(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = Folder(tmp_path, **config, auths={"https://reg.example": auth_of("bob:old")})
    assert folder.password("reg.example") is None, "as in Docker, the helper is the one place"
    assert folder.credentials.put(AuthConfig("reg.example", "bob", "s3cret")).place == "helper"
    assert folder.config["auths"] == {"reg.example": {}} and folder.password("reg.example") == "s3cret"
    folder.credentials.drop("reg.example")
    assert folder.config == {**config, "auths": {}} and not (tmp_path / "kept").exists()
    assert folder.files() == ["config.json"]


def test_a_helper_for_one_server_is_none_for_others(tmp_path: Path) -> None:
    folder = Folder(tmp_path, credHelpers={"reg.example": "good"})
    assert folder.credentials.put(AuthConfig("other.example", "bob", "x")).place == "sealed"
    assert not (tmp_path / "kept").exists()


def test_pier_as_the_helper_is_the_sealed_store(tmp_path: Path) -> None:
    folder = Folder(tmp_path, credsStore="pier")
    assert folder.credentials.put(AuthConfig(HUB, "bob", "s3cret")).place == "helper"
    assert folder.config == {"credsStore": "pier", "auths": {HUB: {}}} and folder.password(HUB) == "s3cret"
    folder.credentials.drop(HUB)
    assert folder.files() == ["config.json"] and folder.config == {"credsStore": "pier", "auths": {}}


def test_plain_text_beside_a_helper_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path, credsStore="good")
    with pytest.raises(CredentialError, match=r"names the credential helper good for reg\.example"):
        folder.credentials.put(AuthConfig("reg.example", "bob", "x"), plaintext=True)


def test_the_environment_comes_first(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.credentials.put(AuthConfig("a", "bob", "stored"))
    folder.environ["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {"a": auth_of("ci:env")}})
    assert folder.password("a") == "env"
    folder.credentials.put(AuthConfig("b", "bob", "stored"))
    assert folder.password("b") == "stored"
    folder.environ["DOCKER_AUTH_CONFIG"] = "s3cret"
    with pytest.raises(CredentialError, match=r"^DOCKER_AUTH_CONFIG is not a JSON object with auths$"):
        folder.password("a")


@pytest.mark.parametrize("config", [{"pierCredentials": "none"}, {"pierCredentials": 1}, {"credsStore": 1}, {"credHelpers": {"a": []}}])
def test_settings_that_are_none(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(CredentialError, match=r"^config\.json: "):
        Folder(tmp_path, **config).credentials.put(AuthConfig("a", "bob", "x"))


def test_a_helper_that_fails_at_logout_leaves_the_entry(tmp_path: Path) -> None:
    folder = Folder(tmp_path, credsStore="bad", auths={"a": {}})
    install(tmp_path, "exit 1", "bad")
    with pytest.raises(CredentialError, match="error erasing credentials - docker-credential-bad: exit status 1"):
        folder.credentials.drop("a")
    assert folder.config["auths"] == {"a": {}}


def test_what_a_browser_login_left_goes_with_a_logout_from_hub(tmp_path: Path) -> None:
    folder = Folder(tmp_path, credsStore="many", auths={HUB: {}})
    script = f"""
read line; echo "$1 $line" >> $D/asked
case "$1 $line" in
"get {HUB}refresh-token") echo '{{"Username": "u", "Secret": "s"}}' ;;
get*) echo credentials not found in native keychain; exit 1 ;;
esac"""
    install(tmp_path, script, "many")
    folder.credentials.drop(HUB)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line for line in asked if line.startswith("erase")] == [f"erase {HUB}refresh-token", f"erase {HUB}"]
