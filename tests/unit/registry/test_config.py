"""What daemon.json may say of registries, and how it is refused."""

from ipaddress import ip_network

import pytest

from pier.errors import Invalid
from pier.registry.config import RegistryConfig, RegistryOptions, header, insecure_registry, mirror, table


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://mirror.corp", "https://mirror.corp"),
        ("https://mirror.corp/", "https://mirror.corp"),
        ("http://127.0.0.1:5000/hub/", "http://127.0.0.1:5000/hub"),
        ("http://[2001:db8::1]:5000", "http://[2001:db8::1]:5000"),
    ],
)
def test_mirrors(text: str, expected: str) -> None:
    assert mirror(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mirror.corp", "invalid mirror: no scheme specified for 'mirror.corp': must use either 'https://' or 'http://'"),
        ("mirror.corp:5000", "no scheme specified"),
        ("://mirror.corp", "no scheme specified"),
        ("ftp://mirror.corp", "invalid mirror: unsupported scheme 'ftp' in 'ftp://mirror.corp': must use either 'https://' or 'http://'"),
        ("https://mirror.corp?a=b", "invalid mirror: query or fragment at end of the URI"),
        ("https://mirror.corp/#a", "invalid mirror: query or fragment at end of the URI"),
        ("https://u:secret@mirror.corp", "invalid mirror: username/password not allowed in URI 'https://u:xxxxx@mirror.corp'"),
        ("https://", "is not a valid URI"),
        ("https://mirror.corp:x", "is not a valid URI"),
        ("https://mirror.corp:70000", "is not a valid URI"),
        ("https://mir ror", "is not a valid URI"),
        ("https://mirror/a b", "is not a valid URI"),
        ("https://[::1", "is not a valid URI"),
    ],
)
def test_mirrors_are_refused_in_dockers_words(text: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        mirror(text)
    assert says in str(refused.value) and "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reg.corp:5000", "reg.corp:5000"),
        ("http://reg.corp", "reg.corp"),
        ("HTTPS://reg.corp", "reg.corp"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("[2001:db8::1]:5000", "[2001:db8::1]:5000"),
        ("10.1.2.3/8", ip_network("10.0.0.0/8")),
        ("2001:db8::/32", ip_network("2001:db8::/32")),
    ],
)
def test_insecure_registries(text: str, expected: object) -> None:
    assert insecure_registry(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-reg", "invalid index name (-reg). Cannot begin or end with a hyphen"),
        ("reg-", "Cannot begin or end with a hyphen"),
        ("ftp://reg", "insecure registry ftp://reg should not contain '://'"),
        ("reg.corp/path", "insecure registry reg.corp/path is not valid: invalid host 'reg.corp/path'"),
        ("10.0.0.0/33", "invalid host '10.0.0.0/33'"),
        ("reg_.corp", "invalid host 'reg_.corp'"),
        ("reg.corp:99999", "invalid host"),
        ("", "invalid host"),
        ("docker.io", "Docker Hub is always asked by verified HTTPS"),
    ],
)
def test_insecure_registries_are_refused(text: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        insecure_registry(text)
    assert says in str(refused.value)


def test_the_table() -> None:
    found = table(
        {
            "reg.corp:5000": {"mirrors": ["https://m/", "https://m"], "insecure": True, "ca": "/ca", "client-cert": "/c", "headers": {"X-A": "b"}},
            "index.docker.io": {},
        }
    )
    assert found == {
        "reg.corp:5000": RegistryOptions(("https://m",), True, "/ca", "/c", "/c", (("X-A", "b"),)),
        "docker.io": RegistryOptions(),
    }
    assert "X-A" not in repr(found)


@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("a/b", {}, "a/b: a registry is HOST or HOST:PORT"),
        ("reg", {"mirror": []}, "reg: there is no field mirror"),
        ("reg", {"insecure": "yes"}, "reg: insecure: it is true or false"),
        ("docker.io", {"insecure": True}, "docker.io: insecure: Docker Hub is always asked by verified HTTPS"),
        ("reg", {"mirrors": "https://m"}, "reg: mirrors: it is a list of URLs"),
        ("reg", {"mirrors": [1]}, "reg: mirrors: it is a list of URLs"),
        ("reg", {"mirrors": ["m"]}, "reg: invalid mirror: no scheme"),
        ("reg", {"ca": "ca.pem"}, "reg: ca: it is the absolute path of a PEM file"),
        ("reg", {"client-cert": 1}, "reg: client-cert: it is the absolute path"),
        ("reg", {"client-key": "/k"}, "reg: client-key: without client-cert it is of no use"),
        ("reg", {"headers": ["a"]}, "reg: headers: it is an object"),
        ("reg", {"headers": {"X": 1}}, "reg: headers: the value of X"),
    ],
)
def test_rows_are_refused_by_registry_and_field(name: str, row: dict[str, object], says: str) -> None:
    with pytest.raises(Invalid) as refused:
        table({name: row})
    assert says in str(refused.value)


def test_hub_has_one_row() -> None:
    with pytest.raises(Invalid, match=r"say docker\.io once"):
        table({"docker.io": {}, "index.docker.io": {}})


@pytest.mark.parametrize(
    ("name", "value"), [("X\r\nY", "a"), ("", "a"), ("X Y", "a"), ("Host", "a"), ("Content-Length", "1"), ("X", "a\r\nY: b"), ("X", "a\0")]
)
def test_headers_cannot_smuggle(name: str, value: str) -> None:
    with pytest.raises(Invalid, match="headers: "):
        header(name, value)


def test_the_configuration_prints_no_secret() -> None:
    assert "secret" not in repr(RegistryConfig(registries={"reg": RegistryOptions(headers=(("Authorization", "secret"),))}))
