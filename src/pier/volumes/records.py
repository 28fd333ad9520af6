"""What the database knows of volumes."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pier.store import Store


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """A volume as it was created. `options` and `labels` are None where the request had none: the API shows that."""

    name: str
    driver: str
    options: Mapping[str, str] | None
    labels: Mapping[str, str] | None
    created_ns: int


class Records:
    """Reads and writes the table of schema.py."""

    def __init__(self, store: Store) -> None:
        """store: state.db."""
        self._store = store

    def all(self) -> list[VolumeRecord]:
        """Every volume, in the order of their making."""
        rows = self._store.read("SELECT name, driver, options, labels, created_ns FROM volume ORDER BY created_ns, name")
        return [VolumeRecord(row["name"], row["driver"], json.loads(row["options"]), json.loads(row["labels"]), row["created_ns"]) for row in rows]

    async def add(self, record: VolumeRecord) -> None:
        """Write a volume; durable when it returns."""
        await self._store.write(lambda connection: insert(connection, record))

    async def remove(self, name: str) -> None:
        """Forget a volume; durable when it returns."""

        await self._store.write(lambda connection: connection.execute("DELETE FROM volume WHERE name = ?", (name,)))


    async def note_mount(self, volume: str, driver: str, container: str) -> None:
        """A plugin is about to be asked to mount; durable when it returns."""
        row = (volume, driver, container)
        await self._store.write(lambda connection: connection.execute("INSERT OR REPLACE INTO volume_mount VALUES (?, ?, ?)", row))

    async def forget_mount(self, volume: str, container: str) -> None:
        """The plugin has unmounted."""
        which = "volume = ? AND container = ?"
        await self._store.write(lambda connection: connection.execute(f"DELETE FROM volume_mount WHERE {which}", (volume, container)))

    def mounts(self) -> list[tuple[str, str, str]]:
        """What plugins may have mounted: (volume, driver, container)."""
        return [(row["volume"], row["driver"], row["container"]) for row in self._store.read("SELECT volume, driver, container FROM volume_mount")]


def insert(connection: sqlite3.Connection, record: VolumeRecord) -> None:
    """Write a volume within somebody's transaction; one that is there already stays."""
    row = (record.name, record.driver, _json(record.options), _json(record.labels), record.created_ns)
    connection.execute("INSERT OR IGNORE INTO volume (name, driver, options, labels, created_ns) VALUES (?, ?, ?, ?, ?)", row)


def delete_all(connection: sqlite3.Connection, records: Iterable[VolumeRecord]) -> None:
    """Forget volumes within somebody's transaction."""
    connection.executemany("DELETE FROM volume WHERE name = ?", [(record.name,) for record in records])


def _json(value: Mapping[str, str] | None) -> str:
    return json.dumps(None if value is None else dict(value))
