"""The options of `pierd` as one table: flag, key in daemon.json, kind. And reading them from an argument list and a file.

What is not in the table is refused by its name. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pier.errors import Invalid
from pier.registry.proxies import masked

Value = bool | int | str | list[str] | dict[str, Any]


@dataclass(frozen=True)
class Option:
    """`flag` without dashes, empty for what stands in the file only; `key` in the file, below `group` where there is one.

    kind: bool, int, str, list, map (k=v), rows (objects by name), objects (k=v,k=v several times).
    """

    flag: str
    key: str
    kind: str
    help: str
    short: str = ""
    reloadable: bool = False
    group: str = ""


OPTIONS = (
    Option("host", "hosts", "list", "socket to listen on: unix://PATH", "H"),
    Option("data-root", "data-root", "str", "where images and containers are kept"),
    Option("exec-root", "exec-root", "str", "where sockets and what a reboot may forget are kept"),
    Option("pidfile", "pidfile", "str", "file for the daemon's process ID", "p"),
    Option("group", "group", "str", "group that may use the socket", "G"),
    Option("debug", "debug", "bool", "log everything", "D", reloadable=True),
    Option("log-level", "log-level", "str", "debug, info, warn, error or fatal", "l", reloadable=True),
    Option("bip", "bip", "str", "address and prefix of the bridge, as 172.30.0.1/16"),
    Option("bridge", "bridge", "str", "name of the bridge, or none", "b"),
    Option("default-address-pool", "default-address-pools", "objects", "pool of networks without a --subnet, as base=10.0.0.0/8,size=24"),
    Option("mtu", "mtu", "int", "MTU of container interfaces; 0: the kernel's"),
    Option("dns", "dns", "list", "DNS server for containers"),
    Option("dns-opt", "dns-opts", "list", "DNS option for containers"),
    Option("dns-search", "dns-search", "list", "DNS search domain for containers"),
    Option("firewall", "firewall", "str", "whether published ports obey the host's INPUT rules: open (the default) or respect"),
    Option("storage-driver", "storage-driver", "str", "kind of layer: erofs or unpacked", "s"),
    Option("selinux-enabled", "selinux-enabled", "bool", "SELinux labels for containers, where the host has SELinux"),
    Option("shutdown-timeout", "shutdown-timeout", "int", "seconds for containers to stop in", reloadable=True),
    Option("live-restore", "live-restore", "bool", "containers run on while the daemon does not (the default)", reloadable=True),
    Option("label", "labels", "list", "label of the daemon, key=value", reloadable=True),
    Option("log-driver", "log-driver", "str", "log driver of containers: local, json-file or none"),
    Option("log-opt", "log-opts", "map", "option of the log driver, key=value"),
    Option("default-shm-size", "default-shm-size", "str", "size of /dev/shm in containers, as 64M"),
    Option("init", "init", "bool", "run an init in every container"),
    Option("init-path", "init-path", "str", "path of that init on the host"),
    Option("registry-mirror", "registry-mirrors", "list", "mirror of Docker Hub, as https://mirror.example.com", reloadable=True),
    Option("insecure-registry", "insecure-registries", "list", "registry without verified TLS: HOST[:PORT], or a network", reloadable=True),
    Option("max-concurrent-downloads", "max-concurrent-downloads", "int", "layers that are pulled at once (3)", reloadable=True),
    Option("max-concurrent-uploads", "max-concurrent-uploads", "int", "layers that are pushed at once (5)", reloadable=True),
    Option("max-download-attempts", "max-download-attempts", "int", "how often a download is tried (5)", reloadable=True),
    Option("http-proxy", "http-proxy", "str", "proxy for http://: [http|https|socks5|socks5h]://HOST:PORT", reloadable=True, group="proxies"),
    Option("https-proxy", "https-proxy", "str", "proxy for https://", reloadable=True, group="proxies"),
    Option("no-proxy", "no-proxy", "str", "what is asked without a proxy: hosts, domains, networks, with commas", reloadable=True, group="proxies"),
    Option("", "registries", "rows", "HOST[:PORT]: mirrors, insecure, ca, client-cert, client-key, headers", reloadable=True),
    Option("", "registry-hosts-dir", "str", "folder of HOST/hosts.toml, beside containerd's (/etc/pier/certs.d)", reloadable=True),
    Option("", "keep-compressed", "bool", "keep layers as they were pulled, for pushes of the same digest (true)", reloadable=True),
    Option("", "push-compression", "str", "how layers that have no compressed form yet are pushed: gzip (the default) or zstd", reloadable=True),
    Option("", "volume-plugin-dirs", "list", "folders of volume plugins (/run/docker/plugins, /etc/docker/plugins, /usr/lib/docker/plugins)"),
    Option("", "volume-trash-hours", "int", "hours that a removed volume stays in the trash (0: not at all)"),
    Option("", "volume-trash-bytes", "int", "what the trash of volumes holds at most (10737418240)"),
    Option("", "volume-plugin-timeout", "int", "seconds that a volume plugin has for its answer (30)"),
    Option("", "range-download-bytes", "int", "larger layers are pulled in parts at once; 0: never (67108864)", reloadable=True),
)
_BY_FLAG = {option.flag: option for option in OPTIONS if option.flag}
_BY_SHORT = {option.short: option for option in OPTIONS if option.short}
_BY_KEY = {option.key: option for option in OPTIONS}
_GROUPS = {option.group for option in OPTIONS if option.group}
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


@dataclass(frozen=True)
class Flags:
    """What an argument list says: `values` by key of the file, and what no file can say."""

    values: dict[str, Value]
    config_file: str | None = None
    validate: bool = False
    help: bool = False
    version: bool = False


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Read flags as dockerd does (`--flag value`, `--flag=value`, `-D`, `-Hunix://...`). Raises Invalid, naming the flag."""
    values: dict[str, Value] = {}
    extra: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("--help", "-h", "--validate", "--version", "-v"):
            extra[{"-h": "help", "-v": "version"}.get(word, word.lstrip("-"))] = True
            continue
        if word == "--config-file" or word.startswith("--config-file="):
            extra["config_file"] = _argument(word, word.partition("=")[2] if "=" in word else None, rest)
            continue
        option, value = _find(word)
        if option.kind == "bool":
            values[option.key] = _flag(word, value)
        else:
            _store(values, option, word, _argument(word, value, rest))
    return Flags(values, **extra)


def _find(word: str) -> tuple[Option, str | None]:
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        if name in _BY_FLAG:
            return _BY_FLAG[name], value if equals else None
        raise Invalid(f"unknown flag: --{name}")
    if word.startswith("-") and len(word) > 1:
        if word[1] in _BY_SHORT:
            return _BY_SHORT[word[1]], word[2:].removeprefix("=") if len(word) > 2 else None
        raise Invalid(f"unknown shorthand flag: {word[1]!r} in {word}")
    raise Invalid(f'"pierd" accepts no arguments, got {word!r}')


def _argument(word: str, value: str | None, rest: list[str]) -> str:
    if value is not None:
        return value
    if not rest:
        raise Invalid(f"flag needs an argument: {word}")
    return rest.pop(0)


def _flag(word: str, value: str | None) -> bool:
    if value is None or value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise Invalid(f"invalid argument {value!r} for {word.partition('=')[0]}: it is true or false")


def _store(values: dict[str, Value], option: Option, word: str, text: str) -> None:
    if option.kind == "int":
        if not text.lstrip("-").isdigit():
            raise Invalid(f"invalid argument {text!r} for {word.partition('=')[0]}: it is a number")
        values[option.key] = int(text)
    elif option.kind in ("list", "objects"):
        before = values.setdefault(option.key, [])
        assert isinstance(before, list)
        before.append(text)
    elif option.kind == "map":
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Invalid(f"invalid argument {text!r} for {word.partition('=')[0]}: it is key=value")
        known = values.setdefault(option.key, {})
        assert isinstance(known, dict)
        known[key] = value
    else:
        values[option.key] = text


_KINDS: dict[str, Any] = {
    "bool": bool, "int": int, "str": str, "list": list[str], "map": dict[str, str], "rows": dict[str, dict[str, Any]],
    "objects": list[dict[str, str | int]],
}


def parse_file(text: bytes, path: str) -> dict[str, Value]:
    """Read daemon.json. Raises Invalid: broken JSON, unknown keys, values of the wrong kind, all by name."""
    start = f"unable to configure the Pier daemon with file {path}"
    if not text.strip():
        return {}
    try:
        raw = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Invalid(f"{start}: invalid JSON: {error}") from None
    if not isinstance(raw, dict):
        raise Invalid(f"{start}: it must hold a JSON object")
    given = _ungrouped(raw, start)
    if unknown := sorted(key for key, group in given if key not in _BY_KEY or _BY_KEY[key].group != group):
        raise Invalid(f"{start}: the following directives don't match any configuration option: {', '.join(unknown)}")
    values: dict[str, Value] = {}
    for (key, _), value in given.items():
        try:
            found = msgspec.convert(value, _KINDS[_BY_KEY[key].kind])
            if _BY_KEY[key].kind == "objects":
                found = [",".join(f"{name}={part}" for name, part in each.items()) for each in found]  # as its flag says it
            values[key] = found
        except msgspec.ValidationError as error:
            raise Invalid(f"{start}: {key}: {error}") from None
    return values


def _ungrouped(raw: dict[str, Any], start: str) -> dict[tuple[str, str], Any]:
    """The file's values by key and group: what stands in a group is an option of its own."""
    given: dict[tuple[str, str], Any] = {}
    for key, value in raw.items():
        if key not in _GROUPS:
            given[key, ""] = value
        elif isinstance(value, dict):
            given |= {(inner, key): text for inner, text in value.items()}
        else:
            raise Invalid(f"{start}: {key}: Expected `object`")
    return given


def merge(flags: dict[str, Value], file: dict[str, Value], path: str) -> dict[str, Value]:
    """Both together. Raises Invalid where one option is in both, as dockerd does."""
    if twice := sorted(key for key in flags if key in file):
        said = ", ".join(f"{key}: (from flag: {_shown(key, flags[key])}, from file: {_shown(key, file[key])})" for key in twice)
        raise Invalid(
            f"unable to configure the Pier daemon with file {path}: the following directives are specified both as a flag "
            f"and in the configuration file: {said}"
        )
    return {**file, **flags}


def _shown(key: str, value: Value) -> str:
    if _BY_KEY[key].group == "proxies":
        return masked(str(value))
    if isinstance(value, list):
        return f"[{' '.join(value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def usage() -> str:
    """The text of --help."""
    lines = ["Usage: pierd [OPTIONS]", "", "The daemon of Pier, a container platform.", "", "Options:"]
    rows = [(f"-{o.short}, " if o.short else "    ", o) for o in OPTIONS if o.flag]
    lines += [f"  {short}--{o.flag:<24} {'' if o.kind == 'bool' else o.kind:<5} {o.help}" for short, o in rows]
    lines += [
        "      --config-file              str   configuration file (default /etc/pier/daemon.json)",
        "      --validate                       check flags and configuration file, and exit",
        "  -v, --version                        print the version, and exit",
        "",
        "In the configuration file only:",
    ]
    lines += [f"  {o.key:<32} {o.kind:<5} {o.help}" for o in OPTIONS if not o.flag]
    return "\n".join(lines) + "\n"
