"""The mounter: attaches layers in a mount namespace of their own, for kernels whose overlay takes attached mounts only (before 6.13).

A mount can be attached in one place only, and a second mount of a layer would be a second superblock with all its data in memory again. So each
layer has one place, in a namespace that nobody lives in and that has nothing else in it; a container's child goes there for a moment and
takes clones of what it needs (steps_root.py). A process of this kind is forked by the keeper for each errand and ends with its channel.

    make {}                                  -> fd of a new namespace whose root is an empty tmpfs
    attach {name} + [namespace, mount]       the mount at /NAME there; done already is as good
    detach {name} + [namespace]              away with it; clones of it live on
"""

import errno
import os
from typing import TYPE_CHECKING

from pier.linux import mounts, namespaces

if TYPE_CHECKING:
    from pier.ipc import Channel
    from pier.ipc.channel import Message


def main(channel: "Channel") -> None:
    """Do what is asked until the channel closes."""
    while (got := channel.recv()) is not None:
        message, fds = got
        answer: Message = {"re": message.get("id")}
        made: list[int] = []
        try:
            if message.get("op") == "make":
                made.append(make())
            elif message.get("op") == "attach":
                attach(fds[0], fds[1], str(message["name"]))
            elif message.get("op") == "detach":
                detach(fds[0], str(message["name"]))
            else:
                raise ValueError(f"unknown request {message.get('op')!r}")
        except (OSError, ValueError, IndexError, KeyError) as error:
            answer["error"] = {"message": f"mounter: {message.get('op')}: {error}", "errno": getattr(error, "errno", None)}
        channel.send(answer, made)
        for fd in (*fds, *made):
            os.close(fd)


def make() -> int:
    """A descriptor of a new mount namespace with nothing in it but an empty tmpfs; this process is in it. Raises OSError."""
    namespaces.unshare(namespaces.CLONE_NEWNS)
    fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    mounts.set_propagation("/", mounts.MS_REC | mounts.MS_PRIVATE)
    root = mounts.new_filesystem("tmpfs", {"size": "1m", "mode": "0700"})
    try:
        mounts.attach_at(root, "/")
        os.fchdir(root)
        mounts.pivot_root(".", ".")
        mounts.unmount(".", mounts.MNT_DETACH)
        os.chdir("/")
    finally:
        os.close(root)
    return fd


def attach(space_fd: int, mount_fd: int, name: str) -> None:
    """Attach a detached mount at /`name` of the namespace. Raises OSError."""
    namespaces.setns(space_fd, namespaces.CLONE_NEWNS)
    path = f"/{_checked(name)}"
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    if os.stat(path).st_dev != os.fstat(mount_fd).st_dev:
        mounts.attach_at(mount_fd, path)


def detach(space_fd: int, name: str) -> None:
    """Take the mount at /`name` away, if there is one. Raises OSError."""
    namespaces.setns(space_fd, namespaces.CLONE_NEWNS)
    path = f"/{_checked(name)}"
    if not os.path.isdir(path):
        return
    try:
        mounts.unmount(path, mounts.MNT_DETACH)
    except OSError as error:
        if error.errno != errno.EINVAL:  # nothing is attached there
            raise
    os.rmdir(path)


def _checked(name: str) -> str:
    if not name.isalnum():
        raise ValueError(f"{name!r} is no name of a layer")
    return name
