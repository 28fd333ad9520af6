"""Whatever stands in a configuration, it is understood or refused in words: nothing else is raised, and no password is told."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier.errors import Invalid
from pier.registry import config, hosts_toml, proxies
from pier.registry.hosts import hosts
from tests.unit.registry.test_hosts_toml import PATH

NOWHERE = config.RegistryConfig(certs_folders=(), hosts_folders=())
PIECES = [
    "http",
    "https",
    "socks5",
    "://",
    ":",
    "/",
    "@",
    "[",
    "]",
    "::1",
    "127.0.0.1",
    "a.b",
    "5000",
    "99999",
    "?",
    "#",
    " ",
    "%40",
    "\n",
    "é",
    "*",
    ".",
    ",",
    "-",
    "8",
]
TEXTS = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
VALUES = st.recursive(st.one_of(st.booleans(), st.integers(-1, 3), TEXTS), lambda v: st.lists(v, max_size=3), max_leaves=5)


@given(TEXTS)
def test_urls_and_names(text: str) -> None:
    for check in (config.mirror, config.insecure_registry, lambda text: proxies.parse(text, "http-proxy"), lambda text: hosts(text, NOWHERE, "pull")):
        with contextlib.suppress(Invalid):
            check(text)
    assert config.is_host(text) is config.is_host(text.replace("\n", "")) or "\n" in text


@given(st.from_regex(config._NAME, fullmatch=True), TEXTS)
def test_no_proxy(host: str, no_proxy: str) -> None:
    assert proxies.bypasses(host, 443, no_proxy) in (True, False)
    assert proxies.bypasses(host, 443, f"{no_proxy},*")


@given(st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters="@/?#[]:"), min_size=8, max_size=20), TEXTS)
def test_a_password_is_masked_whether_the_url_is_one_or_not(password: str, rest: str) -> None:
    text = f"http://bob:{password}@{rest}"
    if password in rest:
        return
    assert password not in proxies.masked(text)
    try:
        assert password not in repr(proxies.parse(text, "http-proxy"))
    except Invalid as error:
        assert password not in str(error)


@given(st.dictionaries(st.sampled_from(["mirrors", "insecure", "ca", "client-cert", "client-key", "headers", "x"]), VALUES, max_size=4))
def test_rows_of_the_table(row: dict[str, object]) -> None:
    with contextlib.suppress(Invalid):
        config.table({"reg.corp": row})


@given(st.dictionaries(st.sampled_from([*sorted(hosts_toml._FIELDS), "server", "host", "x"]), VALUES, max_size=5))
def test_hosts_toml(fields: dict[str, object]) -> None:
    text = "".join(f"{name} = {_toml(value)}\n" for name, value in fields.items())
    try:
        assert hosts_toml.parse(text, PATH)
    except Invalid as error:
        assert str(error).startswith(f"{PATH}: ")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" if not 0xD800 <= ord(c) < 0xE000 else "?" for c in value) + '"'
    return str(value)


@pytest.mark.parametrize("text", ["a\n", "a:5000\n", "[::1]\n"])
def test_a_name_has_no_line_end(text: str) -> None:
    assert not config.is_host(text)
