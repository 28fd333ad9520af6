"""Steps that fill the new root, which covers the host's: every target is resolved inside it, by descriptor (openat2, RESOLVE_IN_ROOT)."""

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from pier.linux import fds, mounts, paths, terminals
from pier.runtime.child_state import State, StepFailed
from pier.runtime.copy_up import copy_folder

_PRIVATE = mounts.MS_PRIVATE
_NULL_DEVICE = os.makedev(1, 3)
CGROUP_TMPFS = {"source": "tmpfs", "mode": "755"}
NOTHING = {"source": "tmpfs", "ro": None, "size": "4k", "nr_inodes": "2"}
_KERNELS_OWN = (fds.PROC_SUPER_MAGIC, fds.SYSFS_MAGIC, fds.CGROUP_SUPER_MAGIC, fds.CGROUP2_SUPER_MAGIC)
_PLAIN = ("cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps", "uptime")
# As runc: what lxcfs and the like stand in for. The engine itself relies on the rest.
_STAND_INS = frozenset(f"/proc/{name}" for name in (*_PLAIN, "sys/crypto/fips_enabled", "sys/kernel/ns_last_pid"))
_PTMX_DEVICE = os.makedev(5, 2)


def _target(state: State, path: str, folder: bool, no_links: bool = False) -> int:
    """An O_PATH descriptor of a mount point, made where it is missing. Raises StepFailed."""
    try:
        if no_links:
            try:
                os.close(paths.look_up(state.root_fd, path, no_links=True))
            except FileNotFoundError:
                pass
        return paths.make_folders(state.root_fd, path) if folder else paths.make_file(state.root_fd, path)
    except OSError as error:
        why = f"{path} must not be a link, nor lie behind one" if no_links and error.errno == errno.ELOOP else error.strerror
        raise StepFailed(f"make the mount point {path} in the container: {why}", error, path=path) from None


def _check_place(path: str, target_fd: int, source_fd: int = -1) -> None:
    """Nothing is put over procfs, or in its place, however that was named (CVE-2019-16884: a volume of a hostile image's). Raises StepFailed."""
    if (path != "/proc" and fds.magic(target_fd) != fds.PROC_SUPER_MAGIC) or path in _STAND_INS:
        return
    if source_fd >= 0 and fds.magic(source_fd) == fds.PROC_SUPER_MAGIC:
        return
    why = "because it is not of type proc" if path == "/proc" else "because it is inside /proc"
    raise StepFailed(f"mount at {path}: it cannot be mounted {why}", path=path)


def filesystem(
    state: State, kind: str, target: str, attributes: int, data: list[tuple[str, str | None]], no_links: bool = False, mode_of_target: bool = False
) -> None:
    """A new file system: made detached, put in place whole."""
    mode_of_target = mode_of_target and _is_there(state, target)
    target_fd = _target(state, target, True, no_links)
    try:
        if kind != "proc":
            _check_place(target, target_fd)
        options = [(key, value) for key, value in data]
        if mode_of_target:  # as runc: a tmpfs over /root keeps its 0700, a new one has 1777
            options.insert(0, ("mode", f"{stat.S_IMODE(os.fstat(target_fd).st_mode):04o}"))
        try:
            mount_fd = state.new_filesystem(kind, options, attributes)
        except OSError as error:
            raise StepFailed(f"mount {kind} at {target}: {error.strerror} ({error.filename})", error, path=target) from None
        if kind == "mqueue" and state.mount_label:
            _label_mount(mount_fd, state.mount_label)
        mounts.attach(mount_fd, target_fd)
        if kind == "devpts":
            state.pts_fd = mount_fd
        else:
            os.close(mount_fd)
    finally:
        os.close(target_fd)


def _label_mount(mount_fd: int, label: str) -> None:
    """Of the folder alone: the IPC namespace's queues are one file system, which has its options already."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount_fd)
    try:
        os.setxattr(fd, "security.selinux", label.encode())
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    finally:
        os.close(fd)


def _is_there(state: State, path: str) -> bool:
    try:
        os.close(paths.look_up(state.root_fd, path))
    except OSError:
        return False
    return True


def copy_up(state: State, slot: str, target: str) -> None:
    """An empty volume gets what the image has at its place; the image's path is resolved inside the root. No folder there: nothing to copy."""
    source_fd = _image_folder(state, target)
    if source_fd >= 0:
        mount_fd, _ = state.sources[slot]
        try:
            target_fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount_fd)
            try:
                copy_folder(source_fd, target_fd, target)
            finally:
                os.close(target_fd)
        finally:
            os.close(source_fd)
    state.copied(target)


def _image_folder(state: State, target: str) -> int:
    """A descriptor of the image's folder at this place, -1 where it has none. Raises StepFailed."""
    try:
        fd = paths.openat2(state.root_fd, target, os.O_RDONLY | os.O_DIRECTORY, 0, paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return -1
        raise StepFailed(f"copy the image's files into the volume: {target}: {error.strerror}", error, path=target) from None
    if fds.magic(fd) in _KERNELS_OWN:  # a volume below /sys: the image has nothing there
        os.close(fd)
        return -1
    return fd


def bind(
    state: State, slot: str, target: str, add: int, clear: int, recursive_add: int, propagation: int, recursive_propagation: bool, by_remount: bool,
    no_links: bool = False,
) -> None:  # fmt: skip
    """A detached copy of what the host has there, restricted before anybody can see it."""
    mount_fd, folder = state.sources.pop(slot)
    mismatch = f"mount onto {target}: not a directory: Are you trying to mount a directory onto a file (or vice-versa)?"
    try:
        target_fd = _target(state, target, folder, no_links)
    except StepFailed as error:
        if error.errno != errno.ENOTDIR:
            raise
        raise StepFailed(mismatch, path=target) from None
    try:
        if stat.S_ISDIR(os.fstat(target_fd).st_mode) != folder:
            raise StepFailed(mismatch, path=target)
        _check_place(target, target_fd, mount_fd)
        if by_remount:  # before 5.12: attached first, then changed by its name in the host's /proc
            mounts.attach(mount_fd, target_fd)
            mounts.set_propagation(f"/proc/self/fd/{mount_fd}", propagation | (mounts.MS_REC if recursive_propagation else 0))
            if add:
                mounts.mount("", f"/proc/self/fd/{mount_fd}", "", mounts.MS_REMOUNT | mounts.MS_BIND | _mount_flags(add))
        else:
            mounts.set_attributes(mount_fd, add & ~recursive_add, clear, 0)
            if recursive_add:
                mounts.set_attributes(mount_fd, recursive_add, 0, 0, recursive=True)
            mounts.set_attributes(mount_fd, 0, 0, propagation, recursive=recursive_propagation)
            mounts.attach(mount_fd, target_fd)
    finally:
        os.close(target_fd)
        os.close(mount_fd)


def unmount(state: State, targets: list[str]) -> None:
    """What is on top of each target goes. Named through a procfs of our own: nothing of the container's is followed on the way."""
    for target in targets:
        target_fd = _existing(state, target)
        if target_fd < 0:
            continue
        try:
            # What goes with it must not go from the host: the mounts below one that is shared with it are the host's, too.
            os.fchdir(state.proc_fd)
            mounts.set_propagation(f"self/fd/{target_fd}", _PRIVATE | mounts.MS_REC)
            mounts.unmount(f"self/fd/{target_fd}")
        except OSError as error:
            if error.errno != errno.EINVAL:  # the container has unmounted it itself
                raise StepFailed(f"unmount {target}: {error.strerror}", error, path=target) from None
        finally:
            os.chdir("/")
            os.close(target_fd)


def _mount_flags(attributes: int) -> int:
    flags = attributes & 0xF  # RDONLY, NOSUID, NODEV, NOEXEC have the same bits in mount(2)
    return flags | (mounts.MS_NOATIME if attributes & mounts.MOUNT_ATTR_NOATIME else 0)


def dev(
    state: State,
    attributes: int,
    data: list[tuple[str, str | None]],
    nodes: list[list[Any]],
    links: list[list[str]],
    folders: list[str],
    files: list[str],
) -> None:
    """/dev, filled while it is detached: nothing of the image is in it, and nobody can race with the nodes."""
    if state.mount_label:
        data = state.labelled(data)
    ahead = state.dev_ahead is not None and state.dev_ahead[0] == [attributes, data, nodes, links, folders]
    mount_fd = state.dev_ahead[1] if ahead and state.dev_ahead else new_dev(attributes, data, nodes, links, folders)
    for name in files:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o620, dir_fd=mount_fd))
    target_fd = _target(state, "/dev", True)
    try:
        mounts.attach(mount_fd, target_fd)
    finally:
        os.close(target_fd)
    state.dev_fd = mount_fd


def new_dev(attributes: int, data: list[tuple[str, str | None]], nodes: list[list[Any]], links: list[list[str]], folders: list[str]) -> int:
    """A detached /dev with what every container has in it."""
    mount_fd = mounts.new_filesystem("tmpfs", [(key, value) for key, value in data], attributes & ~mounts.MOUNT_ATTR_RDONLY)
    for name in folders:
        os.mkdir(name, 0o755, dir_fd=mount_fd)
    _make_nodes(mount_fd, nodes)
    for source, name in links:
        os.symlink(source, name, dir_fd=mount_fd)
    return mount_fd


def devices(state: State, nodes: list[list[Any]]) -> None:
    """Nodes outside of a /dev of ours."""
    _make_nodes(state.root_fd, nodes)


def _make_nodes(root_fd: int, nodes: list[list[Any]]) -> None:
    for path, mode, major, minor, uid, gid in nodes:
        parent, _, name = path.rpartition("/")
        folder_fd = paths.make_folders(root_fd, parent) if parent else os.dup(root_fd)
        try:
            if not name:
                raise StepFailed(f"device {path!r} has no name")
            try:
                os.mknod(name, mode, os.makedev(major, minor), dir_fd=folder_fd)
            except FileExistsError:
                there = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
                if stat.S_IFMT(there.st_mode) != stat.S_IFMT(mode) or there.st_rdev != os.makedev(major, minor):
                    raise StepFailed(f"make the device {path}: something else is there") from None
            if uid or gid:
                os.chown(name, uid, gid, dir_fd=folder_fd, follow_symlinks=False)
        except OSError as error:
            raise StepFailed(f"make the device {path}: {error.strerror}", error, path=path) from None
        finally:
            os.close(folder_fd)


def cgroup_v1(state: State, target: str, attributes: int, trees: list[list[str]], links: list[list[str]]) -> None:
    """A tmpfs with the container's own folder of each tree: read-only from the start, else release_agent is the host's root."""
    target_fd = _target(state, target, True, no_links=True)
    mount_fd = state.new_filesystem("tmpfs", CGROUP_TMPFS, attributes & ~mounts.MOUNT_ATTR_RDONLY)
    tree_fds: list[int] = []
    try:
        mounts.attach(mount_fd, target_fd)
        for name, folder, controllers in trees:
            if controllers:  # in a cgroup namespace of its own: a mount whose root is the container's cgroup
                words: list[tuple[str, str | None]] = (
                    [("none", None), ("name", controllers[5:])]
                    if controllers.startswith("name=")
                    else [(word, None) for word in controllers.split(",")]
                )
                tree_fd = mounts.new_filesystem("cgroup", words, attributes)
            else:
                tree_fd = mounts.clone_tree(folder)
            os.mkdir(name, 0o755, dir_fd=mount_fd)
            place_fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=mount_fd)
            mounts.attach(tree_fd, place_fd)
            os.close(place_fd)
            tree_fds.append(tree_fd)
        for link, name in links:
            try:
                os.symlink(name, link, dir_fd=mount_fd)
            except FileExistsError:
                pass
        try:
            mounts.set_attributes(mount_fd, attributes, 0, _PRIVATE, recursive=True)  # all of them at once: 0.1 ms less than one by one
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            for fd in (*tree_fds, mount_fd):
                restrict(fd, attributes)
    finally:
        for fd in (*tree_fds, mount_fd, target_fd):
            os.close(fd)


def restrict(mount_fd: int, attributes: int) -> None:
    """Add attributes to an attached mount and keep it out of anybody's propagation."""
    try:
        mounts.set_attributes(mount_fd, attributes, 0, _PRIVATE)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        name = f"/proc/self/fd/{mount_fd}"
        mounts.set_propagation(name, _PRIVATE)
        mounts.mount("", name, "", mounts.MS_REMOUNT | mounts.MS_BIND | _mount_flags(attributes))


def console(state: State, rows: int, cols: int, bind: bool) -> None:
    """The terminal comes from the container's own devpts, checked by descriptor, and its end by the master (CVE-2025-52565)."""
    if state.pts_fd >= 0:
        master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=state.pts_fd)
    else:
        try:
            master = paths.openat2(state.root_fd, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise StepFailed(f"open a terminal: /dev/pts/ptmx: {error.strerror}", error) from None
        os.set_blocking(master, True)
    if os.fstat(master).st_rdev != _PTMX_DEVICE or fds.magic(master) != fds.DEVPTS_SUPER_MAGIC:
        raise StepFailed("open a terminal: /dev/pts/ptmx of the container is not a devpts")
    end = terminals.open_peer(master)
    if rows and cols:
        terminals.set_size(master, rows, cols)
    if bind and state.dev_fd >= 0:
        place_fd = os.open("console", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=state.dev_fd)
        bind_fd = mounts.clone_tree("", end)
        mounts.attach(bind_fd, place_fd)
        os.close(bind_fd)
        os.close(place_fd)
    state.channel.send({"op": "console"}, [master])
    os.close(master)
    state.streams = [end, end, end]


def mask(state: State, hidden: list[str]) -> None:
    """Read-only nothing over what tells of, or changes, the host; before `protect`, so that both hold."""
    empty_fd = null_fd = -1
    for path in hidden:
        target_fd = _existing(state, path)
        if target_fd < 0:
            continue
        if stat.S_ISDIR(os.fstat(target_fd).st_mode):
            if empty_fd < 0:
                empty_fd = cover_fd = state.new_filesystem("tmpfs", NOTHING, mounts.MOUNT_ATTR_RDONLY)
            else:
                cover_fd = mounts.clone_tree("", empty_fd)  # one superblock for all of them
        else:
            if null_fd < 0:
                null_fd = _null(state)
            cover_fd = mounts.clone_tree("", null_fd)
        mounts.attach(cover_fd, target_fd)
        if cover_fd != empty_fd:
            os.close(cover_fd)
        os.close(target_fd)
    for fd in (empty_fd, null_fd):
        if fd >= 0:
            os.close(fd)


def _null(state: State) -> int:
    """The container's /dev/null, and nothing else that lies there (CVE-2025-31133)."""
    if state.dev_fd >= 0:
        fd = os.open("null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=state.dev_fd)
    else:
        fd = paths.openat2(state.root_fd, "/dev/null", os.O_PATH, 0, paths.RESOLVE_IN_ROOT | paths.RESOLVE_NO_SYMLINKS)
    there = os.fstat(fd)
    if not stat.S_ISCHR(there.st_mode) or there.st_rdev != _NULL_DEVICE:
        raise StepFailed("mask paths: /dev/null of the container is not the null device")
    return fd


def protect(state: State, kept: list[str]) -> None:
    """Read-only binds of themselves over what would change the host."""
    for path in kept:
        target_fd = _existing(state, path)
        if target_fd < 0:
            continue
        bind_fd = mounts.clone_tree("", target_fd, recursive=True)
        try:
            mounts.set_attributes(bind_fd, mounts.MOUNT_ATTR_RDONLY, 0, _PRIVATE, recursive=True)
            mounts.attach(bind_fd, target_fd)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            mounts.attach(bind_fd, target_fd)
            restrict(bind_fd, mounts.MOUNT_ATTR_RDONLY)
        os.close(bind_fd)
        os.close(target_fd)


def _existing(state: State, path: str) -> int:
    """An O_PATH descriptor of a path to hide, -1 where the container has none."""
    try:
        return paths.look_up(state.root_fd, path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return -1
        raise StepFailed(f"hide {path}: {error.strerror}", error, path=path) from None


STEPS: dict[str, Callable[..., None]] = {
    function.__name__: function for function in (filesystem, copy_up, bind, unmount, dev, devices, cgroup_v1, console, mask, protect)
}
