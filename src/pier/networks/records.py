"""What the database knows of networks. Leases are written without waiting for the disk: a kill does not lose them, and after a
power cut no container runs that could hold one."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pier.networks.endpoints import Endpoint
from pier.networks.plumbing import Bridge
from pier.store import Store


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """A network as it was created."""

    name: str
    id: str
    created_ns: int
    driver: str  # "bridge", "host", "null"
    bridge: str
    interface: str


# A container that is started again before its last lease was written off takes its place; an address that is somebody else's stays his.
_ADD = """
INSERT INTO network_endpoint(container_id, network, id, address, mac, host_interface) VALUES (?,?,?,?,?,?)
ON CONFLICT(container_id) DO UPDATE SET
    network=excluded.network, id=excluded.id, address=excluded.address, mac=excluded.mac, host_interface=excluded.host_interface
"""


class Records:
    """Reads and writes the tables of schema.py."""

    def __init__(self, store: Store) -> None:
        """store: state.db."""
        self._store = store

    def networks(self) -> list[NetworkRecord]:
        """All networks, in the order of their making."""
        rows = self._store.read("SELECT name, id, created_ns, driver, bridge, interface FROM network ORDER BY created_ns, name")
        return [NetworkRecord(*row) for row in rows]

    async def save(self, records: Iterable[NetworkRecord]) -> None:
        """Write networks; durable."""
        rows = [(r.name, r.id, r.created_ns, r.driver, r.bridge, r.interface) for r in records]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO network(name, id, created_ns, driver, bridge, interface) VALUES (?,?,?,?,?,?)", rows)

        await self._store.write(work)

    def endpoints(self, ids: dict[str, str], bridge: Bridge | None) -> Iterator[tuple[str, Endpoint]]:
        """(container, endpoint) of all leases. ids: of the networks, by name."""
        for row in self._store.read("SELECT container_id, network, id, address, mac, host_interface FROM network_endpoint"):
            endpoint = Endpoint(row["network"], ids.get(row["network"], ""), row["id"])
            if row["address"] and bridge is not None:
                endpoint = Endpoint(
                    row["network"], ids.get(row["network"], ""), row["id"], "eth0", row["address"], bridge.interface.network.prefixlen,
                    str(bridge.interface.ip), row["mac"], row["host_interface"], bridge.mac,
                )  # fmt: skip
            yield row["container_id"], endpoint

    def has_leases(self, network: str) -> bool:
        """Whether an address of a network is leased."""
        return bool(self._store.read("SELECT 1 FROM network_endpoint WHERE network=? AND address IS NOT NULL LIMIT 1", (network,)))

    async def add(self, container_id: str, endpoint: Endpoint) -> None:
        """Write a lease. Raises sqlite3.IntegrityError where the address is somebody's."""
        row = (container_id, endpoint.network, endpoint.endpoint_id, endpoint.address or None, endpoint.mac, endpoint.host_interface)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_ADD, row)

        await self._store.write(work, durable=False)

    async def remove(self, container_id: str, endpoint_id: str) -> None:
        """Write a lease off; a newer one of the same container stays."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM network_endpoint WHERE container_id=? AND id=?", (container_id, endpoint_id))

        await self._store.write(work, durable=False)

    async def forget_endpoints(self, boot_id: str) -> None:
        """Write all leases off, as after a reboot, and remember the boot."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM network_endpoint")
            connection.execute("INSERT OR REPLACE INTO network_fact(name, value) VALUES ('boot_id', ?)", (boot_id,))

        await self._store.write(work)

    def fact(self, name: str) -> str:
        """A fact by its name, "" where it is not known."""
        rows = self._store.read("SELECT value FROM network_fact WHERE name=?", (name,))
        return rows[0]["value"] if rows else ""

    async def set_fact(self, name: str, value: str) -> None:
        """Remember a fact; durable."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO network_fact(name, value) VALUES (?, ?)", (name, value))

        await self._store.write(work)
