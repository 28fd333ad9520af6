"""More than 1,023 containers on one network: a Linux bridge takes no more ports, so that further bridges hang on the network's own.

    pier0 --- brx1a2b3c4d-1   up to 1,022 containers
       \\----- brx1a2b3c4d-2   ...

Each is a port of the network's own bridge, by a veth (`...u` there, `...d` here). It has no address and no rule of its own: what leaves it comes in
by the network's bridge. Where ports are isolated from each other, the upper end is isolated too: from a part a packet reaches the host, and no
other port. The port that a part needs is one that a container gives up, which moves into it: nothing is kept free, and nothing is counted.
Parts go with their network.
"""

import errno
import hashlib
from collections.abc import Iterator

from pier.errors import Unavailable
from pier.linux.netlink import NetlinkError
from pier.linux.rtnetlink import Link, Routing
from pier.networks import sysctls
from pier.networks.drivers import Base
from pier.trace import point

_MOST = 999  # parts of a network


class Segments:
    """The parts of bridges. Blocks; for the thread for the kernel."""

    def __init__(self, routing: Routing, owner: str) -> None:
        """owner: the alias of the instance's links; those of parts say as well which bridge they belong to."""
        self._routing, self._owner = routing, owner
        self._front: dict[int, int] = {}  # by bridge: the part that has room, as far as is known

    def alias(self, bridge: str) -> str:
        """Of the links that belong to a bridge."""
        return f"{self._owner}, part of {bridge}"

    def front(self, base: Base) -> int:
        """Where the next port goes: the index of the bridge or of a part of it. It may be full by now."""
        return self._front.get(base.index, base.index)

    def parts(self, base: Base) -> Iterator[Link]:
        """The parts that there are."""
        for number in range(1, _MOST + 1):
            link = self._routing.link(f"{prefix(base.name)}{number}")
            if link is None:
                return
            yield link

    def places(self, base: Base) -> list[int]:
        """All indexes that a port may go to, those with room among them."""
        return [base.index, *(link.index for link in self.parts(base))]

    def settled(self, base: Base, index: int) -> None:
        """A port found its place: the next one is looked for there first."""
        if index != self.front(base):
            self._front[base.index] = index

    def extend(self, base: Base, mtu: int, *, isolated: bool) -> int:
        """Hang one more part on a bridge that is full. Returns its index. Raises Unavailable, NetlinkError."""
        routing = self._routing
        moved = [link for link in routing.links() if link.master == base.index and link.kind == "veth" and link.name.startswith("pier")]
        number = next((n for n in range(1, _MOST + 1) if routing.link(f"{prefix(base.name)}{n}") is None), 0)
        if not number or not moved:
            why = f"and so are its {_MOST} parts" if moved else "and none of its ports is a container's"
            raise Unavailable(f"bridge {base.name} is full, {why}")
        name = f"{prefix(base.name)}{number}"
        point("networks.segment")
        part = routing.create_bridge(name, _mac(name), mtu, (), self.alias(base.name))
        try:
            sysctls.silence(name)
            upper = self._uplink(name, part.index, mtu, base)
            point("networks.segment.moves")
            routing.enslave_all([(moved[-1].index, part.index), (upper, base.index)])
            if isolated:
                routing.isolate_port(moved[-1].name)
                routing.isolate_port(f"{name}u")
        except BaseException:
            self._delete(name)
            raise
        return part.index

    def _uplink(self, name: str, part: int, mtu: int, base: Base) -> int:
        """The veth of a part, its lower end in place. Returns the index of the upper one."""
        upper = self._routing.link(f"{name}u") or self._routing.create_pair(f"{name}u", f"{name}d", mtu, self.alias(base.name))
        lower = self._routing.link(f"{name}d")
        if lower is None:
            raise NetlinkError(errno.ENODEV, f"the veth {name}d was deleted while it was being made")
        self._routing.enslave(lower.index, part)
        return upper.index

    def mend(self, base: Base, *, isolated: bool) -> bool:
        """Connect the parts again whose veth was lost. Whether there was one."""
        mended = False
        for part in self.parts(base):
            upper = self._routing.link(f"{part.name}u")
            if upper is not None and upper.master == base.index:
                continue
            index = self._uplink(part.name, part.index, part.mtu, base)
            self._routing.enslave(index, base.index)
            if isolated:
                self._routing.isolate_port(f"{part.name}u")
            mended = True
        return mended

    def remove(self, base: Base) -> None:
        """Take the parts of a bridge away."""
        self._front.pop(base.index, None)
        for part in list(self.parts(base)):
            self._delete(part.name)

    def _delete(self, name: str) -> None:
        self._routing.delete_link(f"{name}u")
        self._routing.delete_link(name)


def prefix(bridge: str) -> str:
    """What the names of a bridge's parts begin with: a link's name has 15 characters, and the bridge's own may have as many."""
    return f"brx{hashlib.sha256(bridge.encode()).hexdigest()[:8]}-"


def _mac(name: str) -> str:
    octets = bytearray(hashlib.sha256(f"part {name}".encode()).digest()[:6])
    octets[0] = octets[0] & 0xFE | 0x02
    return octets.hex(":")
