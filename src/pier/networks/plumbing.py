"""What the kernel is asked for, in one thread of its own: each call may wait for the kernel's RTNL lock, 30 ms and more.

Thin: what is decided is decided in create_plan.py, rules.py and networks.py.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from pier.errors import Invalid, NotFound
from pier.linux import nftables as nft
from pier.linux import nftchains
from pier.linux.conntrack import Conntrack
from pier.linux.nftables import FAMILY_IPV4, Firewall
from pier.linux.rtnetlink import Link, Routing
from pier.networks import flows, respect, rules, sysctls, translation
from pier.networks.bridges import Bridges
from pier.networks.drivers import Bare, Base, Driver
from pier.networks.explain import Facts, Respected
from pier.networks.model import IPNetwork
from pier.networks.parents import Parents, has_ipvlan
from pier.networks.surroundings import Surroundings, networks_of
from pier.networks.translation import Published
from pier.trace import point


class Plumbing:
    """The drivers, the firewall's tables, and what else is asked of the kernel. Everything blocks; one thread at a time."""

    def __init__(self, table: str) -> None:
        """table: the name of our nftables tables; it is in the alias of each link that we make."""
        self._table = table
        self._routing = Routing()
        self.surroundings = Surroundings(self._routing)
        self._alias = f"pier network of {table}"
        self.bridges = Bridges(self._routing, self._alias)
        bare = Bare()
        self.drivers: Mapping[str, Driver] = {
            "bridge": self.bridges, "macvlan": Parents("macvlan", self._routing, self._alias),
            "ipvlan": Parents("ipvlan", self._routing, self._alias), "host": bare, "null": bare,
        }  # fmt: skip
        self._firewall = Firewall()
        self._conntrack = Conntrack()
        self._applied: rules.Wanted | None = None
        self.firewall_port = self._firewall.port

    @property
    def firewall(self) -> Firewall:
        """The connection to nf_tables, for tables besides the one of rules.py."""
        return self._firewall

    def close(self) -> None:
        """Close the sockets."""
        self.surroundings.close()
        self._routing.close()
        self._firewall.close()
        self._conntrack.close()

    def host_networks(self, but: Collection[int]) -> list[IPNetwork]:
        """What the host's routes and addresses take up, of both families. but: indexes of links whose are left out."""
        return networks_of(self._routing, but)

    def indexes(self, names: Iterable[str]) -> set[int]:
        """The indexes of those links that there are."""
        return {link.index for name in names if (link := self._routing.link(name))}

    def stray_links(self, known: Collection[str]) -> list[str]:
        """Links that this instance made and that are no network's. known: the names of what networks stand on."""
        part = self.bridges.segments.alias("")
        whose = {
            link.name: link.alias.removeprefix(part) if link.alias.startswith(part) else link.name
            for link in self._routing.links() if link.alias == self._alias or link.alias.startswith(part)
        }  # fmt: skip
        return [name for name, owner in whose.items() if owner not in known]

    def has_ipvlan(self) -> bool:
        """Whether this kernel has ipvlan links."""
        return has_ipvlan(self._routing)

    def adopt_bridge(self, name: str) -> Base:
        """Somebody else's bridge, as --bridge names it: used as it is. Raises NotFound, Invalid."""
        link = self._routing.link(name)
        if link is None:
            raise NotFound(f"--bridge {name}: there is no such link: create it first, with an IPv4 address, or leave --bridge out")
        if link.kind != "bridge":
            raise Invalid(f"--bridge {name}: the link is no bridge")
        addresses = [address.interface for address in self._routing.addresses() if address.index == link.index]
        if not addresses:
            raise Invalid(f"--bridge {name}: it has no IPv4 address: give it one, it becomes the containers' gateway")
        return Base(name, link.index, (str(addresses[0]),))

    def delete_link(self, name: str) -> bool:
        """Delete a link; takes 30 ms or more. Whether it was there."""
        return self._routing.delete_link(name)

    def gone(self, host_interfaces: Iterable[str]) -> set[str]:
        """Which of them are no longer there."""
        return {name for name in host_interfaces if self._routing.link(name) is None}

    def veths(self) -> dict[str, Link]:
        """The host's ends of the veths of any Pier, by name."""
        return {link.name: link for link in self._routing.links() if link.kind == "veth" and link.name.startswith("pier")}

    def change_rules(self, wanted: rules.Wanted) -> None:
        """Bring our tables from what was last applied to what is wanted, each in one transaction. Raises NetlinkError; then use `ensure_rules`."""
        old, families = self._applied, wanted.families()
        if old is None or old.families() != families:
            self.ensure_rules(wanted)
            return
        changes = [message for family in families for message in rules.change(old, wanted, family)]
        self._firewall.apply(changes, f"firewall table {wanted.table}")
        self._applied = wanted
        if old.members != wanted.members:
            self._ensure_foreign(wanted)

    def open_loopback(self, bridges: Iterable[str]) -> None:
        """Let the host's own 127.0.0.1 reach the containers of bridges; rules.py keeps everybody else's packets for it out. Raises OSError."""
        for bridge in bridges:
            sysctls.write(f"ipv4/conf/{bridge}/route_localnet", "1")

    def cut_flows(self, opened: Sequence[Published], closed: Sequence[Published]) -> int:
        """Forget flows of UDP that are older than ports just opened, or went through ports just closed (flows.py). Raises OSError."""
        return flows.cut(self._conntrack, opened, closed, self._own_addresses)

    def _own_addresses(self, family: int) -> set[bytes]:
        return {address.interface.packed for address in self._routing.addresses(family)}

    def packet_facts(self, bridge: str, link: str, held: bool, listening: frozenset[tuple[str, str, int]]) -> Facts:
        """What of the kernel's decides about packets to a bridge's container behind a link."""
        there = self._routing.link(link)
        master = self._routing.link(bridge)
        maps = {(family, name): self._firewall.elements(family, self._table, name) for family in rules.FAMILIES for name in translation.MAPS}
        return Facts(
            self._table, held, maps, drops=tuple(self.foreign_drops()),
            forwarding={4: not sysctls.forwarding_is_off(), 6: sysctls.read("ipv6/conf/all/forwarding") != "0"},
            route_localnet=sysctls.read(f"ipv4/conf/{bridge}/route_localnet") != "0", bridge=bridge, link=link,
            linked=there is not None and master is not None and there.master != 0, listening=listening,
            respect=self._respected() if self._applied is not None and self._applied.log_group else None,
        )  # fmt: skip

    def _respected(self) -> Respected:
        held = {family: self._firewall.elements(family, self._table, respect.LEARNED) or set() for family in rules.FAMILIES}
        accepted = frozenset[tuple[str, str, int, str]]().union(*(respect.accepted(found, family) for family, found in held.items()))
        chains = [chain for chain in self._firewall.base_chains() if rules.drops(chain, self._table, nft.HOOK_INPUT)]
        return Respected(tuple((rules.FAMILIES.get(chain.family, 0), _named(chain)) for chain in chains), tuple(sysctls.legacy_filters()), accepted)

    def ensure_rules(self, wanted: rules.Wanted) -> Sequence[str]:
        """Bring our tables and the foreign chains to what is wanted. Returns what had to be done, in words."""
        chains, done = self._firewall.base_chains(), []
        for family in rules.FAMILIES:
            found = self._firewall.rules(family, wanted.table)
            if family not in wanted.families():
                if found:
                    self._firewall.apply(rules.remove(wanted.table, family), f"firewall table {wanted.table}")
                continue
            held = {name: self._firewall.elements(family, wanted.table, name) for name in rules.NAMES} if found else {}
            if not rules.intact(wanted, family, chains, found, held):
                point("networks.rules")
                self._firewall.apply(rules.ruleset(wanted, family), _what(wanted))
                done.append(f"firewall table {wanted.table} written" + (" (IPv6)" if rules.FAMILIES[family] == 6 else ""))
        self._applied = wanted
        return [*done, *self._ensure_foreign(wanted)]

    def forget_accepted(self, wanted: rules.Wanted) -> None:
        """Ask the host's INPUT again about everybody (respect.py). Raises NetlinkError."""
        for family in wanted.families():
            self._firewall.apply([nftchains.forget(family, wanted.table, respect.LEARNED)], _what(wanted))

    def _ensure_foreign(self, wanted: rules.Wanted | None) -> list[str]:
        """Our accepts in iptables' own chains, for all bridges; none with None."""
        chains = self._firewall.base_chains()
        bridges = [member.bridge for member in wanted.members] if wanted else []
        done = []
        for family in rules.FAMILIES:
            if not any(rules.is_opened(chain, family) for chain in chains):
                continue
            found = self._firewall.rules(family, rules.FOREIGN_TABLE, rules.FOREIGN_CHAIN)
            used = bridges if wanted and family in wanted.families() else []
            changes = rules.foreign_changes(used, self._table, family, chains, found)
            if changes:
                self._firewall.apply(changes, f"chain {rules.FOREIGN_CHAIN} of {rules.FOREIGN_TABLE}")
                what = f"accepts for {', '.join(bridges)} in" if bridges else "accepts taken out of"
                done.append(f"{what} the foreign chain {rules.FOREIGN_CHAIN}, which drops by default")
        return done

    def remove_rules(self) -> None:
        """Take our tables and our rules in the foreign chains away."""
        for family in rules.FAMILIES:
            if self._firewall.rules(family, self._table):
                self._firewall.apply(rules.remove(self._table, family), f"firewall table {self._table}")
        self._applied = None
        self._ensure_foreign(None)

    def foreign_drops(self) -> list[str]:
        """Foreign chains that drop forwarded packets and that we leave alone: "inet firewalld filter_FORWARD"."""
        chains = [chain for chain in self._firewall.base_chains() if rules.drops(chain, self._table)]
        dropping = [chain for chain in chains if not any(rules.is_opened(chain, family) for family in rules.FAMILIES)]
        return [_named(chain) for chain in dropping]

    def docker_is_here(self) -> bool:
        """Whether another engine has put Docker's chains into the host's firewall."""
        return any(name == "DOCKER-USER" for name in self._firewall.chain_names(FAMILY_IPV4, "filter"))

    def other_engines(self, own_bridges: Collection[str]) -> list[str]:
        """Bridges of other engines and other instances: they need ip_forward as well."""
        names = [link.name for link in self._routing.links() if link.kind == "bridge" and link.name not in own_bridges]
        return [name for name in names if name.startswith(("docker", "br-", "pier", "podman", "cni", "virbr", "lxc"))]


def _named(chain: nft.Chain) -> str:
    families = {nft.FAMILY_INET: "inet", nft.FAMILY_IPV4: "ip", nft.FAMILY_IPV6: "ip6"}
    return f"{families[chain.family]} {chain.table} {chain.name}"


def _what(wanted: rules.Wanted) -> str:
    """What an error names."""
    return f"firewall table {wanted.table}" + (" (firewall: respect needs the kernel's nft_log and nfnetlink_log)" if wanted.log_group else "")
