"""Which address an endpoint gets in a subnet, v4 or v6. Pure. The leases of the kernel's truth are rows; this is their memory."""

import heapq
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from pier.errors import Conflict, Invalid, Unavailable
from pier.networks.model import Subnet

IPAddress = IPv4Address | IPv6Address


class Pool:
    """The addresses of one subnet, lowest free first; never the network's own, the broadcast, the gateway's or an auxiliary one."""

    def __init__(self, subnet: Subnet, taken: Iterable[str] = ()) -> None:
        """taken: leased already; those outside the subnet are ignored."""
        self.subnet = subnet
        self.network = subnet.parsed
        span = ip_network(subnet.ip_range) if subnet.ip_range else self.network
        first, last = int(span.network_address), int(span.broadcast_address)
        self._kind = IPv4Address if self.network.version == 4 else IPv6Address
        if self.network.version == 4 and self.network.prefixlen < 31:
            self._barred = {int(self.network.network_address), int(self.network.broadcast_address)}
        else:
            self._barred = {int(self.network.network_address)} if self.network.prefixlen < 127 else set()  # the subnet-router anycast address
        self._barred |= {int(ip_address(address)) for address in subnet.reserved}
        self._taken = {int(ip_address(a)) for a in taken if ip_address(a) in self.network}
        self._next, self._last = first, last
        self._returned: list[int] = []

    def take(self) -> IPAddress:
        """Lease the lowest free address. Raises Unavailable naming the subnet."""
        while self._returned:
            number = heapq.heappop(self._returned)
            if number not in self._taken:
                self._taken.add(number)
                return self._kind(number)
        while self._next in self._taken or self._next in self._barred:
            self._next += 1
        if self._next > self._last:
            where = f"{self.subnet.ip_range} of {self.subnet.network}" if self.subnet.ip_range else self.subnet.network
            raise Unavailable(f"no available IPv{self.network.version} addresses on this network's address pools: {where} is full")
        self._taken.add(self._next)
        return self._kind(self._next)

    def claim(self, text: str) -> IPAddress:
        """Lease the address that was asked for. Raises Invalid outside the subnet, Conflict where it is somebody's."""
        address = ip_address(text)
        if address not in self.network:
            raise Invalid(f"no configured subnet or ip-range contain the IP address {text}")
        if int(address) in self._taken or int(address) in self._barred:
            raise Conflict("Address already in use")
        self._taken.add(int(address))
        return self._kind(int(address))

    def give_back(self, address: str) -> None:
        """End a lease; what was not leased stays as it is."""
        number = int(ip_address(address))
        if number in self._taken:
            self._taken.discard(number)
            if number < self._next and number >= int(ip_network(self.subnet.ip_range or self.subnet.network).network_address):
                heapq.heappush(self._returned, number)

    def __len__(self) -> int:
        """How many addresses are leased."""
        return len(self._taken)
