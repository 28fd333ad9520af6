"""Which servers answer for a domain, and how each is spoken to."""

from dataclasses import dataclass

from pier.registry.config import RegistryConfig

HUB = "https://registry-1.docker.io/v2"


@dataclass(frozen=True, slots=True)
class Host:
    """One server of a registry's API.

    url: its root with the `/v2` (or what hosts.toml's override_path says), no slash at its end. capabilities: of "pull", "resolve", "push".
    verify: False: any certificate will do, and redirects and token servers on plain http too. ca_files: certificates beside the system's.
    client_certs: (certificate, key) files. headers: sent to this server only. proxy: URL of the proxy to it, "" for none.
    mirror: it is not the registry itself: it gets no credentials, and any failure of it is somebody else's turn.
    """

    url: str
    capabilities: frozenset[str] = frozenset({"pull", "resolve", "push"})
    verify: bool = True
    ca_files: tuple[str, ...] = ()
    client_certs: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    proxy: str = ""
    mirror: bool = False

    @property
    def insecure(self) -> bool:
        """Whether plain http is taken for this server and for what it names."""
        return not self.verify or self.url.startswith("http://")


def hosts(domain: str, config: RegistryConfig, op: str) -> tuple[Host, ...]:
    """The servers for a domain, in the order in which they are asked; op: "pull", "resolve" or "push"."""
    if not domain:
        return (Host(HUB),)
    name = domain.rpartition(":")[0] if domain.rpartition(":")[2].isdigit() else domain
    if name in ("localhost", "[::1]") or name.startswith("127.") or domain in config.insecure:
        return (Host(f"https://{domain}/v2", verify=False), Host(f"http://{domain}/v2", verify=False))
    return (Host(f"https://{domain}/v2"),)
