"""The volumes of a daemon; use from the loop's thread. Errors carry Docker's words."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from pier.api.models.volumes import UsageData, Volume, VolumesPruned
from pier.errors import Conflict, NotFound, PierError
from pier.events import Journal
from pier.store import Store
from pier.trace import point
from pier.volumes import options as checks
from pier.volumes import views
from pier.volumes.drafts import Drafts
from pier.volumes.local import Local
from pier.volumes.options import ANONYMOUS_LABEL
from pier.volumes.records import Records, VolumeRecord

_log = logging.getLogger("pier.volumes")
Users = Callable[[str], Sequence[str]]  # volume name -> IDs of the containers that have it
_DRIVER = "local"


class Volumes:
    """Create, look up, mount, populate, remove."""

    def __init__(self, store: Store, root: Path, journal: Journal) -> None:
        """root: `<data-root>/volumes`."""
        self._records, self._local, self._journal = Records(store), Local(root), journal
        self._volumes = {record.name: record for record in self._records.all()}
        self._drafted: dict[str, VolumeRecord] = {}  # with a folder, without a row: a container that is being made has it
        self._held: Counter[str] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}

    # -- what there is

    def get(self, name: str) -> VolumeRecord:
        """A volume. Raises NotFound."""
        if name not in self._volumes:
            raise NotFound(f"get {name}: no such volume")
        return self._volumes[name]

    def has(self, name: str) -> bool:
        """Whether there is a volume of that name."""
        return name in self._volumes

    def path(self, name: str) -> str:
        """The host's path of a volume's files."""
        return str(self._local.path(name))

    def inspect(self, name: str) -> Volume:
        """GET /volumes/{name}. Raises NotFound."""
        return views.describe(self.get(name), self.path(name))

    def list_volumes(self, filters: Mapping[str, Sequence[str]], users: Users) -> Sequence[Volume]:
        """GET /volumes. Raises Invalid for a wrong filter."""
        chosen = views.choose(list(self._volumes.values()), filters, lambda name: bool(users(name)))
        return [views.describe(record, self.path(record.name)) for record in chosen]

    async def usage(self, users: Users) -> Sequence[Volume]:
        """All volumes with what they take, for GET /system/df."""
        found = []
        for record in list(self._volumes.values()):
            volume = views.describe(record, self.path(record.name))
            volume.usage_data = UsageData(ref_count=len(users(record.name)), size=await self.size(record.name))
            found.append(volume)
        return found

    async def size(self, name: str) -> int:
        """Bytes on the disk."""
        return await asyncio.to_thread(self._local.size, name)

    # -- making and removing

    async def create(
        self, name: str = "", driver: str = "", options: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None
    ) -> VolumeRecord:
        """A volume of that name: the one that is there, else a new one; without a name an anonymous one. Raises Invalid, NotFound, Conflict."""
        async with self.drafts() as drafts:
            record = await drafts.take(name, driver, options, labels)
            if not self.has(record.name):
                await self._records.add(record)
                point("volumes.created")
                drafts.done()
        return record

    def drafts(self) -> Drafts:
        """For the making of a container: drafts.py."""
        return Drafts(self)

    async def draft(self, name: str, driver: str, options: Mapping[str, str] | None, labels: Mapping[str, str] | None) -> VolumeRecord:
        """For `Drafts` alone: a volume that is held until `let_go`; a new one has its folder and no row yet."""
        if not name:
            name, labels = secrets.token_hex(32), {**(labels or {}), ANONYMOUS_LABEL: ""}
        async with self._lock(name):
            record = self._volumes.get(name) or self._drafted.get(name)
            if record is None:
                try:
                    self._check(name, driver or _DRIVER, options)
                except PierError as error:
                    raise type(error)(f"create {name}: {error}") from None
                record = VolumeRecord(name, driver or _DRIVER, options, labels, time.time_ns())
                await asyncio.to_thread(self._local.create, name)
                self._drafted[name] = record
            self._held[name] += 1
        return record

    def _check(self, name: str, driver: str, options: Mapping[str, str] | None) -> None:
        if driver != _DRIVER:
            raise NotFound(f'error looking up volume plugin {driver}: plugin "{driver}" not found')
        checks.check_name(name)
        checks.filesystem(options)

    def let_go(self, name: str) -> None:
        """For `Drafts` alone."""
        self._held[name] -= 1

    def is_free(self, name: str) -> bool:
        """For `Drafts` alone: whether a draft is nobody's any more."""
        return not self._held[name] and name not in self._volumes

    def adopt(self, record: VolumeRecord) -> None:
        """For `Drafts` alone: the row of a draft is written."""
        self._drafted.pop(record.name, None)
        if record.name not in self._volumes:
            self._volumes[record.name] = record
            self._publish("create", record.name, driver=record.driver)

    async def discard(self, name: str) -> None:
        """For `Drafts` alone: a draft that came to nothing."""
        async with self._lock(name):
            if self.is_free(name) and name in self._drafted:
                del self._drafted[name]
                await asyncio.to_thread(self._local.remove, name)

    async def remove(self, name: str, users: Users, *, force: bool = False) -> None:
        """Remove a volume that nobody has. force: one that is not there is no error. Raises NotFound, Conflict."""
        if name not in self._volumes and force:
            return
        self.get(name)
        async with self._lock(name):
            if name not in self._volumes:
                return
            if using := users(name):
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(using)}]")
            if self._held[name]:
                raise Conflict(f"remove {name}: volume is in use - by a container that is being created")
            await self._remove(name)

    async def _remove(self, name: str) -> None:
        await self._records.remove(name)
        point("volumes.removed")
        driver = self._volumes.pop(name).driver
        await asyncio.to_thread(self._local.remove, name)
        self._publish("destroy", name, driver=driver)

    @contextlib.asynccontextmanager
    async def removing(self, names: Sequence[str], users: Users, owner: str) -> AsyncIterator[list[VolumeRecord]]:
        """Around the transaction that removes a container, and with it those of its volumes that nobody else has.

        The block writes their rows off (`records.delete`) and gets those that may go, locked; after it they are gone. owner: the container's ID.
        """
        async with contextlib.AsyncExitStack() as locks:
            going = []
            for name in names:
                await locks.enter_async_context(self._lock(name))
                if name in self._volumes and not self._held[name] and all(user == owner for user in users(name)):
                    going.append(self._volumes[name])
            yield going
            for record in going:
                del self._volumes[record.name]
                self._publish("destroy", record.name, driver=record.driver)
                try:
                    await asyncio.to_thread(self._local.remove, record.name)
                except OSError as error:
                    _log.warning("the folder of the removed volume %s stays until the next start: %s", record.name, error)

    async def prune(self, filters: Mapping[str, Sequence[str]], users: Users) -> VolumesPruned:
        """Remove what no container has: anonymous volumes, with the filter `all` the named ones, too. Raises Invalid."""
        report = VolumesPruned()
        for record in views.prunable(list(self._volumes.values()), filters):
            if users(record.name) or self._held[record.name]:
                continue
            size = await self.size(record.name)
            try:
                await self.remove(record.name, users)
            except (Conflict, NotFound):
                continue
            report.volumes_deleted.append(record.name)
            report.space_reclaimed += size
        self._journal.publish("volume", "prune", "", {"reclaimed": str(report.space_reclaimed)})
        return report

    # -- for containers that run

    async def mount(self, name: str) -> None:
        """Before a container that has it starts: what a volume's options ask for is mounted, if it is not yet. Raises NotFound, Internal."""
        what = checks.filesystem(self.get(name).options)
        if what is None:
            return
        async with self._lock(name):
            if not await asyncio.to_thread(self._local.is_mounted, name):
                await asyncio.to_thread(self._local.mount, name, what)

    async def unmount(self, name: str, users: Users) -> None:
        """After a container has ended: nothing stays mounted that no running container has. users: the running ones."""
        record = self._volumes.get(name)
        if record is None or checks.filesystem(record.options) is None:
            return
        async with self._lock(name):
            if not users(name):
                await asyncio.to_thread(self._local.unmount, name)

    @contextlib.asynccontextmanager
    async def populating(self, name: str) -> AsyncIterator[bool]:
        """Around the first start of a container: whether the image's files are to be copied into this volume, which is locked meanwhile.

        The copy counts where the block ends without an error. A copy that was interrupted is thrown away and done again.
        """
        async with self._lock(name):
            empty = await asyncio.to_thread(self._ready_for_copy, name)
            if empty:
                await asyncio.to_thread(self._local.begin_to_populate, name)
            yield empty
            if empty:
                await asyncio.to_thread(self._local.populated, name)

    def _ready_for_copy(self, name: str) -> bool:
        if self._local.was_interrupted(name):
            self._local.clear(name)
            _log.warning("volume %s: the files of an image were not all copied into it when that was interrupted: it is done again", name)
        return self._local.is_empty(name)

    # -- life

    async def repair(self, running: Users) -> list[str]:
        """At start, once the containers are known: folders and rows are made to fit, mounts that nobody uses go. Returns a line for each repair."""
        done = []
        for name in set(await asyncio.to_thread(self._local.names)) - set(self._volumes):
            await asyncio.to_thread(self._local.remove, name)
            done.append(f"the folder of a volume {name} that was never made, or was removed, is gone")
        for name in self._volumes:
            if not self._local.path(name).is_dir():
                await asyncio.to_thread(self._local.create, name)
                done.append(f"volume {name} had lost its folder: an empty one was made")
            await self.unmount(name, running)
        return done

    def close(self) -> None:
        """Let go of the disk."""
        self._local.close()

    def _lock(self, name: str) -> asyncio.Lock:
        lock = self._locks.get(name)
        if lock is None:
            for idle in [name for name, held in self._locks.items() if not (held.locked() or name in self._volumes or name in self._drafted)]:
                del self._locks[idle]
            lock = self._locks[name] = asyncio.Lock()
        return lock

    def publish_mount(self, name: str, container_id: str, destination: str, propagation: str, writable: bool) -> None:
        """The event of a container that begins to use a volume."""
        words = {"container": container_id, "destination": destination, "propagation": propagation, "read/write": str(writable).lower()}
        self._publish("mount", name, driver=self._volumes[name].driver if name in self._volumes else _DRIVER, **words)

    def publish_unmount(self, name: str, container_id: str) -> None:
        """The event of a container that uses a volume no more."""
        self._publish("unmount", name, driver=self._volumes[name].driver if name in self._volumes else _DRIVER, container=container_id)

    def _publish(self, action: str, name: str, **attributes: str) -> None:
        self._journal.publish("volume", action, name, attributes)


