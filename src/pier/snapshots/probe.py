"""What kind of layers this host can have: found out once, by doing it on the very file system that will hold them."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pier.archive import erofs
from pier.archive.layer import INDEX, TAR
from pier.archive.tree import FILE, Inode, Tree
from pier.errors import Invalid, Unavailable
from pier.linux import mounts
from pier.snapshots.mounting import mount_layer

KINDS = ("erofs", "unpacked")
_CONTENT = b"pier".ljust(512, b"\0")
_WAYS = {
    (False, False): "the kernel mounts an index from a file here",
    (False, True): "the kernel mounts an index from a file, overlay takes it where it is attached only",
    (True, True): "the kernel mounts an index over loop devices, overlay takes it where it is attached only",
    (True, False): "the kernel mounts an index over loop devices",
}


@dataclass(frozen=True)
class Choice:
    """The kind of layers, and why. loops: an index is mounted over block devices; attached: overlay takes mounts that have a place only."""

    kind: str
    why: str
    loops: bool = False
    attached: bool = False


def choose(data_root: Path, wanted: str = "", features: str | None = None) -> Choice:
    """What layers below `data_root` are.

    `wanted` is --storage-driver: "erofs" where it cannot be is refused (Unavailable), an unknown one too (Invalid).
    `features` is PIER_FEATURES (default: the environment's): `-erofs` in it means unpacked, `-erofs_file` not from files, `-erofs_loops`
    not over loop devices.
    """
    if wanted not in ("", *KINDS):
        raise Invalid(f"storage driver {wanted!r} is not known: there are {', '.join(KINDS)}")
    features = os.environ.get("PIER_FEATURES", "") if features is None else features
    without = {word.strip().removeprefix("-") for word in features.split(",")}
    off = "erofs" in without
    if wanted == "unpacked" or (off and not wanted):
        return Choice("unpacked", "asked for by --storage-driver" if wanted else "PIER_FEATURES has -erofs")
    faults = [f"PIER_FEATURES has -{name}" for name in ("erofs", "erofs_file", "erofs_loops") if name in without]
    ways = [loops for loops, name in ((False, "erofs_file"), (True, "erofs_loops")) if not off and name not in without]
    for loops in ways:
        fault, shared = _try(data_root, loops)
        if not fault:
            attached = not shared or bool({"overlay_fd", "overlay_append"} & without)
            return Choice("erofs", _WAYS[loops, attached], loops, attached)
        faults.append(f"over loop devices: {fault}" if loops else fault)
    reason = "; ".join(faults)
    if wanted:
        raise Unavailable(f"storage driver erofs cannot be used on {data_root}: {reason}; use unpacked")
    return Choice("unpacked", reason)


def try_erofs(data_root: Path, loops: bool = False) -> str:
    """Mount a layer of one file and read it; empty when it worked, else what failed."""
    return _try(data_root, loops)[0]


def _try(data_root: Path, loops: bool) -> tuple[str, bool]:
    """("" or what failed, whether overlay takes the mount without a place of its own)."""
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=data_root) as folder:
        tree = Tree()
        file = Inode(FILE, 0o644)
        file.size = len(_CONTENT)
        assert tree.root.children is not None
        tree.root.children[b"probe"] = file
        tar_path, index_path = Path(folder, TAR), Path(folder, INDEX)
        tar_path.write_bytes(_CONTENT)
        tar_fd, index_fd = os.open(tar_path, os.O_RDONLY), os.open(index_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            erofs.write_index(tree, index_fd, tar_fd, len(_CONTENT), bytes(16))
        finally:
            os.close(tar_fd)
            os.close(index_fd)
        try:
            mount_fd = mount_layer(Path(folder), loops)
        except Unavailable as error:
            return str(error), False
        try:
            fd = os.open("probe", os.O_RDONLY | os.O_CLOEXEC, dir_fd=mount_fd)
            try:
                if os.read(fd, 1024) != _CONTENT:
                    return "a mounted index shows other content than its own", False
            finally:
                os.close(fd)
            return "", _shared(mount_fd)
        except OSError as error:
            return f"a mounted index cannot be read: {error.strerror}", False
        finally:
            os.close(mount_fd)


def _shared(mount_fd: int) -> bool:
    """Whether an overlay takes a detached mount as a layer, which stays free for the next overlay."""
    other_fd = mounts.new_filesystem("tmpfs", {"size": "4k"})
    try:
        for _ in range(2):
            os.close(mounts.mount_overlay([mount_fd, other_fd]))
        return True
    except OSError:
        return False
    finally:
        os.close(other_fd)


def try_overlay(data_root: Path) -> str:
    """Whether `data_root` can hold the writable folders of an overlay; empty when it can, else what failed."""
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=data_root) as folder:
        lower, upper, work = (Path(folder, name) for name in ("lower", "upper", "work"))
        for path in (lower, upper, work):
            path.mkdir()
        try:
            os.close(_overlay(str(lower), str(upper), str(work)))
        except OSError as error:
            return f"{error.strerror} ({error.filename})"
        return ""


def _overlay(lower: str, upper: str, work: str) -> int:
    try:
        return mounts.mount_overlay([lower], upper, work)
    except OSError:
        # Kernels before 6.8 have no `lowerdir+`; the older option does the same for one layer.
        return mounts.new_filesystem("overlay", {"lowerdir": lower, "upperdir": upper, "workdir": work})


def filesystem_of(path: Path) -> str:
    """The type of the file system that `path` is on, as /proc/self/mountinfo calls it; "unknown" where it is not listed."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    found = "unknown"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            if left.split()[2] == wanted:
                found = right.split()[0]
    return found
