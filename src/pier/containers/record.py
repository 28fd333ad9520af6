"""What a container is (Record), what became of it (State), and the live object that carries both."""

import asyncio
import contextlib
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from pier.api.models.containers import ContainerConfig, HostConfig, MountPoint
from pier.api.models.networks import EndpointSettings
from pier.containers.discarded import Discarded
from pier.containers.health import Health
from pier.linux import pidfd
from pier.networks import Endpoint
from pier.runtime.supervisor import Child

if TYPE_CHECKING:
    from pier.containers.preparing import Prepared

ZERO_TIME = "0001-01-01T00:00:00Z"
STATUSES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")


class MountedImage(msgspec.Struct, frozen=True, kw_only=True):
    """What an image's name meant when a container was made that mounts it. subpath: what of it is shown, "" for all."""

    image_id: str
    diff_ids: list[str]
    subpath: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; never changes but for `name`."""

    id: str
    name: str
    created_ns: int
    image_id: str
    image_name: str
    diff_ids: list[str]
    platform: str
    path: str
    args: list[str]
    config: ContainerConfig
    host: HostConfig
    mounts: list[MountPoint]
    endpoints: dict[str, EndpointSettings]
    seccomp_profile: str = ""
    mounted_images: dict[str, MountedImage] = {}
    """By destination: of each mount point of type image."""
    process_label: str = ""
    mount_label: str = ""
    """SELinux labels; "" where the daemon sets none."""

    @property
    def image_ids(self) -> set[str]:
        """Its own image, and those that it mounts."""
        return {self.image_id, *(mounted.image_id for mounted in self.mounted_images.values())}

    @property
    def short_id(self) -> str:
        return self.id[:12]

    @property
    def has_volumes(self) -> bool:
        return any(point.type == "volume" for point in self.mounts)

    @property
    def terminal(self) -> bool:
        return self.config.tty


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a container; replaced as a whole at each change."""

    status: str = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    restart_count: int = 0
    stopped_by_user: bool = False
    ever_started: bool = False
    backoff_s: float = 0.0
    health: Health | None = None  # None where there are no checks
    limits_due: bool = False  # the kernel may not know the record's limits yet

    @property
    def running(self) -> bool:
        """Whether it has processes; those of a paused container stand still."""
        return self.status in ("running", "paused")

    @property
    def paused(self) -> bool:
        return self.status == "paused"

    @property
    def restarting(self) -> bool:
        return self.status == "restarting"


@dataclass(eq=False)
class Container:
    """The live object of one container: lives in `Containers.table` from create to remove."""

    record: Record
    state: State
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)  # of its files, for a commit: one at a time, whatever else goes on
    child: Child | None = None
    prepared: "Prepared | None" = None  # for a start that nobody has asked for yet
    places: tuple[Endpoint, ...] = ()  # in networks, while it runs
    streams: bool = False  # the pump may have something of it
    netns_path: str = ""
    execs: set[str] = field(default_factory=set)
    waiters: list[tuple[str, "asyncio.Future[tuple[int, str]]"]] = field(default_factory=list)
    exited: asyncio.Event = field(default_factory=asyncio.Event)
    restart_task: "asyncio.Task[None] | None" = None
    keep: int = 0  # how many restarts and removals are under way: neither --rm nor a restart policy has a say then
    copying: bool = False  # a start is under way in which the image's files go into a volume: that may take minutes
    doomed: bool = False  # a removal is under way: nothing starts it any more
    removed: bool = False
    run_number: int = 0
    discarded: Discarded = field(default_factory=Discarded)

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        return self.record.name

    async def is_running(self) -> bool:
        """Whether it runs, once a start that is under way is through: who saw its first output may ask before its start has been told."""
        if not self.state.running and self.lock.locked():
            async with self.lock:
                pass
        return self.state.running

    def end_copy(self) -> None:
        """KILL the child of a start that copies files into a volume: the start fails, and the next one begins the copy anew."""
        if self.copying and self.child is not None and self.child.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                pidfd.send_signal(self.child.pidfd, signal.SIGKILL)

    def let_go_of_child(self) -> None:
        """Discard the child, where there is one that runs no program; until its end is acknowledged no other one can have the container's key."""
        child, self.child = self.child, None
        if child is not None:
            self.discarded.let_go(child)


_encoder = msgspec.json.Encoder()
_records = msgspec.json.Decoder(Record)
_states = msgspec.json.Decoder(State)


def encode(value: Record | State) -> bytes:
    """The JSON bytes that are kept in the database and in config.json."""
    return _encoder.encode(value)


def decode_record(data: bytes) -> Record:
    """The Record of what `encode` made. Raises msgspec.ValidationError."""
    return _records.decode(data)


def decode_state(data: bytes) -> State:
    """The State of what `encode` made. Raises msgspec.ValidationError."""
    return _states.decode(data)
