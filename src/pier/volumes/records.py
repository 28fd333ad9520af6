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
        self.store = store

    def all(self) -> list[VolumeRecord]:
        """Every volume, in the order of their making."""
        rows = self.store.read("SELECT name, driver, options, labels, created_ns FROM volume ORDER BY created_ns, name")
        return [VolumeRecord(row["name"], row["driver"], json.loads(row["options"]), json.loads(row["labels"]), row["created_ns"]) for row in rows]

    async def add(self, record: VolumeRecord) -> None:
        """Write a volume; durable when it returns."""
        await self.store.write(lambda connection: insert(connection, record))

    async def remove(self, name: str) -> None:
        """Forget a volume and its snapshots; durable when it returns."""
        await self.store.write(lambda connection: delete_all(connection, [name]))

    async def begin_rename(self, old: str, new: str) -> None:
        """A volume's folder is about to get another name; durable when it returns."""
        await self.store.write(lambda connection: connection.execute("INSERT OR REPLACE INTO volume_rename VALUES (?, ?)", (old, new)))

    async def end_rename(self, old: str, new: str, *, done: bool) -> None:
        """The folder has its new name, or (not done) keeps the old one; durable when it returns."""

        def write(connection: sqlite3.Connection) -> None:
            if done:
                connection.execute("UPDATE volume SET name = ? WHERE name = ?", (new, old))
                connection.execute("UPDATE volume_snapshot SET volume = ? WHERE volume = ?", (new, old))
                connection.execute("UPDATE volume_project SET volume = ? WHERE volume = ?", (new, old))
            connection.execute("DELETE FROM volume_rename WHERE old = ?", (old,))

        await self.store.write(write)

    def renames(self) -> list[tuple[str, str]]:
        """Those that were begun: (old, new)."""
        return [(row["old"], row["new"]) for row in self.store.read("SELECT old, new FROM volume_rename")]

    def snapshots(self, volume: str) -> list[tuple[str, int]]:
        """(name, time of making in ns) of a volume's snapshots, the oldest first."""
        rows = self.store.read("SELECT name, created_ns FROM volume_snapshot WHERE volume = ? ORDER BY created_ns, name", (volume,))
        return [(row["name"], row["created_ns"]) for row in rows]

    async def add_snapshot(self, volume: str, name: str, created_ns: int) -> None:
        """Write a snapshot; durable when it returns."""
        row = (volume, name, created_ns)
        await self.store.write(lambda connection: connection.execute("INSERT INTO volume_snapshot VALUES (?, ?, ?)", row))

    async def remove_snapshot(self, volume: str, name: str) -> None:
        """Forget a snapshot; durable when it returns."""
        which = "volume = ? AND name = ?"
        await self.store.write(lambda connection: connection.execute(f"DELETE FROM volume_snapshot WHERE {which}", (volume, name)))

    async def note_mount(self, volume: str, driver: str, container: str) -> None:
        """A plugin is about to be asked to mount; durable when it returns."""
        row = (volume, driver, container)
        await self.store.write(lambda connection: connection.execute("INSERT OR REPLACE INTO volume_mount VALUES (?, ?, ?)", row))

    async def forget_mount(self, volume: str, container: str) -> None:
        """The plugin has unmounted."""
        which = "volume = ? AND container = ?"
        await self.store.write(lambda connection: connection.execute(f"DELETE FROM volume_mount WHERE {which}", (volume, container)))

    def mounts(self) -> list[tuple[str, str, str]]:
        """What plugins may have mounted: (volume, driver, container)."""
        return [(row["volume"], row["driver"], row["container"]) for row in self.store.read("SELECT volume, driver, container FROM volume_mount")]


def insert(connection: sqlite3.Connection, record: VolumeRecord) -> None:
    """Write a volume within somebody's transaction; one that is there already stays."""
    row = (record.name, record.driver, _json(record.options), _json(record.labels), record.created_ns)
    connection.execute("INSERT OR IGNORE INTO volume (name, driver, options, labels, created_ns) VALUES (?, ?, ?, ?, ?)", row)


def update(connection: sqlite3.Connection, record: VolumeRecord) -> None:
    """Write within somebody's transaction that a volume has other options."""
    connection.execute("UPDATE volume SET options = ? WHERE name = ?", (_json(record.options), record.name))


def delete_all(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Forget volumes and their snapshots within somebody's transaction."""
    for name in names:
        connection.execute("DELETE FROM volume WHERE name = ?", (name,))
        connection.execute("DELETE FROM volume_snapshot WHERE volume = ?", (name,))


def _json(value: Mapping[str, str] | None) -> str:
    return json.dumps(None if value is None else dict(value))
