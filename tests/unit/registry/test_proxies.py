"""Which proxy stands between here and a URL, as Go's net/http decides; and credentials that nobody sees."""

import pytest

from pier.errors import Invalid
from pier.registry.proxies import Proxies, Proxy, bypasses, masked, parse, proxy_for

BOTH = Proxies("http://plain:3128", "http://tls:3128")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://proxy:3128", Proxy("http", "proxy", 3128)),
        ("proxy:3128", Proxy("http", "proxy", 3128)),
        ("proxy", Proxy("http", "proxy", 80)),
        ("https://proxy/", Proxy("https", "proxy", 443)),
        ("socks5://10.0.0.1", Proxy("socks5", "10.0.0.1", 1080)),
        ("socks5h://[::1]:9050", Proxy("socks5h", "::1", 9050)),
        ("http://user:p%40ss@proxy:1", Proxy("http", "proxy", 1, "user", "p@ss")),
    ],
)
def test_what_a_proxy_is(text: str, expected: Proxy) -> None:
    assert parse(text, "http-proxy") == expected


@pytest.mark.parametrize(
    "text",
    [
        "ftp://u:secret@proxy",
        "http://",
        "http://u:secret@",
        "http://u:secret@proxy:x",
        "http://u:secret@proxy/path",
        "http://u:secret@p?q",
        "http://u:secret@p y",
        "socks4://p",
    ],
)
def test_what_is_no_proxy_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(Invalid, match="https-proxy: invalid proxy address") as refused:
        parse(text, "https-proxy")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("http://proxy:3128", "http://proxy:3128"),
        ("http://user:secret@proxy:3128", "http://xxxxx:xxxxx@proxy:3128"),
        ("http://user@proxy:3128", "http://xxxxx:xxxxx@proxy:3128"),
        ("user:secret@proxy:3128", "xxxxx:xxxxx@proxy:3128"),
        ("http://user:se@cret@proxy", "http://xxxxx:xxxxx@proxy"),
    ],
)
def test_info_shows_no_credentials(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_nothing_prints_credentials() -> None:
    proxy = parse("http://user:secret@proxy:3128", "http-proxy")
    assert not {"user", "secret"} & set(repr(proxy).replace("'", " ").split()) and proxy.url == "http://proxy:3128"
    assert "secret" not in repr(Proxies("http://user:secret@proxy", "http://user:secret@proxy"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://reg.corp/v2/", "plain"),
        ("https://reg.corp/v2/", "tls"),
        ("https://reg.corp:5000/v2/", "tls"),
        ("https://127.0.0.1:5000/v2/", None),
        ("https://127.3.2.1/v2/", None),
        ("https://[::1]:5000/v2/", None),
        ("https://localhost:5000/v2/", None),
        ("https://LOCALHOST:5000/v2/", None),
        ("https://10.0.0.1/v2/", "tls"),
    ],
)
def test_the_proxy_is_that_of_the_scheme_and_loopback_needs_none(url: str, expected: str | None) -> None:
    found = proxy_for(url, BOTH)
    assert (found.host if found else None) == expected


def test_one_scheme_without_a_proxy() -> None:
    assert proxy_for("https://reg.corp", Proxies(http="http://p")) is None
    assert proxy_for("http://reg.corp", Proxies(https="http://p")) is None
    assert proxy_for("http://reg.corp", Proxies()) is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "expected"),
    [
        ("*", "reg.corp", 443, True),
        ("a.b, *", "10.0.0.1", 443, True),
        ("reg.corp", "reg.corp", 443, True),
        ("REG.corp ", "reg.corp", 443, True),
        ("reg.corp", "a.reg.corp", 443, True),
        ("reg.corp", "areg.corp", 443, False),
        (".reg.corp", "a.reg.corp", 443, True),
        (".reg.corp", "reg.corp", 443, False),
        ("*.reg.corp", "a.reg.corp", 443, True),
        ("*.reg.corp", "reg.corp", 443, False),
        ("reg.corp:443", "reg.corp", 443, True),
        ("reg.corp:443", "reg.corp", 5000, False),
        ("10.0.0.1", "10.0.0.1", 443, True),
        ("10.0.0.1:5000", "10.0.0.1", 443, False),
        ("10.0.0.1", "10.0.0.12", 443, False),
        ("10.0.0.0/8", "10.200.0.1", 443, True),
        ("10.1.2.3/8", "10.200.0.1", 443, True),
        ("10.0.0.0/8", "11.0.0.1", 443, False),
        ("10.0.0.0/8", "reg.corp", 443, False),
        ("2001:db8::/32", "2001:db8::1", 443, True),
        ("2001:db8::1", "2001:db8:0::1", 443, True),
        ("[2001:db8::1]:443", "2001:db8::1", 443, True),
        ("[2001:db8::1]:443", "2001:db8::1", 5000, False),
        ("0.1", "10.0.0.1", 443, False),
        (",, ,:80,/8", "reg.corp", 443, False),
        ("", "reg.corp", 443, False),
    ],
)
def test_no_proxy_as_go_reads_it(no_proxy: str, host: str, port: int, expected: bool) -> None:
    assert bypasses(host, port, no_proxy) is expected


def test_the_environment_in_both_cases() -> None:
    found = Proxies.from_environment(
        {"http_proxy": "http://low", "HTTPS_PROXY": "http://up", "https_proxy": "http://low", "no_proxy": "a", "NO_PROXY": ""}
    )
    assert found == Proxies("http://low", "http://up", "a")
    assert Proxies(https="http://flag").over(found) == Proxies("http://low", "http://flag", "a")
    with pytest.raises(Invalid, match="HTTPS_PROXY: invalid proxy address"):
        Proxies.from_environment({"https_proxy": "ftp://x"})
