"""How a container joins its networks: what it asks of each, checked at create and carried out at start and at connect."""

import asyncio
import ipaddress

import msgspec

from pier.api.models.networks import EndpointSettings
from pier.containers import endpoint_options, links
from pier.containers.record import Container, Record
from pier.containers.table import Containers
from pier.errors import Invalid, NotFound, NotImplementedByPier
from pier.networks import Endpoint, leaving
from pier.networks.endpoints import Wish
from pier.networks.model import PREDEFINED, Network


def in_order(record: Record) -> list[tuple[str, EndpointSettings]]:
    """The networks of a container in the order of its interfaces: the network mode's first, then by name."""
    first = record.host.network_mode
    return sorted(record.endpoints.items(), key=lambda item: (item[0] != first, item[0]))


async def attach(ctx: Containers, container: Container, name: str, given: EndpointSettings, netns_fd: int, number: int) -> Endpoint:
    """Give a running container its place in one network; number: of its interface.

    Raises NotFound with Docker's text, Invalid, Conflict, Unavailable.
    """
    key, wish = _wish(ctx, name, given, number)
    return await ctx.networks.attach(container.id, key, netns_fd, wish=wish)


def begin(
    ctx: Containers, container: Container, name: str, given: EndpointSettings, netns_fd: int, number: int
) -> "tuple[Endpoint, asyncio.Future[None]]":
    """The same for one that is to be started: its place, and what is to be awaited before it has it. Raises the same."""
    key, wish = _wish(ctx, name, given, number)
    return ctx.networks.begin_attach(container.id, key, netns_fd, wish=wish)


async def vacated(ctx: Containers, name: str, given: EndpointSettings) -> None:
    """Wait until an address or MAC that is asked for is no longer that of a container that has just ended. Raises as `begin`."""
    if given.ipam_config or given.mac_address:
        await leaving.vacated(ctx.networks, *_wish(ctx, name, given, 0))


def _wish(ctx: Containers, name: str, given: EndpointSettings, number: int) -> tuple[str, Wish]:
    key = name if name in PREDEFINED else given.network_id or name
    try:
        network = ctx.networks.find(key).network
    except NotFound:
        raise NotFound(f"failed to set up container networking: network {key} not found") from None
    config = given.ipam_config
    return key, Wish(
        interface=endpoint_options.interface(given, f"{network.prefix}{number}"), mac=given.mac_address,
        address=config.ipv4_address if config else "", address6=config.ipv6_address if config else "", priority=given.gw_priority,
    )  # fmt: skip


def checked(network: Network | None, name: str, settings: EndpointSettings) -> EndpointSettings:
    """The settings of a place in a network; None for one that is not there (yet). Raises Invalid with Docker's texts, NotImplementedByPier."""
    if settings.mac_address and not is_mac(settings.mac_address):
        raise Invalid(f"invalid config for network {name}: invalid MAC address {settings.mac_address}")
    problems = problems_of(network, name, settings)
    if problems:
        told = problems[0] if len(problems) == 1 else "\n".join(f"* {problem}" for problem in problems)
        raise Invalid(f"invalid config for network {name}: invalid endpoint settings:\n{told}")
    if settings.links and name in PREDEFINED:
        raise NotImplementedByPier(f"links in network {name} (EndpointsConfig.Links)", "HostConfig.Links is for the default bridge")
    for text in settings.links or ():
        links.split(text)
    endpoint_options.check(settings, name)
    return msgspec.structs.replace(
        settings, network_id=network.id if network and not network.predefined else "", endpoint_id="", gateway="", ip_address="", ip_prefix_len=0,
        ipv6_gateway="", global_ipv6_address="", global_ipv6_prefix_len=0, dns_names=None,
    )  # fmt: skip


def problems_of(network: Network | None, name: str, settings: EndpointSettings) -> list[str]:
    """What is wrong with the addresses and aliases that are asked for, in Docker's words."""
    config = settings.ipam_config
    asked = [("IPv4", config.ipv4_address), ("IPv6", config.ipv6_address)] if config else []
    asked = [(family, address) for family, address in asked if address]
    problems = []
    if asked and name in PREDEFINED:
        problems.append("user specified IP address is supported on user defined networks only")
    for family, text in asked:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            address = None
        good = address is not None and address.version == int(family[-1])
        if not good:
            problems.append(f"invalid {family} address: {text}")
        inside = good and (network is None or any(address in subnet.parsed for subnet in network.subnets))
        if not inside and (name not in PREDEFINED or not good):
            problems.append(f"no configured subnet or ip-range contain the IP address {text}")
    if settings.aliases and name in PREDEFINED:
        problems.append("network-scoped aliases are only supported for user-defined networks")
    return problems


def is_mac(text: str) -> bool:
    """Whether a text is a MAC address."""
    parts = text.replace("-", ":").split(":")
    return len(parts) == 6 and all(len(p) == 2 and all(c in "0123456789abcdefABCDEF" for c in p) for p in parts)
