"""The texts of a container's /etc/hosts, /etc/resolv.conf and /etc/hostname. Pure; in the form of Docker 28."""

import ipaddress
from collections.abc import Sequence

from pier.errors import Internal, Invalid

HOSTS_HEAD = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_DEFAULT_SERVERS = ("8.8.8.8", "8.8.4.4")


def hostname_file(hostname: str) -> str:
    """/etc/hostname."""
    return hostname + "\n"


def hosts_file(
    *,
    hostname: str,
    domainname: str = "",
    addresses: Sequence[str] = (),
    extra_hosts: Sequence[str] = (),
    host_gateway: str | None = None,
    host_network: bool = False,
    host_file: str | None = None,
) -> str:
    """/etc/hosts.

    addresses: of its interfaces. extra_hosts: "name:address" or "name=address"; the address "host-gateway" stands for `host_gateway`.
    host_network, host_file: with the host's network and no extra hosts it is the host's own file, read from /etc/hosts unless given.
    Raises Invalid for an extra host that is not one, and for "host-gateway" where there is none.
    """
    if host_network and not extra_hosts:
        return _read("/etc/hosts") if host_file is None else host_file
    lines = [HOSTS_HEAD]
    for given in extra_hosts:
        name, extra = split_extra_host(given)
        if extra == "host-gateway":
            if not host_gateway:
                raise Invalid(f'unable to derive the IP value for host-gateway in "{given}": the daemon has no bridge network')
            extra = host_gateway
        lines.append(f"{extra}\t{name}\n")
    for address in addresses:
        names = f"{hostname}.{domainname} {hostname}" if domainname else _with_short_name(hostname)
        lines.append(f"{address}\t{names}\n")
    return "".join(lines)


def split_extra_host(given: str) -> tuple[str, str]:
    """ "name:address" or "name=address" -> (name, address without brackets, or "host-gateway"). Raises Invalid with Docker's texts."""
    separator = "=" if "=" in given else ":"
    name, found, address = given.partition(separator)
    if not found or not name:
        raise Invalid(f'bad format for add-host: "{given}"')
    if address == "host-gateway":
        return name, address
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        raise Invalid(f'invalid IP address in add-host: "{address}"') from None
    return name, bare


def _with_short_name(hostname: str) -> str:
    short, dot, _ = hostname.partition(".")
    return f"{hostname} {short}" if dot else hostname


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def name_servers(text: str) -> list[str]:
    """The addresses of the `nameserver` lines of a resolv.conf."""
    return [words[1] for words in _lines(text) if words[0] == "nameserver" and len(words) > 1]


def _lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip() and line.lstrip()[0] not in "#;"]


def _is_loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False


def host_resolv_path() -> str:
    """Which file of the host to go by: systemd-resolved's own where /etc/resolv.conf holds nothing but its stub, as Docker does."""
    stub = name_servers(_read("/etc/resolv.conf"))
    resolved = "/run/systemd/resolve/resolv.conf"
    return resolved if stub == ["127.0.0.53"] and _read(resolved) else "/etc/resolv.conf"


def resolv_conf(
    host_text: str, *, dns: Sequence[str] = (), search: Sequence[str] = (), options: Sequence[str] = (), host_network: bool = False,
    path: str = "/etc/resolv.conf",
) -> str:  # fmt: skip
    """/etc/resolv.conf.

    host_text, path: the host's file and its name. dns, search, options: replace the host's, each where given; search "." means none.
    Name servers on loopback are left out unless the container shares the host's network, and where none is left public ones stand in.
    Raises Internal for a name server that is no address, as Docker.
    """
    for server in dns:
        try:
            ipaddress.ip_address(server.partition("%")[0])
        except ValueError:
            raise Internal(f'bad nameserver address {server}: ParseAddr("{server}"): unable to parse IP') from None
    found = _lines(host_text)
    servers, note = list(dns) or name_servers(host_text), ""
    if not host_network and not dns:
        servers = [server for server in servers if not _is_loopback(server)]
        if not servers:
            servers, note = list(_DEFAULT_SERVERS), "# Used default nameservers.\n"
    searched = list(search) or next((words[1:] for words in reversed(found) if words[0] in ("search", "domain")), [])
    if searched == ["."]:
        searched = []
    chosen = list(options) or [word for words in found if words[0] == "options" for word in words[1:]]
    overrides = [name for name, given in (("nameservers", dns), ("search", search), ("options", options)) if given]
    lines = ["# Generated by Pier.\n# This file can be edited; Pier writes it anew at each start of the container.\n\n"]
    lines += [f"nameserver {server}\n" for server in servers]
    if searched:
        lines.append(f"search {' '.join(searched)}\n")
    if chosen:
        lines.append(f"options {' '.join(chosen)}\n")
    lines.append(f"\n# Based on host file: '{path}'{'' if host_network else ' (legacy)'}\n{note}# Overrides: [{' '.join(overrides)}]\n")
    return "".join(lines)


def host_resolv_text(path: str) -> str:
    """The host's file; "" where there is none."""
    return _read(path)
