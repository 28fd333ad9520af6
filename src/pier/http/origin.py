"""Who may talk to the API: not a web page. A browser that reaches the socket through a proxy or a rebound name is refused.

Clients of a UNIX socket send what they like as Host (`localhost`, `docker`, `d`, `api.moby.localhost`, an escaped path);
a name that public DNS could resolve is none of theirs.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit


def refusal(headers: Mapping[str, str]) -> str:
    """Why a request with these headers (names in lower case) is refused; empty when it is not."""
    host = headers.get("host", "")
    if is_foreign(host):
        return f"Host {host!r} is not this daemon: requests of web pages are refused"
    origin = headers.get("origin")
    if origin is not None and (origin == "null" or urlsplit(origin).netloc.lower() != host.lower()):
        return f"Origin {origin!r} is foreign: requests of web pages are refused"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return "Sec-Fetch-Site is foreign: requests of web pages are refused"
    return ""


def is_foreign(host: str) -> bool:
    """Whether a Host header names something that DNS could have rebound to us: two labels or more, not under `localhost`.

    A last label that begins with a digit is no top-level domain (`127.0.0.1`, `v1.44`), an escape or a colon no host name.
    """
    name = host.rsplit(":", 1)[0] if host.count(":") == 1 else host
    labels = name.rstrip(".").lower().split(".")
    if len(labels) < 2 or "%" in name or ":" in name or "/" in name:
        return False
    return labels[-1] != "localhost" and not labels[-1][:1].isdigit()
