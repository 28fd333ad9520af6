"""What is configured about registries: values of daemon.json, checked here when they come in. Pure; folders are read by hosts.py.

`RegistryConfig()` is what holds where nothing is configured: Docker Hub and every other registry by HTTPS, loopback without.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from pier.errors import Invalid
from pier.registry.proxies import Proxies

Network = IPv4Network | IPv6Network

HUB = "docker.io"  # what the registry with the empty domain (pier.oci.reference) is called in configuration and to users
HUB_HOST = "registry-1.docker.io"  # where it lives
HUB_NAMES = frozenset({"", HUB, "index.docker.io", HUB_HOST})
LOOPBACK: tuple[Network, ...] = (ip_network("::1/128"), ip_network("127.0.0.0/8"))
DEFAULT_DOWNLOADS = 3
DEFAULT_UPLOADS = 5
DEFAULT_ATTEMPTS = 5
DEFAULT_RANGE_BYTES = 64 << 20
DOCKER_CERTS = Path("/etc/docker/certs.d")
CONTAINERD_HOSTS = Path("/etc/containerd/certs.d")
OWN_HOSTS = Path("/etc/pier/certs.d")

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_NAME = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::([0-9]{{1,5}}))?")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5
_OWN_FIELDS = frozenset({"host", "content-length", "transfer-encoding", "connection", "range"})  # the client's own to say


@dataclass(frozen=True)
class RegistryOptions:
    """A row of the table `registries`: what holds for one registry. `mirrors` are URLs without a slash at the end, asked in this order before it."""

    mirrors: tuple[str, ...] = ()
    insecure: bool = False
    ca: str = ""
    client_cert: str = ""
    client_key: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class RegistryConfig:
    """Everything that `hosts` decides by, and how much is fetched at once (all at least 1).

    `mirrors` (URLs without a slash at the end) are Hub's; `insecure` are HOST or HOST:PORT, `insecure_networks` without loopback, which always
    is; keys of `registries` are HOST or HOST:PORT, with "docker.io" for Hub. Of `hosts_folders` the last that knows a registry counts.
    `range_bytes`: larger layers are fetched in several ranges at once; 0: none is.
    """

    mirrors: tuple[str, ...] = ()
    insecure: frozenset[str] = frozenset()
    insecure_networks: tuple[Network, ...] = ()
    registries: Mapping[str, RegistryOptions] = field(default_factory=dict)
    certs_folders: tuple[Path, ...] = (DOCKER_CERTS,)
    hosts_folders: tuple[Path, ...] = (CONTAINERD_HOSTS, OWN_HOSTS)
    proxies: Proxies = field(default_factory=Proxies)
    max_downloads: int = DEFAULT_DOWNLOADS
    max_uploads: int = DEFAULT_UPLOADS
    max_attempts: int = DEFAULT_ATTEMPTS
    keep_compressed: bool = True
    push_compression: str = "gzip"  # of layers that have no compressed form yet: gzip or zstd
    range_bytes: int = DEFAULT_RANGE_BYTES


def mirror(text: str) -> str:
    """The URL of a mirror without the slash at its end. Raises Invalid in Docker's words."""
    scheme, separator, _ = text.partition("://")
    if not separator or not scheme:
        raise Invalid(f"invalid mirror: no scheme specified for {text!r}: must use either 'https://' or 'http://'")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Invalid(f"invalid mirror: {text!r} is not a valid URI") from None
    if parts.scheme not in ("http", "https"):
        raise Invalid(f"invalid mirror: unsupported scheme {parts.scheme!r} in {text!r}: must use either 'https://' or 'http://'")
    if "?" in text or "#" in text:
        raise Invalid(f"invalid mirror: query or fragment at end of the URI {text!r}")
    if parts.username is not None:
        raise Invalid(f"invalid mirror: username/password not allowed in URI '{scheme}://{parts.username}:xxxxx@{parts.netloc.rpartition('@')[2]}'")
    if port == 0 or not is_host(parts.netloc) or any(c <= " " or c == "\x7f" for c in text):
        raise Invalid(f"invalid mirror: {text!r} is not a valid URI")
    return text.rstrip("/")


def is_host(text: str) -> bool:
    """Whether a text is HOST or HOST:PORT, the host a name, an IPv4 address or an IPv6 address in brackets."""
    found = _NAME.fullmatch(text)
    if not found or int(found[1] or 0) > 65535:
        return False
    if text.startswith("["):
        try:
            ip_address(text[1:].partition("]")[0])
        except ValueError:
            return False
    return True


def insecure_registry(text: str) -> str | Network:
    """What an entry of `insecure-registries` means: HOST[:PORT] as images name it, or a network. Raises Invalid in Docker's words.

    http:// and https:// in front are taken off, as Docker does; a bare IPv6 address is understood, too.
    """
    if text.startswith("-") or text.endswith("-"):
        raise Invalid(f"invalid index name ({text}). Cannot begin or end with a hyphen")
    scheme, separator, host = text.partition("://")
    if separator and scheme.lower() not in ("http", "https"):
        raise Invalid(f"insecure registry {text} should not contain '://'")
    name = host if separator else text
    if "/" in name:
        try:
            return ip_network(name, strict=False)
        except ValueError:
            raise Invalid(f"insecure registry {text} is not valid: invalid host {name!r}") from None
    try:
        name = f"[{name}]" if ip_address(name).version == 6 else name
    except ValueError:
        if not is_host(name):
            raise Invalid(f"insecure registry {text} is not valid: invalid host {name!r}") from None
    if name in HUB_NAMES:
        raise Invalid(f"insecure registry {text} is not valid: Docker Hub is always asked by verified HTTPS")
    return name


def table(rows: Mapping[str, Mapping[str, object]]) -> dict[str, RegistryOptions]:
    """The table `registries` of daemon.json. Raises Invalid, naming registry and field."""
    found = {}
    for name, row in rows.items():
        if not is_host(name):
            raise Invalid(f"{name}: a registry is HOST or HOST:PORT, as images name it")
        key = HUB if name in HUB_NAMES else name
        if key in found:
            raise Invalid(f"{name}: it is Docker Hub, which is there already: say {HUB} once")
        found[key] = _row(name, row)
    return found


def _row(name: str, row: Mapping[str, object]) -> RegistryOptions:
    if unknown := sorted(set(row) - {"mirrors", "insecure", "ca", "client-cert", "client-key", "headers"}):
        raise Invalid(f"{name}: there is no field {', '.join(unknown)}: there are mirrors, insecure, ca, client-cert, client-key, headers")
    insecure = row.get("insecure", False)
    if not isinstance(insecure, bool):
        raise Invalid(f"{name}: insecure: it is true or false")
    if insecure and name in HUB_NAMES:
        raise Invalid(f"{name}: insecure: Docker Hub is always asked by verified HTTPS")
    try:
        mirrors = tuple(dict.fromkeys(mirror(text) for text in _texts(row.get("mirrors", []))))
        headers = tuple(header(key, value) for key, value in _pairs(row.get("headers", {})))
        ca, cert, key = (_file(row, option) for option in ("ca", "client-cert", "client-key"))
    except Invalid as error:
        raise Invalid(f"{name}: {error}") from None
    if key and not cert:
        raise Invalid(f"{name}: client-key: without client-cert it is of no use")
    return RegistryOptions(mirrors, insecure, ca, cert, key or cert, headers)


def header(name: str, value: object) -> tuple[str, str]:
    """A field to send with every request. Raises Invalid for what is no field, or the client's own to say."""
    if not _FIELD_NAME.fullmatch(name) or name.lower() in _OWN_FIELDS:
        raise Invalid(f"headers: {name!r} cannot be set")
    if not isinstance(value, str) or not _FIELD_VALUE.fullmatch(value):
        raise Invalid(f"headers: the value of {name} is not a text of printable characters")
    return name, value


def _texts(value: object) -> Sequence[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Invalid("mirrors: it is a list of URLs")
    return value


def _pairs(value: object) -> Sequence[tuple[str, object]]:
    if not isinstance(value, dict):
        raise Invalid("headers: it is an object of names and values")
    return list(value.items())


def _file(row: Mapping[str, object], option: str) -> str:
    value = row.get(option, "")
    if not isinstance(value, str) or (value and not value.startswith("/")):
        raise Invalid(f"{option}: it is the absolute path of a PEM file")
    return value
