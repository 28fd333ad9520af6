"""The client's names are the engine's."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pier.client import references
from pier.errors import Invalid
from pier.oci import reference

HEX = "0123456789abcdef" * 4
CHARS = st.sampled_from([*string.ascii_lowercase[:3], *"AB019._-/:@[]", "__", "sha256:", HEX, "é", "\n", " ", "docker.io/", "localhost", "library/"])


def outcome(text: str) -> object:
    try:
        name = references.parse(text)
    except ValueError as error:
        return str(error)
    return (name.domain, name.path, name.tag, name.digest, name.familiar)


def engines(text: str) -> object:
    try:
        name = reference.parse(text)
    except Invalid as error:
        return str(error)
    return (name.domain, name.path, name.tag or "", name.digest or "", str(name))


@settings(max_examples=3000, deadline=None)
@given(st.lists(CHARS, max_size=10).map("".join))
@example(HEX)
@example(f"a@sha256:{HEX}")
@example(f"a:t@sha256:{HEX}")
@example(f"a@sha256:{HEX.upper()}")
@example("a@sha256:" + "0" * 40)
@example("a@md9:" + "0" * 40)
@example("[::1]:5000/a")
@example("[::1]:x/a")
@example("a" * 256)
@example("reg.example:/a")
@example("a.-b/c")
@example("a@SHA256+x:" + "0" * 64)
def test_both_parsers_agree(text: str) -> None:
    assert outcome(text) == engines(text)


@pytest.mark.parametrize(
    ("text", "full", "server"),
    [
        ("busybox", "docker.io/library/busybox:latest", "https://index.docker.io/v1/"),
        ("docker.io/user/app:v1", "docker.io/user/app:v1", "https://index.docker.io/v1/"),
        ("127.0.0.1:5000/app", "127.0.0.1:5000/app:latest", "127.0.0.1:5000"),
        (f"app:v1@sha256:{HEX}", f"docker.io/library/app:v1@sha256:{HEX}", "https://index.docker.io/v1/"),
    ],
)
def test_in_full(text: str, full: str, server: str) -> None:
    name = references.parse(text).with_default_tag()
    assert (name.full, name.server) == (full, server)


def test_ids_are_no_mistakes() -> None:
    references.check(HEX)
    with pytest.raises(ValueError, match="must be lowercase"):
        references.check("X")
    assert [references.with_tag(text) for text in ("a", "a:1", "r:5/a", f"a@sha256:{HEX}")] == ["a:latest", "a:1", "r:5/a:latest", f"a@sha256:{HEX}"]
