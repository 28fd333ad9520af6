"""The local driver's folders and mounts. Blocking; names were checked (options.check_name)."""

import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

from pier.content.trash import Trash, spread
from pier.errors import Internal
from pier.linux import mounts
from pier.linux.renaming import exchange
from pier.trace import point
from pier.volumes.options import Filesystem

DATA, POPULATING, SNAPSHOTS, WORK = "_data", "populating", "snapshots", "work"
BIN = ".bin"
MOUNT_PATIENCE_S = 10.0
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Local:
    """`<data-root>/volumes`: a folder for each volume."""

    def __init__(self, root: Path) -> None:
        """Open or create the folder."""
        self.root = root
        root.mkdir(mode=0o701, exist_ok=True)
        (root / f".{POPULATING}").mkdir(mode=0o700, exist_ok=True)
        (root / BIN).mkdir(mode=0o700, exist_ok=True)
        spread(root)
        self._trash = Trash(root)
        self._real = os.path.realpath(root)  # the data root may be a link

    def path(self, name: str) -> Path:
        """Where the volume's files are."""
        return self.root / name / DATA

    def create(self, name: str) -> None:
        """Make the folders, durably; those that are there already stay as they are. Raises OSError."""
        folder = self.root / name
        folder.mkdir(mode=0o701, exist_ok=True)
        data = folder / DATA
        if not data.exists():
            data.mkdir(mode=0o755)
            data.chmod(0o755)
        for path in (folder, self.root):
            self._sync(path)
        point("volumes.folder")

    def remove(self, name: str) -> None:
        """Take a volume's folder away, unmounting what the driver mounted there; a missing one is no error. Raises OSError."""
        self.unmount(name)
        self._trash.discard(self.root / name)

    def names(self) -> list[str]:
        """All folders that are there."""
        return sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."))

    def size(self, name: str) -> int:
        """Bytes on the disk of all files of a volume and of its snapshots, links counted once, other file systems left out."""
        return self._size(self.path(name)) + self._size(self.root / name / SNAPSHOTS)

    @staticmethod
    def _size(path: Path) -> int:
        try:
            top = os.stat(path)
        except FileNotFoundError:
            return 0
        total, seen = 0, set()
        for _folder, folders, files, fd in os.fwalk(path, follow_symlinks=False):
            for entry in (*folders, *files):
                try:
                    info = os.stat(entry, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if info.st_dev == top.st_dev and (info.st_nlink == 1 or info.st_ino not in seen):
                    seen.add(info.st_ino)
                    total += info.st_blocks * 512
            folders[:] = [entry for entry in folders if _device(entry, fd) == top.st_dev]
        return total

    # -- what is made of volumes: in a folder of its own first, in its place when it is whole

    def begin_work(self, name: str, *, new: bool = False) -> Path:
        """An empty folder to make something in, gone at the next start; of a volume that is new, its folder, too. Raises OSError."""
        folder = self.root / name
        if new:
            folder.mkdir(mode=0o701)
        self.end_work(name)
        (folder / WORK).mkdir(mode=0o700)
        return folder / WORK

    def end_work(self, name: str) -> None:
        """Throw away what `begin_work` made, if it is there."""
        self._trash.discard(self.root / name / WORK)

    def snapshot(self, name: str, snapshot: str) -> Path:
        """Where the files of a snapshot are."""
        return self.root / name / SNAPSHOTS / snapshot

    def place(self, made: Path, target: Path) -> None:
        """Put what was made in its place, durably. Raises OSError."""
        target.parent.mkdir(mode=0o700, exist_ok=True)
        os.rename(made, target)
        for folder in (target.parent, target.parent.parent):
            self._sync(folder)

    def swap(self, made: Path, name: str) -> None:
        """Give a volume other files at one instant; `made` has the old ones then. Raises OSError."""
        exchange(str(made), str(self.path(name)))
        self._sync(self.root / name)

    def rename(self, old: str, new: str) -> None:
        """Give a volume's folder another name, durably; one that has it already keeps it. Raises OSError."""
        if (self.root / old).is_dir() and not (self.root / new).exists():
            os.rename(self.root / old, self.root / new)
        self._sync(self.root)

    def to_bin(self, name: str, folder: str) -> None:
        """Move a volume's folder to the trash that volumes come back from, durably. Raises OSError."""
        os.rename(self.root / name, self.root / BIN / folder)
        self._sync(self.root / BIN)
        self._sync(self.root)

    def from_bin(self, folder: str, name: str) -> None:
        """The way back. Raises OSError."""
        os.rename(self.root / BIN / folder, self.root / name)
        self._sync(self.root)
        self._sync(self.root / BIN)

    def in_bin(self) -> list[str]:
        """The folders in there."""
        return sorted(os.listdir(self.root / BIN))

    def discard(self, path: Path) -> None:
        """Throw a folder away."""
        self._trash.discard(path)

    def snapshots(self, name: str) -> list[str]:
        """The folders of a volume's snapshots."""
        try:
            return sorted(os.listdir(self.root / name / SNAPSHOTS))
        except FileNotFoundError:
            return []

    @staticmethod
    def _sync(folder: Path) -> None:
        fd = os.open(folder, _FOLDER_FLAGS)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    # -- copying an image's files into an empty volume

    def begin_to_populate(self, name: str) -> None:
        """Note that files are about to be copied into the volume: should that be interrupted, they are thrown away first the next time."""
        fd = os.open(self._note(name), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        os.close(fd)
        point("volumes.populate")

    def populated(self, name: str) -> None:
        """The copy is whole."""
        self._note(name).unlink(missing_ok=True)

    def was_interrupted(self, name: str) -> bool:
        """Whether a copy was begun that never came to its end."""
        return self._note(name).exists()

    def _note(self, name: str) -> Path:
        folder = self.root / name
        return folder / POPULATING if folder.is_dir() else self.root / f".{POPULATING}" / name  # a plugin's volume has no folder here

    @staticmethod
    def is_empty(path: str) -> bool:
        """Whether nothing is in a volume, whose files are there."""
        with os.scandir(path) as entries:
            return next(entries, None) is None

    @staticmethod
    def clear(path: str) -> None:
        """Throw away what is in a volume, which may be a file system of its own. Raises OSError."""
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)

    # -- file systems that are mounted as volumes

    def is_mounted(self, name: str) -> bool:
        """Whether something is mounted on the volume's folder."""
        wanted = mounts.in_mountinfo(f"{self._real}/{name}/{DATA}")  # never a look at it: its server may hang
        with open("/proc/self/mountinfo", "rb") as file:
            return any(line.split(b" ", 5)[4] == wanted for line in file)

    def mount(self, name: str, what: Filesystem) -> None:
        """Mount a volume's file system, as mount(8) does. Raises Internal with its words, or where it does not answer in time."""
        words = ["mount", "-t", what.type, *(("-o", what.options) if what.options else ()), "--", what.device, str(self.path(name))]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        try:
            _, said = process.communicate(timeout=MOUNT_PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # mount(8) and its helper (mount.nfs)
            threading.Thread(target=process.wait, daemon=True).start()  # it may be stuck in the kernel
            where = f"{what.device} (type {what.type}, options {what.options or 'none'})"
            raise Internal(f"volume {name}: {where} does not answer within {MOUNT_PATIENCE_S:g} s: is its server there?") from None
        if process.returncode:
            reason = " ".join(said.decode(errors="replace").split()) or f"mount ended with {process.returncode}"
            raise Internal(f"failed to mount local volume: volume {name}: mount {what.device} ({what.type}): {reason}")

    def unmount(self, name: str) -> None:
        """Take every mount off the volume's folder; busy ones lazily. Raises OSError."""
        while self.is_mounted(name):
            mounts.unmount(str(self.path(name)))

    def close(self) -> None:
        """Let go of the trash folder."""
        self._trash.close()


def _device(name: str, dir_fd: int) -> int:
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_dev
    except FileNotFoundError:
        return -1
