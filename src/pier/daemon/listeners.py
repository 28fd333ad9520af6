"""The daemon's sockets in the file system: made, given to their group, taken over from a daemon that is dead."""

import errno
import grp
import logging
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

from pier.errors import Conflict, Invalid, Unavailable

_log = logging.getLogger("pier.daemon")
_BACKLOG = 4096  # as the reference: who connects without waiting gets EAGAIN beyond it


def group_id(name: str, *, given: bool) -> int:
    """The group that may use the socket: by name or number.

    A group that is missing is root's, with a warning, where nobody asked for it by name; else Invalid.
    """
    if name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if given:
            raise Invalid(f"group {name}: there is no such group: make it with 'groupadd --system {name}'") from None
        _log.warning("there is no group %s: only root can use the socket; make it with 'groupadd --system %s' and start again", name, name)
        return 0


def listen(path: Path, gid: int) -> socket.socket:
    """A listening socket at `path`, 0660 root:gid. One that nobody answers on is replaced.

    Raises Conflict where another daemon answers, or where something else has the name; Unavailable where the folder refuses.
    """
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sock.bind(str(path))
        os.chown(path, 0, gid)
        os.chmod(path, 0o660)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise Unavailable(f"{path}: cannot listen: {error.strerror}") from error
    finally:
        os.umask(before)
    return sock


def _clear(path: Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise Conflict(f"{path} is there and is no socket: move it away, or give another path by --host")
    probe = socket.socket(socket.AF_UNIX)
    probe.settimeout(1)
    try:
        probe.connect(str(path))
    except OSError as error:
        if error.errno not in (errno.ECONNREFUSED, errno.ENOENT):
            raise Conflict(f"{path}: something listens there and does not answer ({error.strerror or error}): stop it first") from None
    else:
        raise Conflict(f"{path}: another daemon answers there: stop it, or give this one another path by --host")
    finally:
        probe.close()
    path.unlink(missing_ok=True)


def remove(sockets: Sequence[tuple[socket.socket, Path, int]]) -> None:
    """Take the names away, unless another daemon has taken them over meanwhile (device and inode tell)."""
    for _, path, inode in sockets:
        try:
            if os.lstat(path).st_ino == inode:
                path.unlink()
        except OSError:
            pass
