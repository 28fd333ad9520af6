"""The volumes of a daemon; use from the loop's thread. Errors carry Docker's words."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pier.api.models.volumes import UsageData, Volume, VolumeList, VolumesPruned
from pier.errors import Conflict, NotFound, NotImplementedByPier, PierError, Unavailable
from pier.events import Journal
from pier.store import Store
from pier.trace import point
from pier.volumes import options as checks
from pier.volumes import views
from pier.volumes.drafts import Drafts
from pier.volumes.driver import Driver, Found, Options
from pier.volumes.local import Local
from pier.volumes.local_driver import NAME, LocalDriver
from pier.volumes.options import ANONYMOUS_LABEL
from pier.volumes.plugins import Plugins
from pier.volumes.quotas import Quotas
from pier.volumes.records import Records, VolumeRecord

if TYPE_CHECKING:
    from pier.volumes.bin import Bin

_log = logging.getLogger("pier.volumes")
Users = Callable[[str], Sequence[str]]  # volume name -> IDs of the containers that have it


class Volumes:
    """Create, look up, mount, populate, remove."""

    def __init__(self, store: Store, root: Path, journal: Journal, plugins: Plugins | None = None) -> None:
        """root: `<data-root>/volumes`."""
        self.records, self.local, self._journal = Records(store), Local(root), journal
        self.quotas, self.plugins = Quotas(store, self.local), plugins or Plugins()
        self._own = LocalDriver(self.local, self.quotas)
        self._volumes = {record.name: record for record in self.records.all()}
        self._mounted = {(volume, container) for volume, _, container in self.records.mounts()}  # by plugins
        self.bin: Bin | None = None  # where removed volumes stay for a while
        self._strangers: set[str] = set()  # drafts of volumes that plugins had already
        self._drafted: dict[str, VolumeRecord] = {}  # with a folder, without a row: a container that is being made has it
        self._held, self._locks = Counter[str](), dict[str, asyncio.Lock]()

    # -- what there is

    def get(self, name: str) -> VolumeRecord:
        """A volume. Raises NotFound."""
        if name not in self._volumes:
            raise NotFound(f"get {name}: no such volume")
        return self._volumes[name]

    def has(self, name: str) -> bool:
        """Whether there is a volume of that name."""
        return name in self._volumes

    def path(self, record: VolumeRecord) -> str:
        """The host's path of a volume's files; "" where a plugin keeps it."""
        return str(self.local.path(record.name)) if record.driver == NAME else ""

    async def inspect(self, name: str) -> Volume:
        """GET /volumes/{name}; of a plugin's volume, what the plugin says of it. Raises NotFound, Unavailable."""
        record = self._volumes.get(name)
        if record is None:
            stranger = await self.plugins.find(name)
            if stranger is None:
                self.get(name)
            else:
                driver, found = stranger
                return views.describe(VolumeRecord(name, driver.name, None, None, 0), found, driver.scope)
        elif record.driver != NAME:
            try:
                plugin = await self.plugins.driver(record.driver)
                return views.describe(record, await plugin.find(name) or Found(name), plugin.scope)
            except PierError as error:
                raise type(error)(f"get {name}: {error}") from None
        return views.describe(record := self.get(name), Found(name, self.path(record)))

    async def list_volumes(self, filters: Mapping[str, Sequence[str]], users: Users) -> VolumeList:
        """GET /volumes: also what plugins have, with a warning for each that does not say. Raises Invalid for a wrong filter."""
        kept, warnings = await self.plugins.volumes()
        theirs = {found.name: (driver, found) for driver, found in kept}
        strangers = [VolumeRecord(name, theirs[name][0].name, None, None, 0) for name in theirs.keys() - self._volumes.keys()]
        chosen = views.choose([*self._volumes.values(), *strangers], filters, lambda name: bool(users(name)))

        def describe(record: VolumeRecord) -> Volume:
            if record.driver == NAME or record.name not in theirs:
                return views.describe(record, Found(record.name, self.path(record)))
            driver, found = theirs[record.name]
            return views.describe(record, found, driver.scope)

        return VolumeList(volumes=[describe(record) for record in chosen], warnings=warnings or None)

    async def usage(self, users: Users) -> Sequence[Volume]:
        """All volumes with what they take, for GET /system/df."""
        found = []
        for record in list(self._volumes.values()):
            volume = views.describe(record, Found(record.name, self.path(record)))
            volume.usage_data = UsageData(ref_count=len(users(record.name)), size=await self.size(record.name))
            found.append(volume)
        return found

    async def size(self, name: str) -> int:
        """Bytes on the disk; -1 where a plugin keeps the volume."""
        return await asyncio.to_thread(self.local.size, name) if self.get(name).driver == NAME else -1

    async def _driver(self, name: str) -> Driver:
        return self._own if name == NAME else await self.plugins.driver(name)

    # -- making and removing

    async def create(
        self, name: str = "", driver: str = "", options: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None
    ) -> VolumeRecord:
        """A volume of that name: the one that is there, else a new one; without a name an anonymous one. Raises Invalid, NotFound, Conflict."""
        async with self.drafts() as drafts:
            record = await drafts.take(name, driver, options, labels)
            if not self.has(record.name):
                await self.records.add(record)
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
        async with self.lock(name):
            record = self._volumes.get(name) or self._drafted.get(name)
            if record is None:
                try:
                    record = self._drafted[name] = await self._make(name, driver, options, labels)
                except PierError as error:
                    raise type(error)(f"create {name}: {error}") from None
            elif driver and driver.removesuffix(":latest") != record.driver:
                raise Conflict(f"create {name}: conflict: volume name must be unique: it is a volume of the driver {record.driver}")
            self._held[name] += 1
        return record

    async def _make(self, name: str, driver: str, options: Options, labels: Mapping[str, str] | None) -> VolumeRecord:
        stranger = None if driver else await self.plugins.find(name)
        if stranger is not None:
            self._strangers.add(name)
            return VolumeRecord(name, stranger[0].name, None, None, time.time_ns())
        keeper = await self._driver(driver or NAME)
        keeper.check(name, options)
        await keeper.create(name, options)
        point("volumes.made")
        return VolumeRecord(name, keeper.name, options, labels, time.time_ns())

    def let_go(self, name: str) -> None:
        """For `Drafts` alone."""
        self._held[name] -= 1

    def is_free(self, name: str) -> bool:
        """For `Drafts` alone: whether a draft is nobody's any more."""
        return not self._held[name] and name not in self._volumes

    def adopt(self, record: VolumeRecord) -> None:
        """For `Drafts` alone: the row of a draft is written."""
        self._drafted.pop(record.name, None)
        self._strangers.discard(record.name)
        if record.name not in self._volumes:
            self._volumes[record.name] = record
            self.publish("create", record.name, driver=record.driver)

    async def discard(self, name: str) -> None:
        """For `Drafts` alone: a draft that came to nothing."""
        async with self.lock(name):
            if self.is_free(name) and name in self._drafted:
                record = self._drafted.pop(name)
                if name not in self._strangers:
                    await self._take_away(record)
                self._strangers.discard(name)

    async def remove(self, name: str, users: Users, *, force: bool = False) -> None:
        """Remove a volume that nobody has. force: one that is not there is no error. Raises NotFound, Conflict."""
        if name not in self._volumes:
            stranger = await self.plugins.find(name)
            if stranger is not None:
                await stranger[0].remove(name)
                self.publish("destroy", name, driver=stranger[0].name)
                return
            if force:
                return
        self.get(name)
        async with self.lock(name):
            if name not in self._volumes:
                return
            if using := users(name):
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(using)}]")
            if self._held[name]:
                raise Conflict(f"remove {name}: volume is in use - by a container that is being created, or by who copies it")
            await self._remove(name)

    async def _remove(self, name: str) -> None:
        record = self._volumes[name]
        if record.driver != NAME:  # first: what cannot be removed keeps its row
            try:
                await (await self.plugins.driver(record.driver)).remove(name)
            except PierError as error:
                raise type(error)(f"remove {name}: {error}") from None
        binned = self.bin is not None and self.bin.takes(record)
        if binned and self.bin is not None:
            await self.bin.put(record)
        else:
            await self.records.remove(name)
        point("volumes.removed")
        del self._volumes[name]
        if binned and self.bin is not None:
            await self.bin.tidy()
        elif record.driver == NAME:
            await self._own.remove(name)
        self.publish("destroy", name, driver=record.driver)

    async def _take_away(self, record: VolumeRecord) -> None:
        """What a volume without a row leaves; a failure is logged."""
        try:
            await (await self._driver(record.driver)).remove(record.name)
        except (OSError, PierError) as error:
            _log.warning("the files of the removed volume %s stay: %s", record.name, error)

    @contextlib.asynccontextmanager
    async def removing(self, names: Sequence[str], users: Users, owner: str) -> AsyncIterator[list[VolumeRecord]]:
        """Around the transaction that removes a container, and with it those of its volumes that nobody else has.

        The block writes their rows off (`records.delete`) and gets those that may go, locked; after it they are gone. owner: the container's ID.
        """
        async with contextlib.AsyncExitStack() as locks:
            going = []
            for name in names:
                await locks.enter_async_context(self.lock(name))
                if name in self._volumes and not self._held[name] and all(user == owner for user in users(name)):
                    going.append(self._volumes[name])
            yield going
            for record in going:
                del self._volumes[record.name]
                self.publish("destroy", record.name, driver=record.driver)
                await self._take_away(record)

    async def prune(self, filters: Mapping[str, Sequence[str]], users: Users) -> VolumesPruned:
        """Remove what no container has: anonymous volumes, with the filter `all` the named ones, too. Raises Invalid."""
        report = VolumesPruned()
        for record in views.prunable(list(self._volumes.values()), filters):
            if users(record.name) or self._held[record.name] or record.driver != NAME:
                continue
            size = await self.size(record.name)
            try:
                await self.remove(record.name, users)
            except (Conflict, NotFound):
                continue
            report.volumes_deleted.append(record.name)
            report.space_reclaimed += 0 if self.bin and self.bin.takes(record) else size
        self._journal.publish("volume", "prune", "", {"reclaimed": str(report.space_reclaimed)})
        return report

    # -- for containers that run

    async def mount(self, name: str, container_id: str) -> str:
        """Before a container that has it starts: what a volume's options ask for is mounted, if it is not yet; returns the path of its files.

        Raises NotFound, Internal, Unavailable.
        """
        record = self.get(name)
        if record.driver == NAME and checks.filesystem(record.options) is None:
            return self.path(record)
        try:
            driver = await self._driver(record.driver)
            async with self.lock(name):
                if driver is not self._own:
                    await self.records.note_mount(name, driver.name, container_id)
                    self._mounted.add((name, container_id))
                    point("volumes.plugin_mount")
                path = await driver.mount(name, record.options, container_id)
        except PierError as error:
            raise type(error)(f"error while mounting volume '{name}': {error}" if record.driver != NAME else str(error)) from None
        point("volumes.mounted")
        return path

    def is_remote(self, name: str) -> bool:
        """Whether a plugin keeps the volume."""
        return name in self._volumes and self._volumes[name].driver != NAME

    async def unmount(self, name: str, container_id: str, users: Users) -> None:
        """After a container has ended: nothing stays mounted that no running container has. users: the running ones. Raises OSError, Unavailable."""
        record = self._volumes.get(name)
        if record is None or (record.driver == NAME and checks.filesystem(record.options) is None):
            return
        async with self.lock(name):
            last = not [user for user in users(name) if user != container_id or record.driver == NAME]
            if record.driver == NAME:
                await self._own.unmount(name, record.options, container_id, last)
            elif (name, container_id) in self._mounted:
                driver = await self.plugins.driver(record.driver)
                try:
                    await driver.unmount(name, record.options, container_id, last)
                    point("volumes.plugin_unmounted")
                except Unavailable:
                    raise  # it is asked again at the next start
                except PierError:
                    await self._forget_mount(name, container_id)  # it was asked, and says that it does not
                    raise
                await self._forget_mount(name, container_id)

    async def _forget_mount(self, name: str, container_id: str) -> None:
        await self.records.forget_mount(name, container_id)
        self._mounted.discard((name, container_id))

    @contextlib.asynccontextmanager
    async def populating(self, name: str, path: str) -> AsyncIterator[bool]:
        """Around the first start of a container: whether the image's files are to be copied into this volume, which is locked meanwhile.

        The copy counts where the block ends without an error. A copy that was interrupted is thrown away and done again.
        """
        async with self.lock(name):
            empty = await asyncio.to_thread(self._ready_for_copy, name, path)
            if empty:
                await asyncio.to_thread(self.local.begin_to_populate, name)
            yield empty
            if empty:
                await asyncio.to_thread(self.local.populated, name)

    def _ready_for_copy(self, name: str, path: str) -> bool:
        if self.local.was_interrupted(name):
            self.local.clear(path)
            _log.warning("volume %s: the files of an image were not all copied into it when that was interrupted: it is done again", name)
        return self.local.is_empty(path)

    # -- life

    def own(self) -> list[str]:
        """The names of the local driver's volumes."""
        return [name for name, record in self._volumes.items() if record.driver == NAME]

    def renamed(self, old: str, new: str) -> None:
        """The row of a volume has another name."""
        if old in self._volumes:
            self._volumes[new] = replace(self._volumes.pop(old), name=new)
            self.quotas.renamed(old, new)

    def changed(self, record: VolumeRecord) -> None:
        """The row of a volume says something else."""
        self._volumes[record.name] = record

    @contextlib.contextmanager
    def holding(self, name: str) -> Iterator[VolumeRecord]:
        """A local volume that cannot be removed while the block lasts. Raises NotFound, NotImplementedByPier for one that a plugin keeps."""
        record = self.get(name)
        if record.driver != NAME:
            raise NotImplementedByPier(f"volume {name}: this for volumes of the driver {record.driver}", "the plugin keeps their files")
        self._held[name] += 1
        try:
            yield record
        finally:
            self._held[name] -= 1

    def is_shared(self, name: str) -> bool:
        """Whether anybody else is `holding` a volume, or makes a container with it."""
        return self._held[name] > 1

    def forgotten(self, running: Users) -> list[tuple[str, str]]:
        """(volume, container) of what plugins may have mounted for containers that have ended: each is to be `unmount`ed, when that suits."""
        return [(name, container) for name, container in self._mounted if container not in running(name)]

    def close(self) -> None:
        """Let go of the disk."""
        self.local.close()

    def lock(self, name: str) -> asyncio.Lock:
        """Who changes a volume of that name, or makes one, holds this."""
        lock = self._locks.get(name)
        if lock is None:
            for idle in [name for name, held in self._locks.items() if not (held.locked() or name in self._volumes or name in self._drafted)]:
                del self._locks[idle]
            lock = self._locks[name] = asyncio.Lock()
        return lock

    def publish_mount(self, name: str, container_id: str, destination: str, propagation: str, writable: bool) -> None:
        """The event of a container that begins to use a volume."""
        words = {"container": container_id, "destination": destination, "propagation": propagation, "read/write": str(writable).lower()}
        self.publish("mount", name, driver=self._volumes[name].driver if name in self._volumes else NAME, **words)

    def publish_unmount(self, name: str, container_id: str) -> None:
        """The event of a container that uses a volume no more."""
        self.publish("unmount", name, driver=self._volumes[name].driver if name in self._volumes else NAME, container=container_id)

    def publish(self, action: str, name: str, **attributes: str) -> None:
        """An event of a volume."""
        self._journal.publish("volume", action, name, attributes)
