"""Steps that need the host in sight: namespaces, streams, sources, the root filesystem. Executed by the blank child."""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

from pier.linux import fds, idmaps, mounts, namespaces, paths, processes
from pier.linux.netlink import configure_inside
from pier.runtime.child_state import State, StepFailed

PRIVATE_PROC = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC


def open_streams(state: State, stdin: str | int | None, stdout: str | int | None, stderr: str | int | None) -> None:
    """The FIFOs are paths of the host: opened while the host's mounts are still ours."""
    for number, path in enumerate((stdin, stdout, stderr)):
        if path is None:
            continue
        if isinstance(path, int):
            state.streams[number] = state.fds[path]
            continue
        # stdout and stderr O_RDWR: with no reader the container waits, it does not die of SIGPIPE. stdin must see its end: read only,
        # and O_NONBLOCK for the open alone, which would wait for a writer.
        flags = os.O_RDONLY | os.O_NONBLOCK if number == 0 else os.O_RDWR
        fd = os.open(path, flags | os.O_NOCTTY | os.O_CLOEXEC)
        os.set_blocking(fd, True)
        state.streams[number] = fd


def join(state: State, spaces: list[list[Any]]) -> None:
    """Namespaces of another container; before anything is made that belongs to one."""
    for index, flag, kind in spaces:
        try:
            namespaces.setns(state.fds[index], flag)
        except OSError as error:
            raise StepFailed(f"join the {kind} namespace: {error.strerror}", error) from None


def leave_host_propagation(state: State) -> None:
    """Before the first mount: nothing that is mounted here may reach the host, while what the host unmounts may still leave us."""
    if not state.left_host_propagation:
        mounts.set_propagation("/", mounts.MS_REC | mounts.MS_SLAVE)
        state.left_host_propagation = True


def keyring(state: State, name: str) -> None:
    """A session keyring of its own, else the container's root reads the keys of the daemon's session."""
    try:
        processes.join_session_keyring(f"_ses.{name}" if name else None)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return
        raise StepFailed(f"make a session keyring: {error.strerror} (see kernel.keys.maxkeys)", error) from None


def private_proc(state: State) -> None:
    """A procfs of the new pid namespace that is mounted nowhere: links and mounts of the image cannot redirect our writes."""
    if state.proc_fd < 0:
        state.proc_fd = state.new_filesystem("proc", {}, PRIVATE_PROC)


def write_proc(state: State, path: str, text: str) -> None:
    """Write to a file of the private procfs, and to nothing else. Raises OSError."""
    fd = paths.openat2(
        state.proc_fd, path, os.O_WRONLY | os.O_NOFOLLOW, 0, paths.RESOLVE_BENEATH | paths.RESOLVE_NO_XDEV | paths.RESOLVE_NO_MAGICLINKS
    )
    try:
        if fds.magic(fd) != fds.PROC_SUPER_MAGIC:
            raise OSError(errno.EXDEV, "not a file of procfs", path)
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def oom_score_adj(state: State, value: int) -> None:
    """The launcher's -900 came along with the clone: the container's own takes its place."""
    if state.oom_score_adj == value:
        return
    try:
        write_proc(state, "self/oom_score_adj", str(value))
        state.oom_score_adj = value
    except OSError as error:
        if error.errno != errno.EACCES:
            raise
        state.warn(f"the host does not let us set oom_score_adj to {value}: the container keeps the one it inherited")


def hostname(state: State, name: str, domain: str) -> None:
    """While CAP_SYS_ADMIN is ours."""
    try:
        namespaces.set_hostname(name)
    except OSError as error:
        raise StepFailed(f"sethostname: {(error.strerror or '').lower()}", error) from None
    if domain:
        namespaces.set_domainname(domain)


def network(state: State, **setup: Any) -> None:
    """While CAP_NET_ADMIN is ours; the interface was put into our namespace from outside."""
    try:
        configure_inside(**{**setup, "loopback": setup.get("loopback", True) and not state.loopback_up})
        state.loopback_up = True
    except OSError as error:
        what = ", ".join(f"{one['name']} {' '.join(one['addresses'])}" for one in setup.get("interfaces", ())) or "lo"
        raise StepFailed(f"configure the network interface {what}: {error.strerror or error}", error) from None


def sysctls(state: State, values: dict[str, str]) -> None:
    """After the network is up (net.* of an interface needs it), through the private procfs."""
    for name, value in values.items():
        if state.sysctls.get(name) == value:
            continue
        state.sysctls[name] = value
        path = "sys/" + (name if "/" in name else name.replace(".", "/"))
        try:
            write_proc(state, path, value)
        except OSError as error:
            raise StepFailed(f"write sysctl {name}={value}: {error.strerror}", error) from None


def mount_label(state: State, label: str) -> None:
    """SELinux: from here on each file system that is made for the container has this label, and so has all that is in it."""
    state.mount_label = label


def open_sources(state: State, sources: list[list[Any]]) -> None:
    """Sources of binds are paths of the host: detached copies are taken before the host goes out of sight."""
    for slot, source, recursive in sources:
        if isinstance(source, int):
            fd = state.fds[source]
        else:
            try:
                fd = mounts.clone_tree(source, recursive=recursive)
            except OSError as error:
                raise StepFailed(
                    f"bind source path does not exist: {source}" if error.errno == errno.ENOENT else f"open bind source {source}: {error.strerror}",
                    error,
                ) from None
        state.sources[slot] = (fd, stat.S_ISDIR(os.fstat(fd).st_mode))


def idmap(state: State, slot: str, users: list[idmaps.Range], groups: list[idmaps.Range]) -> None:
    """Owners on the disk are shown as others by this mount alone, while nobody can see it yet."""
    try:
        userns_fd = idmaps.user_namespace(users, groups, state.proc_fd)
        try:
            mounts.set_attributes(state.sources[slot][0], mounts.MOUNT_ATTR_IDMAP, userns_fd=userns_fd)
        finally:
            os.close(userns_fd)
    except OSError as error:
        why = "its file system cannot" if error.errno == errno.EINVAL else error.strerror
        raise StepFailed(f"map the owners of the mount at {slot}: {why}", error, path=slot) from None


@contextlib.contextmanager
def _visiting(state: State, space: int) -> Iterator[int]:
    """In another mount namespace for the time of the block, which gets its root (O_PATH). Only who is in one may clone its mounts."""
    home_fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        namespaces.setns(state.fds[space], namespaces.CLONE_NEWNS)
        try:
            other_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield other_fd
            finally:
                os.close(other_fd)
        finally:
            namespaces.setns(home_fd, namespaces.CLONE_NEWNS)
            os.fchdir(root_fd)  # setns moved us to the root of the namespace, which need not be the one we had
            os.chroot(".")
    finally:
        os.close(home_fd)
        os.close(root_fd)


def borrow(state: State, slot: str, space: int, path: str) -> None:
    """A mount of another container, cloned where it is attached. No link of its image is followed."""
    try:
        with _visiting(state, space) as other_fd:
            place_fd = paths.look_up(other_fd, path, no_links=True)
            try:
                state.sources[slot] = (mounts.clone_tree("", place_fd), stat.S_ISDIR(os.fstat(place_fd).st_mode))
            finally:
                os.close(place_fd)
    except OSError as error:
        raise StepFailed(f"share {path} of the other container: {error.strerror}", error, path=path) from None


def clone_layers(state: State, space: int, names: list[str]) -> None:
    """Before 6.13 overlay takes attached mounts only, and each is attached in one place: a clone of it is ours to attach for a moment."""
    try:
        with _visiting(state, space) as other_fd:
            for name in (name for name in names if name not in state.layers):
                state.layers[name] = mounts.clone_tree(name, other_fd)
    except OSError as error:
        raise StepFailed(f"clone the mounts of {len(names)} layers: {error.strerror}", error) from None


def overlay(state: State, lowers: list[str | int], upper: str, work: str) -> None:
    """The root as a detached mount: no path of the image is looked up on the way."""
    state.root_mount_fd = _by_descriptors(state, lowers, upper, work, upper)


def overlay_by_scratch(state: State, lowers: list[str | int], upper: str, work: str) -> None:
    """6.8 to 6.12: overlay takes names only, of attached mounts only: each is attached over the upper folder for the moment of the lookup."""
    state.root_mount_fd = _by_scratch(state, lowers, upper, work, upper)


def overlay_by_options(state: State, lowers: list[str | int], upper: str, work: str) -> None:
    """Before 6.8: mount(2) with short names of descriptors; the option text is checked, a longer one would be cut."""
    state.root_mount_fd = _by_options(state, lowers, upper, work, upper)


def image_root(state: State, slot: str, way: str, lowers: list[str | int], subpath: str, scratch: str) -> None:
    """An image that a mount shows: an overlay of its layers alone. A path in it is looked up inside it, links too.

    scratch: a folder of the host that nobody looks up any more; what is attached there leaves with the host.
    """
    fd = _WAYS[way](state, lowers, "", "", scratch)
    if not subpath:
        state.sources[slot] = (fd, True)
        return
    _attach_for_a_moment(fd, scratch)  # before Linux 6.15 nothing is cloned out of a detached mount
    try:
        inner_fd = paths.look_up(fd, subpath)
    except OSError as error:
        raise StepFailed(f"cannot access path {subpath} of the image at {slot}: {(error.strerror or '').lower()}", error, path=subpath) from None
    state.sources[slot] = (mounts.clone_tree("", inner_fd), stat.S_ISDIR(os.fstat(inner_fd).st_mode))
    os.close(inner_fd)


def _by_descriptors(state: State, lowers: list[str | int], upper: str, work: str, scratch: str) -> int:
    opened = []
    try:
        handed: list[str | int] = []
        for lower in lowers:
            if (mount_fd := _mount_of(state, lower)) >= 0:
                handed.append(mount_fd)
            else:  # a string parameter ends at 255 bytes, a descriptor does not
                assert isinstance(lower, str)
                opened.append(os.open(lower, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                handed.append(opened[-1])
        writable = _upper_and_work(upper, work)
        opened += writable
        return mounts.mount_overlay(handed, writable[0] if writable else "", writable[1] if writable else "", _overlay_options(state))
    finally:
        for fd in opened:
            os.close(fd)


def _by_scratch(state: State, lowers: list[str | int], upper: str, work: str, scratch: str) -> int:
    writable = _upper_and_work(upper, work)
    opened = list(writable)
    try:
        handed: list[str | int] = []
        for lower in lowers:
            if (mount_fd := _mount_of(state, lower)) >= 0:
                _attach_for_a_moment(mount_fd, scratch)
                handed.append(f"/proc/self/fd/{mount_fd}")
            else:
                assert isinstance(lower, str)
                opened.append(os.open(lower, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                handed.append(f"/proc/self/fd/{opened[-1]}")
        own = [f"/proc/self/fd/{fd}" for fd in writable] or ["", ""]
        return mounts.mount_overlay(handed, own[0], own[1], _overlay_options(state))
    finally:
        for fd in opened:
            os.close(fd)


def _by_options(state: State, lowers: list[str | int], upper: str, work: str, scratch: str) -> int:
    writable = _upper_and_work(upper, work)
    opened = list(writable)
    try:
        names = []
        for lower in lowers:
            if (mount_fd := _mount_of(state, lower)) >= 0:
                _attach_for_a_moment(mount_fd, scratch)
                names.append(str(mount_fd))
            else:
                assert isinstance(lower, str)
                opened.append(os.open(lower, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                names.append(str(opened[-1]))
        os.chdir("/proc/self/fd")
        # On top of the scratch folder, which nobody looks up by name after this; in our own mount namespace only.
        own = f",upperdir={writable[0]},workdir={writable[1]}" if writable else ""
        label = f',context="{state.mount_label}"' if state.mount_label else ""  # quoted: there is a comma in it
        mounts.mount("overlay", scratch, "overlay", 0, f"lowerdir={':'.join(names)}{own}{label}")
        os.chdir("/")
        return os.open(scratch, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except ValueError as error:
        raise StepFailed(f"mount the root filesystem: {error}") from None
    finally:
        for fd in opened:
            os.close(fd)


def _overlay_options(state: State) -> list[str]:
    return ["source=overlay", f"context={state.mount_label}"] if state.mount_label else ["source=overlay"]


_WAYS = {"overlay": _by_descriptors, "overlay_by_scratch": _by_scratch, "overlay_by_options": _by_options}


def _mount_of(state: State, lower: str | int) -> int:
    """The detached mount that a lower is, -1 for a path."""
    return state.fds[lower] if isinstance(lower, int) else state.layers.get(lower, -1)


def _upper_and_work(upper: str, work: str) -> list[int]:
    """Opened before a layer is attached over the upper folder; none of them for an overlay that nobody writes."""
    return [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in (upper, work) if path]


def _attach_for_a_moment(mount_fd: int, path: str) -> None:
    """A detached mount gets a place in our own mount namespace, which `pivot` throws away with everything else in it."""
    try:
        mounts.attach_at(mount_fd, path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ELOOP):  # it is attached already; ELOOP: right here, for the root
            raise


def attach_root(state: State) -> None:
    """The new root covers the old one: absolute names still mean the host's until `pivot`, descriptors mean the new."""
    fd = state.root_mount_fd
    try:
        mounts.attach_at(fd, "/")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # `overlay_by_options` mounted it with mount(2): it has a place already
    # fsmount's descriptor is O_PATH on the root of the mount
    state.root_fd = fd


def pivot(state: State, propagation: int) -> None:
    """The old root goes away whole: after this no name leads to the host."""
    os.fchdir(state.root_fd)
    mounts.pivot_root(".", ".")
    # `.` is the old root, on top of the new one: made a slave, so that its unmounting reaches nobody else
    mounts.set_propagation(".", mounts.MS_REC | mounts.MS_SLAVE)
    mounts.unmount(".", mounts.MNT_DETACH)
    os.chdir("/")
    mounts.set_propagation("/", propagation)


def root_readonly(state: State) -> None:
    """Last of the mounts: the steps before made mount points in it."""
    try:
        mounts.set_attributes(state.root_fd, mounts.MOUNT_ATTR_RDONLY)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        mounts.mount("", "/", "", mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_RDONLY)


def host_null(state: State) -> None:
    """An exec's /dev/null, taken before it enters a root where /dev/null may be anything."""
    state.null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)


def enter_root(state: State) -> None:
    """After joining the mount namespace, `/` is its root; a descriptor of it anchors the look-ups that follow."""
    state.root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


_NAMESPACES = (open_streams, join, leave_host_propagation, keyring, private_proc, mount_label, oom_score_adj, hostname, network, sysctls)
_LAYERS = (clone_layers, overlay, overlay_by_scratch, overlay_by_options)
_ROOT = (open_sources, idmap, borrow, *_LAYERS, attach_root, image_root, pivot, root_readonly, host_null, enter_root)
STEPS: dict[str, Callable[..., None]] = {function.__name__: function for function in (*_NAMESPACES, *_ROOT)}
