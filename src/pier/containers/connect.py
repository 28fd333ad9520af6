"""Connecting a container to a network and disconnecting it, running or not.

A connection is recorded when it is there, a disconnection before it is carried out: what a killed daemon leaves in between is an endpoint that no
record has, and restore takes it away.
"""

import os

import msgspec

from pier import trace
from pier.api.models.networks import EndpointSettings, NetworkConnect, NetworkDisconnect
from pier.containers import egress, errand, files, joining, names_service, published
from pier.containers.record import Container
from pier.containers.spec import interfaces
from pier.containers.table import Containers
from pier.errors import Conflict, Forbidden, Internal, Invalid, NotFound
from pier.networks import Endpoint
from pier.networks.endpoints import default_gateways
from pier.networks.model import Network

_SHARED = "container sharing network namespace with another container or host cannot be connected to any other network"
_NONE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
_HOST = "cannot connect container to host network - container must be created in host network mode"


async def connect(ctx: Containers, name: str, request: NetworkConnect) -> None:
    """POST /networks/{name}/connect. Raises NotFound, Invalid, Forbidden, Conflict, Unavailable with Docker's texts; nothing has changed then."""
    container = ctx.find(request.container)
    network = ctx.networks.find(name).network
    settings = request.endpoint_config or EndpointSettings()
    _check_mode(container, network)
    if problems := joining.problems_of(network, network.name, settings):
        told = problems[0] if len(problems) == 1 else "\n".join(f"* {problem}" for problem in problems)
        raise Invalid(f"invalid endpoint settings:\n{told}")
    wanted = joining.checked(network, network.name, settings)
    egress.check_network(egress.text_of(container.record.host), network.name, network)
    async with container.lock:
        if container.removed or container.doomed:
            raise Conflict(f"container {container.name} is marked for removal and cannot be connected to network {network.name}")
        if network.name in container.record.endpoints:
            raise Forbidden(f"endpoint with name {container.name} already exists in network {network.name}")
        record = msgspec.structs.replace(container.record, endpoints={**container.record.endpoints, network.name: wanted})
        if not container.state.running:
            await ctx.save_record(container, record)
            return
        before = container.places
        endpoint = await _plug_in(ctx, container, network, wanted)
        try:
            container.places = tuple(sorted((*before, endpoint), key=lambda place: (len(place.interface), place.interface)))
            await egress.hold(ctx, container)
            await _configure(ctx, container, before, endpoint, wanted)
            trace.point("connect.record")
            await ctx.save_record(container, record)
        except BaseException:
            container.places = before
            await _cut(ctx, container, network.id)
            raise
        files.gained(ctx, container, endpoint)
        await names_service.joined(ctx, container)
        await published.moved(ctx, container)


def _check_mode(container: Container, network: Network) -> None:
    mode = container.record.host.network_mode
    if network.driver == "host":
        raise Invalid(_HOST)
    if mode == "host" or mode.startswith("container:"):
        raise Invalid(_SHARED)
    if mode == "none" or network.driver == "null":
        raise Invalid(_NONE)


async def _plug_in(ctx: Containers, container: Container, network: Network, settings: EndpointSettings) -> Endpoint:
    """The link, from outside; its number is the first that the container has free."""
    taken = {place.interface for place in container.places}
    number = next(n for n in range(len(taken) + 1) if f"{network.prefix}{n}" not in taken)
    space = errand.namespace(container, "net")
    try:
        return await joining.attach(ctx, container, network.name, settings, space, number)
    finally:
        os.close(space)


async def _configure(
    ctx: Containers, container: Container, before: tuple[Endpoint, ...], gained: Endpoint | None, settings: EndpointSettings | None = None
) -> None:  # fmt: skip
    """Addresses and routes, from inside: of the new interface, and of one that has the default gateway from now on. settings: of the new one."""
    old, new = default_gateways(before), default_gateways(container.places)
    moved = [version for version, was, now in (("4", old[0], new[0]), ("6", old[1], new[1])) if was is not now]
    touched = {place.interface for place in (gained, *(new[0 if version == "4" else 1] for version in moved)) if place is not None}
    asked = {**container.record.endpoints, **({gained.network: settings} if gained is not None and settings is not None else {})}
    setups = [setup for setup in interfaces(container.places, asked) if setup.name in touched]
    if setups or moved:
        for fd in await errand.run(ctx, container, [errand.network_step(setups, moved)]):
            os.close(fd)


async def disconnect(ctx: Containers, name: str, request: NetworkDisconnect) -> None:
    """POST /networks/{name}/disconnect. Raises NotFound, Internal (it is not connected), Invalid, with Docker's texts."""
    try:
        container = ctx.find(request.container)
    except NotFound:
        if request.force and ctx.networks.find(name):
            raise NotFound(f"endpoint {request.container} not found") from None
        raise
    network = ctx.networks.find(name).network
    if network.driver == "host" and container.record.host.network_mode == "host":
        raise Invalid("cannot disconnect container from host network - container was created in host network mode")
    async with container.lock:
        if network.name not in container.record.endpoints:
            the = "" if container.state.running else "the "
            raise Internal(f"container {container.id} is not connected to {the}network {network.name}")
        left = {key: value for key, value in container.record.endpoints.items() if key != network.name}
        trace.point("disconnect.record")
        await ctx.save_record(container, msgspec.structs.replace(container.record, endpoints=left))
        before = container.places
        gone = next((place for place in before if place.network_id == network.id), None)
        if gone is None or not container.state.running:
            return
        container.places = tuple(place for place in before if place is not gone)
        await _cut(ctx, container, network.id)
        files.lost(ctx, container, gone)
        try:
            await _configure(ctx, container, before, None)
        except Conflict:
            return  # it ends just now
        await names_service.joined(ctx, container)
        await published.moved(ctx, container)


async def _cut(ctx: Containers, container: Container, network_id: str) -> None:
    """Take a running container's link in a network away; one that has just ended takes it along."""
    try:
        space = errand.namespace(container, "net")
    except Conflict:
        await ctx.networks.detach(container.id, network_id)
        return
    try:
        await ctx.networks.detach(container.id, network_id, cut=True, netns_fd=space)
    finally:
        os.close(space)


async def cut_unrecorded(ctx: Containers) -> None:
    """At start: endpoints of running containers whose records do not know them are what a killed connect or disconnect left."""
    for container in list(ctx.table.values()):
        known = {given.network_id or ctx.networks.network_id(name) for name, given in container.record.endpoints.items()}
        for place in [place for place in container.places if place.network_id not in known]:
            container.places = tuple(each for each in container.places if each is not place)
            await _cut(ctx, container, place.network_id)
