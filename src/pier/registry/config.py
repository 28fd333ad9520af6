"""What is configured about registries: values of daemon.json, checked when they come in. Pure; reading folders is hosts.py's.

`RegistryConfig()` is what holds where nothing is configured: Docker Hub and every other registry by HTTPS, loopback without.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

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
    """Everything that `hosts` decides by, and how much is fetched at once.

    `mirrors` (URLs) are Hub's; `insecure` are HOST or HOST:PORT, `insecure_networks` without loopback, which always is; keys of `registries`
    are HOST or HOST:PORT, with "docker.io" for Hub. Later folders of `hosts_folders` win. `range_bytes`: larger layers are fetched in ranges.
    """

    mirrors: tuple[str, ...] = ()
    insecure: frozenset[str] = frozenset()
    insecure_networks: tuple[Network, ...] = ()
    registries: Mapping[str, RegistryOptions] = field(default_factory=dict)
    certs_folders: tuple[Path, ...] = (Path("/etc/docker/certs.d"),)
    hosts_folders: tuple[Path, ...] = (Path("/etc/containerd/certs.d"), Path("/etc/pier/certs.d"))
    proxies: Proxies = Proxies()
    max_downloads: int = DEFAULT_DOWNLOADS
    max_uploads: int = DEFAULT_UPLOADS
    max_attempts: int = DEFAULT_ATTEMPTS
    keep_compressed: bool = True
    range_bytes: int = DEFAULT_RANGE_BYTES
