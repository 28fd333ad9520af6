"""What stands behind a network in the kernel: one interface, an implementation for each driver; tests/contract/networks holds them to it.

    bridge             bridges.py   a bridge; containers by veths
    macvlan, ipvlan    parents.py   a link of the host; containers by links of their own on it, which the host does not see
    host, null         nothing: a container there has no interface of ours

An overlay network is one more of them: its bridge with a VXLAN link in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pier.networks.model import Network


@dataclass(frozen=True, slots=True)
class Base:
    """The link that a network stands on, as it is: a bridge, or the parent of macvlan and ipvlan."""

    name: str
    index: int
    interfaces: tuple[str, ...] = ()  # of a bridge: the gateways with their prefixes, "172.17.0.1/16"
    mac: str = ""  # of a bridge; "" where it is somebody else's and may change
    mode: str = ""  # of macvlan and ipvlan: "bridge", "l2", "l3 private"


@dataclass(frozen=True, slots=True)
class Port:
    """A container's link to be, or as it is."""

    host_interface: str  # the host's end; "" where there is none
    netns_fd: int  # -1 where the namespace is not known (any more)
    addresses: tuple[str, ...]  # () for one that is made ahead
    mac: str  # "" for the kernel's choice
    mtu: int  # bytes, 0 for the base's
    interface: str = "eth0"  # inside
    isolated: bool = False  # from the bridge's other containers


class Driver(Protocol):
    """Blocks, in the thread for the kernel: one call at a time. Raises PierError and NetlinkError; what fails has left nothing."""

    hosted: bool
    """Whether a container's link has an end in the host's namespace, `Port.host_interface`."""

    addressed: bool
    """Whether containers have addresses of the network."""

    def create(self, network: Network, mtu: int) -> Base | None:
        """Make what a new network stands on. mtu: bytes, where the network does not say. Raises Conflict, NotFound, Internal."""
        ...

    def ensure(self, network: Network, mtu: int) -> tuple[Base | None, bool]:
        """The same for one that is there already, as far as it is gone. Whether something was made."""
        ...

    def remove(self, networks: Sequence[Network]) -> None:
        """Take away what `create` made of each, and nothing of others. It may be gone."""
        ...

    def join(self, base: Base, port: Port) -> None:
        """Give a container its link: inside its namespace it is down and has no address yet."""
        ...

    def leave(self, base: Base | None, port: Port, *, cut: bool) -> bool:
        """A container has left. cut: it runs on, so its link goes now; else it goes with its namespace. Whether the link is gone."""
        ...


class Bare:
    """host and null: nothing is made and nothing is there."""

    hosted = False
    addressed = False

    def create(self, network: Network, mtu: int) -> None:
        """Nothing."""

    def ensure(self, network: Network, mtu: int) -> tuple[None, bool]:
        """Nothing."""
        return None, False

    def remove(self, networks: Sequence[Network]) -> None:
        """Nothing."""

    def join(self, base: Base, port: Port) -> None:
        """Nothing."""

    def leave(self, base: Base | None, port: Port, *, cut: bool) -> bool:
        """Nothing is left."""
        return True
