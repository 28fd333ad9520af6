"""Limits of local volumes (`--opt size=10G`): each such volume is a project of the data root's file system (pier.linux.quotas).

    volume_project     the numbers that are given out, and to whom: a row comes before the limit, and goes after it; a number is never given twice

The number is on the volume's folder before the volume's own row is written, so that a volume that is there is held to its limit. What a kill leaves
in between is a row without a volume: repair takes limit and row away. Snapshots are not counted: they are the operator's, not the container's.
"""

import asyncio
import contextlib
import functools
import logging
import os
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pier.errors import Invalid, Unavailable
from pier.linux import quotas
from pier.store import Store
from pier.trace import point
from pier.volumes import options as checks
from pier.volumes import records
from pier.volumes.driver import Options
from pier.volumes.local import BIN, Local
from pier.volumes.records import VolumeRecord

_log = logging.getLogger("pier.volumes")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FIRST, _SPREAD = 1 << 30, 1 << 29  # far from what people and other programs give out; daemons on one disk begin at different places
_TRIES = 100
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Project:
    """A number that is given out. size: the limit in bytes."""

    id: int
    size: int


class Quotas:
    """Use from the loop's thread. `name`: of a volume, or the folder of one in the trash (`in_bin`)."""

    def __init__(self, store: Store, local: Local) -> None:
        """store: state.db."""
        self._store, self._local = store, local
        rows = store.read("SELECT id, volume, size FROM volume_project")
        self._projects = {row["volume"]: Project(row["id"], row["size"]) for row in rows}

    def check(self, options: Options) -> None:
        """Raises Invalid with the cause where a limit is asked for and the file system has none."""
        if checks.limit(options) and (why := self._on_disk(quotas.missing)):
            raise Invalid(
                f"quota size requested but no quota support: {self._local.root}: {why}; "
                "or take a file system of a fixed size: --opt type=tmpfs --opt device=tmpfs --opt o=size=SIZE"
            )

    def limit(self, name: str) -> int:
        """How many bytes a volume's files may take; 0 for any number."""
        return self._projects[name].size if name in self._projects else 0

    async def begin(self, name: str, options: Options) -> None:
        """Before a volume is made: its number, with the limit of its options, if they have one. Again does no harm. Raises OSError, Unavailable."""
        size = checks.limit(options)
        if size != self.limit(name):
            await self.release(name)  # what a volume left that could not be made
        if not size:
            return
        if name not in self._projects:
            self._projects[name] = Project(await self._store.write(lambda connection: self._new(connection, name, size)), size)
        point("volumes.project")
        await asyncio.to_thread(self._set, self._projects[name].id, size)
        point("volumes.limit")

    def _new(self, connection: sqlite3.Connection, name: str, size: int) -> int:
        """In the writer's thread: a number after all that were ever given out, and that the file system does not know."""
        given = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'volume_project'").fetchone()
        first = given["seq"] + 1 if given else _FIRST + random.randrange(_SPREAD)
        for id in range(first, first + _TRIES):
            if self._on_disk(functools.partial(quotas.used, project=id)) == (0, 0):
                connection.execute("INSERT INTO volume_project (id, volume, size) VALUES (?, ?, ?)", (id, name, size))
                return id
        raise Unavailable(f"the projects {first} to {first + _TRIES - 1} of the file system are taken: who else gives them out there?")

    async def bind(self, name: str, folder: Path) -> None:
        """What is made in the folder, which is empty, is counted as the volume's from now on; nothing where it has no limit. Raises OSError."""
        if name in self._projects:
            await asyncio.to_thread(_give, folder, self._projects[name].id)
            point("volumes.bound")

    async def release(self, name: str) -> None:
        """The files of a volume are gone, or thrown away: so is its limit, and then its number. A failure is left to the next start."""
        project = self._projects.get(name)
        if project is None:
            return
        try:
            await asyncio.to_thread(self._set, project.id, 0)
        except OSError as error:
            _log.warning("the limit of the removed volume %s stays on project %d: %s", name, project.id, error)
            return
        point("volumes.released")
        await self._store.write(lambda connection: connection.execute("DELETE FROM volume_project WHERE id = ?", (project.id,)))
        del self._projects[name]

    def renamed(self, old: str, new: str) -> None:
        """After a transaction with `move`."""
        if old in self._projects:
            self._projects[new] = self._projects.pop(old)

    async def taken(self, name: str) -> int:
        """How many bytes the files of a volume with a limit take. Raises OSError."""
        project = self._projects[name].id
        return (await asyncio.to_thread(self._on_disk, functools.partial(quotas.used, project=project)))[0]

    async def change(self, before: VolumeRecord, after: VolumeRecord) -> None:
        """Another limit for a volume that has one, with the row that says so. Raises OSError: then all is as it was."""
        old = self._projects[before.name]
        try:
            await self._change(after, Project(old.id, checks.limit(after.options)))
        except OSError:
            await self._change(before, old)
            raise

    async def _change(self, record: VolumeRecord, project: Project) -> None:
        def write(connection: sqlite3.Connection) -> None:
            records.update(connection, record)
            connection.execute("UPDATE volume_project SET size = ? WHERE id = ?", (project.size, project.id))

        await self._store.write(write)
        self._projects[record.name] = project
        point("volumes.resize")
        await asyncio.to_thread(self._set, project.id, project.size)

    @contextlib.asynccontextmanager
    async def doubled(self, name: str) -> AsyncIterator[None]:
        """Around the copying of files to a volume, or to what takes their place: for that while both count. Raises OSError."""
        project = self._projects.get(name)
        if project is None:
            yield
            return
        await asyncio.to_thread(self._set, project.id, 2 * project.size)
        try:
            yield
        finally:
            await asyncio.shield(asyncio.to_thread(self._set, project.id, project.size))

    async def repair(self, volumes: Collection[str], bin_folders: Collection[str]) -> list[str]:
        """At start, when volumes and folders fit: limits of what is not there go, all others hold. Returns a line for each repair."""
        done, there = [], {*volumes, *(in_bin(folder) for folder in bin_folders)}
        for name, project in list(self._projects.items()):
            if name not in there:
                await self.release(name)
                done.append(f"the limit of a volume {name} that was never made, or was removed, is gone")
                continue
            try:
                await asyncio.to_thread(self._hold, self._local.path(name) if name in volumes else None, project)
            except OSError as error:
                why = self._on_disk(quotas.missing) or str(error)
                done.append(f"volume {name} is not held to its limit of {project.size} bytes: {why}")
        return done

    def _hold(self, folder: Path | None, project: Project) -> None:
        self._set(project.id, project.size)
        if folder is not None:
            _give(folder, project.id)

    def _set(self, id: int, size: int) -> None:
        self._on_disk(lambda fd: quotas.limit(fd, id, size))

    def _on_disk(self, work: Callable[[int], T]) -> T:
        fd = os.open(self._local.root, _FOLDER_FLAGS)
        try:
            return work(fd)
        finally:
            os.close(fd)


def in_bin(folder: str) -> str:
    """The name of a volume in the trash."""
    return f"{BIN}/{folder}"


def move(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Within somebody's transaction: a volume has another name."""
    connection.execute("UPDATE volume_project SET volume = ? WHERE volume = ?", (new, old))


def _give(folder: Path, project: int) -> None:
    """Durably."""
    fd = os.open(folder, _FOLDER_FLAGS)
    try:
        if quotas.project_of(fd) != project:
            quotas.give(fd, project)
            os.fsync(fd)
    finally:
        os.close(fd)
