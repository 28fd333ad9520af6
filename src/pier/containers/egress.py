"""Egress lists of containers: the annotation com.pier.egress, checked at create, in force before the container runs."""

from collections.abc import Sequence
from typing import Any

from pier.api.models.containers import HostConfig
from pier.containers.record import Container, Record
from pier.containers.table import Containers
from pier.errors import Invalid, NotImplementedByPier
from pier.linux import nftsets
from pier.linux.netlink import packed_address
from pier.networks import egress
from pier.networks.model import PREDEFINED, Network


def text_of(host: HostConfig) -> str | None:
    """The list as it was given, None where there is none."""
    return host.annotations.get(egress.OPTION) if host.annotations else None


def check(host: HostConfig, networks: "list[tuple[str, Network | None]]") -> None:
    """Before a container is made. networks: by name, None for one that is not there yet. Raises Invalid, NotImplementedByPier."""
    text = text_of(host)
    if text is None:
        return
    allowed = egress.parse(text)
    if host.network_mode == "host" or host.network_mode.startswith("container:"):
        mode = host.network_mode.partition(":")[0]
        raise Invalid(f"{egress.OPTION}: a container in network mode {mode} has no addresses of its own that could be held to a list")
    for name, network in networks:
        check_network(text, name, network)
    if any(entry.name for entry in allowed) and all(name in PREDEFINED for name, _ in networks):
        raise Invalid(f"{egress.OPTION}: names are resolved by the name server of networks of users: use --network, or addresses")


def check_network(text: str | None, name: str, network: Network | None) -> None:
    """Whether a container with a list may be in a network. Raises NotImplementedByPier."""
    if text is not None and network is not None and network.driver not in ("bridge", "null"):
        raise NotImplementedByPier(f"an egress list in network {name} of driver {network.driver}", "its packets do not pass the host's firewall")


async def hold(ctx: Containers, container: Container) -> None:
    """Hold a container to its list in the networks that it is in by now. Raises NetlinkError: it must not run then."""
    text = text_of(container.record.host)
    if text is not None:
        await ctx.networks.egress.hold(container.id, egress.parse(text))


def view(ctx: Containers, container: Container, servers: Sequence[str]) -> dict[str, Any]:
    """What netd is to know: whose names are asked and let in for whom; {} where there is no list. servers: the container's, of names."""
    guard, scopes = ctx.networks.egress, []
    for place in container.places:
        live, allowed = ctx.networks.live.get(place.network_id), guard.network(place.network_id)
        if live is not None and live.bridge is not None and allowed is not None:
            key = nftsets.ifname(live.bridge.name).hex()
            scopes.append(["network", {"4": [key], "6": [key]}, egress.names(allowed), [each for each in servers if egress.reaches(allowed, each)]])
    text = text_of(container.record.host)
    if text is not None:
        allowed = egress.parse(text)
        addresses = [packed_address(address) for place in container.places for address in place.addresses]
        keys = {version: [packed.hex() for packed in addresses if len(packed) == size] for version, size in (("4", 4), ("6", 16))}
        scopes.append(["container", keys, egress.names(allowed), [each for each in servers if egress.reaches(allowed, each)]])
    return {"table": guard.tables.name, "scopes": scopes} if scopes else {}


def is_held(record: Record) -> bool:
    """Whether a container has a list."""
    return text_of(record.host) is not None
