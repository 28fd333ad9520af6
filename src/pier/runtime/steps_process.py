"""Steps that turn the blank child into the container's process: identity, streams, limits, and last the locks and the execve."""

import binascii
import errno
import os
import resource
import stat
from collections.abc import Callable
from typing import Any

from pier.linux import capabilities, fds, paths, processes, seccomp, terminals
from pier.runtime import init_loop, program
from pier.runtime.child_state import READ_LIMIT_BYTES, State, StepFailed
from pier.runtime.steps_root import write_proc
from pier.runtime.users import UserError, resolve

_UNLIMITED = (1 << 63) - 1


def rlimits(state: State, limits: list[Any]) -> None:
    """While CAP_SYS_RESOURCE may be ours; a host that does not allow more degrades, and says so."""
    for number, soft, hard, name in limits:
        wanted = _rlimit(soft), _rlimit(hard)
        try:
            resource.setrlimit(number, wanted)
            continue
        except (OSError, ValueError):
            most = resource.getrlimit(number)[1]
        limited = _at_most(wanted[0], most), _at_most(wanted[1], most)
        try:
            resource.setrlimit(number, limited)
        except (OSError, ValueError) as error:
            raise StepFailed(f"set {name} to {soft}:{hard}: {error}") from None
        state.warn(f"{name} {soft}:{hard} is more than this host allows: the container gets {limited[0]}:{limited[1]}")


def _rlimit(value: int) -> int:
    return resource.RLIM_INFINITY if value > _UNLIMITED or value < 0 else value


def _at_most(value: int, most: int) -> int:
    if most == resource.RLIM_INFINITY:
        return value
    return most if value == resource.RLIM_INFINITY else min(value, most)


def apparmor(state: State, profile: str) -> None:
    """The label of the coming execve, written through the private procfs (CVE-2019-16884: a mount over /proc swallowed it)."""
    for path in ("self/attr/apparmor/exec", "self/attr/exec"):
        try:
            write_proc(state, path, f"exec {profile}")
            return
        except FileNotFoundError as error:
            last = error
        except OSError as error:
            raise StepFailed(f"apply AppArmor profile {profile}: {error.strerror}", error) from None
    raise StepFailed(f"apply AppArmor profile {profile}: {last.strerror}", last)


def selinux(state: State, label: str) -> None:
    """The label of the coming execve, by the same way as AppArmor's."""
    try:
        write_proc(state, "self/attr/exec", label)
    except OSError as error:
        raise StepFailed(f"apply SELinux label {label}: {error.strerror}", error) from None


def find_user(state: State, user: str, numbers: list[int], groups: list[str]) -> None:
    """Names mean what the container's own files say; they are read bounded, and no link leads out."""
    try:
        passwd, group = (_read(state, path) for path in ("/etc/passwd", "/etc/group"))
        who = resolve(user, groups, passwd, group, (numbers[0], numbers[1]))
    except UserError as error:
        raise StepFailed(str(error)) from None
    state.uid, state.gid, state.groups, state.home = who.uid, who.gid, list(who.groups), who.home


def _read(state: State, path: str) -> bytes:
    try:
        return paths.read_bounded(state.root_fd, path, READ_LIMIT_BYTES)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return b""
        raise StepFailed(f"read {path} of the container: {error.strerror}", error) from None


def make_workdir(state: State, path: str) -> None:
    """As root and while the root is writable, as Docker makes it; links stay inside, and /proc/self/fd/N is nobody's folder (CVE-2024-21626)."""
    try:
        os.close(paths.make_folders(state.root_fd, path))
    except OSError as error:
        if error.errno in (errno.EROFS, errno.ELOOP, errno.ENOENT, errno.EACCES):
            return  # `enter_workdir` says what is the matter
        if error.errno == errno.ENOTDIR:
            raise StepFailed(f"Cannot mkdir: {path} is not a directory", error, path=path) from None
        raise StepFailed(f"mkdir {path}: {(error.strerror or '').lower()}", error, path=path) from None


def streams(state: State, terminal: bool) -> None:
    """A session of its own, with the terminal where there is one; the user owns its streams, so that /dev/stdout can be opened again."""
    try:
        os.setsid()
    except PermissionError:
        pass  # the leader already
    for number in range(3):
        fd = state.streams[number]
        if fd < 0:
            fd = _open_null(state)
        elif state.uid:
            try:
                os.fchown(fd, state.uid, -1)
            except OSError as error:
                if error.errno not in (errno.EROFS, errno.EPERM, errno.EINVAL):
                    raise
        os.dup2(fd, number, inheritable=True)
    if terminal:
        terminals.make_controlling(0)


def _open_null(state: State) -> int:
    if state.null_fd >= 0:
        return state.null_fd
    try:
        fd = paths.openat2(state.root_fd, "/dev/null", os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise StepFailed(f"open /dev/null of the container: {error.strerror}", error) from None
    there = os.fstat(fd)
    if not stat.S_ISCHR(there.st_mode) or there.st_rdev != os.makedev(1, 3):
        raise StepFailed("/dev/null of the container is not the null device")
    os.set_blocking(fd, True)
    return fd


def bounding(state: State, mask: int) -> None:
    """While CAP_SETPCAP is ours, and before the identity changes: no setuid file gives back what is dropped here."""
    capabilities.limit_bounding(mask)


def become(state: State, umask: int, extra_groups: list[int]) -> None:
    """Groups, then group, then user: the order in which each is still allowed. Permitted capabilities stay until `restrict`."""
    os.setgroups(list(dict.fromkeys([*state.groups, *extra_groups])))
    os.setresgid(state.gid, state.gid, state.gid)
    processes.prctl(processes.PR_SET_KEEPCAPS, 1)
    os.setresuid(state.uid, state.uid, state.uid)
    processes.prctl(processes.PR_SET_KEEPCAPS, 0)
    # A change of the user may have made the process dumpable again, and of the host's programs there is still enough in memory.
    processes.prctl(processes.PR_SET_DUMPABLE, 0)
    os.umask(umask)
    if state.late_workdir:
        _enter(state, state.late_workdir)


def enter_workdir(state: State, path: str) -> None:
    """With root's rights, as Docker: a program may work in its image's folder although that is root's. Where root may not (NFS) its user may."""
    try:
        _enter(state, path)
    except StepFailed as failure:
        if failure.errno != errno.EACCES:
            raise
        state.late_workdir = path


def _enter(state: State, path: str) -> None:
    try:
        fd = paths.openat2(state.root_fd, path, os.O_PATH | os.O_DIRECTORY)
        try:
            os.fchdir(fd)
        finally:
            os.close(fd)
        if not os.getcwd().startswith("/"):  # "(unreachable)": outside of the root
            raise OSError(errno.ENOENT, "it is outside of the container's root")
    except OSError as error:
        reason = (error.strerror or "").lower()
        code = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126
        raise StepFailed(f'chdir to cwd ("{path}") set in config.json failed: {reason}', error, code, path) from None


def find_program(state: State, args: list[str], env: list[str]) -> None:
    """As the user and in the working folder, by the PATH of the container; everything execve needs is laid out now."""
    environ = list(env)
    if not any(entry.startswith("HOME=") for entry in environ):
        environ.append(f"HOME={state.home}")
    search = next((entry[5:] for entry in reversed(environ) if entry.startswith("PATH=")), "")
    state.path = os.fsencode(program.find(args[0], search))
    state.program = processes.Program([os.fsencode(arg) for arg in args], [os.fsencode(entry) for entry in environ])


def no_new_privs(state: State) -> None:
    """From here on no execve gains anything: setuid files and file capabilities are just files."""
    processes.prctl(processes.PR_SET_NO_NEW_PRIVS, 1)


def restrict(state: State, permitted: int, effective: int, inheritable: int, ambient: int, code: str, flags: int, first: str = "") -> None:
    """The locks. A filter needs CAP_SYS_ADMIN (or no_new_privs), so it comes before the capabilities go; after `code` only capset and execve.

    first: a filter that comes before the container's own, which may refuse the call that loads one.
    """
    _, have, _ = capabilities.get()
    permitted, inheritable = permitted & have, inheritable & have
    # A user who is not root keeps only what is ambient, as execve would have it.
    if state.uid:
        after = capabilities.Sets(ambient & permitted, ambient & permitted, inheritable)
    else:
        after = capabilities.Sets(effective & permitted, permitted, inheritable)
    capabilities.Sets(have, have, inheritable).apply()
    try:
        capabilities.set_ambient(ambient & permitted & inheritable)
    except OSError as error:
        raise StepFailed(f"set the ambient capabilities: {error.strerror}", error) from None
    fds.cloexec_from(3)  # whatever a library opened: nothing but 0-2 reaches the user's code
    for text, how in ((first, seccomp.FLAG_SPEC_ALLOW), (code, flags)):
        if not text:
            continue
        try:
            seccomp.install(binascii.a2b_base64(text), how)
        except OSError as error:
            raise StepFailed(f"load the seccomp filter: {error.strerror}", error) from None
    after.apply()


def stay_as_init(state: State) -> None:
    """--init without a tini: this process stays as PID 1, forwards signals and reaps; the child goes on to `execute`."""
    init_loop.split(state.channel)


def leave(state: State) -> None:
    """The end of an errand, which executes nothing: the socket closes, which is the success."""
    os._exit(0)


def execute(state: State) -> None:
    """Success is that nothing comes back. A file that the kernel cannot run has been started, as with runc: its own output tells why."""
    assert state.program is not None
    try:
        state.program.execute(state.path)
    except OSError as error:
        why = program.explain(os.fsdecode(state.path), error)
        if error.errno != errno.ENOEXEC:
            raise why from None
        os.write(2, f"{why}\n".encode())
        os._exit(why.exit_code)


_FIRST = (rlimits, apparmor, selinux, find_user, make_workdir, streams, bounding, enter_workdir, become, find_program)
_LAST = (no_new_privs, restrict, stay_as_init, leave, execute)
STEPS: dict[str, Callable[..., None]] = {function.__name__: function for function in (*_FIRST, *_LAST)}
