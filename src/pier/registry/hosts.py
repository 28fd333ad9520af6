"""Which hosts serve a registry, in the order in which they are asked: mirrors first, the registry itself last.

A registry with a row of the table `registries`, or Hub with `registry-mirrors`, is known from there; else from containerd's hosts.toml, if one
is there for it or for `_default`. Whatever names a host, its certificates are those of the row of that host, of hosts.toml and of Docker's
certs.d together. Folders are read anew for each question, so that a change of a file needs no restart, as with Docker and containerd.
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from pier.errors import Invalid
from pier.registry import hosts_toml
from pier.registry.certificates import Tls, read_folder
from pier.registry.config import HUB, HUB_HOST, HUB_NAMES, LOOPBACK, RegistryConfig, RegistryOptions, is_host
from pier.registry.hosts_toml import OPS, Op
from pier.registry.proxies import Proxy

__all__ = ["ALL", "READ", "Host", "Op", "Tls", "hosts"]

ALL: frozenset[Op] = frozenset(OPS)
READ: frozenset[Op] = frozenset({"pull", "resolve"})
Address = IPv4Address | IPv6Address
Lookup = Callable[[str], Sequence[Address]]
_PLAIN = Tls()


@dataclass(frozen=True)
class Host:
    """A host that serves a registry.

    url: the root of its API without a slash at the end, as https://registry-1.docker.io/v2.
    plain_http: of an insecure registry behind https://: where it does not speak TLS, the same is asked by http://.
    namespace: the registry that a mirror stands for, sent as `?ns=` with reading requests; "" for the registry itself.
    headers: to be sent to this host only, never to where it redirects to.
    proxy: goes before what RegistryConfig.proxies says, loopback and NO_PROXY included; for this host only.
    dial_s: seconds for a connection to be made, None where nobody said it.
    """

    url: str
    capabilities: frozenset[Op] = ALL
    tls: Tls = _PLAIN
    headers: tuple[tuple[str, str], ...] = ()
    plain_http: bool = False
    namespace: str = ""
    proxy: Proxy | None = None
    dial_s: float | None = None

    @property
    def mirror(self) -> bool:
        """Whether it only stands for the registry: an error of it is no answer of the registry's."""
        return bool(self.namespace)

    @property
    def name(self) -> str:
        """HOST or HOST:PORT, for errors and logs."""
        return self.url.partition("://")[2].partition("/")[0]


def addresses(name: str) -> Sequence[Address]:
    """The addresses of a host name; none where it has none."""
    try:
        return [ip_address(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError, ValueError):
        return []


def hosts(domain: str, config: RegistryConfig, op: Op, lookup: Lookup = addresses) -> tuple[Host, ...]:
    """The hosts for an operation on repositories of `domain` ("" is Docker Hub); a push goes to the first of them.

    Blocks: reads folders, and looks a name up where networks are configured as insecure. Raises Invalid for a broken hosts.toml or certs.d,
    for what is no HOST[:PORT], and where no host is left that may do it.
    """
    name = HUB if domain in HUB_NAMES else domain
    if not is_host(name):
        raise Invalid(f"{domain}: a registry is HOST or HOST:PORT")
    served = _configured(name, config, lookup) or _from_file(name, config, lookup) or (_itself(name, config, lookup),)
    if found := tuple(host for host in served if op in host.capabilities):
        return found
    raise Invalid(f"{name}: no host may {op}: {hosts_toml.FILE} gives that capability to none")


def insecure(name: str, config: RegistryConfig, lookup: Lookup = addresses) -> bool:
    """Whether HOST[:PORT] may be asked without TLS, or with a certificate that nobody vouches for: configured so, or loopback.

    Names are looked up for configured networks only: who answers for a name in DNS must not be able to turn verification off by saying 127.0.0.1.
    """
    row = config.registries.get(name)
    return name in config.insecure or (row is not None and row.insecure) or _loopback(name) or _in_networks(name, config, lookup)


def _itself(name: str, config: RegistryConfig, lookup: Lookup, said: Tls = _PLAIN) -> Host:
    """The registry, which a name says no scheme of: an insecure one may turn out to speak plain HTTP."""
    made = _host(f"https://{HUB_HOST if name == HUB else name}/v2", config, lookup, said)
    return replace(made, plain_http=said.verify and not made.tls.verify)


def _configured(name: str, config: RegistryConfig, lookup: Lookup) -> tuple[Host, ...]:
    """What daemon.json says; nothing where it does not know the registry."""
    row = config.registries.get(name)
    mirrors = (*(row.mirrors if row else ()), *(config.mirrors if name == HUB else ()))
    if row is None and not mirrors:
        return ()
    made = [_host(url if url.endswith("/v2") else f"{url}/v2", config, lookup) for url in dict.fromkeys(mirrors)]
    return (*(replace(host, capabilities=READ, namespace=name) for host in made), _itself(name, config, lookup))


def _from_file(name: str, config: RegistryConfig, lookup: Lookup) -> tuple[Host, ...]:
    """What hosts.toml says; nothing where there is none for it."""
    path = _file(name, config)
    if path is None:
        return ()
    itself = _itself(name, config, lookup)
    try:
        entries = hosts_toml.parse(path.read_text(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path}: {getattr(error, 'strerror', '') or error}") from None
    return tuple(_entry(entry, itself, name, config, lookup) for entry in entries)


def _entry(entry: hosts_toml.Entry, itself: Host, name: str, config: RegistryConfig, lookup: Lookup) -> Host:
    url = entry.url.replace(f"https://{HUB}/", f"https://{HUB_HOST}/")
    base = _host(url, config, lookup, entry.tls) if url else _itself(name, config, lookup, entry.tls)
    host = replace(
        base,
        capabilities=entry.capabilities,
        headers=(*base.headers, *entry.headers),
        namespace="" if base.name == itself.name else name,
        proxy=entry.proxy,
        dial_s=entry.dial_s,
    )
    if entry.skip_verify is False:  # said in so many words: it goes before what else makes the host insecure
        host = replace(host, tls=replace(host.tls, verify=True), plain_http=False)
    if url.startswith("http://") and not base.name.endswith(":80") and (entry.skip_verify is not None or entry.tls != _PLAIN):
        # containerd's rule: http:// together with settings of TLS is asked by TLS first
        host = replace(host, url=f"https{url.removeprefix('http')}", plain_http=True)
    return host


def _host(url: str, config: RegistryConfig, lookup: Lookup, said: Tls = _PLAIN) -> Host:
    """A URL with what is known of its host, and what was said with it."""
    name = url.partition("://")[2].partition("/")[0]
    row = config.registries.get(HUB if name == HUB_HOST else name)
    tls = said + _of_row(row) if row else said
    for folder in _certificate_folders(name, config):
        tls += read_folder(folder)
    told = name in config.insecure or (row is not None and row.insecure)
    unsafe = insecure(name, config, lookup) and (told or not tls.ca)  # who gives an authority for a registry on loopback wants it verified
    return Host(url, tls=replace(tls, verify=tls.verify and not unsafe), headers=row.headers if row else ())


def _of_row(row: RegistryOptions) -> Tls:
    client = ((Path(row.client_cert), Path(row.client_key)),) if row.client_cert else ()
    return Tls(True, (Path(row.ca),) if row.ca else (), client)


def _certificate_folders(name: str, config: RegistryConfig) -> list[Path]:
    """Docker's folders, and containerd's where they hold certificates only."""
    names = (HUB, HUB_HOST) if name == HUB_HOST else (name,)
    dockers = [folder / each for folder in config.certs_folders for each in names]
    containerds = [folder / each for folder in config.hosts_folders for name in names for each in _folder_names(name)]
    return [*dockers, *(folder for folder in containerds if not (folder / hosts_toml.FILE).exists())]


def _file(name: str, config: RegistryConfig) -> Path | None:
    """The hosts.toml for a registry: that of `HOST_PORT_`, `HOST:PORT` or `_default`, as containerd looks for them."""
    for each in (*_folder_names(name), "_default"):
        for folder in reversed(config.hosts_folders):
            path = folder / each / hosts_toml.FILE
            if path.is_file():
                return path
    return None


def _folder_names(name: str) -> tuple[str, ...]:
    host, colon, port = name.rpartition(":")
    return (f"{host}_{port}_", name) if colon and not name.endswith("]") else (name,)


def _bare(name: str) -> str:
    return name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]


def _literal(name: str) -> Address | None:
    try:
        found = ip_address(_bare(name))
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _loopback(name: str) -> bool:
    address = _literal(name)
    if address is None:
        return _bare(name) == "localhost" or _bare(name).endswith(".localhost")  # RFC 6761, 6.3
    return any(address in network for network in LOOPBACK)


def _in_networks(name: str, config: RegistryConfig, lookup: Lookup) -> bool:
    """Whether every address of a name is in a network that was configured: a connection goes to any of them."""
    if not config.insecure_networks or name in HUB_NAMES:
        return False
    literal = _literal(name)
    found = [literal] if literal is not None else lookup(_bare(name))
    return bool(found) and all(any(address in network for network in config.insecure_networks) for address in found)
