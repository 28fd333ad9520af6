"""Under which key a registry's credentials are kept. Pure.

Source: docker/cli's configuration file, whose `auths` have bare hosts, and for Docker Hub the address of its first API; files that are older have
whole URLs for others too.
"""

HUB = "https://index.docker.io/v1/"
_HUB_HOSTS = frozenset(["docker.io", "index.docker.io", "registry-1.docker.io"])


def host_of(server: str) -> str:
    """The HOST[:PORT] of a key: without scheme and path."""
    for scheme in ("https://", "http://"):
        if server.startswith(scheme):
            server = server[len(scheme) :]
            break
    return server.partition("/")[0]


def of_domain(domain: str) -> str:
    """The key for the domain of an image's name; "" is Docker Hub."""
    return HUB if not domain or domain in _HUB_HOSTS else domain


def of_argument(text: str) -> str:
    """The key for what a user called a registry: nothing, a host, or a URL. Raises ValueError for what can be no host."""
    host = host_of(text)
    if not text or host in _HUB_HOSTS:
        return HUB
    if not host or any(not char.isprintable() or char in " @\\\"'?#" for char in host):
        raise ValueError(f"{text!r} is no registry: give its HOST or HOST:PORT")
    return host


def spellings(server: str, known: "list[str]") -> list[str]:
    """Which of `known` keys mean the server: itself first, then older spellings with scheme and path, in their order."""
    host = host_of(server)
    return [key for key in known if key == server] + [key for key in known if key != server and host_of(key) == host]
