"""Where a redirect may lead. That credentials stay behind is tested with servers: tests/contract/registry/test_secrets.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util import parse_url

from pier.registry.redirect import BadLocation, Step, follow, origin, resolve

HERE = "https://reg.example.com/v2/app/blobs/sha256:1?x=1"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/up/1", "https://reg.example.com/v2/up/1"),
        ("up?state=a%2Fb", "https://reg.example.com/v2/app/blobs/up?state=a%2Fb"),
        ("?state=1", "https://reg.example.com/v2/app/blobs/sha256:1?state=1"),
        ("//cdn.example.com/x", "https://cdn.example.com/x"),
        ("https://cdn.example.com:8443/x#part", "https://cdn.example.com:8443/x"),
    ],
)
def test_locations(location: str, expected: str) -> None:
    assert resolve(HERE, location, insecure=lambda _: False) == expected


@pytest.mark.parametrize(
    "location",
    [
        "",
        "http://reg.example.com/x",
        "ftp://reg.example.com/x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "https:///x",
        "https://user:password@reg.example.com/x",
        "https://user@reg.example.com/x",
        "https://reg.example.com:99999/x",
        "https://reg.example.com:port/x",
        "https://[::1/x",
        "/x y",
        "/x\r\nAuthorization: y",
        "/x\x00",
        "/ä",
        "https://evil\\@reg.example.com/x",
        "https://reg.example.com\\.evil/x",
        "https://reg.example.com%2eevil/x",
        "https:reg.example.com/x",
    ],
)
def test_bad_locations(location: str) -> None:
    with pytest.raises(BadLocation):
        resolve(HERE, location, insecure=lambda _: False)


def test_an_insecure_registry_may_lead_to_plain_http() -> None:
    assert resolve(HERE, "http://other/x", insecure=lambda _: True) == "http://other/x"
    assert resolve("http://reg/x", "http://other/x", insecure=lambda _: False) == "http://other/x"


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [
        ("GET", 301, Step("GET", "https://h/x", True)),
        ("HEAD", 302, Step("HEAD", "https://h/x", True)),
        ("GET", 303, Step("GET", "https://h/x", True)),
        ("PUT", 307, Step("PUT", "https://h/x", True)),
        ("PATCH", 308, Step("PATCH", "https://h/x", True)),
        ("POST", 302, Step("GET", "https://h/x", False)),
        ("PUT", 303, Step("GET", "https://h/x", False)),
    ],
)
def test_methods(method: str, status: int, expected: Step) -> None:
    assert follow(method, HERE, status, "https://h/x", insecure=lambda _: False) == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://h/a", "https://h:443/b", True),
        ("http://h/a", "http://h:80/b", True),
        ("https://H/a", "https://h/b", True),
        ("https://h/a", "http://h/a", False),
        ("https://h/a", "https://h:8443/a", False),
        ("https://h/a", "https://x.h/a", False),
        ("https://h/a", "https://h./a", False),
        ("https://h@evil/a", "https://h/a", False),
    ],
)
def test_origins(one: str, other: str, same: bool) -> None:
    assert (origin(one) == origin(other)) is same


@given(st.text(max_size=80))
def test_any_location_is_followed_or_refused(location: str) -> None:
    try:
        found = resolve(HERE, location, insecure=lambda _: False)
    except BadLocation:
        return
    parsed = parse_url(found)  # the other parser, which decides where the connection goes
    assert origin(found) == (parsed.scheme, (parsed.host or "").strip("[]"), parsed.port or 443)


@given(st.text("hps:/\\@?#.[]%ae1 ", max_size=40), st.sampled_from(["https://", "//", "http://", ""]))
def test_both_parsers_of_urls_find_the_same_host(rest: str, start: str) -> None:
    test_any_location_is_followed_or_refused.hypothesis.inner_test(start + rest)  # type: ignore[attr-defined]
