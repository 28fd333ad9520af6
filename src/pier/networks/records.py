"""What the database knows of networks. Leases are written without waiting for the disk: a kill does not lose them, and after a
power cut no container runs that could hold one."""

import sqlite3
from collections.abc import Iterable

import msgspec

from pier.networks.endpoints import Endpoint
from pier.networks.model import Network, decode, encode
from pier.networks.ports import Binding
from pier.store import Store

# A container that is started again before its last lease was written off takes its place; an address that is somebody else's stays his.
_ADD = """
INSERT INTO endpoints(container_id, network_id, id, interface, ipv4, ipv6, mac, host_interface, priority) VALUES (?,?,?,?,?,?,?,?,?)
ON CONFLICT(container_id, network_id) DO UPDATE SET id=excluded.id, interface=excluded.interface, ipv4=excluded.ipv4, ipv6=excluded.ipv6,
    mac=excluded.mac, host_interface=excluded.host_interface, priority=excluded.priority
"""


class Records:
    """Reads and writes the tables of schema.py."""

    def __init__(self, store: Store) -> None:
        """store: state.db."""
        self._store = store

    def networks(self) -> list[Network]:
        """All networks, in the order of their making."""
        found = [decode(row["record"]) for row in self._store.read("SELECT record FROM networks")]
        return sorted(found, key=lambda network: (network.created_ns, network.name))

    async def save(self, networks: Iterable[Network]) -> None:
        """Write networks; durable. Raises sqlite3.IntegrityError where the name is another's."""
        rows = [(network.id, network.name, encode(network)) for network in networks]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT INTO networks(id, name, record) VALUES (?,?,?) ON CONFLICT(id) DO UPDATE SET name=excluded.name, record=excluded.record",
                rows,
            )

        await self._store.write(work)

    async def delete(self, identities: Iterable[str]) -> None:
        """Remove networks; durable."""
        rows = [(identity,) for identity in identities]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM networks WHERE id=?", rows)

        await self._store.write(work)

    def endpoints(self) -> list[sqlite3.Row]:
        """All leases, as their rows."""
        return self._store.read(
            "SELECT container_id, network_id, id, interface, ipv4, ipv6, mac, host_interface, priority FROM endpoints ORDER BY rowid"
        )

    def has_leases(self, network_id: str) -> bool:
        """Whether an address of a network is leased."""
        return bool(self._store.read("SELECT 1 FROM endpoints WHERE network_id=? AND ipv4 IS NOT NULL LIMIT 1", (network_id,)))

    async def add(self, container_id: str, endpoint: Endpoint) -> None:
        """Write a lease. Raises sqlite3.IntegrityError where the address is somebody's."""
        row = (
            container_id, endpoint.network_id, endpoint.endpoint_id, endpoint.interface, endpoint.address or None, endpoint.address6 or None,
            endpoint.mac, endpoint.host_interface, endpoint.priority,
        )  # fmt: skip

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_ADD, row)

        await self._store.write(work, durable=False)

    async def remove(self, container_id: str, endpoint_id: str) -> None:
        """Write a lease off; a newer one of the same container stays."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM endpoints WHERE container_id=? AND id=?", (container_id, endpoint_id))

        await self._store.write(work, durable=False)

    async def forget_endpoints(self, boot_id: str) -> None:
        """Write all leases off, as after a reboot, and remember the boot."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM endpoints")
            connection.execute("INSERT OR REPLACE INTO network_fact(name, value) VALUES ('boot_id', ?)", (boot_id,))

        await self._store.write(work)

    def published(self) -> list[tuple[str, tuple[Binding, ...], bool]]:
        """(container, its ports, whether they are open) of all containers that have had any."""
        rows = self._store.read("SELECT container_id, bindings, active FROM published")
        return [(row["container_id"], _bindings(row["bindings"]), bool(row["active"])) for row in rows]

    def published_of(self, container_id: str) -> tuple[Binding, ...]:
        """The ports that a container has, or had when it last ran."""
        rows = self._store.read("SELECT bindings FROM published WHERE container_id=?", (container_id,))
        return _bindings(rows[0]["bindings"]) if rows else ()

    async def save_published(self, container_id: str, bindings: Iterable[Binding], *, active: bool) -> None:
        """Write what a container has. active: the next daemon is to find it open."""
        text = msgspec.json.encode([(each.protocol, each.port, each.address, each.host_port) for each in bindings]).decode()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO published(container_id, bindings, active) VALUES (?,?,?)", (container_id, text, active))

        await self._store.write(work, durable=False)

    async def forget_published(self, container_id: str) -> None:
        """Its container is removed."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM published WHERE container_id=?", (container_id,))

        await self._store.write(work, durable=False)

    def fact(self, name: str) -> str:
        """A fact by its name, "" where it is not known."""
        rows = self._store.read("SELECT value FROM network_fact WHERE name=?", (name,))
        return rows[0]["value"] if rows else ""

    async def set_fact(self, name: str, value: str) -> None:
        """Remember a fact; durable."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO network_fact(name, value) VALUES (?, ?)", (name, value))

        await self._store.write(work)


def _bindings(text: str) -> tuple[Binding, ...]:
    return tuple(Binding(*each) for each in msgspec.json.decode(text, type=list[tuple[str, int, str, int]]))
