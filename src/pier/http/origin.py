"""Who may talk to the API: not a web page. A browser that reaches the socket through a proxy or a rebound name is refused.

Clients of a UNIX socket send what they like as Host (`localhost`, `docker`, `d`, `api.moby.localhost`, the socket's path, escaped
or not, nothing at all); a name that public DNS could resolve is none of theirs, and what is neither a name nor a path is nobody's.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_ADDRESS = re.compile(r"\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%25[A-Za-z0-9_.-]+)?\]")
_PATH = re.compile(r"(/|%2[Ff])[A-Za-z0-9_.~%/-]*")


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


def is_malformed(host: str) -> bool:
    """Whether a Host header is nothing that a client sends: no name or address with or without a port, no path of a socket, not empty."""
    if not host or _PATH.fullmatch(host):
        return False
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name, port = host, "0"
    return not port.isascii() or not port.isdigit() or not (_NAME.fullmatch(name) or _ADDRESS.fullmatch(name))


def is_foreign(host: str) -> bool:
    """Whether a Host header names something that DNS could have rebound to us: two labels or more, not under `localhost`.

    A last label that begins with a digit is no top-level domain (`127.0.0.1`, `v1.44`), nor is a path a name.
    """
    name = host.rsplit(":", 1)[0] if host.count(":") == 1 else host
    labels = name.rstrip(".").lower().split(".")
    if len(labels) < 2 or "%" in name or ":" in name or "/" in name:
        return False
    return labels[-1] != "localhost" and not labels[-1][:1].isdigit()
