"""The daemon's configuration: checked values, from flags and daemon.json."""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pier.api.fields import (
    DEFAULT_CONFIG_FILE,
    DEFAULT_DATA_ROOT,
    DEFAULT_EXEC_ROOT,
    DEFAULT_GROUP,
    DEFAULT_LOG_DRIVER,
    DEFAULT_SHM_SIZE_BYTES,
    DEFAULT_SHUTDOWN_TIMEOUT_S,
    DEFAULT_SOCKET,
    LOG_DRIVERS,
)
from pier.daemon import registries
from pier.daemon.options import OPTIONS, Flags, Value, merge, parse_file
from pier.errors import Invalid, NotImplementedByPier
from pier.networks import respect
from pier.networks.model import IPNetwork
from pier.registry.config import DEFAULT_ATTEMPTS, DEFAULT_DOWNLOADS, DEFAULT_RANGE_BYTES, DEFAULT_UPLOADS, OWN_HOSTS, RegistryOptions
from pier.volumes import plugin_address
from pier.volumes.plugins import DEFAULT_PATIENCE_S

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
STORAGE_DRIVERS = ("erofs", "unpacked")
_MAX_SOCKET_PATH_BYTES = 107
_SIZE = re.compile(r"([0-9]+)\s*([kmgt]?)(i?b)?", re.IGNORECASE)


@dataclass(frozen=True)
class Config:
    """Every option, with its default. `hosts` are paths of UNIX sockets."""

    hosts: tuple[Path, ...] = (Path(DEFAULT_SOCKET),)
    data_root: Path = Path(DEFAULT_DATA_ROOT)
    exec_root: Path = Path(DEFAULT_EXEC_ROOT)
    pidfile: Path | None = None  # None: pierd.pid in the exec root
    config_file: Path = Path(DEFAULT_CONFIG_FILE)
    group: str = DEFAULT_GROUP
    group_given: bool = False
    debug: bool = False
    log_level: str = "info"
    bip: str = ""
    bridge: str = ""
    mtu: int = 0
    default_address_pools: tuple[tuple[IPNetwork, int], ...] = ()  # (pool, prefix length of the networks in it)
    firewall: str = respect.OPEN
    dns: tuple[str, ...] = ()
    dns_opts: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    storage_driver: str = ""
    selinux_enabled: bool = False
    shutdown_timeout_s: int = DEFAULT_SHUTDOWN_TIMEOUT_S
    live_restore: bool = True
    labels: tuple[str, ...] = ()
    log_driver: str = DEFAULT_LOG_DRIVER
    log_opts: dict[str, str] = field(default_factory=dict)
    default_shm_size_bytes: int = DEFAULT_SHM_SIZE_BYTES
    init: bool = False
    init_path: str = ""
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    max_concurrent_downloads: int = DEFAULT_DOWNLOADS
    max_concurrent_uploads: int = DEFAULT_UPLOADS
    max_download_attempts: int = DEFAULT_ATTEMPTS
    http_proxy: str = field(default="", repr=False)
    https_proxy: str = field(default="", repr=False)
    no_proxy: str = ""
    registries: Mapping[str, RegistryOptions] = field(default_factory=dict)
    registry_hosts_dir: Path = OWN_HOSTS
    keep_compressed: bool = True
    push_compression: str = "gzip"
    range_download_bytes: int = DEFAULT_RANGE_BYTES
    volume_plugin_dirs: tuple[str, ...] = plugin_address.FOLDERS
    volume_trash_hours: int = 0
    volume_trash_bytes: int = 10 << 30
    volume_plugin_timeout_s: int = int(DEFAULT_PATIENCE_S)

    @property
    def pid_path(self) -> Path:
        """The file for the process ID."""
        return self.pidfile or self.exec_root / "pierd.pid"


def load(flags: Flags) -> Config:
    """The configuration of a command line and of the file that it names, or of the default file where that exists.

    Raises Invalid, NotImplementedByPier; a file that was named and cannot be read is Invalid too.
    """
    path = flags.config_file or DEFAULT_CONFIG_FILE
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        if flags.config_file:
            raise Invalid(f"unable to configure the Pier daemon with file {path}: it does not exist") from None
        text = b""
    except OSError as error:
        raise Invalid(f"unable to configure the Pier daemon with file {path}: {error.strerror}") from None
    return build(merge(flags.values, parse_file(text, path), path), path)


def build(values: dict[str, Value], config_file: str = DEFAULT_CONFIG_FILE) -> Config:
    """Check values (by key of daemon.json) and make them a configuration. Raises Invalid, NotImplementedByPier; each names its option."""
    given: dict[str, object] = {"config_file": Path(config_file)}
    for key, value in values.items():
        given[_RENAMED.get(key, key.replace("-", "_"))] = _CHECKS[key](value) if key in _CHECKS else value
    if given.get("bip") and given.get("bridge"):
        raise Invalid("--bip and --bridge cannot be used together: the address of a bridge that is there already is its own")
    given["group_given"] = "group" in values
    return Config(**given)  # type: ignore[arg-type]


def reloaded(now: Config, then: Config) -> tuple[Config, list[str], list[str]]:
    """What a SIGHUP changes: the configuration to go on with, the options it changed, and those that need a new start."""
    changed: dict[str, object] = {}
    late: list[str] = []
    names = {_RENAMED.get(o.key, o.key.replace("-", "_")): o for o in OPTIONS}
    for entry in fields(Config):
        option = names.get(entry.name)
        if option is None or getattr(now, entry.name) == getattr(then, entry.name):
            continue
        if option.reloadable:
            changed[entry.name] = getattr(then, entry.name)
        else:
            late.append(option.key)
    return replace(now, **changed), [names[name].key for name in changed], late  # type: ignore[arg-type]


def told(config: Config) -> dict[str, str]:
    """What the event of a reload says, in Docker's shape: texts, lists as JSON."""
    return {
        "debug": str(config.debug).lower(),
        "insecure-registries": json.dumps(config.insecure_registries, separators=(",", ":")),
        "labels": json.dumps(config.labels, separators=(",", ":")),
        "live-restore": str(config.live_restore).lower(),
        "max-concurrent-downloads": str(config.max_concurrent_downloads),
        "max-concurrent-uploads": str(config.max_concurrent_uploads),
        "max-download-attempts": str(config.max_download_attempts),
        "registry-mirrors": json.dumps(config.registry_mirrors, separators=(",", ":")),
        "shutdown-timeout": str(config.shutdown_timeout_s),
    }


def _strings(value: Value) -> Sequence[str]:
    assert isinstance(value, list)
    return value


def _hosts(value: Value) -> tuple[Path, ...]:
    return tuple(_host(text) for text in _strings(value)) or (Path(DEFAULT_SOCKET),)


def _host(text: str) -> Path:
    scheme, separator, path = text.partition("://")
    if not separator:
        scheme, path = ("unix", text) if text.startswith("/") else ("tcp", text)
    if scheme in ("tcp", "fd", "npipe", "http", "https", "ssh"):
        raise NotImplementedByPier(f"--host {text}: {scheme}://", "use unix://PATH")
    if scheme != "unix":
        raise Invalid(f"--host {text}: unknown scheme {scheme!r}: use unix://PATH")
    path = path or DEFAULT_SOCKET
    if not path.startswith("/"):
        raise Invalid(f"--host {text}: the path of a socket is absolute, as in unix://{DEFAULT_SOCKET}")
    if len(path.encode()) > _MAX_SOCKET_PATH_BYTES:
        raise Invalid(f"--host {text}: the kernel takes socket paths of at most {_MAX_SOCKET_PATH_BYTES} bytes")
    return Path(path)


def _root(value: Value) -> Path:
    path = Path(str(value))
    if not path.is_absolute() or str(path) == "/":
        raise Invalid(f"{value}: a root is an absolute path, and not /")
    return path


def _choice(option: str, allowed: tuple[str, ...], hint: str = "") -> object:
    def check(value: Value) -> Value:
        if value not in allowed:
            raise Invalid(f"--{option} {value}: it is one of {', '.join(allowed)}{hint}")
        return value

    return check


def _bip(value: Value) -> Value:
    text = str(value)
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise Invalid(f"--bip {text}: it is an address and a prefix, as in 172.30.0.1/16") from None
    if interface.version != 4:
        raise NotImplementedByPier(f"--bip {text}: an IPv6 address for the bridge")
    if "/" not in text or interface.network.prefixlen > 30 or interface.ip in (interface.network[0], interface.network[-1]):
        raise Invalid(f"--bip {text}: it is the address of a host in a network with room, as in 172.30.0.1/16")
    return text


def _bridge(value: Value) -> Value:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,15}", str(value)) or value in (".", ".."):
        raise Invalid(f"--bridge {value}: the name of an interface has 1 to 15 letters, digits, dots, dashes or underscores")
    return value


def _pools(value: Value) -> tuple[tuple[IPNetwork, int], ...]:
    found: list[tuple[IPNetwork, int]] = []
    for text in _strings(value):
        given = {key.strip().lower(): part.strip() for key, _, part in (field.partition("=") for field in text.split(","))}
        if set(given) != {"base", "size"} or not given["size"].isdecimal():
            raise Invalid(f"default-address-pool {text}: it is base=NETWORK,size=PREFIX, as in base=10.0.0.0/8,size=24")
        try:
            base = ipaddress.ip_network(given["base"])
        except ValueError as error:
            raise Invalid(f"default-address-pool {text}: {error}") from None
        size = int(given["size"])
        if not base.prefixlen <= size <= base.max_prefixlen - 2:
            raise Invalid(f"default-address-pool {text}: the networks' prefix length is between {base.prefixlen} and {base.max_prefixlen - 2}")
        if clash := next((other for other, _ in found if other.version == base.version and other.overlaps(base)), None):
            raise Invalid(f"default-address-pool {text}: it overlaps with {clash}")
        found.append((base, size))
    return tuple(found)


def _mtu(value: Value) -> Value:
    if not isinstance(value, int) or (value != 0 and not 68 <= value <= 65535):
        raise Invalid(f"--mtu {value}: it is 0 or between 68 and 65535")
    return value


def _dns(value: Value) -> tuple[str, ...]:
    for text in _strings(value):
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise Invalid(f"--dns {text}: it is not an IP address") from None
    return tuple(_strings(value))


def _domains(value: Value) -> tuple[str, ...]:
    for text in _strings(value):
        if text != "." and not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?", text):
            raise Invalid(f"--dns-search {text}: it is not a domain")
    return tuple(_strings(value))


def _timeout(value: Value) -> Value:
    if not isinstance(value, int) or value < -1:
        raise Invalid(f"--shutdown-timeout {value}: it is a number of seconds, or -1 to wait as long as it takes")
    return value


def _labels(value: Value) -> tuple[str, ...]:
    seen: dict[str, str] = {}
    for text in _strings(value):
        key, equals, content = text.partition("=")
        if not equals or not key:
            raise Invalid(f"--label {text}: it is key=value")
        if seen.setdefault(key, content) != content:
            raise Invalid(f"--label: conflict labels for {key}={content} and {key}={seen[key]}")
    return tuple(_strings(value))


def _size(value: Value) -> int:
    found = _SIZE.fullmatch(str(value).strip())
    if not found or not int(found[1]):
        raise Invalid(f"--default-shm-size {value}: it is a size such as 64M")
    return int(found[1]) << {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[found[2].lower()]


def _init_path(value: Value) -> Value:
    if not str(value).startswith("/"):
        raise Invalid(f"--init-path {value}: it is an absolute path")
    return value


def _folders(key: str) -> Callable[[Value], tuple[str, ...]]:
    def check(value: Value) -> tuple[str, ...]:
        for path in _strings(value):
            if not path.startswith("/"):
                raise Invalid(f"{key}: {path!r} is no absolute path")
        return tuple(_strings(value))

    return check


def _seconds(key: str) -> Callable[[Value], int]:
    def check(value: Value) -> int:
        if not isinstance(value, int) or value < 1:
            raise Invalid(f"{key}: {value!r} is no number of seconds above 0")
        return value

    return check


def _at_least_nothing(key: str, what: str) -> Callable[[Value], int]:
    def check(value: Value) -> int:
        if not isinstance(value, int) or value < 0:
            raise Invalid(f"{key}: {value!r} is no number of {what}")
        return value

    return check


_RENAMED = {
    "shutdown-timeout": "shutdown_timeout_s",
    "volume-plugin-timeout": "volume_plugin_timeout_s",
    "default-shm-size": "default_shm_size_bytes",
}
_CHECKS: dict[str, Any] = {
    "hosts": _hosts,
    "data-root": _root,
    "exec-root": _root,
    "pidfile": lambda value: Path(str(value)),
    "log-level": _choice("log-level", LOG_LEVELS),
    "bip": _bip,
    "bridge": _bridge,
    "default-address-pools": _pools,
    "mtu": _mtu,
    "firewall": _choice("firewall", respect.CHOICES),
    "dns": _dns,
    "dns-opts": lambda value: tuple(value),
    "dns-search": _domains,
    "storage-driver": _choice("storage-driver", STORAGE_DRIVERS, " (nothing: what works on this host)"),
    "shutdown-timeout": _timeout,
    "labels": _labels,
    "log-driver": _choice("log-driver", LOG_DRIVERS),
    "default-shm-size": _size,
    "init-path": _init_path,
    "volume-plugin-dirs": _folders("volume-plugin-dirs"),
    "volume-plugin-timeout": _seconds("volume-plugin-timeout"),
    "volume-trash-hours": _at_least_nothing("volume-trash-hours", "hours"),
    "volume-trash-bytes": _at_least_nothing("volume-trash-bytes", "bytes"),
    **registries.CHECKS,
}
