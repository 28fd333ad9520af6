"""`firewall: respect`: published ports obey the host's own INPUT policy, and are translated by the kernel all the same. Pure.

What is translated in prerouting never passes INPUT, so what comes from outside is not translated at first:

    dstnat   from a container of ours, or the tuple is in `learned`: to the published ports; everything else goes on to INPUT
    input    behind every chain of the host's: a new connection for a published port has been accepted. Its tuple is learned, and its first
             packet goes to netd (a group of nf_log) and no further: netd sends it again (pier.netd.firsts), and now it is translated

    learned  link it came by . source . destination . protocol . port, for TIMEOUT_S; emptied whenever somebody changes the firewall

So every packet that a container sees came from its client's own address, the first one included. Should netd not be there, clients of TCP and SCTP
send it again themselves, a second or three later. Where `learned` is full, netd's listener takes the connection and passes it on. What the host
itself and containers send is not asked about: it never comes from outside.
"""

from binascii import crc32
from collections.abc import Callable, Sequence

from pier.linux import nflog, nftchains, nftnat, nftsets
from pier.linux import nftables as nft
from pier.linux.netlink import Message
from pier.linux.nftables import FAMILY_IPV6, Expression
from pier.linux.nftchains import Key
from pier.networks import translation

OPEN, RESPECT = "open", "respect"
CHOICES = (OPEN, RESPECT)
"""What `firewall` may be in daemon.json; the first is the default."""
INPUT, LEARN, LEARNED = "input", "learn", "learned"
TIMEOUT_S = 30
MOST_LEARNED = 65536
PRIORITY = (1 << 31) - 8  # behind everybody's; the kernel's own hooks that confirm a connection have the last two (IPv6's the last but one)

Rule = tuple[str, Sequence[Expression], str]


def group(table: str, firewall: str) -> int:
    """The group of nf_log that an instance's first packets go to, the table's own; 0 where none do. firewall: one of CHOICES."""
    return 1 << 15 | crc32(table.encode()) & 0x7FFF if firewall == RESPECT else 0


def key(family: int) -> Key:
    """Of an element of `learned`."""
    return Key(family, "ifname", "saddr", "daddr", "protocol", "port")


def learned_set(table: str, number: int, family: int) -> Message:
    """Make the set."""
    return nftchains.add_set(table, LEARNED, number, key(family), timed=True, most=MOST_LEARNED)


def known(family: int) -> list[Expression]:
    """The packet's tuple was learned."""
    return nftchains.lookup(key(family), LEARNED)


def rules(family: int, log_group: int) -> list[Rule]:
    """(chain, expressions, comment) of what learns."""
    here = [*nft.iifname("lo", equal=False), nftsets.load_iifname(), nftsets.lookup("bridges", found=False), *nftnat.to_this_host()]
    learn = [*key(family).load(), nftchains.learn(LEARNED, TIMEOUT_S), nflog.log(log_group), *nft.verdict(nft.DROP)]
    found: list[Rule] = [(INPUT, [*nft.ct_state(nft.CT_NEW), *here, *nftnat.jump(LEARN)], "INPUT has accepted a connection")]
    if family == FAMILY_IPV6:
        found.append((LEARN, [*nftnat.is_link_local_source(), *nftnat.back()], "link-local addresses are netd's"))
    for name, load in _ways(family).items():
        found.append((LEARN, [*load(), nftsets.mapped(name), *learn], f"to {name}: learned, and sent again"))
    return found


def _ways(family: int) -> dict[str, Callable[[], Sequence[Expression]]]:
    def at() -> Sequence[Expression]:
        return translation.load_target(family)

    return {"ports_at": at, "ranges_at": at, "ports": translation.load_service, "ranges": translation.load_service}


def accepted(elements: "set[tuple[bytes, ...]]", family: int) -> frozenset[tuple[str, str, int, str]]:
    """(protocol, address of the host, port, client's address) of what was learned."""
    from ipaddress import ip_address

    names = {number: name for name, number in nftsets.PORT_PROTOCOLS.items()}
    size, found = nftsets.address_bytes(family), set()
    for raw, *_ in elements:
        client, address, rest = raw[16 : 16 + size], raw[16 + size : 16 + 2 * size], raw[16 + 2 * size :]
        found.add((names.get(rest[0], "?"), str(ip_address(address)), int.from_bytes(rest[4:6], "big"), str(ip_address(client))))
    return frozenset(found)
