"""The few settings of the host's kernel that a bridge network depends on."""

import json
import os
from dataclasses import dataclass

_ROOT = "/proc/sys/net/"
_FORWARD = "ipv4/ip_forward"


def read(name: str) -> str:
    """A setting below /proc/sys/net, "" where this kernel does not have it."""
    try:
        with open(_ROOT + name) as file:
            return file.read().strip()
    except OSError:
        return ""


def write(name: str, value: str) -> None:
    """Change a setting. Raises OSError."""
    fd = os.open(_ROOT + name, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def silence(link: str) -> None:
    """Have the host hear and say nothing over IPv6 on a link: one that only carries others' packets, one of a network without IPv6, whose
    containers would reach the host, and beyond it whatever it forwards, by raw packets that no table of ours looks at. Raises OSError.
    """
    if read(f"ipv6/conf/{link}/disable_ipv6") == "0":
        write(f"ipv6/conf/{link}/disable_ipv6", "1")


def ignore_routers(link: str) -> None:
    """Keep the host from taking a container for its router: who can send raw packets can send router advertisements (CVE-2020-13401).

    Raises OSError. A host without IPv6 has no such setting.
    """
    if read(f"ipv6/conf/{link}/accept_ra") not in ("", "0"):
        write(f"ipv6/conf/{link}/accept_ra", "0")


def boot_id() -> str:
    """Changes with each boot."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


@dataclass(frozen=True, slots=True)
class Forwarding:
    """That we turned ip_forward on, and in which boot and network namespace: kept in the database."""

    boot: str
    namespace: str

    def encode(self) -> str:
        """As JSON text."""
        return json.dumps({"boot": self.boot, "namespace": self.namespace})

    @staticmethod
    def decode(text: str) -> "Forwarding":
        """The reverse. Raises ValueError, KeyError."""
        fields = json.loads(text)
        return Forwarding(fields["boot"], fields["namespace"])

    @staticmethod
    def here() -> "Forwarding":
        """What would be kept now."""
        return Forwarding(boot_id(), os.readlink("/proc/self/ns/net"))


def forwarding_is_off() -> bool:
    """Whether this host does not forward IPv4 yet."""
    return read(_FORWARD) == "0"


def turn_forwarding(on: bool) -> None:
    """Set ip_forward. Raises OSError."""
    write(_FORWARD, "1" if on else "0")


def forward_ipv6() -> None:
    """Let the host forward IPv6, for the first network that has it. Links that learn their addresses from routers go on doing so; links to come
    do not begin to.

    Raises OSError. A host without IPv6 has no such setting.
    """
    if read("ipv6/conf/all/forwarding") != "0":
        return
    for name in sorted(os.listdir(_ROOT + "ipv6/conf")):
        if name not in ("all", "default", "lo") and read(f"ipv6/conf/{name}/accept_ra") == "1":
            write(f"ipv6/conf/{name}/accept_ra", "2")  # 1 means: only while it does not forward
    write("ipv6/conf/all/forwarding", "1")


def put_back(kept: Forwarding | None, now: Forwarding, current: str, others: list[str]) -> bool:
    """Whether ip_forward is ours to turn off again: we turned it on in this boot and namespace, it still is on, and nobody else needs it."""
    return kept == now and current == "1" and not others


def current_forwarding() -> str:
    """ "0" or "1"."""
    return read(_FORWARD)


def warnings(bridge: str) -> list[str]:
    """What about this host's settings may surprise the user of containers."""
    found = []
    if read("bridge/bridge-nf-call-iptables") == "1":
        found.append("bridge-nf-call-iptables is 1: packets between containers of one bridge pass the host's firewall too")
    for name in ("all", bridge):
        if read(f"ipv4/conf/{name}/rp_filter") == "1":
            found.append(
                f"net.ipv4.conf.{name}.rp_filter is 1 (strict): packets that come in by another link than their answers leave by are dropped"
            )
            break
    if read(_FORWARD) == "0":
        found.append("IPv4 forwarding is disabled: containers reach nothing beyond this host; set net.ipv4.ip_forward=1")
    if legacy_filters():
        found.append("iptables-legacy has a filter table: if its FORWARD chain drops, containers reach this host only; use iptables-nft")
    return found


def legacy_filters() -> list[str]:
    """The tools whose filter tables nf_tables knows nothing of, and which have one here."""
    found = []
    for name, tool in (("ip_tables_names", "iptables-legacy"), ("ip6_tables_names", "ip6tables-legacy")):
        try:
            with open(f"/proc/net/{name}") as file:
                if "filter" in file.read().split():
                    found.append(tool)
        except OSError:
            continue
    return found
