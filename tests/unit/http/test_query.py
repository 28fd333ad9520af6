"""Query parameters with Docker's rules."""

import pytest

from pier.errors import Internal, Invalid
from pier.http.origin import is_foreign, is_malformed, refusal
from pier.http.query import Query


@pytest.mark.parametrize("value", ["", "0", "no", "false", "FALSE", "none", " No "])
def test_false_words(value: str) -> None:
    assert Query(f"all={value.replace(' ', '%20')}").bool_("all", True) is False


@pytest.mark.parametrize("value", ["1", "true", "yes", "anything"])
def test_everything_else_is_true(value: str) -> None:
    assert Query(f"all={value}").bool_("all") is True


def test_a_missing_flag_is_the_default() -> None:
    assert Query("").bool_("quiet", True) is True
    assert Query("").bool_("quiet") is False


def test_numbers_fail_as_strconv_does() -> None:
    assert Query("t=-1").int_("t") == -1
    assert Query("t=").int_("t", 7) == 7
    with pytest.raises(Internal, match=r'^strconv\.Atoi: parsing "abc": invalid syntax$'):
        Query("t=abc").int_("t")
    with pytest.raises(Internal, match=r"value out of range$"):
        Query("t=" + "9" * 5000).int_("t")
    with pytest.raises(Internal, match=r'^strconv\.ParseInt: parsing "99999999999999999999": value out of range$'):
        Query("t=99999999999999999999").int_("t", parser="ParseInt")


def test_filters_come_in_two_forms() -> None:
    assert Query("filters=%7B%22a%22%3A%5B%22b%22%5D%7D").filters() == {"a": ["b"]}
    assert Query("filters=%7B%22a%22%3A%7B%22b%22%3Atrue%2C%22c%22%3Afalse%7D%7D").filters() == {"a": ["b", "c"]}
    assert Query("filters=%7B%7D").filters() == {}
    assert Query("").filters() == {}


@pytest.mark.parametrize("text", ["zz", "%5B%5D", "%7B%22a%22%3A1%7D", "%7B%22a%22%3A%22b%22%7D"])
def test_other_filters_are_invalid(text: str) -> None:
    with pytest.raises(Invalid, match=r"^invalid filter$"):
        Query(f"filters={text}").filters()


def test_a_wrong_escape_is_refused() -> None:
    with pytest.raises(Invalid, match='invalid URL escape "%zz"'):
        Query("a=%zz")


@pytest.mark.parametrize(
    "host", ["", "docker", "localhost", "localhost:2375", "d", "api.moby.localhost", "127.0.0.1:99", "%2Fvar%2Frun%2Fdocker.sock", "[::1]:1", "v1.44"]
)
def test_hosts_of_clients(host: str) -> None:
    assert not is_foreign(host)
    assert not is_malformed(host)


@pytest.mark.parametrize("host", ["/var/run/docker.sock", "%2frun%2Fpier.sock", "my_host", "a.", "[fe80::1%25eth0]:80", "[::1]", "xn--e1a.localhost"])
def test_hosts_that_are_as_good(host: str) -> None:
    assert not is_malformed(host)


@pytest.mark.parametrize(
    "host",
    ["a b", "a,b", "evil.com:80:80", "evil.com:x", "evil.com:", "a@b", "http://evil.com", "evil.com/x", "a%00b", ".", "..", "a..b", ":80",
     "[::1", "::1", "a:٢", "ä", "[evil.com]", "[x]:1"],
)  # fmt: skip
def test_hosts_that_nobody_sends(host: str) -> None:
    assert is_malformed(host)


@pytest.mark.parametrize("host", ["example.com", "a.localhost.example.com:80", "pier.internal", "example.com."])
def test_hosts_that_dns_could_have_rebound(host: str) -> None:
    assert is_foreign(host)


def test_origins() -> None:
    assert not refusal({"host": "localhost:8080", "origin": "http://localhost:8080"})
    assert refusal({"host": "localhost:8080", "origin": "http://localhost:9090"})
    assert refusal({"host": "localhost", "sec-fetch-site": "cross-site"})
    assert not refusal({"host": "localhost", "sec-fetch-site": "same-origin"})
