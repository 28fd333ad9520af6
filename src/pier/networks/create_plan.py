"""From a request to a network that can be made: every check before anything is touched. Pure. Texts are Docker's (Engine 28.5).

What is chosen here: the subnets where none were asked for, around what the host has; gateways; the name of the bridge.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from pier.api.models.networks import IPAM, IPAMConfig, NetworkCreate
from pier.errors import Conflict, Forbidden, Invalid, NotFound, NotImplementedByPier, Unavailable
from pier.networks import egress
from pier.networks.model import (
    BRIDGE_OPTIONS,
    FALSE_WORDS,
    HOST_ADDRESSES,
    MAX_LINK_NAME,
    PARENT_DRIVERS,
    PREDEFINED,
    TRUE_WORDS,
    TRUSTED,
    IPNetwork,
    Network,
    Subnet,
)
from pier.networks.spans import Spans

_BOOLEANS = ("enable_icc", "enable_ip_masquerade", "inhibit_ipv4", "default_bridge")
_LEAST_MTU, _MOST_MTU = 68, 65535  # RFC 791; a packet's length has two bytes
_GATEWAY_MODES = ("nat", "nat-unprotected", "routed", "isolated")
_BRIDGE_KEYS = {
    BRIDGE_OPTIONS + key
    for key in ("name", "host_binding_ipv4", "gateway_mode_ipv4", "gateway_mode_ipv6", "trusted_host_interfaces", *_BOOLEANS)
} | {"com.docker.network.driver.mtu", "com.docker.network.container_iface_prefix", *HOST_ADDRESSES.values()}
_DRIVERS = ("bridge", *PARENT_DRIVERS)
_MODES = {
    "macvlan": (("macvlan_mode", ("bridge", "private", "vepa", "passthru"), "bridge"),),
    "ipvlan": (("ipvlan_mode", ("l2", "l3", "l3s"), "l2"), ("ipvlan_flag", ("bridge", "private", "vepa"), "bridge")),
}


@dataclass(frozen=True)
class World:
    """What a new network must fit into. taken: the host's routes, addresses and name servers. pools: see Spans.choose.

    spans: the networks' subnets, where somebody keeps them.
    """

    networks: Sequence[Network]
    taken: Sequence[IPNetwork] = ()
    pools: Sequence[tuple[IPNetwork, int]] = ()
    ipvlan: bool = False
    spans: Spans = field(default_factory=Spans)

    def __post_init__(self) -> None:
        self.spans.follow({network.id: network for network in self.networks})

    def named(self, name: str) -> Network | None:
        """The network of that name."""
        return next((network for network in self.networks if network.name == name), None)


def plan(request: NetworkCreate, world: World, *, identity: str, now_ns: int) -> Network:
    """The network that a request makes. identity: its ID, 64 hex digits.

    Raises Invalid, Forbidden, Conflict, NotFound, NotImplementedByPier, Unavailable where no pool is free.
    """
    _check_request(request, world)
    source = _configuration(request, world)
    ipam = (request.ipam or IPAM()) if source is None else IPAM()
    options = dict(request.options or {}) if source is None else dict(source.options)
    driver = request.driver or "bridge"
    if request.config_only:
        driver = "null"
    else:
        check_options(driver, options)
    ipv6 = source.ipv6 if source else request.enable_ipv6 is True
    ipv4 = source.ipv4 if source else request.enable_ipv4 is not False
    if not ipv4 and not ipv6 and not request.config_only:
        raise Invalid("IPv4 or IPv6 must be enabled")
    subnets = source.subnets if source else tuple(_subnets(ipam, ipv4, ipv6))
    if driver == "bridge" and any(sum(subnet.version == version for subnet in subnets) > 1 for version in (4, 6)):
        raise Forbidden("bridge driver doesn't support multiple subnets")
    if not request.config_only:
        without = _without_gateway(driver, options, internal=request.internal)
        subnets = tuple(_filled(subnets, world, ipv4=ipv4, ipv6=ipv6, without=without))
    link = ""
    if driver == "bridge" and not request.config_only:
        link = options.get(BRIDGE_OPTIONS + "name") or f"br-{identity[:12]}"
        _check_link(link, world)
    elif driver in PARENT_DRIVERS and not request.config_only:
        link = options.get("parent") or f"dm-{identity[:12]}"
        _check_parent(link, driver, options, world)
    return Network(
        id=identity, name=request.name, created_ns=now_ns, driver=driver, link=link, subnets=subnets, ipv4=ipv4, ipv6=ipv6,
        internal=request.internal, attachable=request.attachable, options=options,
        labels=dict(request.labels or (source.labels if source else {})), ipam_options=ipam.options, config_only=request.config_only,
        config_from=request.config_from.network if request.config_from else "",
    )  # fmt: skip


def _check_request(request: NetworkCreate, world: World) -> None:
    if not request.name.strip():
        raise Invalid("invalid name: name is empty")
    if request.name in PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {request.name} network ")
    if world.named(request.name):
        raise Conflict(f"network with name {request.name} already exists")
    if request.scope == "swarm" or request.ingress:
        raise Forbidden("cannot create a swarm scoped network when swarm is not active")
    if request.scope not in ("", "local"):
        raise Invalid(f"invalid scope: {request.scope}")
    driver = request.driver or "bridge"
    if driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver == "overlay":
        raise Forbidden(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.'
        )
    if driver not in _DRIVERS:
        raise NotFound(f'plugin "{driver}" not found')
    if driver == "ipvlan" and not world.ipvlan:
        raise NotImplementedByPier("ipvlan on this kernel (it has no ipvlan links)", "macvlan gives addresses of the parent's network, too")
    ipam = request.ipam
    if ipam and ipam.driver not in ("", "default"):
        raise NotFound(f'plugin "{ipam.driver}" not found')


def _configuration(request: NetworkCreate, world: World) -> Network | None:
    """The config-only network that the request takes its settings from."""
    name = request.config_from.network if request.config_from else ""
    if not name:
        return None
    source = world.named(name)
    if source is None or not source.config_only:
        raise NotFound(f'configuration network "{name}" does not exist')
    if request.config_only:
        raise Forbidden("a configuration network cannot have a configuration network as a source")
    if request.options or request.labels or (request.ipam and request.ipam.config):
        raise Forbidden("user specified configurations are not supported if the network depends on a configuration network")
    return source


def check_options(driver: str, options: Mapping[str, str]) -> None:
    """The options of a driver. Raises Invalid with Docker's text, NotImplementedByPier for one that is known and not carried out."""
    if egress.OPTION in options:
        egress.parse(options[egress.OPTION])
        if driver != "bridge":
            raise NotImplementedByPier(f"an egress list of a network of driver {driver}", "its packets do not pass the host's firewall")
    for key, value in options.items():
        name = key.removeprefix(BRIDGE_OPTIONS)
        if key == "com.docker.network.driver.mtu":
            _check_mtu(key, value)
        if key == "com.docker.network.container_iface_prefix":
            _check_prefix(value)
        if key.startswith(BRIDGE_OPTIONS) and name in _BOOLEANS and value.lower() not in (*TRUE_WORDS, *FALSE_WORDS):
            raise Invalid(f'failed to parse {key} value: {value} (strconv.ParseBool: parsing "{value}": invalid syntax)')
        if name in ("gateway_mode_ipv4", "gateway_mode_ipv6") and value not in _GATEWAY_MODES:
            raise Invalid(f"unknown gateway mode {value}")
        if name == "host_binding_ipv4":
            try:
                ip_address(value)
            except ValueError:
                raise Invalid(f"failed to parse {key} value: {value} (invalid ip address)") from None
        if driver == "bridge" and key == TRUSTED:
            _check_trusted(value)
        if driver == "bridge" and key in HOST_ADDRESSES.values():
            _check_host_address(key, value)
        if driver == "bridge" and key.startswith("com.docker.network.") and key not in _BRIDGE_KEYS:
            raise NotImplementedByPier(f"the network option {key}")
    for key, known, default in _MODES.get(driver, ()):
        if options.get(key) and options[key] not in known:
            what = key.replace("_", " ")
            raise Invalid(f"requested {what} '{options[key]}' is not valid, '{default}' mode is the {driver} driver default")


def _check_mtu(key: str, value: str) -> None:
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        raise Invalid(f'failed to parse {key} value: {value} (strconv.Atoi: parsing "{value}": invalid syntax)')
    if value != digits or int(digits) > _MOST_MTU or 0 < int(digits) < _LEAST_MTU:
        words = f"a link of IPv4 takes {_LEAST_MTU} to {_MOST_MTU} bytes, one of IPv6 1280 at least; 0 is the daemon's"
        raise Invalid(f"invalid MTU number: {value}: {words}")


def _check_prefix(value: str) -> None:
    if len(value.encode()) > MAX_LINK_NAME - 3 or "/" in value or (value and value.split() != [value]) or value.startswith("."):
        raise Invalid(f"invalid interface prefix {value!r}: at most {MAX_LINK_NAME - 3} bytes, since a number follows, no slash and no white space")


def _check_trusted(value: str) -> None:
    for name in filter(None, value.split(":")):
        if len(name.encode()) > MAX_LINK_NAME or "/" in name or name.split() != [name] or name in (".", ".."):
            words = f"a link's name has at most {MAX_LINK_NAME} bytes, no slash and no white space; between two stands a colon"
            raise Invalid(f"invalid trusted host interface {name!r}: {words}")


def _check_host_address(key: str, value: str) -> None:
    version = next(number for number, name in HOST_ADDRESSES.items() if name == key)
    try:
        address = ip_address(value)
    except ValueError:
        raise Invalid(f"failed to parse {key} value: {value} (nil ip)") from None
    if address.version != version or address.is_unspecified or address.is_multicast or "%" in value:
        raise Invalid(f"failed to parse {key} value: {value} (no IPv{version} address that packets could come from)")


def _subnets(ipam: IPAM, ipv4: bool, ipv6: bool) -> Iterable[Subnet]:
    """The pools of a request, checked one by one; all problems are told at once, as in Docker."""
    problems: list[str] = []
    found = []
    for config in ipam.config or []:
        subnet = _subnet(config, problems)
        if subnet is None:
            continue
        if (subnet.version == 4 and ipv4) or (subnet.version == 6 and ipv6):
            found.append(subnet)
        elif subnet.version == 6:
            problems.append(f"invalid subnet {subnet.network}: IPv6 has not been enabled")
        else:
            problems.append(f"invalid subnet {subnet.network}: IPv4 has not been enabled")
    for position, subnet in enumerate(found):
        for other in found[:position]:
            if subnet.version == other.version and subnet.parsed.overlaps(other.parsed):
                problems.append(f"invalid subnet {subnet.network}: it overlaps with {other.network} of the same network")
    if problems:
        told = problems[0] if len(problems) == 1 else "\n".join(f"* {problem}" for problem in problems)
        raise Invalid(f"invalid network config:\n{told}")
    return found


def _subnet(config: IPAMConfig, problems: list[str]) -> Subnet | None:
    if not config.subnet:
        if config.gateway or config.ip_range or config.auxiliary_addresses:
            problems.append("invalid subnet : invalid CIDR block notation")
        return None
    network = _network(config.subnet)
    if network is None:
        problems.append(f"invalid subnet {config.subnet}: invalid CIDR block notation")
        return None
    if str(network) != str(ip_network(config.subnet, strict=False)) or config.subnet.partition("/")[0] != str(network.network_address):
        problems.append(f"invalid subnet {config.subnet}: it should be {network}")
        return None
    if config.ip_range:
        part = _network(config.ip_range)
        if part is None:
            problems.append(f"invalid ip-range {config.ip_range}: invalid CIDR block notation")
        elif part.version != network.version or not part.subnet_of(network):  # type: ignore[arg-type]
            problems.append(f"invalid ip-range {config.ip_range}: parent subnet {network} doesn't contain ip-range")
        elif config.ip_range.partition("/")[0] != str(part.network_address):
            problems.append(f"invalid ip-range {config.ip_range}: it should be {part}")
    for kind, address in (("gateway", config.gateway), *(("auxiliary address", text) for text in (config.auxiliary_addresses or {}).values())):
        if address and (problem := _address_problem(address, network)):
            problems.append(f"invalid {kind} {address}: {problem}")
    return Subnet(
        network=str(network), gateway=config.gateway, ip_range=config.ip_range, auxiliary=dict(config.auxiliary_addresses or {})
    )


def _network(text: str) -> IPNetwork | None:
    try:
        return ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _address_problem(text: str, network: IPNetwork) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return "invalid address"
    return "" if address in network else f"parent subnet {network} doesn't contain this address"


def _without_gateway(driver: str, options: Mapping[str, str], *, internal: bool) -> set[int]:
    """IP versions in which nobody is the gateway, unless one is named: its address is a container's. Raises Invalid with Docker's text."""
    if driver in PARENT_DRIVERS:
        return {4, 6} if internal or not options.get("parent") else set()
    found = {version for version in (4, 6) if options.get(f"{BRIDGE_OPTIONS}gateway_mode_ipv{version}") == "isolated"}
    if found and not internal:
        raise Invalid("gateway mode 'isolated' can only be used for an internal network")
    return found


def _filled(subnets: Sequence[Subnet], world: World, *, ipv4: bool, ipv6: bool, without: set[int]) -> Iterable[Subnet]:
    """Subnets with their gateways, and chosen ones for the families that have none. without: IP versions that have no gateway."""
    for subnet in subnets:
        if found := world.spans.overlapping(subnet.parsed):
            raise Forbidden(f"invalid pool request: Pool overlaps with other one on this address space: {found[0]} is network {found[1]}'s")
        _check_reserved(subnet)
        yield subnet if subnet.gateway or subnet.version in without else _with_gateway(subnet, implicit=True)
    there = {subnet.version for subnet in subnets}
    for version in [version for version, wanted in ((4, ipv4), (6, ipv6)) if wanted and version not in there]:
        chosen = Subnet(network=str(world.spans.choose(world.pools, world.taken, version=version)))
        yield chosen if version in without else _with_gateway(chosen)


def _nobodys(network: IPNetwork) -> set[IPv4Address | IPv6Address]:
    """The addresses of a network that no host can have: its own, and the broadcast address of IPv4."""
    if network.prefixlen == network.max_prefixlen - 1:
        return set()  # RFC 3021, RFC 6164
    return {network.network_address, network.broadcast_address} if network.version == 4 else {network.network_address}


def _check_reserved(subnet: Subnet) -> None:
    """A gateway or auxiliary address is one that a host can have, and nobody else's. Raises Forbidden with Docker's texts."""
    taken = _nobodys(subnet.parsed)
    for what, text in (("gateway (", subnet.gateway), *((f"secondary ip address ({name}:", text) for name, text in subnet.auxiliary.items())):
        if text and ip_address(text) in taken:
            raise Forbidden(f"failed to allocate {what}{text}): Address already in use")
        if text:
            taken.add(ip_address(text))


def _with_gateway(subnet: Subnet, *, implicit: bool = False) -> Subnet:
    """The lowest address that is nobody else's: of the range where there is one, as in Docker, else of the subnet. Raises Unavailable."""
    network = subnet.parsed
    start = ip_network(subnet.ip_range) if subnet.ip_range else network
    barred = _nobodys(network) | {ip_address(each) for each in subnet.auxiliary.values()}
    number, last = int(start.network_address), int(start.broadcast_address)
    kind = type(network.network_address)
    while number <= last and kind(number) in barred:
        number += 1
    if number > last:
        raise Unavailable(f"failed to allocate gateway (): no available addresses on this pool: {start} has none that a gateway can have")
    return Subnet(network=subnet.network, gateway=str(kind(number)), ip_range=subnet.ip_range, auxiliary=subnet.auxiliary, implicit=implicit)


def as_networks(address: str) -> list[IPNetwork]:
    """A name server of resolv.conf as a network of one address; nothing where it is none."""
    try:
        return [ip_network(address.partition("%")[0])]
    except ValueError:
        return []


def _check_link(name: str, world: World) -> None:
    if len(name.encode()) > MAX_LINK_NAME or "/" in name or not name.strip() or name in (".", ".."):
        raise Invalid(f"invalid bridge name {name!r}: a link's name has at most {MAX_LINK_NAME} bytes, no slash and no white space")
    holder = next((network for network in world.networks if network.link == name and network.driver == "bridge"), None)
    if holder:
        raise Conflict(f"cannot create network: bridge name {name} is network {holder.name}'s")


def _check_parent(name: str, driver: str, options: Mapping[str, str], world: World) -> None:
    """A link has one kind of uppers, and one that is passed through has one network. Raises Invalid, Conflict with Docker's texts."""
    if len(name.encode()) > MAX_LINK_NAME or "/" in name or name in (".", "..") or name.split() != [name]:
        raise Invalid(f"invalid parent {name!r}: a link's name has at most {MAX_LINK_NAME} bytes, no slash and no white space")
    for other in world.networks:
        if other.link != name or other.driver not in PARENT_DRIVERS:
            continue
        if other.driver != driver:
            raise Conflict(f"the parent interface {name} is in use by {other.driver} network {other.name}: name another one")
        if driver == "macvlan" and options.get("macvlan_mode") == "passthru":
            raise Conflict(f"cannot use mode passthru, macvlan network {other.id} is already using parent interface {name}")
        if other.options.get("macvlan_mode") == "passthru":
            raise Conflict(f"macvlan network {other.id} is already using parent interface {name} in mode passthru")
