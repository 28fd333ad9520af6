"""The writable folders of containers, over layers: create, hand out, measure, remove, repair."""

import asyncio
import builtins
import hashlib
import itertools
import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pier import trace
from pier.content.trash import Trash, spread
from pier.errors import Conflict, Internal, NotFound, Unavailable
from pier.snapshots import probe
from pier.snapshots.layers import ErofsLayers, LayerStore, UnpackedLayers
from pier.snapshots.places import Holder, Places
from pier.snapshots.usage import used_bytes

_log = logging.getLogger("pier.snapshots")
POOL_SIZE = 8
_ID_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@dataclass(frozen=True)
class Rootfs:
    """What an overlay is made of. lowers: topmost first, each a path or the descriptor of a mount (the store's, do not close).

    space: -1, or the descriptor of a mount namespace: a lower that is no path is the name of a mount at its root then.
    """

    lowers: tuple[str | int, ...]
    upper: str
    work: str
    space: int = -1


class Snapshots:
    """Snapshots below <data-root>/snapshots over the layers of <data-root>/layers. Use from the loop's thread."""

    def __init__(self, data_root: Path, layers: LayerStore, why: str = "", pool_size: int = POOL_SIZE, marks: Sequence[str] = ()) -> None:
        """marks: names of the empty files that a writable layer begins with, made ahead with it."""
        self.layers: LayerStore = layers
        self.root = data_root / "snapshots"
        self._why, self._pool_size, self._marks = why, pool_size, marks
        for folder in (self.root, self.root / ".chains", self.root / ".pool", self.root / ".empty"):
            folder.mkdir(mode=0o700, exist_ok=True)
        spread(self.root / ".pool")
        self._trash = Trash(self.root)
        self._chains: dict[str, tuple[str, ...]] = {}
        self._pool: deque[str] = deque()
        numbers = [0]
        for name in filter(str.isdigit, os.listdir(self.root / ".pool")):
            numbers.append(int(name))
            if self._is_whole(self.root / ".pool" / name):
                self._pool.append(name)
            else:  # a daemon was killed while it made or took this one
                self._trash.discard(self.root / ".pool" / name)
        self._pool_numbers = itertools.count(1 + max(numbers))
        self._filling = threading.Lock()
        self._filler: threading.Thread | None = None
        self._fill()

    @classmethod
    async def open(
        cls, data_root: Path, holder: Holder | None = None, driver: str = "", features: str | None = None, marks: Sequence[str] = (),
        label: str = "",
    ) -> "Snapshots":  # fmt: skip
        """Probe the file system of `data_root` and choose the kind of layers; see `probe.choose` for `driver` and `features`, `__init__` for `marks`.

        label: of SELinux, which layers get.

        Raises Unavailable where not even an overlay can be made there, Invalid for an unknown driver.
        """
        choice = await asyncio.to_thread(probe.choose, data_root, driver, features)
        if fault := await asyncio.to_thread(probe.try_overlay, data_root):
            where = f"{data_root} ({probe.filesystem_of(data_root)})"
            raise Unavailable(f"{where} cannot hold containers: {fault}; use --data-root on ext4, xfs or btrfs")
        layers: LayerStore
        if choice.kind == "erofs":
            places = Places(holder) if choice.attached and holder else None
            held = holder.held() if holder else ()
            layers = ErofsLayers(data_root / "layers", holder, loops=choice.loops, places=places, held=held, label=label)
            await layers.forget_removed()
        else:
            layers = UnpackedLayers(data_root / "layers", label)
        return cls(data_root, layers, choice.why, marks=marks)

    @property
    def kind(self) -> str:
        """The kind of layers: "erofs" or "unpacked"."""
        return self.layers.kind

    @property
    def driver(self) -> str:
        """What `info` and `inspect` call the storage driver."""
        return self.layers.kind

    def status(self) -> list[tuple[str, str]]:
        """Lines for `info`."""
        return [("Backing Filesystem", probe.filesystem_of(self.root)), ("Layers", f"{self.kind}: {self._why}" if self._why else self.kind)]

    def create(self, id: str, diff_ids: Sequence[str]) -> None:
        """Make the snapshot of container `id` over layers, bottom first. Raises Conflict where there is one, NotFound for a missing layer.

        Durable with the journal of the file system: it is there after a power cut if a later fsync was answered (state.db's).
        """
        target = self._folder(id)
        for diff_id in diff_ids:
            if not self.layers.has(diff_id):
                raise NotFound(f"layer {diff_id} is not there: load the image that has it again")
        chain = self._chain(tuple(diff_ids))
        name = self._take()
        folder = self.root / ".pool" / name
        try:
            os.symlink(f"../.chains/{chain}", folder / "layers")
            trace.point("snapshots.create")
            os.rename(folder, target)
        except OSError as error:
            self._trash.discard(folder)
            if target.exists():
                raise Conflict(f"container {id} has a writable layer already") from None
            raise Unavailable(f"the writable layer of container {id} cannot be made: {error.strerror}") from error
        trace.point("snapshots.created")

    async def rootfs(self, id: str) -> Rootfs:
        """What the root of container `id` is mounted from; `release(id)` when it is gone. Raises NotFound, Unavailable."""
        folder = self._existing(id)
        lowers, space = await self._lowers(id, self.diff_ids(id))
        return Rootfs(lowers or (str(self.root / ".empty"),), str(folder / "upper"), str(folder / "work"), space)

    async def image(self, id: str, diff_ids: Sequence[str]) -> Rootfs:
        """Layers, bottom first, that container `id` shows beside its own root, without a folder to write in; `release(id)` is for them, too.

        Raises NotFound, Unavailable.
        """
        lowers, space = await self._lowers(id, diff_ids)
        return Rootfs((*lowers, str(self.root / ".empty")), "", "", space)  # an overlay that nobody writes needs two

    async def _lowers(self, id: str, diff_ids: Sequence[str]) -> tuple[tuple[str | int, ...], int]:
        # A layer that a chain has twice counts where it is topmost: there it says all that it says below; overlay refuses it twice.
        order = dict.fromkeys(reversed(diff_ids))
        try:
            lowers = [await self.layers.lower(diff_id, id) for diff_id in order]
        except BaseException:
            self.layers.let_go(id)
            raise
        space = self.layers.space
        if space >= 0:
            names = [diff_id.removeprefix("sha256:") for diff_id in order]
            lowers = [name if isinstance(lower, int) else lower for name, lower in zip(names, lowers, strict=True)]
        return tuple(lowers), space

    def release(self, id: str) -> None:
        """The root of container `id` is not mounted any more: its layers may be unmounted when nobody else uses them."""
        self.layers.let_go(id)

    async def hold_again(self) -> None:
        """The keeper, which held the layers' mounts over the daemon's death, is another one: it gets them, too."""
        if isinstance(self.layers, ErofsLayers):
            await self.layers.hold_again()

    def remove(self, id: str) -> None:
        """Remove the snapshot of container `id`, if there is one: out of the way at once, deleted by a thread."""
        self.layers.let_go(id)
        trace.point("snapshots.remove")
        self._trash.discard(self._folder(id))

    def usage(self, id: str) -> int:
        """Bytes that the container wrote: apparent sizes of the files in its upper folder, each inode once (as Docker counts).

        Raises NotFound.
        """
        return used_bytes(self.upper(id))

    def upper(self, id: str) -> str:
        """The writable folder of container `id`: for whoever reads it on descriptors (reading.py). Raises NotFound."""
        return str(self._existing(id) / "upper")

    def list(self) -> list[str]:
        """The containers that have a snapshot."""
        return sorted(name for name in os.listdir(self.root) if not name.startswith("."))

    def diff_ids(self, id: str) -> tuple[str, ...]:
        """The layers of a snapshot, bottom first. Raises NotFound."""
        try:
            chain = os.path.basename(os.readlink(self._existing(id) / "layers"))
            if chain not in self._chains:
                self._chains[chain] = tuple((self.root / ".chains" / chain).read_text().split())
        except FileNotFoundError:
            raise Internal(f"the list of layers of container {id} is lost: remove the container") from None
        return self._chains[chain]

    def describe(self, id: str) -> dict[str, str]:
        """GraphDriver.Data of `inspect`: where the parts of the root lie on the host."""
        folder = self._existing(id)
        lowers = [str(self.layer_path(diff_id)) for diff_id in dict.fromkeys(reversed(self.diff_ids(id)))]
        return {"ID": id, "LowerDir": ":".join(lowers), "UpperDir": str(folder / "upper"), "WorkDir": str(folder / "work")}

    def layer_path(self, diff_id: str) -> Path:
        """The folder of a layer on the host."""
        return self.root.parent / "layers" / diff_id.removeprefix("sha256:")

    async def repair(self, known_ids: Iterable[str]) -> builtins.list[str]:
        """Remove snapshots of no known container and chains of no snapshot; returns a line for each repair (logged too)."""
        lines = await asyncio.to_thread(self._repair, set(known_ids))
        for line in lines:
            _log.warning("%s", line)
        return lines

    def close(self) -> None:
        """End the threads and close the layers; every snapshot stays."""
        if self._filler:
            self._filler.join()
        self._trash.close()
        self.layers.close()

    def wait_removed(self) -> None:
        """Until everything removed so far is off the disk."""
        self._trash.wait()

    def _repair(self, known: set[str]) -> builtins.list[str]:
        lines: builtins.list[str] = []
        used = set()
        for id in self.list():
            if id not in known:
                self._trash.discard(self.root / id)
                lines.append(f"removed the writable layer of container {id}, which has no record")
                continue
            try:
                used.add(os.path.basename(os.readlink(self.root / id / "layers")))
            except OSError:
                lines.append(f"container {id} has lost the list of its layers: remove it")
        lines += [f"container {id} has lost its writable layer: remove it" for id in sorted(known - set(self.list()))]
        for chain in os.listdir(self.root / ".chains"):
            if chain not in used:
                os.unlink(self.root / ".chains" / chain)
        # Those that are held in memory but not on the disk any more are written again when they are needed.
        self._chains = {chain: ids for chain, ids in self._chains.items() if chain in used}
        return lines

    def _folder(self, id: str) -> Path:
        if not id or not _ID_LETTERS.issuperset(id):
            raise Internal(f"{id!r} is not an ID")
        return self.root / id

    def _existing(self, id: str) -> Path:
        folder = self._folder(id)
        if not (folder / "upper").is_dir():
            raise NotFound(f"container {id} has no writable layer")
        return folder

    def _chain(self, diff_ids: tuple[str, ...]) -> str:
        """The name of the file that lists these layers; written, and durable, once."""
        text = "".join(f"{diff_id}\n" for diff_id in diff_ids)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        if name in self._chains:
            return name
        folder = self.root / ".chains"
        if not (folder / name).exists():
            scratch = folder / f".{name}"
            with open(scratch, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.rename(scratch, folder / name)
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.fsync(fd)
            os.close(fd)
        self._chains[name] = diff_ids
        return name

    def _take(self) -> str:
        try:
            name = self._pool.popleft()
        except IndexError:
            name = self._make()
        if len(self._pool) < self._pool_size // 2:
            self._fill()
        return name

    def _is_whole(self, folder: Path) -> bool:
        return set(os.listdir(folder)) == {"upper", "work"} and sorted(os.listdir(folder / "upper")) == sorted(self._marks)

    def _make(self) -> str:
        name = str(next(self._pool_numbers))
        folder = self.root / ".pool" / name
        folder.mkdir(mode=0o700)
        (folder / "upper").mkdir(mode=0o755)
        os.chmod(folder / "upper", 0o755)  # what the container sees as the mode of `/`, whatever the daemon's umask
        for mark in self._marks:
            (folder / "upper" / mark).touch(0o644)
        (folder / "work").mkdir(mode=0o700)
        return name

    def _fill(self) -> None:
        """Fill the pool in a thread, one at a time: mkdir on ext4 can take milliseconds."""

        def fill() -> None:
            try:
                while len(self._pool) < self._pool_size:
                    self._pool.append(self._make())
            except OSError as error:
                _log.warning("folders for containers cannot be made ahead in %s: %s", self.root, error)
            finally:
                self._filling.release()

        if self._filling.acquire(blocking=False):
            self._filler = threading.Thread(target=fill, name="snapshot-pool", daemon=True)
            self._filler.start()
