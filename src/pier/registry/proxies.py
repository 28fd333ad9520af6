"""Which proxy stands between here and a URL: the rules of Go's net/http (golang.org/x/net/http/httpproxy), which Docker's users know. Pure.

Requests to loopback never go through a proxy. `no_proxy` is a list with commas; its entries: `*`, an address, a network (10.0.0.0/8), a
domain with all that is below it (example.com), only what is below it (.example.com or *.example.com); each but `*` and networks may end in :PORT.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit

from pier.errors import Invalid

SCHEMES = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}  # with the port that is meant where none is said
MASK = "xxxxx"  # Docker's, for user and password


@dataclass(frozen=True)
class Proxies:
    """Proxies as they are configured, by the scheme of what is asked; "" is none. The URLs may hold credentials: repr shows neither."""

    http: str = field(default="", repr=False)
    https: str = field(default="", repr=False)
    no_proxy: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Proxies":
        """HTTP_PROXY, HTTPS_PROXY and NO_PROXY, or the same in lower case where those are empty. Raises Invalid with the variable's name."""

        def value(name: str) -> str:
            return environ.get(name, "") or environ.get(name.lower(), "")

        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            if value(name):
                parse(value(name), name)
        return cls(value("HTTP_PROXY"), value("HTTPS_PROXY"), value("NO_PROXY"))

    def over(self, other: "Proxies") -> "Proxies":
        """Itself, with what it leaves open from `other`."""
        return Proxies(self.http or other.http, self.https or other.https, self.no_proxy or other.no_proxy)


@dataclass(frozen=True)
class Proxy:
    """A proxy to use. `scheme` is http, https, socks5 or socks5h; with both of SOCKS the proxy resolves names, as Go does. `host` has no brackets."""

    scheme: str
    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """Without credentials: fit for logs and errors."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse(text: str, option: str) -> Proxy:
    """What a proxy's URL means; without a scheme it is http. Raises Invalid that names the option and never the URL's credentials."""
    try:
        parts = _split(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Invalid(f"{option}: invalid proxy address {masked(text)!r}: {error}") from None
    if parts.scheme not in SCHEMES:
        raise Invalid(f"{option}: invalid proxy address {masked(text)!r}: the scheme is one of {', '.join(SCHEMES)}")
    if not host or any(c <= " " for c in text) or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Invalid(f"{option}: invalid proxy address {masked(text)!r}: it is SCHEME://[USER:PASSWORD@]HOST[:PORT]")
    return Proxy(parts.scheme, host, port or SCHEMES[parts.scheme], unquote(parts.username or ""), unquote(parts.password or ""))


def masked(text: str) -> str:
    """The URL of a proxy with user and password replaced, as `docker info` shows it; as it is where it has none."""
    start, at, rest = text.rpartition("@")
    if not at:
        return text
    scheme = start.partition("://")[0] + "://" if "://" in start else ""
    return f"{scheme}{MASK}:{MASK}@{rest}"


def proxy_for(url: str, proxies: Proxies) -> Proxy | None:
    """The proxy for a request to `url`; None where it goes straight there. Raises Invalid for a proxy that `parse` refuses."""
    if not (proxies.http or proxies.https):
        return None
    parts = urlsplit(url)
    chosen = proxies.https if parts.scheme == "https" else proxies.http
    host = (parts.hostname or "").rstrip(".")
    if not chosen or not host or bypasses(host, parts.port or SCHEMES.get(parts.scheme, 0), proxies.no_proxy):
        return None
    return parse(chosen, f"{parts.scheme}-proxy")


def bypasses(host: str, port: int, no_proxy: str) -> bool:
    """Whether NO_PROXY, or being loopback, takes a host (lower case, no brackets) past the proxy."""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(entry.strip().lower(), host, port, address) for entry in no_proxy.split(","))


def _matches(entry: str, host: str, port: int, address: IPv4Address | IPv6Address | None) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return address is not None and address in ip_network(entry, strict=False)
        except ValueError:
            return False
    name, wanted_port = _host_and_port(entry)
    if not name or wanted_port not in ("", str(port)):
        return False
    wanted = _address(name)
    if wanted is not None or address is not None:
        return wanted == address
    below = name.removeprefix("*")
    return host.endswith(below) if below.startswith(".") else host == below or host.endswith(f".{below}")


def _host_and_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, rest.removeprefix(":")
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, port
    return entry, ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _split(text: str) -> SplitResult:
    return urlsplit(text if "://" in text else f"http://{text}")
