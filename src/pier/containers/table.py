"""The context of every verb: what they depend on, and the table of live containers."""

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pier.archive.workers import Workers
from pier.containers.checking import Checking
from pier.containers.labels import Labelling, level_of
from pier.containers.record import Container, Record, State, encode
from pier.containers.running import RunningNotes
from pier.containers.security import Profiles, parse
from pier.containers.validate import Machine
from pier.errors import Conflict, Invalid, NotFound
from pier.events import Journal
from pier.images import Images
from pier.logs import reader
from pier.logs.changes import Changes
from pier.logs.client import Pump
from pier.networks import Networks
from pier.runtime.facts import HostFacts
from pier.runtime.supervisor import Supervisor
from pier.snapshots import Snapshots
from pier.store import Store
from pier.volumes import Volumes

log = logging.getLogger("pier.containers")


@dataclass(frozen=True)
class Defaults:
    """What the configuration of the daemon says about containers.

    `dns*` are those of daemon.json; `log_driver` is `local`, `json-file` or `none`.
    """

    log_driver: str = "local"
    log_options: dict[str, str] = field(default_factory=dict)
    shm_size_bytes: int = 64 << 20
    init: bool = False
    init_path: str = ""


@dataclass(eq=False)
class Containers:
    """Dependencies and live containers; use from the loop's thread only.

    `table` maps IDs to containers, `names` maps names to IDs (a name is in it from the moment create takes it).
    """

    data_root: Path
    exec_root: Path
    boot_id: str
    store: Store
    volatile: Store
    journal: Journal
    images: Images
    snapshots: Snapshots
    networks: Networks
    volumes: Volumes
    supervisor: Supervisor
    pump: Pump
    workers: Workers
    facts: HostFacts
    defaults: Defaults
    machine: Machine
    profiles: Profiles
    labelling: Labelling | None = None  # None: containers get no SELinux labels
    table: dict[str, Container] = field(default_factory=dict)
    making: dict[str, Container] = field(default_factory=dict)  # whose row is on its way to the disk, while a child of theirs may end
    names: dict[str, str] = field(default_factory=dict)
    linked: dict[str, set[str]] = field(default_factory=dict)  # who links to a container (links.py)
    execs: "dict[str, object]" = field(default_factory=dict)
    ahead: set[str] = field(default_factory=set)  # whose start is prepared, though nobody has asked for it yet
    starting: set[str] = field(default_factory=set)  # whose start is being made or prepared at this moment
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    named: set[str] = field(default_factory=set)  # containers whose DNS sockets netd has, as the keeper's keys
    holding: set[str] = field(default_factory=set)  # containers whose published ports netd holds
    running: RunningNotes = field(init=False)
    log_changes: Changes = field(default_factory=Changes)
    checking: Checking = field(default_factory=Checking)
    ready: asyncio.Event = field(default_factory=asyncio.Event)  # everything is restored: policies may start containers from now on
    stopping: bool = False

    def __post_init__(self) -> None:
        self.running = RunningNotes(self.volatile, self.boot_id, self.spawn)

    def find(self, name: str) -> Container:
        """The container of an ID, a name (with or without its slash) or a unique prefix of an ID.

        Raises NotFound (`No such container: X`), Invalid where nothing is given or a prefix fits several.
        """
        if not name:
            raise Invalid('invalid name or ID supplied: ""')
        found = self.table.get(name) or self.table.get(self.names.get(name.removeprefix("/"), ""))
        if found:
            return found
        fitting = [c for c in self.table.values() if c.id.startswith(name)]
        if len(fitting) > 1:
            raise Invalid(f"multiple IDs found with provided prefix: {name}")
        if not fitting:
            raise NotFound(f"No such container: {name}")
        return fitting[0]

    def short(self, name: str) -> str:
        """A whole ID as the short one, which names answer to; another name as it is."""
        return name[:12] if name in self.table else name

    def folder(self, container_id: str) -> Path:
        """<data-root>/containers/<id>: records, logs and the files bound into /etc."""
        return self.data_root / "containers" / container_id

    def log_path(self, container: Container) -> str:
        """The file that a container's log is in; "" for the driver none."""
        kind = container.record.host.log_config.type
        return "" if kind == "none" else reader.path(str(self.folder(container.id)), kind)

    def apparmor_profile(self, record: Record) -> str:
        """The AppArmor profile of a container as inspect shows it."""
        return self.profiles.apparmor(parse(record.host.security_opt or [], record.host.privileged), record.host.privileged)

    def levels(self) -> set[str]:
        """The SELinux levels that containers have."""
        return {level_of(container.record.mount_label) for container in (*self.table.values(), *self.making.values())}

    def image_label(self, name: str, identity: str) -> str:
        """An image as lists show it: the name asked for while it still means that image, else the ID."""
        return name if self.images.carries(name, identity) else identity

    def users_of(self, image_id: str) -> list[tuple[str, bool]]:
        """(container ID, whether it runs) for each container of an image, or with a mount of it."""
        users = (c for c in self.table.values() if c.record.image_id == image_id or (c.record.mounted_images and image_id in c.record.image_ids))
        return [(c.id, c.state.running) for c in users]

    def take_name(self, name: str, container_id: str) -> None:
        """Reserve a name. Raises Conflict with Docker's text where it is in use."""
        holder = self.names.get(name)
        if holder:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )
        self.names[name] = container_id

    def users_of_volume(self, name: str) -> list[str]:
        """The IDs of the containers that have a volume."""
        return [c.id for c in self.table.values() if c.record.has_volumes and any(p.type == "volume" and p.name == name for p in c.record.mounts)]

    def running_users_of_volume(self, name: str) -> list[str]:
        """Those that run, or are about to."""
        return [i for i in self.users_of_volume(name) if self.table[i].state.running or self.table[i].child is not None]

    def networks_in_use(self) -> set[str]:
        """The IDs of the networks that containers have, running or not."""
        found = {given.network_id or self.networks.network_id(name) for c in self.table.values() for name, given in c.record.endpoints.items()}
        return found - {""}

    def name_of(self, container_id: str) -> str:
        """A container's name, its ID where there is no such container."""
        return self.table[container_id].name if container_id in self.table else container_id

    async def insert(self, container: Container, further: Callable[[sqlite3.Connection], None] = lambda _: None) -> None:
        """Write a new container durably, and in the same transaction what is `further` to be written."""
        record, state = container.record, encode(container.state)
        row = (record.id, record.name, record.created_ns, record.image_id, encode(record), state)

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO containers VALUES (?,?,?,?,?,?)", row)
            further(db)

        await self.store.write(write)

    async def save_state(self, container: Container) -> None:
        """Write a container's state durably."""
        row = (encode(container.state), container.id)
        await self.store.write(lambda db: db.execute("UPDATE containers SET state=? WHERE id=?", row))

    async def save_record(self, container: Container, record: Record, further: Callable[[sqlite3.Connection], None] = lambda _: None) -> None:
        """Write a changed record (a rename) durably, and in the same transaction what is `further` to be written; then make it the container's."""
        row = (record.name, encode(record), record.id)

        def write(db: sqlite3.Connection) -> None:
            db.execute("UPDATE containers SET name=?, record=? WHERE id=?", row)
            further(db)

        await self.store.write(write)
        container.record = record

    async def delete(self, container_id: str, further: Callable[[sqlite3.Connection], None] = lambda _: None) -> None:
        """Delete a container's row durably, and in the same transaction do what is `further` to be done."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM containers WHERE id=?", (container_id,))
            further(db)

        await self.store.write(write)

    def set_state(self, container: Container, **changes: object) -> State:
        """Replace a container's state with a changed copy and return it."""
        container.state = msgspec.structs.replace(container.state, **changes)
        if self.log_changes:
            self.log_changes.tell(str(self.folder(container.id)))
        return container.state

    def forget_strangers(self) -> None:
        """Delete what volatile.db has of other boots and of containers that are gone."""
        known = [(key,) for key in self.table]

        def write(db: sqlite3.Connection) -> None:
            db.execute("CREATE TEMP TABLE IF NOT EXISTS known (key TEXT)")
            db.execute("DELETE FROM known")
            db.executemany("INSERT INTO known VALUES (?)", known)
            db.execute("DELETE FROM running WHERE boot_id <> ? OR key NOT IN (SELECT key FROM known)", (self.boot_id,))

        self.spawn(self._quietly(self.volatile.write(write, durable=False)), "forget strangers")

    def publish(self, container: Container, action: str, **attributes: str) -> None:
        """Publish an event of a container, with its image, name and labels as Docker does."""
        labels = dict(container.record.config.labels or {})
        self.journal.publish(
            "container", action, container.id, {**labels, "image": container.record.image_name, "name": container.name, **attributes}
        )

    def spawn(self, coroutine: Coroutine[object, object, None], name: str) -> "asyncio.Task[None]":
        """Run something in the background; a failure is logged, and a shutdown waits for it."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("%s failed", task.get_name(), exc_info=task.exception())

    @staticmethod
    async def _quietly(awaitable: Awaitable[object]) -> None:
        await awaitable
