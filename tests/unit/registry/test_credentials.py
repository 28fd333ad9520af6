"""X-Registry-Auth, and that credentials are in no text."""

import json
from base64 import b64encode, urlsafe_b64encode

import pytest

from pier.errors import Invalid
from pier.registry.credentials import Credentials, from_header, to_header

ALICE = Credentials("alice", "s3cret?>~", "", "")


def header(**fields: str) -> str:
    return urlsafe_b64encode(json.dumps(fields).encode()).decode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", Credentials()),
        (header(), Credentials()),
        (header(username="alice", password="s3cret?>~", serveraddress="x"), ALICE),
        (header(username="alice", password="s3cret?>~").rstrip("="), ALICE),
        (b64encode(json.dumps({"username": "alice", "password": "s3cret?>~"}).encode()).decode(), ALICE),
        (header(auth=b64encode(b"alice:s3cret?>~").decode()), ALICE),
        (header(identitytoken="t"), Credentials(identity_token="t")),
        (header(registrytoken="t"), Credentials(registry_token="t")),
        (header(Username="alice", PASSWORD="s3cret?>~"), ALICE),  # as Go's decoder, which Docker's clients rely upon
    ],
)
def test_a_header_is_read(value: str, expected: Credentials) -> None:
    assert from_header(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "!",
        "bm90IGpzb24=",
        header() + "x",
        urlsafe_b64encode(b"[]").decode(),
        urlsafe_b64encode(b'{"username":1}').decode(),
        "ä",
        header(auth="***"),
        urlsafe_b64encode(b"[" * 100_000).decode(),
    ],
)
def test_what_is_none_is_refused(value: str) -> None:
    with pytest.raises(Invalid, match="invalid X-Registry-Auth header"):
        from_header(value)


def test_what_is_written_is_read() -> None:
    assert from_header(to_header(ALICE, "registry.example.com")) == ALICE


def test_nothing_of_them_is_in_their_repr() -> None:
    assert repr(Credentials("alice", "s3cret", "identity", "registry")) == "Credentials()"


def test_who_has_no_password_has_no_basic() -> None:
    assert (Credentials("alice").basic, Credentials(password="x").basic) == ("", "")
    assert Credentials("alice", "pä:ss").basic == "Basic " + b64encode("alice:pä:ss".encode()).decode()


def test_truth() -> None:
    assert not Credentials() and Credentials(identity_token="x") and Credentials("alice")
