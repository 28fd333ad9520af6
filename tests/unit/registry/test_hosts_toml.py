"""containerd's hosts.toml: what it may say, and how the rest is refused."""

from pathlib import Path

import pytest

from pier.errors import Invalid
from pier.registry.certificates import Tls
from pier.registry.hosts_toml import OPS, Entry, parse
from pier.registry.proxies import Proxy

PATH = Path("/etc/containerd/certs.d/reg.corp/hosts.toml")
ALL = frozenset(OPS)


def entry(
    url: str = "",
    *,
    tls: Tls | None = None,
    skip: bool | None = None,
    headers: tuple[tuple[str, str], ...] = (),
    dial_s: float | None = None,
    proxy: Proxy | None = None,
) -> Entry:
    return Entry(url, ALL, tls or Tls(), skip, headers, proxy, dial_s)


def test_an_empty_file_is_the_registry_itself() -> None:
    assert parse("", PATH) == (entry(),)


def test_the_files_order_is_the_hosts() -> None:
    text = '[host."http://b".header]\nx = "1"\n[host."https://a"]\n[host."http://b"]\nca = "x"\n'
    assert [host.url for host in parse(text, PATH)] == ["http://b/v2", "https://a/v2", ""]


@pytest.mark.parametrize(
    ("server", "options", "expected"),
    [
        ("https://reg.corp", "", "https://reg.corp/v2"),
        ("reg.corp:5000", "", "https://reg.corp:5000/v2"),
        ("https://reg.corp/", "", "https://reg.corp/v2"),
        ("https://reg.corp/v2", "", "https://reg.corp/v2"),
        ("https://reg.corp/proxy", "", "https://reg.corp/proxy/v2"),
        ("https://reg.corp/v2/proxy/", "override_path = true", "https://reg.corp/v2/proxy"),
        ("https://reg.corp", "override_path = true", "https://reg.corp"),
        ("http://[::1]:5000", "", "http://[::1]:5000/v2"),
    ],
)
def test_where_the_api_begins(server: str, options: str, expected: str) -> None:
    assert parse(f'server = "{server}"\n{options}', PATH)[-1].url == expected


def test_files_are_relative_to_the_folder() -> None:
    folder = PATH.parent
    assert parse('ca = "ca.pem"\nclient = "me.pem"', PATH)[-1].tls == Tls(ca=(folder / "ca.pem",), client=((folder / "me.pem", folder / "me.pem"),))
    text = 'ca = ["/a", "b"]\nclient = ["/one", ["c", "/k"], ["d", ""]]'
    pairs = ((Path("/one"), Path("/one")), (folder / "c", Path("/k")), (folder / "d", folder / "d"))
    assert parse(text, PATH)[-1].tls == Tls(ca=(Path("/a"), folder / "b"), client=pairs)


def test_what_else_a_host_may_have() -> None:
    text = 'skip_verify = true\ndial_timeout = "1m0.5s"\nproxy = "socks5://p:9"\n[header]\na = "b"\nc = ["d", "e"]'
    expected = entry(tls=Tls(False), skip=True, dial_s=60.5, proxy=Proxy("socks5", "p", 9), headers=(("a", "b"), ("c", "d"), ("c", "e")))
    assert parse(text, PATH) == (expected,)


def test_capabilities() -> None:
    assert parse('capabilities = ["Pull", "resolve"]', PATH)[-1].capabilities == {"pull", "resolve"}
    assert parse("capabilities = []", PATH)[-1].capabilities == ALL


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server", "Expected '='"),
        ("server = 1", "server is a URL"),
        ("host = 1", "server is a URL, and host a table"),
        ('[host]\n"https://a" = 1', "host https://a: it is a table"),
        ('[host."https://a"]\nca_file = "x"', "host https://a: there is no field ca_file"),
        ('[host."ftp://a"]', "host ftp://a: ftp://a is not a URL such as"),
        ('[host."https://u:p@a"]', "is not a URL such as"),
        ('[host."https://a?b"]', "is not a URL such as"),
        ('[host."https://a/../b"]', "is not a URL such as"),
        ('[host."https://a/b c"]', "is not a URL such as"),
        ('server = "https://[a"', "is not a URL"),
        ('capabilities = "pull"', "capabilities is a list"),
        ('capabilities = ["fly"]', "unknown capability fly: there are pull, resolve, push"),
        ("skip_verify = 1", "skip_verify is true or false"),
        ('server = "https://a"\noverride_path = 1', "override_path is true or false"),
        ("ca = 1", "ca is a path or a list of paths"),
        ('ca = [""]', "ca is a path or a list of paths"),
        ("client = 1", "client is a path"),
        ('client = [["a"]]', "client is a path"),
        ('client = [["", "b"]]', "client is a path"),
        ("header = 1", "header is a table"),
        ('[header]\nx = "a\\nb"', "headers: the value of x"),
        ("[header]\nx = 1", "headers: the value of x"),
        ('dial_timeout = "soon"', 'dial_timeout is a duration such as "1s"'),
        ('dial_timeout = "0s"', "dial_timeout is a duration"),
        (f'dial_timeout = "{"9" * 400}h"', "at most an hour"),
        ("dial_timeout = 3", "dial_timeout is a duration"),
        ('proxy = "p:1"', "proxy is a URL"),
        ('proxy = "ftp://p:1"', "proxy: invalid proxy address"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(text, PATH)
    assert str(refused.value).startswith(f"{PATH}: ") and says in str(refused.value)
