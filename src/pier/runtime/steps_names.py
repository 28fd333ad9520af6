"""The embedded DNS server's sockets, made by the child in its network namespace and handed over to the daemon, which gives them to netd.

They listen on 127.0.0.11 at a port of the kernel's choice; a tiny nftables table of the namespace sends what is meant for its port 53 there,
so that a program of the container can still bind 0.0.0.0:53. Who has CAP_NET_ADMIN in the container may take the table away: it is his resolver.
"""

import socket

from pier.linux import nftables as nft
from pier.linux.netlink import Message, attribute, be32, nested
from pier.linux.nftables import FAMILY_IPV4, expression
from pier.runtime.child_state import State, StepFailed

ADDRESS = "127.0.0.11"
TABLE = "pier_names"
_BACKLOG = 64
_DSTNAT = -100
_UDP, _TCP = 17, 6


def names(state: State) -> None:
    """While CAP_NET_ADMIN is ours; `lo` is up. A table of an earlier netd's sockets is replaced."""
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        datagram.bind((ADDRESS, 0))
        listener.bind((ADDRESS, 0))
        listener.listen(_BACKLOG)
        firewall = nft.Firewall()
        try:
            firewall.apply(redirect(datagram.getsockname()[1], listener.getsockname()[1]), "redirection of the DNS port")
        finally:
            firewall.close()
        state.channel.send({"op": "sockets"}, [datagram.fileno(), listener.fileno()])
    except OSError as error:
        raise StepFailed(f"set up the DNS server {ADDRESS}: {error.strerror or error}", error) from None
    finally:
        datagram.close()
        listener.close()


def redirect(udp_port: int, tcp_port: int) -> list[Message]:
    """The transaction that makes the table; pure."""
    messages = [nft.add_table(FAMILY_IPV4, TABLE), nft.delete_table(FAMILY_IPV4, TABLE), nft.add_table(FAMILY_IPV4, TABLE)]
    messages.append(nft.add_base_chain(FAMILY_IPV4, TABLE, "output", "nat", nft.HOOK_OUTPUT, _DSTNAT))
    for protocol, port in ((_UDP, udp_port), (_TCP, tcp_port)):
        rule = [*nft.daddr(f"{ADDRESS}/32"), *_to_port_53(protocol), *_to(port)]
        messages.append(nft.add_rule(FAMILY_IPV4, TABLE, "output", rule))
    return messages


def _compare(data: bytes) -> nft.Expression:
    return expression("cmp", be32(1, 1), be32(2, 0), nested(3, attribute(1, data)))


def _to_port_53(protocol: int) -> list[nft.Expression]:
    kind = [expression("meta", be32(2, 16), be32(1, 1)), _compare(bytes((protocol,)))]  # NFT_META_L4PROTO
    return [*kind, expression("payload", be32(1, 1), be32(2, 2), be32(3, 2), be32(4, 2)), _compare(b"\0\65")]  # transport header, destination port


def _to(port: int) -> list[nft.Expression]:
    address = expression("immediate", be32(1, 1), nested(2, attribute(1, socket.inet_aton(ADDRESS))))
    number = expression("immediate", be32(1, 2), nested(2, attribute(1, port.to_bytes(2, "big"))))
    # NFTA_NAT_TYPE (1: destination), FAMILY, REG_ADDR_MIN, REG_PROTO_MIN
    return [address, number, expression("nat", be32(1, 1), be32(2, socket.AF_INET), be32(3, 1), be32(5, 2))]


STEPS = {"names": names}
