"""The keeper's beginnings: leaving the process that started it, its socket, and its own execve with the state in a memfd.

Invariant: one keeper an exec root, by a lock on `<exec-root>/keeper.lock` that is held over every execve.
"""

import fcntl
import json
import os
import signal
import socket
import stat
import sys
import time
from typing import TYPE_CHECKING, Any

from pier.ipc.polled import PolledChannel
from pier.linux import mounts, syscalls
from pier.runtime import forked
from pier.runtime.kept import KeptChild

if TYPE_CHECKING:
    from pier.runtime.keeper import Keeper

SOCKET_NAME = "keeper.sock"
_LOCK_NAME = "keeper.lock"
_STATE_VARIABLE = "PIER_KEEPER_STATE_FD"
_ENVIRONMENT = frozenset(["PATH", "HOME", "LANG", "TZ", "LD_LIBRARY_PATH", "PIER_FAIL", "PIER_FEATURES", "PIER_TRACE"])
_CLONE_NEWNS = 0x20000
_PR_SET_CHILD_SUBREAPER = 36


def begin(exec_root: str) -> tuple[dict[str, Any], socket.socket] | None:
    """Become a keeper: the state that an earlier execve left, and the listening socket; None where there is another. Raises OSError."""
    state = take_state()
    if state is None:
        if become_independent(exec_root):
            raise AssertionError("execve returned")
        return None
    forked.rename_process("pier-keeper", -999)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # it ends by a request `shutdown` only: containers would lose their parent
    listener = socket.socket(fileno=state["listener"]) if "listener" in state else listen(exec_root)
    listener.setblocking(False)
    return state, listener


def become_independent(exec_root: str) -> bool:
    """Leave session, service cgroups and mount namespace of whoever started this process, and execute it again.

    Returns False where another keeper has the exec root; does not return otherwise: the same command line is executed
    once more, from an interpreter on a read-only mount, so that no container can overwrite it through /proc/PID/exe
    (CVE-2019-5736). Raises OSError where a mount namespace is refused.
    """
    os.makedirs(exec_root, mode=0o711, exist_ok=True)
    lock = os.open(os.path.join(exec_root, _LOCK_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    if os.getsid(0) != os.getpid():
        os.setsid()
    _leave_service_cgroups()
    syscalls.call("unshare", _CLONE_NEWNS)
    mounts.set_propagation("/", mounts.MS_SLAVE | mounts.MS_REC)
    interpreter = os.path.realpath(sys.executable)
    mounts.mount(interpreter, interpreter, flags=mounts.MS_BIND)
    mounts.mount("", interpreter, flags=mounts.MS_BIND | mounts.MS_REMOUNT | mounts.MS_RDONLY)
    _execute_self({"lock": lock}, [lock])
    raise AssertionError("execve returned")


def listen(exec_root: str) -> socket.socket:
    """The keeper's socket, 0600; one left by a dead keeper is replaced (the lock says that it is dead)."""
    path = os.path.join(exec_root, SOCKET_NAME)
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(f"{path} is there and is no socket")
        os.unlink(path)
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(before)
    sock.listen(64)
    syscalls.call("prctl", _PR_SET_CHILD_SUBREAPER, 1)
    return sock


def accept(listener: socket.socket) -> socket.socket | None:
    """The next connection, None for one of another user's, which is closed."""
    sock, _ = listener.accept()
    peer_uid = int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[4:8], sys.byteorder)
    if peer_uid == os.geteuid():
        return sock
    sock.close()
    return None


def take_state() -> dict[str, Any] | None:
    """The state that this process left itself before its execve, None at a first start."""
    text = os.environ.pop(_STATE_VARIABLE, None)
    if text is None:
        return None
    with open(int(text), "rb") as file:
        state: dict[str, Any] = json.loads(file.read())
    for fd in _descriptors(state):
        os.set_inheritable(fd, False)
    return state


def execute(keeper: "Keeper") -> None:
    """Replace the running code of the keeper by what is installed now. Connections of daemons end: they connect again."""
    for channel in keeper.daemons.values():
        channel.flush()
    table = keeper.table
    state: dict[str, Any] = {
        "listener": keeper.listener.fileno(),
        "lock": keeper.lock,
        "children": [{**c.describe(), "fds": [c.pidfd, c.mntns]} for c in table.children.values()],
        "held": table.held,
        "notes": table.notes,
        "helpers": {n: [h.pid, h.channel.fileno()] for n, h in keeper.helpers.items() if h.pid and h.channel},
    }
    _execute_self(state, _descriptors(state))


def restore(keeper: "Keeper", state: dict[str, Any]) -> None:
    """Put the state of an earlier execve into a new keeper."""
    for fields in state.get("children", ()):
        child = KeptChild(
            fields["key"], fields["pid"], fields["start_time"], *fields["fds"],
            spare=fields["spare"], cgroup=fields["cgroup"], adopted=fields["adopted"],
        )  # fmt: skip
        child.started = bool(fields.get("started"))
        keeper.table.add(child)
        if fields["code"] is not None:
            keeper.table.finish(child, fields["code"], fields["signal"], fields["finished_ns"], fields["known"])
        else:
            keeper.watch(child)
    keeper.table.held = state.get("held", {})
    keeper.table.notes = {key: (owner, note) for key, (owner, note) in state.get("notes", {}).items()}
    for name, (pid, fd) in state.get("helpers", {}).items():
        if name in keeper.helpers:
            keeper.helpers[name].pid, keeper.helpers[name].started = pid, time.monotonic()
            keeper.greet_helper(keeper.helpers[name], PolledChannel(socket.socket(fileno=fd)), fresh=False)


def _descriptors(state: dict[str, Any]) -> list[int]:
    found = [state["lock"], *([state["listener"]] if "listener" in state else [])]
    for child in state.get("children", ()):
        found += [fd for fd in child["fds"] if fd >= 0]
    for names in state.get("held", {}).values():
        found += names.values()
    return found + [fd for _, fd in state.get("helpers", {}).values()]


def _execute_self(state: dict[str, Any], fds: list[int]) -> None:
    memfd = os.memfd_create("pier-keeper", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(memfd, json.dumps(state).encode())
    os.lseek(memfd, 0, os.SEEK_SET)
    fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    for fd in [memfd, *fds]:
        os.set_inheritable(fd, True)
    try:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**_environment(), _STATE_VARIABLE: str(memfd)})
    finally:
        for fd in [memfd, *fds]:  # only reached when the execve was refused: the old code goes on
            os.set_inheritable(fd, False)
        os.close(memfd)


def _environment() -> dict[str, str]:
    """What the keeper and all that it forks have as environment: nothing of the daemon's that could be a secret (a proxy's password).

    A blank child shows it, for a moment, to a container that may trace processes.
    """
    return {name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith(("PYTHON", "LC_"))}


def _leave_service_cgroups() -> None:
    """Leave the cgroups of a systemd unit, which end with the daemon; a cgroup that somebody else chose is a limit to keep."""
    try:
        with open("/proc/self/cgroup") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not any(part.endswith((".service", ".scope")) for part in path.split("/")):
            continue
        for root in ("/sys/fs/cgroup/" + controllers.removeprefix("name="), "/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
            # in a hybrid layout the v2 line has no controllers and its root is `unified`; with v2 alone it is the last
            try:
                fd = os.open(root + "/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                os.write(fd, b"0")
            except OSError:
                pass  # not allowed: the keeper stays, and ends with the service
            finally:
                os.close(fd)
            break
