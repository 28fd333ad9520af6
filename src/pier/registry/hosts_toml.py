"""containerd's hosts.toml: which hosts serve a registry (its docs/hosts.md). Paths in it are relative to its folder.

    server = "https://registry.example.com"         the registry itself, asked last; without it, what images call it
    [host."https://mirror.example.com"]             asked before, in the file's order; both take these:
      capabilities = ["pull", "resolve", "push"]    ca = PATH | [PATH, ...]    client = PATH | [PATH | [CERT, KEY], ...]
      skip_verify = false    override_path = false  proxy = URL    dial_timeout = "1s"    [host."...".header] NAME = VALUE | [VALUE, ...]

What is not among these is refused by its name: a mirror that is left out in silence is found out too late.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

from pier.errors import Invalid
from pier.registry.certificates import Tls
from pier.registry.config import header, is_host
from pier.registry.proxies import Proxy
from pier.registry.proxies import parse as parse_proxy

FILE = "hosts.toml"
MAX_DIAL_S = 3600.0
Op = Literal["pull", "resolve", "push"]
OPS: tuple[Op, ...] = ("pull", "resolve", "push")
_FIELDS = frozenset({"capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout", "proxy"})
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")


@dataclass(frozen=True)
class Entry:
    """One host of a file. `url` is the root of its API, "" for a server that the file does not name; `skip_verify` None where it says nothing."""

    url: str
    capabilities: frozenset[Op]
    tls: Tls
    skip_verify: bool | None
    headers: tuple[tuple[str, str], ...]
    proxy: Proxy | None
    dial_s: float | None


def parse(text: str, path: Path) -> tuple[Entry, ...]:
    """The hosts of a file in the order in which they are asked, the server last. Raises Invalid that names file, host and field."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path}: {error}") from None
    try:
        tables = document.pop("host", {})
        server = document.pop("server", "")
        if not isinstance(tables, dict) or not isinstance(server, str):
            raise Invalid("server is a URL, and host a table for each URL")
        entries = [_named(url, table, path.parent) for url, table in tables.items()]
        return (*entries, _entry(_url(server, document) if server else "", document, path.parent))
    except Invalid as error:
        raise Invalid(f"{path}: {error}") from None


def _named(url: str, table: object, folder: Path) -> Entry:
    try:
        if not isinstance(table, dict):
            raise Invalid("it is a table")
        return _entry(_url(url, table), table, folder)
    except Invalid as error:
        raise Invalid(f"host {url}: {error}") from None


def _entry(url: str, table: Mapping[str, Any], folder: Path) -> Entry:
    if unknown := sorted(set(table) - _FIELDS):
        raise Invalid(f"there is no field {', '.join(unknown)}")
    skip = table.get("skip_verify")
    if skip is not None and not isinstance(skip, bool):
        raise Invalid("skip_verify is true or false")
    proxy = table.get("proxy", "")
    if not isinstance(proxy, str) or (proxy and "://" not in proxy):
        raise Invalid("proxy is a URL")
    return Entry(
        url,
        _capabilities(table.get("capabilities", [])),
        Tls(not skip, _authorities(table.get("ca", []), folder), _clients(table.get("client", []), folder)),
        skip,
        _headers(table.get("header", {})),
        parse_proxy(proxy, "proxy") if proxy else None,
        _seconds(table.get("dial_timeout", "")),
    )


def _url(text: str, table: Mapping[str, Any]) -> str:
    """The root of the API: as the URL says with override_path, else with /v2 at the end."""
    override = table.get("override_path", False)
    if not isinstance(override, bool):
        raise Invalid("override_path is true or false")
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError:
        raise Invalid(f"{text} is not a URL") from None
    if parts.scheme not in ("http", "https") or not is_host(parts.netloc) or parts.query or parts.fragment:
        raise Invalid(f"{text} is not a URL such as https://registry.example.com:5000")
    path = str(PurePosixPath("/" + parts.path.strip("/"))).rstrip("/")
    if ".." in path.split("/") or any(c <= " " for c in path):
        raise Invalid(f"{text} is not a URL such as https://registry.example.com:5000")
    if not override and not path.endswith("/v2"):
        path += "/v2"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _capabilities(value: object) -> frozenset[Op]:
    if not isinstance(value, list):
        raise Invalid("capabilities is a list")
    said = {str(word).lower() for word in value}
    if unknown := sorted(said - set(OPS)):
        raise Invalid(f"unknown capability {', '.join(unknown)}: there are {', '.join(OPS)}")
    return frozenset(op for op in OPS if op in said or not said)


def _authorities(value: object, folder: Path) -> tuple[Path, ...]:
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
        raise Invalid("ca is a path or a list of paths")
    return tuple(folder / path for path in paths)


def _clients(value: object, folder: Path) -> tuple[tuple[Path, Path], ...]:
    pairs = []
    for item in [value] if isinstance(value, str) else value if isinstance(value, list) else [0]:
        match item:
            case str() if item:
                pairs.append((folder / item, folder / item))
            case [str() as cert, str() as key] if cert:
                pairs.append((folder / cert, folder / (key or cert)))
            case _:
                raise Invalid("client is a path, or a list of paths and of pairs of certificate and key")
    return tuple(pairs)


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise Invalid("header is a table")
    return tuple(header(name, text) for name, texts in value.items() for text in (texts if isinstance(texts, list) else [texts]))


def _seconds(value: object) -> float | None:
    if value == "":
        return None
    parts = _PART.findall(value) if isinstance(value, str) and _DURATION.fullmatch(value) else []
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not 0 < seconds <= MAX_DIAL_S:
        raise Invalid('dial_timeout is a duration such as "1s", at most an hour')
    return seconds
