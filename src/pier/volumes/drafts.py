"""Volumes that come to be together with a container: their rows are written in its transaction, so that neither is there without the other."""

import asyncio
import sqlite3
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from pier.volumes.records import VolumeRecord, insert

if TYPE_CHECKING:
    from pier.volumes.volumes import Volumes


class Drafts:
    """Use as an asynchronous context around the making of one container: `take` what it needs, `write` in its transaction, then `done`.

    What was taken cannot be removed meanwhile; what is new and not `done` at the end is gone again.
    """

    def __init__(self, volumes: "Volumes") -> None:
        self._volumes = volumes
        self._taken: list[str] = []
        self._new: dict[str, VolumeRecord] = {}

    async def __aenter__(self) -> "Drafts":
        return self

    async def take(
        self, name: str, driver: str = "", options: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None
    ) -> VolumeRecord:
        """The volume of that name, or a new one, of a name of its own for "". Raises Invalid, NotFound with Docker's text, OSError."""
        record = await self._volumes.draft(name, driver, options, labels)
        self._taken.append(record.name)
        if not self._volumes.has(record.name):
            self._new[record.name] = record
        return record

    def path(self, record: VolumeRecord) -> str:
        """The host's path of a volume's files; "" while a plugin keeps it."""
        return self._volumes.path(record)

    def write(self, connection: sqlite3.Connection) -> None:
        """The rows of the new ones; in the writer's thread."""
        for record in self._new.values():
            insert(connection, record)

    def done(self) -> None:
        """The transaction is through."""
        for record in self._new.values():
            self._volumes.adopt(record)
        self._new.clear()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name in self._taken:
            self._volumes.let_go(name)
        for name in self._new:
            if self._volumes.is_free(name):
                await asyncio.shield(self._volumes.discard(name))
