"""The store of layers, in two kinds behind one interface; tests/contract/snapshots runs one suite over both."""

import asyncio
import json
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from pier import trace
from pier.archive import erofs
from pier.archive.layer import FILES, INDEX, SIZES, SKELETON, TAR
from pier.content.trash import Trash, spread
from pier.errors import Internal, NotFound, Unavailable
from pier.linux import mounts, selinux
from pier.snapshots.mounting import mount_layer
from pier.snapshots.places import Holder, Places
from pier.snapshots.tars import stream_tar

_HEX = frozenset("0123456789abcdef")
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEY = "layer:"  # and the hex of the diff ID: what the keeper calls a mount
_IDLE_MOUNTS = 128  # layers that no container uses but that stay mounted: the next start is quicker


class LayerStore(Protocol):
    """Layers by diff ID ("sha256:<hex>"). Methods raise NotFound for a layer that is not there, Internal for a name that is none."""

    @property
    def kind(self) -> str:
        """"erofs" or "unpacked": what the worker is asked to make."""
        ...

    @property
    def space(self) -> int:
        """The mount namespace in which each mounted lower is attached, named by its hex, once `lower` has returned; -1 where none need be."""
        ...

    def adopt(self, diff_id: str, source_dir: Path) -> None:
        """Take over a folder that the worker made (same file system); where the layer is there already nothing happens.

        Durable when it returns. The source's folder is gone then, or still the caller's to remove.
        """
        ...

    def has(self, diff_id: str) -> bool:
        """Whether the layer is there, whole."""
        ...

    def remove(self, diff_id: str) -> None:
        """Remove the layer, if it is there; mounts that containers have of it live on. From any thread."""
        ...

    def size(self, diff_id: str) -> tuple[int, int]:
        """(bytes of its tar, bytes on the disk, with its folder: what `du` says)."""
        ...

    def tar_bytes(self, diff_id: str) -> int:
        """Bytes of the tar that `open_tar` gives. Raises Internal that names the layer where a look at its files shows that one is damaged."""
        ...

    def list(self) -> list[str]:
        """The diff IDs of all whole layers."""
        ...

    def open_tar(self, diff_id: str) -> int:
        """A descriptor to read the layer's tar from, once, front to back: its sha256 is the diff ID. The caller's."""
        ...

    def open_parts(self, diff_id: str) -> tuple[str, int, int]:
        """("erofs", tar, index) or ("unpacked", the tar made of the files, the files): what must fit together. The descriptors are the caller's."""
        ...

    def replace(self, diff_id: str, source_dir: Path) -> None:
        """Like `adopt`, in the place of a layer that is damaged. Containers that have an index mounted keep what they have; from any thread."""
        ...

    def replace_index(self, diff_id: str, index: Path) -> None:
        """Move a durable file in as the index of a layer whose own is damaged; from any thread."""
        ...

    async def lower(self, diff_id: str, user: str) -> str | int:
        """The layer as a lower of an overlay: a path, or a mount's descriptor that stays the store's until `user` lets go."""
        ...

    def let_go(self, user: str) -> None:
        """`user` does not need its lowers any more."""
        ...

    def close(self) -> None:
        """Let go of every mount (the keeper has its own) and end the threads; may be called again."""
        ...


class _Layers:
    """What both kinds share: folders named by the diff ID."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        spread(root)
        self._trash = Trash(root)

    def adopt(self, diff_id: str, source_dir: Path) -> None:
        target = self._folder(diff_id)
        if self.has(diff_id):
            return
        self._trash.discard(target)  # half a layer, from before a power cut
        self._check_source(diff_id, source_dir)
        trace.point("layers.adopt")
        os.rename(source_dir, target)
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        trace.point("layers.adopted")

    def has(self, diff_id: str) -> bool:
        folder = self._folder(diff_id)
        pairs = ((TAR, INDEX), (FILES, SKELETON))
        return any((folder / one).exists() and (folder / other).exists() for one, other in pairs)

    def list(self) -> list[str]:
        names = [name for name in os.listdir(self.root) if len(name) == 64 and _HEX.issuperset(name)]
        return [diff_id for diff_id in (f"sha256:{name}" for name in sorted(names)) if self.has(diff_id)]

    def size(self, diff_id: str) -> tuple[int, int]:
        folder = self._existing(diff_id)
        own = os.lstat(folder).st_blocks * 512
        with os.scandir(folder) as entries:
            inside = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
        if TAR in inside and INDEX in inside:
            return inside[TAR].st_size, own + sum(entry.st_blocks for entry in inside.values()) * 512
        sizes = json.loads((folder / SIZES).read_text())
        # The worker's sum is of the files and the skeleton.
        return int(sizes["tar_bytes"]), own + int(sizes["disk_bytes"]) + inside[SIZES].st_blocks * 512

    def tar_bytes(self, diff_id: str) -> int:
        folder = self._existing(diff_id)
        try:
            size = self.size(diff_id)[0]
            if (folder / INDEX).exists():
                with open(folder / INDEX, "rb", opener=lambda path, flags: os.open(path, flags | _FILE_FLAGS)) as index:
                    erofs.check_tar(index.fileno(), size)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Internal(f"layer {diff_id} is damaged on the disk: {error}: remove its images and load or pull them again") from error
        return size

    def open_tar(self, diff_id: str) -> int:
        folder = self._existing(diff_id)
        try:
            return os.open(folder / TAR, _FILE_FLAGS)
        except FileNotFoundError:
            return stream_tar(folder)

    def open_parts(self, diff_id: str) -> tuple[str, int, int]:
        folder, opened = self._existing(diff_id), []
        try:
            if (folder / INDEX).exists():
                opened += [os.open(folder / name, _FILE_FLAGS) for name in (TAR, INDEX)]
                return "erofs", opened[0], opened[1]
            opened.append(mounts.view(str(folder / FILES)))
            return "unpacked", stream_tar(folder), opened[0]
        except BaseException:
            for fd in opened:
                os.close(fd)
            raise

    def replace(self, diff_id: str, source_dir: Path) -> None:
        self._check_source(diff_id, source_dir)
        self.remove(diff_id)
        trace.point("layers.replace")
        self.adopt(diff_id, source_dir)

    def replace_index(self, diff_id: str, index: Path) -> None:
        folder = self._existing(diff_id)
        os.rename(index, folder / INDEX)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        self._forget(diff_id)

    def remove(self, diff_id: str) -> None:
        raise NotImplementedError

    def _forget(self, diff_id: str) -> None:
        """What is held of the layer in memory is of other files than those on the disk now."""

    def close(self) -> None:
        self._trash.close()

    def wait_removed(self) -> None:
        """Until everything removed so far is off the disk."""
        self._trash.wait()

    def _folder(self, diff_id: str) -> Path:
        name = diff_id.removeprefix("sha256:")
        if len(name) != 64 or len(diff_id) != 71 or not _HEX.issuperset(name):
            raise Internal(f"{diff_id!r} is not a diff ID")
        return self.root / name

    def _existing(self, diff_id: str) -> Path:
        if not self.has(diff_id):
            raise NotFound(f"layer {diff_id} is not there: load the image that has it again")
        return self._folder(diff_id)

    def _check_source(self, diff_id: str, source_dir: Path) -> None:
        raise NotImplementedError


class ErofsLayers(_Layers):
    """Layers that stay tars: each is mounted once for the whole host, when the first container needs it.

    Two mounts of one layer would be two superblocks with the data twice in memory; so the mount is kept by the keeper
    (`holder`) over the daemon's death, and handed to every overlay as the same descriptor.
    """

    kind = "erofs"

    def __init__(
        self, root: Path, holder: Holder | None = None, *, loops: bool = False, places: Places | None = None, held: Iterable[str] = (),
        label: str = "",
    ) -> None:  # fmt: skip
        """loops: index and tar are mounted as block devices. places: where mounts are attached, None where overlay takes them as they are.

        held: the keys under which the holder has something from an earlier daemon. label: of SELinux, which a container needs to map files of them.
        """
        super().__init__(root)
        self._holder, self._loops, self._places, self._label = holder, loops, places, label
        self._held_before = {"sha256:" + key.removeprefix(_KEY) for key in held if key.startswith(_KEY)}
        self._mounted: OrderedDict[str, int] = OrderedDict()  # diff ID -> detached mount; least recently used first
        self._users: dict[str, set[str]] = {}
        self._under_way: dict[str, asyncio.Future[int]] = {}
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving: dict[str, asyncio.Task[None]] = {}

    @property
    def space(self) -> int:
        return self._places.fd if self._places else -1

    def remove(self, diff_id: str) -> None:
        folder = self._folder(diff_id)
        self._unmount(diff_id)
        self._trash.discard(folder)

    async def lower(self, diff_id: str, user: str) -> str | int:
        self._loop = asyncio.get_running_loop()
        if not (self._existing(diff_id) / INDEX).exists():
            return await _labelled(self._folder(diff_id) / FILES, self._label)  # unpacked here before, under another kernel
        self._users.setdefault(diff_id, set()).add(user)
        fd = self._mounted.get(diff_id, -1)
        if fd >= 0:
            self._mounted.move_to_end(diff_id)
            return fd
        waiting = self._under_way.get(diff_id)
        if waiting is None:
            waiting = self._under_way[diff_id] = asyncio.ensure_future(self._mount(diff_id))
            waiting.add_done_callback(lambda _: self._under_way.pop(diff_id, None))
        # Shielded: others may be waiting for the same mount.
        return await asyncio.shield(waiting)

    def let_go(self, user: str) -> None:
        for diff_id, users in list(self._users.items()):
            users.discard(user)
            if not users:
                del self._users[diff_id]
        idle = [diff_id for diff_id in self._mounted if diff_id not in self._users]
        for diff_id in idle[: max(0, len(idle) - _IDLE_MOUNTS)]:
            self._unmount(diff_id)

    async def forget_removed(self) -> None:
        """At start: let the keeper let go of layers that were removed when the last daemon ended."""
        self._loop = asyncio.get_running_loop()
        for diff_id in [diff_id for diff_id in self._held_before if not self.has(diff_id)]:
            self._held_before.discard(diff_id)
            await self._let_go_of(diff_id)

    async def hold_again(self) -> None:
        """Another keeper has taken the place of the one that held the mounts: give it those that are open here."""
        if self._places:
            await self._places.hold_again()
        for diff_id, fd in list(self._mounted.items()):
            if self._holder and self._mounted.get(diff_id) == fd:
                await self._holder.hold(_key(diff_id), "mount", fd)

    def close(self) -> None:
        for fd in self._mounted.values():
            os.close(fd)
        self._mounted.clear()
        if self._places:
            self._places.close()
        super().close()

    async def _mount(self, diff_id: str) -> int:
        folder = self._existing(diff_id)
        if leaving := self._leaving.get(diff_id):
            await asyncio.wait({leaving})  # it was removed a moment ago, and is here again
        fd = -1
        if self._holder:
            try:
                fd = await self._holder.fetch(_key(diff_id), "mount")
            except KeyError:
                pass
        is_new = fd < 0
        if is_new:
            fd = mount_layer(folder, self._loops, self._label)
        try:
            if self._places:
                await self._places.attach(folder.name, fd)  # an earlier daemon may have died before it did
            if is_new and self._holder:
                await self._holder.hold(_key(diff_id), "mount", fd)
        except BaseException:
            os.close(fd)
            raise
        self._mounted[diff_id] = fd
        return fd

    def _forget(self, diff_id: str) -> None:
        self._unmount(diff_id)

    def _unmount(self, diff_id: str) -> None:
        with self._lock:
            fd = self._mounted.pop(diff_id, -1)
            held = fd >= 0 or diff_id in self._held_before
            self._held_before.discard(diff_id)
        if fd >= 0:
            os.close(fd)
        if held and self._holder and self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._release, diff_id)

    def _release(self, diff_id: str) -> None:
        task = self._leaving[diff_id] = asyncio.ensure_future(self._let_go_of(diff_id))
        task.add_done_callback(lambda done: self._leaving.pop(diff_id) if self._leaving.get(diff_id) is done else None)

    async def _let_go_of(self, diff_id: str) -> None:
        assert self._holder
        if self._places:
            await self._places.detach(diff_id.removeprefix("sha256:"))
        await self._holder.release(_key(diff_id), "mount")

    def _check_source(self, diff_id: str, source_dir: Path) -> None:
        for name in (TAR, INDEX):
            if not stat.S_ISREG(os.lstat(source_dir / name).st_mode):
                raise Internal(f"layer {diff_id}: {name} in {source_dir} is not a file")


class UnpackedLayers(_Layers):
    """Layers as folders of files: for kernels and file systems that cannot mount an index from a file."""

    kind = "unpacked"
    space = -1

    def __init__(self, root: Path, label: str = "") -> None:
        """label: of SELinux; files get it when they are first used."""
        super().__init__(root)
        self._label = label

    def remove(self, diff_id: str) -> None:
        self._trash.discard(self._folder(diff_id))

    async def lower(self, diff_id: str, user: str) -> str | int:
        folder = self._existing(diff_id)
        if not (folder / FILES).is_dir():
            raise Unavailable(f"layer {diff_id} is an EROFS index, which cannot be mounted here now: remove its image and load it again")
        return await _labelled(folder / FILES, self._label)

    def let_go(self, user: str) -> None:
        """Nothing to do: a path costs nothing."""

    def _check_source(self, diff_id: str, source_dir: Path) -> None:
        if not stat.S_ISDIR(os.lstat(source_dir / FILES).st_mode):
            raise Internal(f"layer {diff_id}: {FILES} in {source_dir} is not a folder")
        # The worker's 0700 kept others out while it was half made; what overlay shows is what stands in it.
        if not (source_dir / SIZES).exists():
            raise Internal(f"layer {diff_id}: {SIZES} in {source_dir} is missing")


async def _labelled(files: Path, label: str) -> str:
    """The path of a layer's files, which have their label from now on."""
    if label:
        await asyncio.to_thread(selinux.label_tree, str(files), label)
    return str(files)


def _key(diff_id: str) -> str:
    return _KEY + diff_id.removeprefix("sha256:")
