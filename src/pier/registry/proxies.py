"""Which proxy stands between here and a URL: the rules of Go's net/http, which Docker's users know. Pure.

Requests to loopback never go through a proxy. `no_proxy` is a list with commas: `*`, an address, a network (10.0.0.0/8), a domain with all below it
(example.com), only what is below it (.example.com), each but `*` and networks with an optional :PORT.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Proxies:
    """Proxies as they are configured; the URLs may carry credentials, so repr shows none of them."""

    http: str = field(default="", repr=False)
    https: str = field(default="", repr=False)
    no_proxy: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Proxies":
        """HTTP_PROXY, HTTPS_PROXY and NO_PROXY; upper case wins over lower, as in Go."""

        def value(name: str) -> str:
            return environ.get(name, "") or environ.get(name.lower(), "")

        return cls(value("HTTP_PROXY"), value("HTTPS_PROXY"), value("NO_PROXY"))


@dataclass(frozen=True)
class Proxy:
    """A proxy to use: `scheme` is http, https, socks5 or socks5h (the proxy resolves names); credentials are not in `url` and not in repr."""

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


def proxy_for(url: str, proxies: Proxies) -> Proxy | None:
    """The proxy for a request to `url`, None where it goes straight there. Raises Invalid for a proxy that cannot be understood."""
    if not (proxies.http or proxies.https):
        return None
    raise NotImplementedError(urlsplit(url))
