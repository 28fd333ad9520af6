"""A container's place in a network, as a value."""

import secrets
from dataclasses import dataclass

from pier.errors import Invalid


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a container has while it runs; for host and none everything but the IDs is empty."""

    network: str  # "bridge", "host", "none"
    network_id: str
    endpoint_id: str
    interface: str = ""  # inside: "eth0"
    address: str = ""  # "172.17.0.2"
    prefix_len: int = 0
    gateway: str = ""
    mac: str = ""
    host_interface: str = ""
    gateway_mac: str = ""  # "" where the bridge is somebody else's and may change its MAC

    @property
    def cidr(self) -> str:
        """ "172.17.0.2/16", "" without an address."""
        return f"{self.address}/{self.prefix_len}" if self.address else ""


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
