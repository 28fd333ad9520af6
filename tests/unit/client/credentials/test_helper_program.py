"""The docker-credential protocol against programs that behave, and such that do not."""

import json
import os
import time
from pathlib import Path

import pytest

from pier.client.credentials.auth import AuthConfig, CredentialError
from pier.client.credentials.helper_program import Helper


def install(folder: Path, script: str, name: str = "test") -> dict[str, str]:
    """A helper made of shell; the environment in which it is found."""
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "D": str(folder)}


KEEPS = """
case $1 in
store) cat > $D/kept ;;
get) read server; grep -q "\\"$server\\"" $D/kept 2>/dev/null && cat $D/kept || { echo credentials not found in native keychain; exit 1; } ;;
erase) cat > $D/erased; rm -f $D/kept ;;
list) echo '{"a.example": "bob", "b.example": "<token>"}' ;;
esac
"""


def test_a_login_goes_and_comes_back(tmp_path: Path) -> None:
    helper = Helper("test", install(tmp_path, KEEPS))
    assert helper.get("reg.example") is None
    helper.put(AuthConfig("reg.example", "bob", "se\"cr'et<>"))
    assert json.loads((tmp_path / "kept").read_text()) == {"ServerURL": "reg.example", "Username": "bob", "Secret": "se\"cr'et<>"}
    found = helper.get("reg.example")
    assert found is not None and (found.server, found.username, found.password, found.identity_token) == ("reg.example", "bob", "se\"cr'et<>", "")
    helper.drop("reg.example")
    assert (tmp_path / "erased").read_text() == "reg.example" and helper.get("reg.example") is None
    assert helper.logged_in() == ["a.example", "b.example"]


def test_a_token_has_its_own_user(tmp_path: Path) -> None:
    helper = Helper("test", install(tmp_path, KEEPS))
    helper.put(AuthConfig("reg.example", "bob", "", identity_token="t0k"))
    assert json.loads((tmp_path / "kept").read_text()) == {"ServerURL": "reg.example", "Username": "<token>", "Secret": "t0k"}
    found = helper.get("reg.example")
    assert found is not None and (found.username, found.password, found.identity_token) == ("", "", "t0k")


def test_a_secret_is_no_argument(tmp_path: Path) -> None:
    helper = Helper("test", install(tmp_path, 'tr "\\0" " " < /proc/$$/cmdline > $D/argv; cat > /dev/null'))
    helper.put(AuthConfig("reg.example", "bob", "s3cret"))
    assert (tmp_path / "argv").read_text().split()[-1] == "store" and "s3cret" not in (tmp_path / "argv").read_text()


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo boom; exit 3", "docker-credential-test: exit status 3, out: `boom`"),
        ("printf 'a\\033[2Jb'; exit 1", "exit status 1, out: `a [2Jb`"),
        ("kill -9 $$", "docker-credential-test: signal 9"),
        ("echo the-s3cret", "docker-credential-test answered something that is no JSON object"),
        ("echo '[\"the-s3cret\"]'", "docker-credential-test answered something that is no JSON object"),
        ("true", "docker-credential-test answered something that is no JSON object"),
        ('echo \'{"Username": "bob"}\'', "docker-credential-test answered without Username and Secret"),
        ('echo \'{"Username": "bob", "Secret": 7}\'', "docker-credential-test answered without Username and Secret"),
        ("yes the-s3cret", "docker-credential-test: its answer is longer than 1048576 bytes"),
    ],
)
def test_a_helper_that_fails_is_named(tmp_path: Path, script: str, text: str) -> None:
    with pytest.raises(CredentialError) as raised:
        Helper("test", install(tmp_path, script)).get("reg.example")
    assert text in str(raised.value) and "s3cret" not in str(raised.value)


@pytest.mark.parametrize("script", ["sleep 60", "cat > /dev/null; exec sleep 60", "exec 1>&-; sleep 60", "echo {} ; exec sleep 60"])
def test_a_helper_that_hangs_is_ended(tmp_path: Path, script: str) -> None:
    began = time.monotonic()
    with pytest.raises(CredentialError, match=r"docker-credential-test: it did not (answer|end) within 0.3 s and was ended"):
        Helper("test", install(tmp_path, f"echo $$ > $D/pid; {script}"), limit_s=0.3).get("reg.example")
    assert time.monotonic() - began < 20 and not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}")


def test_a_helper_that_reads_nothing(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="exit status 1, out: `no`"):
        Helper("test", install(tmp_path, "exec 0<&-; echo no; exit 1")).put(AuthConfig("reg.example", "bob", "x" * 500_000))


def test_a_helper_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match=r"error storing credentials - docker-credential-none: executable file not found in \$PATH"):
        Helper("none", install(tmp_path, "true")).put(AuthConfig("reg.example", "bob", "x"))


def test_a_folder_of_its_name_is_none(tmp_path: Path) -> None:
    (tmp_path / "docker-credential-dir").mkdir()
    with pytest.raises(CredentialError, match="executable file not found"):
        Helper("dir", {"PATH": str(tmp_path)}).get("x")


@pytest.mark.parametrize("name", ["", "../evil", "a/b", "a b", "é", "a\n"])
def test_names_that_are_no_helpers(name: str) -> None:
    with pytest.raises(CredentialError, match="is no name of a credential helper"):
        Helper(name, {})


def test_descriptors_do_not_leak(tmp_path: Path) -> None:
    environ = install(tmp_path, "ls /proc/$$/fd | wc -l >&2; exit 1")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(CredentialError):
            Helper("test", environ).get("x")
        with pytest.raises(CredentialError):
            Helper("none", environ).get("x")
    assert len(os.listdir("/proc/self/fd")) == before
