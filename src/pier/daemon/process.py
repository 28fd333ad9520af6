"""The daemon as a process of its host: what it needs to start, its pid file, its log, and what systemd hears."""

import errno
import fcntl
import logging
import os
import resource
import socket
import sys
import time
from pathlib import Path

from pier.errors import Conflict, Unavailable

_log = logging.getLogger("pier.daemon")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR, "fatal": logging.CRITICAL}
_NAMES = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error", logging.CRITICAL: "fatal"}


class LineFormatter(logging.Formatter):
    """`time="..." level=info msg="..." component=pier.api`, as other engines' logs are read."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        message = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            message += "\n" + self.formatException(record.exc_info)
        return f'time="{moment}" level={_NAMES.get(record.levelno, "info")} msg={_quoted(message)} component={record.name}'


def _quoted(text: str) -> str:
    """One line, whatever a client put into a name."""
    shown = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown) + '"'


def set_up_log(debug: bool, level: str) -> None:
    """Log to stderr from `level` on; `debug` is everything. May be called again."""
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LineFormatter())
        root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else _LEVELS[level])
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def check_host() -> None:
    """Refuse a host that Pier cannot run on: needs root and openat2. Raises Unavailable, saying what is missing."""
    if os.geteuid() != 0:
        raise Unavailable("pierd needs root: start it with sudo, or as a service")
    from pier.linux import paths

    try:
        folder = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(paths.openat2(folder, ".", os.O_PATH | os.O_CLOEXEC))
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):
            raise Unavailable(
                f"openat2 is refused here ({error.strerror}): Pier needs Linux 5.10 or newer, and a sandbox around it must allow openat2; "
                "without it no path of a container can be opened safely"
            ) from error
        raise


def cannot(reason: str) -> Unavailable:
    """The error of a daemon that cannot start for a reason of its host."""
    return Unavailable(f"the daemon cannot start: {reason}")


def raise_limits() -> None:
    """The soft limit of descriptors up to the hard one: each attached client and each container takes some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def make_room_for_descriptors(count: int = 16_384) -> None:
    """Make this process's table of descriptors as long as it gets; call it while there is one thread only, after `raise_limits`.

    In a process with several threads the kernel waits for an RCU grace period each time the table is doubled (at 64 descriptors, 128, 256, ...;
    expand_fdtable in fs/file.c): whoever opens that descriptor, here often the loop by accept(), stands still for 20 to 250 ms on a busy machine.
    It never becomes shorter. count: places, 8 bytes of kernel memory each; no more than the limit allows. Where the kernel refuses, it grows later.
    """
    most = min(count, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, most - 1))
    except OSError as error:
        _log.debug("a table of %d descriptors: %s", most, error.strerror)
    finally:
        os.close(fd)


class PidFile:
    """The file with this process's ID, locked while it lives, so that a stale one is told from a live one."""

    def __init__(self, path: Path) -> None:
        """Write the file. Raises Conflict where a live daemon has it, Unavailable where it cannot be written."""
        self._path = path
        try:
            path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise Unavailable(f"pid file {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise Conflict(f"pid file {path}: pierd runs already (pid {holder}): stop it, or give this one its own by --pidfile") from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def remove(self) -> None:
        """Take the file away, while the lock is still held."""
        try:
            self._path.unlink()
        except OSError:
            pass
        os.close(self._fd)


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); does nothing without NOTIFY_SOCKET."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or address[0] not in "/@":
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            _log.warning("NOTIFY_SOCKET %s: %s", address, error.strerror)


def adjust_oom_score(score: int = -500) -> None:
    """Make the kernel choose others first; not allowed without CAP_SYS_RESOURCE, which is no reason to stop."""
    try:
        Path("/proc/self/oom_score_adj").write_text(str(score))
    except OSError as error:
        _log.debug("oom_score_adj: %s", error.strerror)
