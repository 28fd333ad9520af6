"""`--link NAME[:ALIAS]` on the default bridge: the target's address in /etc/hosts, and its exposed ports and variables in the environment.

A record keeps each link as "ID:NAME:ALIAS": the target by its ID, and the name that it had, for when it is gone. In networks of users a link is
an alias that only this container sees: there it belongs to the endpoint, and netd answers (names_service.py).
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from pier.api.models.containers import HostConfig
from pier.api.models.networks import EndpointSettings
from pier.containers.record import Container, Record
from pier.containers.table import Containers
from pier.errors import Internal, Invalid, NotFound
from pier.networks.model import PREDEFINED

_OWN_VARIABLES = ("HOME", "PATH")


class Link(NamedTuple):
    """A link as a record keeps it."""

    target: str
    name: str
    alias: str


def split(text: str) -> tuple[str, str]:
    """ "web:front" or "web" -> (name or ID, alias). Raises Invalid with Docker's text."""
    name, _, alias = text.partition(":")
    if ":" in alias:
        raise Invalid(f"bad format for links: {text}")
    return name, alias or name.rpartition("/")[2]


def of(record: Record) -> list[Link]:
    """The links of a container in the default bridge."""
    return [Link(*text.split(":")) for text in record.host.links or ()]


def settle(ctx: Containers, host: HostConfig, endpoints: dict[str, EndpointSettings]) -> None:
    """Make of the links of a request what its record keeps. Raises Invalid with Docker's texts."""
    mode, given = host.network_mode, [split(text) for text in host.links or ()]
    if not given:
        return
    if mode in ("host", "none") or mode.startswith("container:"):
        kind = "container type network" if mode.startswith("container:") else f"{mode} type networking"
        raise Invalid(f"conflicting options: {kind} can't be used with links. This would result in undefined behavior")
    if mode not in PREDEFINED:
        host.links = None
        first = next(iter(endpoints))
        if not endpoints[first].links:
            endpoints[first] = msgspec.structs.replace(endpoints[first], links=[f"{name}:{alias}" for name, alias in given])
        return
    kept = []
    for name, alias in given:
        try:
            target = ctx.find(name)
        except (NotFound, Invalid) as problem:
            raise Invalid(f"could not get container for {name}: {problem}") from None
        kept.append(f"{target.id}:{target.name}:{alias}")
    host.links = kept


def remember(ctx: Containers, record: Record) -> None:
    """Note who is linked to, for when it starts again with another address."""
    for link in of(record):
        ctx.linked.setdefault(link.target, set()).add(record.id)


def shown(ctx: Containers, record: Record) -> list[str] | None:
    """As inspect shows them: "/web:/app/front"."""
    return [f"/{_name(ctx, link)}:/{record.name}/{link.alias}" for link in of(record)] or None


def names_of(ctx: Containers, target_id: str) -> list[str]:
    """The names that links give a container: "/app/front"."""
    found = [(ctx.table[identity].record, identity) for identity in ctx.linked.get(target_id, ()) if identity in ctx.table]
    return sorted(f"/{record.name}/{link.alias}" for record, _ in found for link in of(record) if link.target == target_id)


def _name(ctx: Containers, link: Link) -> str:
    target = ctx.table.get(link.target)
    return target.name if target else link.name


def check(ctx: Containers, record: Record) -> None:
    """Before a start: every target runs, on the default bridge. Raises Internal with Docker's texts."""
    for link in of(record):
        target = ctx.table.get(link.target)
        if target is None or not target.state.running:
            raise Internal(f"Cannot link to a non running container: /{_name(ctx, link)} AS /{record.name}/{link.alias}")
        if not _address(target):
            raise Internal(f"container {link.target} not attached to default bridge network")


def _address(target: Container) -> str:
    return next((place.address for place in target.places if place.network == "bridge"), "")


def hosts(ctx: Containers, record: Record) -> list[tuple[str, str]]:
    """(address, names) for /etc/hosts: alias, host name, name."""
    found = []
    for link in of(record):
        target = ctx.table.get(link.target)
        if target is not None and (address := _address(target)):
            names = dict.fromkeys((link.alias, target.record.config.hostname, target.name))
            found.append((address, " ".join(name for name in names if name)))
    return found


def environment(ctx: Containers, record: Record) -> list[str]:
    """The variables that the links of a container give it, in Docker's order."""
    found: list[str] = []
    for link in of(record):
        target = ctx.table.get(link.target)
        if target is not None and (address := _address(target)):
            exposed = target.record.config.exposed_ports or {}
            found += variables(f"/{record.name}/{link.alias}", link.alias, address, list(exposed), target.record.config.env or [])
    return found


def variables(name: str, alias: str, address: str, exposed: Sequence[str], env: Sequence[str]) -> list[str]:
    """The variables of one link. name: "/app/front"; exposed: "80/tcp"; env: the target's own. Pure."""
    prefix = alias.upper().replace("-", "_")
    split_ports = [(text.partition("/")[2] or "tcp", int(text.partition("/")[0])) for text in exposed if text.partition("/")[0].isdecimal()]
    ports = sorted(split_ports, key=lambda port: (port[0] != "tcp", port))
    found = [f"{prefix}_PORT={ports[0][0]}://{address}:{ports[0][1]}"] if ports else []
    for protocol, number in ports:
        one = f"{prefix}_PORT_{number}_{protocol.upper()}"
        found += [f"{one}={protocol}://{address}:{number}", f"{one}_ADDR={address}", f"{one}_PORT={number}", f"{one}_PROTO={protocol}"]
    for protocol, first, last in _runs(ports):
        one = f"{prefix}_PORT_{first}_{protocol.upper()}"
        found += [f"{one}_START={protocol}://{address}:{first}", f"{one}_PORT_START={first}"]
        found += [f"{one}_END={protocol}://{address}:{last}", f"{one}_PORT_END={last}"]
    found.append(f"{prefix}_NAME={name}")
    return found + [f"{prefix}_ENV_{text}" for text in env if "=" in text and text.partition("=")[0] not in _OWN_VARIABLES]


def _runs(ports: Sequence[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """Neighbouring ports of one protocol, two and more: (protocol, first, last)."""
    runs: list[tuple[str, int, int]] = []
    for protocol, number in ports:
        if runs and runs[-1][0] == protocol and runs[-1][2] == number - 1:
            runs[-1] = (protocol, runs[-1][1], number)
        else:
            runs.append((protocol, number, number))
    return [run for run in runs if run[1] != run[2]]


async def remove(ctx: Containers, name: str) -> None:
    """`rm --link APP/ALIAS`: the link goes, its containers stay. Raises NotFound, Internal with Docker's texts."""
    owner, slash, alias = name.removeprefix("/").partition("/")
    if not slash:
        ctx.find(name)
        raise Internal("Conflict, cannot remove the default link name of the container")
    container = ctx.table.get(ctx.names.get(owner, ""))
    if container is None or all(link.alias != alias for link in of(container.record)):
        raise NotFound(f"No such container: {name}")
    async with container.lock:
        kept = [text for text, link in zip(container.record.host.links or (), of(container.record), strict=True) if link.alias != alias]
        host = msgspec.structs.replace(container.record.host, links=kept or None)
        await ctx.save_record(container, msgspec.structs.replace(container.record, host=host))
