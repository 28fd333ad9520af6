"""The files that Pier writes for a container and binds into its /etc: hosts, hostname, resolv.conf."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pier.containers import links
from pier.containers.naming import serves
from pier.containers.record import Container
from pier.containers.table import Containers, log
from pier.networks import Endpoint
from pier.networks import files as contents

MOST_BYTES = 1 << 20
"""A file that has grown beyond this is its container's own: it may write into it what it likes, and the daemon reads all that it changes."""


@dataclass(frozen=True)
class Bound:
    """Where the files are on the host; those of the sharing container for `container:`."""

    hosts: Path
    hostname: Path
    resolv_conf: Path


def write(ctx: Containers, container: Container) -> Bound:
    """Write a container's files anew for a start. Raises OSError, Internal (a bad --dns)."""
    record, host = container.record, container.record.host
    folder = ctx.folder(container.id)
    mode = host.network_mode
    if mode.startswith("container:"):
        folder = ctx.folder(ctx.find(mode.partition(":")[2]).id)
        return Bound(folder / "hosts", folder / "hostname", folder / "resolv.conf")
    wired = [endpoint for endpoint in container.places if endpoint.interface]
    gateway = next((endpoint.gateway for endpoint in wired if endpoint.gateway), None) or ctx.networks.host_gateway()
    texts = {
        "hostname": contents.hostname_file(record.config.hostname),
        "hosts": contents.hosts_file(
            hostname=record.config.hostname,
            domainname=record.config.domainname,
            addresses=[address for endpoint in wired for address in endpoint.addresses],
            extra_hosts=host.extra_hosts or [],
            links=links.hosts(ctx, record) if host.links else (),
            host_gateway=gateway,
            host_network=mode == "host",
        ),
        "resolv.conf": _resolv_conf(ctx, container),
    }
    for name, text in texts.items():
        _write(folder / name, text)
    return Bound(folder / "hosts", folder / "hostname", folder / "resolv.conf")


def refresh(ctx: Containers, container: Container, bound: Bound) -> None:
    """Bring what the host may have changed since `write` up to date, in place: the container's mounts show it. Raises OSError."""
    text = _resolv_conf(ctx, container)
    if bound.resolv_conf.read_text() != text:
        _write(bound.resolv_conf, text)


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    with open(fd, "w") as file:
        os.fchmod(fd, 0o644)  # whatever the daemon's umask
        file.write(text)


def _resolv_conf(ctx: Containers, container: Container) -> str:
    host = container.record.host
    return ctx.networks.resolv_conf(
        dns=host.dns or [], search=host.dns_search or [], options=host.dns_options or [], host_network=host.network_mode == "host",
        embedded=serves(container.record),
    )  # fmt: skip


def linked_moved(ctx: Containers, target: Container) -> None:
    """A container that others link to has started, maybe with another address: their hosts files follow, in place."""
    for identity in ctx.linked.get(target.id, ()):
        container = ctx.table.get(identity)
        if container is None or not container.state.running:
            continue
        aliases = {link.alias for link in links.of(container.record) if link.target == target.id}
        fresh = [(address, names) for address, names in links.hosts(ctx, container.record) if names.split()[0] in aliases]
        _edit(ctx.folder(identity) / "hosts", partial(_names, aliases), contents.link_lines(fresh))


def gained(ctx: Containers, container: Container, endpoint: Endpoint) -> None:
    """A running container is in one more network: its own name there, and who answers its questions. What its user wrote into hosts stays."""
    config = container.record.config
    path = ctx.folder(container.id) / "hosts"
    _append(path, contents.own_lines(config.hostname, config.domainname, endpoint.addresses))
    _rewrite(ctx, container)


def lost(ctx: Containers, container: Container, endpoint: Endpoint) -> None:
    """It is in one network less."""
    _edit(ctx.folder(container.id) / "hosts", lambda line: line.split("\t", 1)[0] in endpoint.addresses)
    _rewrite(ctx, container)


def _names(aliases: set[str], line: str) -> bool:
    return bool(aliases & set(line.split()[1:2]))


def _edit(path: Path, goes: Callable[[str], bool], added: str = "") -> None:
    """Take the lines that `goes` names out of a bound file, and add others; in place."""
    text = _read(path)
    if text is not None:
        path.write_text("".join(line for line in text.splitlines(True) if not goes(line)) + added, errors="surrogateescape")


def _read(path: Path) -> str | None:
    """The text of a file that a container may write to; None, with a warning, where it is larger than anything of ours."""
    with open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        log.warning("%s is left as its container has made it: it has more than %d bytes", path, MOST_BYTES)
        return None
    return data.decode(errors="surrogateescape")


def _append(path: Path, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


def _rewrite(ctx: Containers, container: Container) -> None:
    """resolv.conf, in place since it is bound, unless somebody in the container has made it his own."""
    path = ctx.folder(container.id) / "resolv.conf"
    if (_read(path) or "").startswith(contents.RESOLV_HEAD):
        path.write_text(_resolv_conf(ctx, container))
