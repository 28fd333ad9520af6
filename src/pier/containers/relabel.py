"""Giving the files that a container shows their SELinux labels, when it starts: binds with `z` or `Z`, volumes, what Pier writes for it.

Only where the container has a label: others never come here.
"""

import errno
import os
import pwd
from collections.abc import Sequence

from pier import trace
from pier.api.models.containers import MountPoint
from pier.containers import labels
from pier.containers.files import Bound
from pier.containers.record import Record
from pier.containers.sources import in_time
from pier.errors import Internal, Invalid
from pier.linux import selinux

PATIENCE_S = 600.0
"""Of one source: a tree of a million files takes some seconds."""


def check(points: Sequence[MountPoint], label: labels.Labels) -> None:
    """Refuse what cannot be: a label that the host's policy does not have, a bind of the host's own folders that is to be relabelled.

    Raises Invalid, Internal. Before anything is touched; a source that leads there by a link is found when it is opened.
    """
    for context in (label.process, label.mount):
        if context and not selinux.is_known(context):
            raise Invalid(f"invalid --security-opt: the SELinux policy of this host has no context {context}")
    for point in points:
        if point.type == "bind" and label.mount and labels.word(point.mode):
            labels.check_source(point.source, homes())


def homes() -> list[str]:
    """The home folders of who the daemon is, and for whom (sudo)."""
    found = [os.environ.get("HOME", "")]
    if user := os.environ.get("SUDO_USER"):
        try:
            found.append(pwd.getpwnam(user).pw_dir)
        except KeyError:
            pass
    return [path.rstrip("/") for path in found if path.rstrip("/")]


async def binds(record: Record) -> None:
    """Those of a container that starts whose mode asks for it. Raises Internal."""
    for point in record.mounts:
        if point.type == "bind" and (word := labels.word(point.mode)):
            trace.point("start.relabel")
            await source(point.source, labels.shared(record.mount_label) if word == "z" else record.mount_label)


async def volume(path: str, mode: str, label: str) -> None:
    """A volume that is mounted at `path`, for a container with a label: private where its mode has `Z`, else for all. Raises Internal."""
    trace.point("start.relabel")
    await source(path, label if labels.word(mode) == "Z" else labels.shared(label), asked=bool(labels.word(mode)))


async def source(path: str, label: str, asked: bool = True) -> None:
    """A folder of the host with all that is in it, or a file. asked: by a user, who is told where a file system is read-only.

    Raises Internal, in Docker's words.
    """

    def work() -> None:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)  # links in it are the host's, as those of the bind that follows
        except FileNotFoundError:
            return  # the bind says so
        try:
            real = os.readlink(f"/proc/self/fd/{fd}")
            _check_identity(fd)
            selinux.relabel(fd, label, real)
        except OSError as error:
            if error.errno == errno.EROFS and not asked:
                return
            raise Internal(f"error setting label on mount source '{path}': {error.filename}: {(error.strerror or '').lower()}") from None
        finally:
            os.close(fd)

    await in_time(work, f"setting label on mount source '{path}'", PATIENCE_S)


def _check_identity(fd: int) -> None:
    """Raise Internal where a descriptor is a folder of the host's own, by whatever name or bind mount somebody came there."""
    found = os.fstat(fd)
    for path in (*labels.HOSTS_OWN, *homes()):
        try:
            if os.path.samestat(os.stat(path), found):
                raise labels.refusal(path)
        except OSError:
            continue  # this host has none


def files(bound: Bound, label: str) -> None:
    """What Pier writes for a container, which another one may have in its network, too. Raises OSError."""
    for path in (bound.hosts, bound.hostname, bound.resolv_conf):
        try:
            os.setxattr(path, selinux.ATTRIBUTE, labels.shared(label).encode(), follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
