"""Which hosts serve a registry, in the order in which they are asked: mirrors first, the registry itself last.

Sources, the first that knows the registry wins for its mirrors: the table `registries` and `registry-mirrors` of daemon.json, then
containerd's hosts.toml. Certificates come from the table, hosts.toml and Docker's certs.d together.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pier.registry.config import HUB, HUB_HOST, HUB_NAMES, RegistryConfig

Op = Literal["pull", "resolve", "push"]
ALL: frozenset[Op] = frozenset({"pull", "resolve", "push"})
READ: frozenset[Op] = frozenset({"pull", "resolve"})


@dataclass(frozen=True)
class Tls:
    """How the other end is known: `ca` are PEM files beside the system's authorities, `client` pairs of certificate and key (PEM files)."""

    verify: bool = True
    ca: tuple[Path, ...] = ()
    client: tuple[tuple[Path, Path], ...] = ()


@dataclass(frozen=True)
class Host:
    """A host that serves a registry.

    url: the root of its API without a slash at the end, as https://registry-1.docker.io/v2.
    plain_http: of an insecure registry behind https://: where it does not speak TLS, the same is asked by http:// (hosts never say https
        with verification and allow this).
    namespace: the registry that a mirror stands for, sent as `?ns=` with reading requests; "" for the registry itself.
    headers: to be sent to this host only, never to where it redirects to.
    """

    url: str
    capabilities: frozenset[Op] = ALL
    tls: Tls = Tls()
    headers: tuple[tuple[str, str], ...] = ()
    plain_http: bool = False
    namespace: str = ""

    @property
    def mirror(self) -> bool:
        """Whether it only stands for the registry: an error of it is no answer of the registry's."""
        return bool(self.namespace)

    @property
    def name(self) -> str:
        """HOST or HOST:PORT, for errors and logs."""
        return self.url.partition("://")[2].partition("/")[0]


def hosts(domain: str, config: RegistryConfig, op: Op) -> tuple[Host, ...]:
    """The hosts for an operation on repositories of `domain` ("" is Docker Hub), never none for pull and resolve.

    Blocks: reads folders, and looks a name up where networks are configured as insecure. Raises Invalid for a broken hosts.toml or certs.d.
    """
    name = HUB_HOST if domain in HUB_NAMES else domain
    insecure = name.startswith(("127.", "localhost")) or name in config.insecure
    registry = Host(f"https://{name}/v2", tls=Tls(verify=not insecure), plain_http=insecure)
    mirrors = [Host(f"{url}/v2", READ, namespace=HUB) for url in config.mirrors] if domain in HUB_NAMES else []
    return tuple(host for host in (*mirrors, registry) if op in host.capabilities)
