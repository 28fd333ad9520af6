"""Names: what they mean, how they are shown, what is refused in which words."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.errors import Invalid
from pier.oci.reference import Reference, from_key, key_of, parse, parse_any, shown

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "expected", "familiar"),
    [
        ("busybox", Reference("", "library/busybox"), "busybox"),
        ("busybox:1.36", Reference("", "library/busybox", "1.36"), "busybox:1.36"),
        ("library/busybox", Reference("", "library/busybox"), "busybox"),
        ("user/app:v1", Reference("", "user/app", "v1"), "user/app:v1"),
        ("127.0.0.1:5000/app", Reference("127.0.0.1:5000", "app"), "127.0.0.1:5000/app"),
        ("localhost/app", Reference("localhost", "app"), "localhost/app"),
        ("[::1]:5000/app:x", Reference("[::1]:5000", "app", "x"), "[::1]:5000/app:x"),
        ("Upper/app", Reference("Upper", "app"), "Upper/app"),
        (f"app@{DIGEST}", Reference("", "library/app", None, DIGEST), f"app@{DIGEST}"),
        (f"app:v1@{DIGEST}", Reference("", "library/app", "v1", DIGEST), f"app:v1@{DIGEST}"),
        ("library/a/b", Reference("", "library/a/b"), "library/a/b"),
        ("sha256:abc", Reference("", "library/sha256", "abc"), "sha256:abc"),
        ("a--b__c.d", Reference("", "library/a--b__c.d"), "a--b__c.d"),
    ],
)
def test_a_name_is_understood_and_shown(text: str, expected: Reference, familiar: str) -> None:
    assert parse(text) == expected
    assert str(parse(text)) == familiar


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("UPPER", "invalid reference format: repository name (library/UPPER) must be lowercase"),
        ("UPPER Case", "invalid reference format: repository name (library/UPPER Case) must be lowercase"),
        ("UPPER:tag", "invalid reference format: repository name (library/UPPER) must be lowercase"),
        ("user/Upper", "invalid reference format: repository name (user/Upper) must be lowercase"),
        ("", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a:b c", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a:" + "t" * 129, "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("../../etc/passwd", "invalid reference format"),
        (HEX, f"invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"),
        ("a@sha256:" + "0" * 40, "invalid checksum digest length"),
        ("a@md9:" + "0" * 40, "unsupported digest algorithm"),
        ("a" * 256, "repository name must not be more than 255 characters"),
    ],
)
def test_what_is_no_name_is_refused_in_dockers_words(text: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert str(caught.value) == message


def test_ids_and_names_are_told_apart() -> None:
    assert parse_any(HEX) == DIGEST
    assert parse_any(DIGEST) == DIGEST
    assert parse_any(HEX[:12]) == Reference("", f"library/{HEX[:12]}")
    assert shown(parse_any("nope")) == "nope:latest"
    assert shown(DIGEST) == DIGEST


@pytest.mark.parametrize("domain", ["docker.io", "index.docker.io"])
def test_the_default_registry_spelled_out_is_the_short_name(domain: str) -> None:
    assert parse(f"{domain}/library/busybox:1") == parse("busybox:1")
    assert parse(f"{domain}/busybox") == parse("busybox")
    assert parse(f"{domain}/user/app") == parse("user/app")
    assert parse("other.example/library/busybox").domain == "other.example"


def test_with_tag_refuses_what_is_no_tag() -> None:
    assert str(parse("a").with_tag("v1")) == "a:v1"
    with pytest.raises(Invalid, match=r"^invalid tag format$"):
        parse("a").with_tag("a b")


component = st.from_regex(r"[a-z0-9]{1,8}((_|__|\.|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
domains = st.sampled_from(["", "localhost", "127.0.0.1:5000", "registry.example", "[::1]:443"])


@given(domains, st.lists(component, min_size=1, max_size=3), st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True))
def test_what_is_shown_means_the_same_again(domain: str, parts: list[str], tag: str | None) -> None:
    text = "/".join(filter(None, [domain, *parts])) + (f":{tag}" if tag else "")
    try:
        name = parse(text)
    except Invalid:
        no_host = not domain and len(parts) > 1 and "." in parts[0] and "_" in parts[0]  # the dot makes it a domain, which has no underscore
        assert no_host or (len(parts) == 1 and len(parts[0]) == 64)
        return
    assert parse(str(name)) == name
    assert from_key(key_of(name)) == name.with_default_tag()


@given(st.text(alphabet=string.printable + "é\u0130\u212a", max_size=60))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        name = parse_any(text)
    except Invalid:
        return
    assert isinstance(name, str) or (name.path == name.path.lower() and not set(name.path) - set(string.ascii_lowercase + string.digits + "._-/"))
