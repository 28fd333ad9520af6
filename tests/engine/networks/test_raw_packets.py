"""What a container can send that has raw sockets, as each has by default: forged sources, router advertisements, IPv6 without a network of it."""

import asyncio
import socket
import struct
import time
from pathlib import Path

from pier.linux import nftables as nft
from pier.linux.nftables import FAMILY_IPV4
from pier.networks import sysctls

from .isolated import answer, isolated
from .stage import add_address, containers, daemon, run
from .test_firewall import _send, apply

_ALL_NODES, _LINK_LOCAL = socket.inet_pton(socket.AF_INET6, "ff02::1"), socket.inet_pton(socket.AF_INET6, "fe80::1234")


def _set(name: str, value: str) -> None:
    Path(f"/proc/sys/net/{name}").write_text(value)


@isolated
def test_a_container_cannot_say_that_it_is_127_0_0_2() -> None:
    """Bridges with published ports have route_localnet, which lets such packets in as long as our rule does not stand."""

    async def main() -> None:
        for control in (True, False):
            async with daemon() as d, containers(d.networks) as (c,):
                if control:
                    d.networks.guard._watch.close()  # type: ignore[union-attr]
                    d.networks.guard._watch = None
                    apply(nft.delete_table(FAMILY_IPV4, "pier"))
                for name in ("all", "pier0"):
                    _set(f"ipv4/conf/{name}/rp_filter", "0")
                _set("ipv4/conf/pier0/route_localnet", "1")
                c.namespace(_set, "ipv4/conf/all/route_localnet", "1")
                c.namespace(add_address, "lo", "127.0.0.2")
                got = asyncio.get_running_loop().run_in_executor(None, _received)
                c.namespace(_send, "127.0.0.2", "172.17.0.1", 9)
                assert await got == control

    run(main())


def _received() -> bool:
    try:
        return bool(answer("172.17.0.1", 9, timeout_s=0.5))
    except TimeoutError:
        return False


def _advertise() -> None:
    """Say that one is the router of everybody, and of 2001:db8:bad::/64."""
    mac = bytes.fromhex(Path("/sys/class/net/eth0/address").read_text().strip().replace(":", ""))
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 86400, 0) + socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")
    said = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + struct.pack("!BB", 1, 1) + mac + prefix
    summed = sum(struct.unpack(f"!{(40 + len(said)) // 2}H", _LINK_LOCAL + _ALL_NODES + struct.pack("!II", len(said), 58) + said))
    while summed >> 16:
        summed = (summed & 0xFFFF) + (summed >> 16)
    said = said[:2] + struct.pack("!H", ~summed & 0xFFFF) + said[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(said), 58, 255) + _LINK_LOCAL + _ALL_NODES + said
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("eth0", 0))
        for _ in range(3):
            sock.send(bytes.fromhex("333300000001") + mac + b"\x86\xdd" + packet)
            time.sleep(0.03)


def _routed() -> bool:
    """Whether the host has learned a way from a container."""
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        if "20010db80bad" in Path("/proc/net/ipv6_route").read_text():
            return True
        time.sleep(0.02)
    return False


@isolated
def test_a_container_does_not_become_the_hosts_router() -> None:
    """CVE-2020-13401: in particular not once the host forwards IPv6 and its own links listen to routers nevertheless (accept_ra 2)."""

    async def main() -> None:
        async with daemon() as d, containers(d.networks) as (c,):
            before = sysctls.read("ipv6/conf/default/accept_ra")
            sysctls.forward_ipv6()
            assert sysctls.read("ipv6/conf/default/accept_ra") == before  # links to come do not begin to listen
            assert (sysctls.read("ipv6/conf/pier0/accept_ra"), sysctls.read("ipv6/conf/pier0/disable_ipv6")) == ("0", "1")
            for name, value, learns in (("disable_ipv6", "0", False), ("accept_ra", "2", True)):  # each of the two is enough
                _set(f"ipv6/conf/pier0/{name}", value)
                c.namespace(_advertise)
                assert _routed() is learns
            await d.networks.reconcile({c.id})  # somebody's change does not last
            assert (sysctls.read("ipv6/conf/pier0/accept_ra"), sysctls.read("ipv6/conf/pier0/disable_ipv6")) == ("0", "1")

    run(main())
