"""A container's place in a network, as a value."""

import secrets
from dataclasses import dataclass
from ipaddress import IPv6Address

from pier.errors import Invalid


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a container has while it runs; for host and none everything but the IDs is empty."""

    network: str  # "bridge", "host", "none", or a network of a user
    network_id: str
    endpoint_id: str
    interface: str = ""  # inside: "eth0"
    address: str = ""  # "172.17.0.2"
    prefix_len: int = 0
    gateway: str = ""  # "" in an internal network
    mac: str = ""
    host_interface: str = ""
    gateway_mac: str = ""  # "" where the bridge is somebody else's and may change its MAC
    address6: str = ""
    prefix_len6: int = 0
    gateway6: str = ""
    priority: int = 0  # the highest gives the default gateway

    @property
    def cidr(self) -> str:
        """ "172.17.0.2/16", "" without an address."""
        return f"{self.address}/{self.prefix_len}" if self.address else ""

    @property
    def cidr6(self) -> str:
        """ "fd00::2/64", "" without an address."""
        return f"{self.address6}/{self.prefix_len6}" if self.address6 else ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Without their prefixes."""
        return tuple(address for address in (self.address, self.address6) if address)

    @property
    def link_local(self) -> str:
        """The address that the kernel gives its interface besides, made of the MAC (RFC 4291, appendix A); "" without IPv6."""
        if not self.address6 or not self.mac:
            return ""
        octets = bytes.fromhex(self.mac.replace(":", ""))
        return str(IPv6Address(b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]))


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of an endpoint that is to be made; "" for whatever there is."""

    interface: str = "eth0"
    mac: str = ""
    address: str = ""
    address6: str = ""
    priority: int = 0


def default_gateways(endpoints: "tuple[Endpoint, ...] | list[Endpoint]") -> tuple[Endpoint | None, Endpoint | None]:
    """Whose gateway is the default one, for IPv4 and IPv6: the highest priority, then the network's name, as in Docker 28."""
    order = sorted(endpoints, key=lambda endpoint: (-endpoint.priority, endpoint.network))
    return next((e for e in order if e.gateway), None), next((e for e in order if e.gateway6), None)


def host_interface(endpoint_id: str) -> str:
    """The name of the host's end of the veth: 14 characters of the 15 that the kernel allows."""
    return f"pier{endpoint_id[:10]}"


def random_mac() -> str:
    """Locally administered, unicast (IEEE 802), as Docker 28 does."""
    octets = bytearray(secrets.token_bytes(6))
    octets[0] = octets[0] & 0xFE | 0x02
    return octets.hex(":")


def checked_mac(mac: str) -> str:
    """A MAC address as given, in lower case with colons. Raises Invalid for another text or a group address."""
    parts = mac.replace("-", ":").lower().split(":")
    if len(parts) != 6 or any(len(part) != 2 or not set(part) <= set("0123456789abcdef") for part in parts):
        raise Invalid(f"invalid MAC address {mac}: it is six octets, as in 92:d0:c6:0a:29:33")
    if int(parts[0], 16) & 1 or parts == ["00"] * 6:
        raise Invalid(f"invalid MAC address {mac}: it is a group or empty address; the first octet is even")
    return ":".join(parts)
