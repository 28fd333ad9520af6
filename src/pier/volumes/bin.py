"""Where removed volumes stay for a while, when daemon.json says so (volume-trash-hours): bounded in time and size, and given back on request.

    <data-root>/volumes/.bin/<when, ns>-<name>/     the volume's folder as it was
    volume_trash                                    what its row said

A folder comes before its row in there, and goes after it. Only plain volumes with a name stay; others are gone at once, as ever.
"""

import asyncio
import json
import logging
import sqlite3
import time
from dataclasses import dataclass

from pier.errors import Conflict, NotFound
from pier.trace import point
from pier.volumes import options as checks
from pier.volumes.local_driver import NAME
from pier.volumes.quotas import in_bin, move
from pier.volumes.records import VolumeRecord, delete_all, insert
from pier.volumes.volumes import Volumes

_log = logging.getLogger("pier.volumes")
_HOUR_NS = 3600 * 10**9
_TIDY_S = 600.0


@dataclass(frozen=True)
class Removed:
    """A volume that was removed."""

    folder: str
    record: VolumeRecord
    removed_ns: int
    snapshots: list[tuple[str, int]]
    size: int


class Bin:
    """Use from the loop's thread."""

    def __init__(self, volumes: Volumes, hours: int, max_bytes: int) -> None:
        """hours: how long a volume stays, 0: not at all; what is over `max_bytes` goes, the oldest first."""
        self._volumes, self._hours, self._max_bytes = volumes, hours, max_bytes
        volumes.bin = self

    def takes(self, record: VolumeRecord) -> bool:
        """Whether a volume is kept when it is removed."""
        named = checks.ANONYMOUS_LABEL not in (record.labels or {})
        return self._hours > 0 and named and record.driver == NAME and checks.filesystem(record.options) is None

    def removed(self) -> list[Removed]:
        """What is there, the oldest first."""
        rows = self._volumes.records.store.read("SELECT * FROM volume_trash ORDER BY removed_ns, folder")
        return [
            Removed(
                row["folder"],
                VolumeRecord(row["name"], NAME, json.loads(row["options"]), json.loads(row["labels"]), row["created_ns"]),
                row["removed_ns"],
                [(name, made) for name, made in json.loads(row["snapshots"])],
                row["size"],
            )
            for row in rows
        ]

    async def put(self, record: VolumeRecord) -> None:
        """Remove a volume that nobody has, whose lock is held; durable when it returns. Raises OSError: nothing has changed then."""
        now, local, records = time.time_ns(), self._volumes.local, self._volumes.records
        folder = f"{now}-{record.name}"
        size = await asyncio.to_thread(local.size, record.name)
        snapshots = records.snapshots(record.name)
        await asyncio.to_thread(local.to_bin, record.name, folder)
        point("volumes.binned")
        options, labels = (json.dumps(None if value is None else dict(value)) for value in (record.options, record.labels))
        row = (folder, record.name, options, labels, record.created_ns, now, json.dumps(snapshots), size)

        def write(connection: sqlite3.Connection) -> None:
            delete_all(connection, [record.name])
            move(connection, record.name, in_bin(folder))
            connection.execute("INSERT INTO volume_trash VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

        try:
            await records.store.write(write)
        except BaseException:
            await asyncio.to_thread(local.from_bin, folder, record.name)
            raise
        self._volumes.quotas.renamed(record.name, in_bin(folder))

    async def recover(self, name: str, new: str = "") -> VolumeRecord:
        """Give back what was removed last of that name, as `new`. Raises NotFound, Invalid, Conflict."""
        new = new or name
        checks.check_name(new)
        async with self._volumes.lock(new):
            found = next((one for one in reversed(self.removed()) if one.record.name == name), None)
            if found is None:
                raise NotFound(f"there is no removed volume {name} in the trash")
            if self._volumes.has(new):
                raise Conflict(f"recover {name}: there is a volume {new} already: give it another name")
            await asyncio.to_thread(self._volumes.local.from_bin, found.folder, new)
            point("volumes.recovered")
            record = VolumeRecord(new, NAME, found.record.options, found.record.labels, found.record.created_ns)

            def write(connection: sqlite3.Connection) -> None:
                insert(connection, record)
                connection.executemany("INSERT INTO volume_snapshot VALUES (?, ?, ?)", [(new, *snapshot) for snapshot in found.snapshots])
                connection.execute("DELETE FROM volume_trash WHERE folder = ?", (found.folder,))
                move(connection, in_bin(found.folder), new)

            await self._volumes.records.store.write(write)
            self._volumes.quotas.renamed(in_bin(found.folder), new)
            self._volumes.adopt(record)
            return record

    async def empty(self) -> int:
        """Throw everything away; returns bytes."""
        return await self._throw(self.removed())

    async def tidy(self) -> None:
        """What has been there long enough, or is too much, goes."""
        there, oldest_ns = self.removed(), time.time_ns() - self._hours * _HOUR_NS
        going = [one for one in there if one.removed_ns < oldest_ns]
        rest = there[len(going) :]
        left = sum(one.size for one in rest)
        while rest and left > self._max_bytes:
            left -= rest[0].size
            going.append(rest.pop(0))
        await self._throw(going)

    async def keep_tidy(self) -> None:
        """For as long as the daemon lives."""
        while True:
            try:
                await self.tidy()
            except OSError as error:
                _log.warning("the trash of volumes cannot be tidied: %s", error)
            await asyncio.sleep(_TIDY_S)

    async def repair(self) -> list[str]:
        """At start, before folders without a row are thrown away: what a crash left half-way goes back to where it was."""
        local, done = self._volumes.local, []
        known = {one.folder: one for one in self.removed()}
        for folder in await asyncio.to_thread(local.in_bin):
            name = folder.partition("-")[2]
            if folder not in known and self._volumes.has(name) and not local.path(name).is_dir():
                await asyncio.to_thread(local.from_bin, folder, name)
                done.append(f"volume {name} is back: its removal had been interrupted")
            elif folder not in known:
                await asyncio.to_thread(local.discard, local.root / ".bin" / folder)
        there = set(await asyncio.to_thread(local.in_bin))
        for one in known.values():
            strangers = set(await asyncio.to_thread(local.names)) - set(self._volumes.own())
            if one.folder not in there and one.record.name in strangers:
                await asyncio.to_thread(local.to_bin, one.record.name, one.folder)
                done.append(f"volume {one.record.name} is in the trash again: its recovery had been interrupted")
            elif one.folder not in there:
                await self._forget(one)
        return done

    async def _throw(self, going: list[Removed]) -> int:
        for one in going:
            await self._forget(one)
            await asyncio.to_thread(self._volumes.local.discard, self._volumes.local.root / ".bin" / one.folder)
            await self._volumes.quotas.release(in_bin(one.folder))
        return sum(one.size for one in going)

    async def _forget(self, one: Removed) -> None:
        await self._volumes.records.store.write(lambda connection: connection.execute("DELETE FROM volume_trash WHERE folder = ?", (one.folder,)))
