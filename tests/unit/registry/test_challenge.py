"""WWW-Authenticate as registries send it, as the RFC allows it, and as nobody should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.registry.challenge import MAX_HEADER_CHARS, Challenge, parse

TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-._~!", min_size=1, max_size=12)
QUOTED = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)


def one(value: str) -> Challenge:
    (found,) = parse([value])
    return found


def test_docker_hubs() -> None:
    found = one('Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull,push"')
    assert found.scheme == "bearer"
    assert found.parameters == {
        "realm": "https://auth.docker.io/token",
        "service": "registry.docker.io",
        "scope": "repository:library/busybox:pull,push",
    }


@pytest.mark.parametrize(
    ("value", "schemes"),
    [
        ("Basic", ["basic"]),
        ('Basic realm="a, b", charset="UTF-8"', ["basic"]),
        ('Negotiate, Basic realm="x"', ["negotiate", "basic"]),
        ('Negotiate YIIB+/==, Basic realm="x"', ["negotiate", "basic"]),
        ('Basic realm="x", Bearer realm="https://t",service="s"', ["basic", "bearer"]),
        ('Bearer realm="https://t" , service = "s"', ["bearer"]),
        (" , ,Basic realm=x,, ", ["basic"]),
        ("", []),
        (",,,", []),
        ('"', []),
        ("=", []),
    ],
)
def test_schemes(value: str, schemes: list[str]) -> None:
    assert [found.scheme for found in parse([value])] == schemes


def test_each_challenge_has_its_own_parameters() -> None:
    basic, bearer = parse(['Basic realm="x", Bearer realm="https://t", service="s"'])
    assert (basic.parameters, bearer.parameters) == ({"realm": "x"}, {"realm": "https://t", "service": "s"})


def test_several_headers() -> None:
    assert [found.scheme for found in parse(['Bearer realm="https://t"', 'Basic realm="x"'])] == ["bearer", "basic"]


@pytest.mark.parametrize(
    ("value", "realm"),
    [
        (r'Bearer realm="a\"b\\c"', 'a"b\\c'),
        ("Bearer realm=https://t/token?x=1,service=s", "https://t/token?x=1"),
        ('Bearer REALM="x"', "x"),
        ('Bearer realm="first",realm="second"', "first"),
        ('Bearer realm="never ends', ""),
        ("Bearer realm=", ""),
    ],
)
def test_values(value: str, realm: str) -> None:
    assert one(value).get("realm") == realm


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    for found in parse([text]):
        assert found.scheme and found.scheme == found.scheme.lower()


@given(TOKEN, st.dictionaries(TOKEN.map(str.lower), QUOTED, min_size=1, max_size=5))
def test_what_is_written_is_read(scheme: str, parameters: dict[str, str]) -> None:
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in parameters.items()}
    found = one(f"{scheme} " + ", ".join(f'{name}="{value}"' for name, value in quoted.items()))
    assert (found.scheme, found.parameters) == (scheme.lower(), parameters)


def test_a_header_of_any_length_takes_time_in_proportion_only() -> None:
    assert len(parse(['a="",' * 10_000_000, "Basic"])) < MAX_HEADER_CHARS
