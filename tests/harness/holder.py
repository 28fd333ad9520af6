"""The process that an engine under test lives in: its own mount and network namespace, and the new parent of every orphan.

Started by `Namespaces` as `python holder.py`; reads one JSON object a line from stdin and answers one:
    {"spawn": argv, "env": {}, "log": path} -> {"pid"}      {"status": pid} -> {"code": int | null}
Everything that it started, whoever forked it meanwhile, is killed when stdin ends: PR_SET_CHILD_SUBREAPER makes this process
the parent of daemons that double-fork and of containers whose keeper was killed.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time

CLONE_NEWNS, CLONE_NEWNET, MS_REC, MS_PRIVATE = 0x20000, 0x40000000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
libc = ctypes.CDLL(None, use_errno=True)


def descendants(root: int) -> list[int]:
    """All living processes below `root`, zombies left out, parents first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] not in (b"Z", b"X"):
                children.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(0), [])
        found += below
        todo += below
    return found


def kill_all() -> None:
    """Kill and reap everything below this process. Only the kernel knows that none is left: /proc gives no snapshot, an orphan
    on its way to its new parent is missing from a look at it."""
    end = time.monotonic() + 20
    while reap({}) and time.monotonic() < end:
        for pid in descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)


def reap(codes: dict[int, int]) -> bool:
    """Take the exit codes of whatever ended; whether children are left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if not pid:
            return True
        codes[pid] = os.waitstatus_to_exitcode(status)


def spawn(argv: list[str], env: dict[str, str], log: str) -> int:
    """Start a program in a session of its own, output to `log`."""
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open("/dev/null", os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, fd, 1), (os.POSIX_SPAWN_DUP2, fd, 2)]
    try:
        return os.posix_spawn(argv[0], argv, env, file_actions=actions, setsid=True)
    finally:
        os.close(fd)
        os.close(null)


def main() -> None:
    """Serve until stdin ends."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        sys.exit(f"no namespaces: {os.strerror(ctypes.get_errno())}")
    os.system("ip link set lo up")
    codes: dict[int, int] = {}
    print(json.dumps({"pid": os.getpid()}), flush=True)
    while True:
        ready, _, _ = select.select([0], [], [], 0.2)
        reap(codes)
        if not ready:
            continue
        line = sys.stdin.readline()
        if not line:
            break
        asked = json.loads(line)
        if "spawn" in asked:
            answer: dict[str, object] = {"pid": spawn(asked["spawn"], asked["env"], asked["log"])}
        else:
            reap(codes)
            answer = {"code": codes.get(asked["status"])}
        print(json.dumps(answer), flush=True)
    kill_all()


if __name__ == "__main__":
    main()
