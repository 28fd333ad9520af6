"""Sockets that hold published ports on the host, so that nobody else takes them; and who has a port that could not be had.

What arrives for a port is translated by the kernel before it reaches its socket. What the kernel cannot translate (::1, and IPv6 for a container
that has none) does reach it: TCP sockets listen, and netd passes on what they accept.
"""

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pier.networks.ports import ALL_IPV4, ALL_IPV6, version

_BACKLOG = 512
_KINDS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}
_LISTEN = "0A"  # include/net/tcp_states.h


class Placeholder(NamedTuple):
    """A bound socket, the caller's to close. addresses: of the host, that it holds."""

    fd: int
    addresses: tuple[str, ...]


def has_ipv6() -> bool:
    """Whether this host has IPv6 at all."""
    return os.path.exists("/proc/net/if_inet6")


def ephemeral() -> tuple[int, int]:
    """The first and the last port that the kernel gives where none is asked for."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            first, last = map(int, file.read().split())
            return first, last
    except (OSError, ValueError):
        return 32768, 60999


def bind(protocol: str, addresses: Sequence[str], port: int) -> list[Placeholder]:
    """Hold a port on addresses of this host; all of them or none. One socket stands for all addresses of both families.

    Raises OSError with the address as its `filename`: EADDRINUSE where somebody has it, EADDRNOTAVAIL where it is none of this host's.
    A kernel without SCTP has nobody who could take its ports: there is nothing to hold then.
    """
    both = ALL_IPV4 in addresses and ALL_IPV6 in addresses
    groups = [(each,) for each in addresses if not (both and each in (ALL_IPV4, ALL_IPV6))]
    made: list[Placeholder] = []
    try:
        for group in [*([(ALL_IPV4, ALL_IPV6)] if both else []), *groups]:
            try:
                made.append(Placeholder(_bound(protocol, group, port), group))
            except OSError as error:
                if protocol == "sctp" and error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
                    return []
                error.filename = group[0]
                raise
    except OSError:
        for each in made:
            os.close(each.fd)
        raise
    return made


def _bound(protocol: str, addresses: tuple[str, ...], port: int) -> int:
    address = addresses[-1]
    six = version(address) == 6
    kind, number = _KINDS[protocol]
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, number) as sock:
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, len(addresses) == 1)
        if protocol != "udp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of a program that has just ended do not matter
        elif six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)  # answers go out from the address that was asked
        sock.bind((address, port))
        if protocol != "udp":
            sock.listen(_BACKLOG)  # a socket that only is bound would share its port with another of SO_REUSEADDR
        return sock.detach()


def owner(protocol: str, address: str, port: int) -> str:
    """Who has a port of this host, in words: "nginx (pid 12)"; "" where nobody is found. Reads /proc: slow, for errors only."""
    inodes = {inode for inode, there in _sockets(protocol, port) if _overlap(address, there)}
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with os.scandir(f"/proc/{pid}/fd") as entries:
                if any(_link(entry.path) in wanted for entry in entries):
                    with open(f"/proc/{pid}/comm", errors="replace") as file:
                        return f"{file.read().strip()} (pid {pid})"
        except OSError:
            continue
    return "a process that is not visible here"


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def listening(pid: int) -> frozenset[tuple[str, str, int]]:
    """(protocol, address, port) of what listens in the network namespace of a process; what cannot be read is left out."""
    found = set()
    for name, protocol in (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp")):
        try:
            with open(f"/proc/{pid}/net/{name}") as file:
                lines = file.readlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if protocol == "udp" or fields[3] == _LISTEN:
                address, _, number = fields[1].partition(":")
                found.add((protocol, _address(address), int(number, 16)))
    return frozenset(found)


def _sockets(protocol: str, port: int) -> Iterator[tuple[str, str]]:
    """(inode, address) of the sockets that are bound to a port."""
    for name in (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/net/{name}") as file:
                lines = file.readlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            address, _, number = fields[1].partition(":")
            if int(number, 16) == port and (protocol != "tcp" or fields[3] == _LISTEN):
                yield fields[9], _address(address)


def _address(text: str) -> str:
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def _overlap(wanted: str, there: str) -> bool:
    if there in (wanted, ALL_IPV6) or (wanted == ALL_IPV6 and version(there) == 6):
        return True  # a socket of :: may take IPv4 as well
    return version(there) == 4 and version(wanted) == 4 and ALL_IPV4 in (wanted, there)
