"""What a network is, as a value: what was asked for, with what was chosen for it. Kept as JSON in its row."""

from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network

import msgspec

IPNetwork = IPv4Network | IPv6Network
MAX_LINK_NAME = 15  # bytes
BRIDGE_OPTIONS = "com.docker.network.bridge."
PARENT_DRIVERS = ("macvlan", "ipvlan")


@cache
def parsed(text: str) -> IPNetwork:
    """A network of its text, made once: with thousands of networks each new one is held against all others."""
    return ip_network(text)


class Subnet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One pool of addresses. "" where there is none: an IPv6 subnet may be without gateway, a range is the whole subnet."""

    network: str  # "172.18.0.0/16"
    gateway: str = ""
    ip_range: str = ""
    auxiliary: dict[str, str] = {}
    implicit: bool = False  # the gateway is ours: inspect shows what was asked for, as Docker

    @property
    def parsed(self) -> IPNetwork:
        """The network as an object."""
        return parsed(self.network)

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.parsed.version

    @property
    def reserved(self) -> list[str]:
        """Addresses that no container gets: the gateway's and the auxiliary ones."""
        return [address for address in (self.gateway, *self.auxiliary.values()) if address]


class Network(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network. `link`: the bridge's name, or the parent's of a macvlan; "" for host, null and what has none yet."""

    id: str
    name: str
    created_ns: int
    driver: str
    link: str = ""
    subnets: tuple[Subnet, ...] = ()
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    ipam_options: dict[str, str] | None = None
    config_only: bool = False
    config_from: str = ""

    @property
    def predefined(self) -> bool:
        """One of the three that are always there."""
        return self.name in PREDEFINED

    @property
    def closed(self) -> bool:
        """Whether it leads nowhere, so that its containers have no default gateway in it; a macvlan without a parent does not, either."""
        return self.internal or (self.driver in PARENT_DRIVERS and not self.options.get("parent"))

    def of_version(self, version: int) -> list[Subnet]:
        """Its subnets of IPv4 (4) or IPv6 (6)."""
        return [subnet for subnet in self.subnets if subnet.version == version]

    def flag(self, option: str, default: bool) -> bool:
        """A boolean option of the bridge driver, `enable_icc`; checked when the network was made."""
        return self.options.get(BRIDGE_OPTIONS + option, str(default)).lower() in TRUE_WORDS

    @property
    def icc(self) -> bool:
        """Whether its containers reach each other."""
        return self.flag("enable_icc", True)

    @property
    def masquerade(self) -> bool:
        """Whether what leaves it gets the host's address (IPv4)."""
        return self.flag("enable_ip_masquerade", True)

    @property
    def mtu(self) -> int:
        """Bytes; 0 for the daemon's default."""
        return int(self.options.get("com.docker.network.driver.mtu") or 0)


    @property
    def prefix(self) -> str:
        """What the names of its interfaces in containers begin with: "eth"."""
        return self.options.get("com.docker.network.container_iface_prefix") or "eth"

    def gateway_mode(self, version: int) -> str:
        """ "nat", "nat-unprotected", "routed", "isolated" of IP version 4 or 6."""
        return self.options.get(f"{BRIDGE_OPTIONS}gateway_mode_ipv{version}") or "nat"

    def host_address(self, version: int) -> str:
        """What leaves it of IP version 4 or 6 has this source address, where it has the host's; "" for that of the link that it leaves by."""
        return self.options.get(HOST_ADDRESSES[version], "")

    @property
    def trusted(self) -> tuple[str, ...]:
        """The host's links by which its containers' published ports are reached at their own addresses; none where nothing is published."""
        return () if self.internal else tuple(dict.fromkeys(filter(None, self.options.get(TRUSTED, "").split(":"))))

    def interfaces(self) -> list[str]:
        """The addresses of its bridge: the gateways with their prefixes."""
        bare = {version for version in (4, 6) if self.gateway_mode(version) == "isolated"} | ({4} if self.flag("inhibit_ipv4", False) else set())
        given = [subnet for subnet in self.subnets if subnet.version not in bare]
        return [f"{subnet.gateway}/{subnet.parsed.prefixlen}" for subnet in given if subnet.gateway]


TRUSTED = BRIDGE_OPTIONS + "trusted_host_interfaces"
HOST_ADDRESSES = {4: "com.docker.network.host_ipv4", 6: "com.docker.network.host_ipv6"}
PREDEFINED = ("bridge", "host", "none")
TRUE_WORDS = ("1", "t", "true")
FALSE_WORDS = ("0", "f", "false")  # with TRUE_WORDS what Go's strconv.ParseBool takes, in any of its spellings

_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Network)


def encode(network: Network) -> bytes:
    """The JSON that is kept."""
    return _encoder.encode(network)


def decode(data: bytes) -> Network:
    """The network of what `encode` made. Raises msgspec.ValidationError."""
    return _decoder.decode(data)
