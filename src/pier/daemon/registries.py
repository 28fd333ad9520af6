"""The daemon's options about registries: their checks, what they and the environment make together, and what GET /info says of it. Pure."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pier.api.models.system import IndexInfo, RegistryServiceConfig
from pier.errors import Invalid
from pier.registry import proxies
from pier.registry.config import (
    CONTAINERD_HOSTS,
    DEFAULT_ATTEMPTS,
    DEFAULT_DOWNLOADS,
    DEFAULT_UPLOADS,
    HUB,
    LOOPBACK,
    RegistryConfig,
    insecure_registry,
    mirror,
    table,
)
from pier.registry.proxies import Proxies

if TYPE_CHECKING:
    from pier.daemon.config import Config
    from pier.daemon.options import Value

INDEX_SERVER = "https://index.docker.io/v1/"  # what clients file Docker Hub's credentials under
SMALLEST_RANGE_BYTES = 1 << 20
COMPRESSIONS = ("gzip", "zstd")


def registry_config(config: "Config", environ: Mapping[str, str]) -> RegistryConfig:
    """What the registry client goes by. Raises Invalid for proxies of the environment that cannot be used; options go before them."""
    meant = [insecure_registry(text) for text in config.insecure_registries]
    return RegistryConfig(
        mirrors=config.registry_mirrors,
        insecure=frozenset(entry for entry in meant if isinstance(entry, str)),
        insecure_networks=tuple(entry for entry in meant if not isinstance(entry, str)),
        registries=config.registries,
        hosts_folders=(CONTAINERD_HOSTS, config.registry_hosts_dir),
        proxies=Proxies(config.http_proxy, config.https_proxy, config.no_proxy).over(Proxies.from_environment(environ)),
        max_downloads=config.max_concurrent_downloads,
        max_uploads=config.max_concurrent_uploads,
        max_attempts=config.max_download_attempts,
        keep_compressed=config.keep_compressed,
        push_compression=config.push_compression,
        range_bytes=config.range_download_bytes,
    )


def service_config(config: RegistryConfig) -> RegistryServiceConfig:
    """`RegistryConfig` of GET /info: networks, registries by name, and Hub's mirrors with the slash that Docker puts behind them."""
    mirrors = [f"{url}/" for url in config.mirrors]
    networks = dict.fromkeys(str(network) for network in (*config.insecure_networks, *LOOPBACK))
    rows = {name: IndexInfo(name=name, mirrors=[], secure=False, official=False) for name in sorted(config.insecure)}
    for name, row in config.registries.items():
        if name != HUB:
            secure = not row.insecure and name not in config.insecure
            rows[name] = IndexInfo(name=name, mirrors=[f"{url}/" for url in row.mirrors], secure=secure, official=False)
    hub = [f"{url}/" for url in config.registries[HUB].mirrors] if HUB in config.registries else []
    rows[HUB] = IndexInfo(name=HUB, mirrors=list(dict.fromkeys([*hub, *mirrors])), secure=True, official=True)
    return RegistryServiceConfig(index_configs=rows, insecure_registry_cidrs=list(networks), mirrors=rows[HUB].mirrors or None)


def _all(option: str, check: Callable[[str], object]) -> Callable[["Value"], tuple[str, ...]]:
    """A check of each text of a list; doubles are left out, as Docker does."""

    def checked(value: "Value") -> tuple[str, ...]:
        assert isinstance(value, list)
        try:
            return tuple(dict.fromkeys(str(check(text)) for text in value))
        except Invalid as error:
            raise Invalid(f"{option}: {error}") from None

    return checked


def _count(option: str, default: int) -> Callable[["Value"], "Value"]:
    """A check of a number, of which 0 is the default, as with Docker; its words."""

    def checked(value: "Value") -> "Value":
        if not isinstance(value, int) or value < 0:
            raise Invalid(f"invalid {option.replace('-', ' ')}: {value}")
        return value or default

    return checked


def _proxy(option: str) -> Callable[["Value"], "Value"]:
    def checked(value: "Value") -> "Value":
        if value:
            proxies.parse(str(value), option)
        return value

    return checked


def _table(value: "Value") -> Any:
    assert isinstance(value, dict)
    try:
        return table(value)
    except Invalid as error:
        raise Invalid(f"registries: {error}") from None


def _folder(value: "Value") -> Path:
    if not str(value).startswith("/"):
        raise Invalid(f"registry-hosts-dir: {value}: it is an absolute path")
    return Path(str(value))


def _range(value: "Value") -> "Value":
    if not isinstance(value, int) or (value and value < SMALLEST_RANGE_BYTES):
        raise Invalid(f"range-download-bytes: {value}: it is 0 (no layer is pulled in parts), or at least {SMALLEST_RANGE_BYTES}")
    return value


def _compression(value: "Value") -> "Value":
    if value not in COMPRESSIONS:
        raise Invalid(f"push-compression: {value}: there are {' and '.join(COMPRESSIONS)}")
    return value


CHECKS: dict[str, Any] = {
    "registry-mirrors": _all("registry-mirrors", mirror),
    "insecure-registries": _all("insecure-registries", insecure_registry),
    "max-concurrent-downloads": _count("max-concurrent-downloads", DEFAULT_DOWNLOADS),
    "max-concurrent-uploads": _count("max-concurrent-uploads", DEFAULT_UPLOADS),
    "max-download-attempts": _count("max-download-attempts", DEFAULT_ATTEMPTS),
    "http-proxy": _proxy("http-proxy"),
    "https-proxy": _proxy("https-proxy"),
    "registries": _table,
    "registry-hosts-dir": _folder,
    "range-download-bytes": _range,
    "push-compression": _compression,
}
