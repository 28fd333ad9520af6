"""pier-launcher: clones blank children. One thread, gc frozen; it never holds a specification, an environment or a secret.

Each child is the keeper's from birth (CLONE_PARENT), announced to it before the daemon learns of it, and gets its plan from
the daemon over a socket of its own. Requests of the daemon:
  reserve {}                        -> {key, pid, start_time} + socket, pidfd, netns: a child of the default shape
  spawn {key, new, cgroup}          -> the same, of any shape; netns only where it is new
  exec {key, container} + pidfd     -> {key, pid, start_time} + socket, pidfd: born in the container's namespaces, all of them
  ping; pool {size}; ahead {steps}: what children of the pool make while they wait (pier.runtime.ahead)
  sweep {known}        -> {removed}: remove the cgroups of this instance that are empty and not known
From the keeper: connect + socket, clean {key, pid} + mntns.
"""

import gc
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from pier import trace
from pier.ipc import Channel, pair
from pier.ipc.channel import Message
from pier.ipc.polled import PolledChannel
from pier.linux import namespaces, pidfd, processes
from pier.linux.cgroups import CgroupLayout
from pier.runtime import exits, forked, janitor, midwife
from pier.runtime.shape import Shape

POOL_SIZE = 4
_IDLE_S = 0.010
_UNHURRIED_S = 0.060  # while half of the pool is left: a clone in the middle of a start costs that start 2 to 4 ms
_PRESSED_S = 5.0
_MEMORY_FLOOR_KB = 128 * 1024


class Newborn:
    """A blank child and the launcher's descriptors of it; `close` gives them up."""

    __slots__ = ("key", "netns", "pid", "pidfd", "sock", "start_time")

    def __init__(self, key: str, pid: int, pidfd: int, start_time: int, sock: socket.socket, netns: int) -> None:
        self.key, self.pid, self.pidfd, self.start_time, self.sock, self.netns = key, pid, pidfd, start_time, sock, netns

    def fds(self) -> list[int]:
        return [self.sock.fileno(), self.pidfd, *([self.netns] if self.netns >= 0 else [])]

    def close(self) -> None:
        self.sock.close()
        os.close(self.pidfd)
        if self.netns >= 0:
            os.close(self.netns)


class Launcher:
    """The state and the loop; `run` returns when the keeper is gone."""

    def __init__(self, keeper: PolledChannel, layout: CgroupLayout, child_main: Callable[..., NoReturn], pool_size: int) -> None:
        self.keeper, self.layout, self.child_main, self.pool_size = keeper, layout, child_main, pool_size
        self.shape = Shape.default(layout.mode == "v2")
        self.ahead: list[Any] = []
        self.pool: deque[Newborn] = deque()
        self.daemons: dict[int, PolledChannel] = {}
        self.made: dict[str, int] = {}  # whose cgroups this process made, for which pid: a child joins its own a moment after its birth
        self.to_clean: list[tuple[str, list[int]]] = []
        self.janitor_pidfd = -1
        self.cleaning: set[str] = set()  # the keys that the janitor has
        self.epoll = select.epoll()
        self.epoll.register(keeper.fileno(), select.EPOLLIN)

    # --- the loop

    def run(self) -> None:
        while not self.keeper.closed:
            timeout = self._timeout()
            events = self.epoll.poll(timeout)
            for fd, _ in events:
                if fd == self.keeper.fileno():
                    self._hear_keeper()
                elif fd in self.daemons:
                    self._serve(self.daemons[fd])
                elif fd == self.janitor_pidfd:
                    self._janitor_ended()
                else:
                    self._spare_ended(fd)
            if not events and timeout is not None:
                self._idle()
            self._flush()

    def _timeout(self) -> float | None:
        wanting = len(self.pool) < self.pool_size
        if wanting and 2 * len(self.pool) < self.pool_size and not memory_is_short():
            return _IDLE_S
        if self.to_clean and self.janitor_pidfd < 0:
            return _UNHURRIED_S
        if wanting:
            return _PRESSED_S if memory_is_short() else _UNHURRIED_S
        return None

    def _idle(self) -> None:
        if len(self.pool) < self.pool_size and not memory_is_short():
            try:
                spare = self._make(new_id(), self.shape, cgroup=True, spare=True)
            except OSError as error:
                say(f"the pool cannot be filled: {error}; the next children are made on request")
                self.pool_size = 0
                return
            self.pool.append(spare)
            self.epoll.register(spare.pidfd, select.EPOLLIN)
        elif self.to_clean and self.janitor_pidfd < 0:
            batch, self.to_clean = self.to_clean[:64], self.to_clean[64:]
            self.cleaning = {key for key, _ in batch if key}
            pid = janitor.start(self.layout, sorted(self.cleaning), [fd for _, fds in batch for fd in fds])
            self.janitor_pidfd = pidfd.pidfd_open(pid)
            self.epoll.register(self.janitor_pidfd, select.EPOLLIN)

    def _flush(self) -> None:
        for fd, channel in list(self.daemons.items()):
            if channel.pending:
                channel.flush()
            if channel.closed:
                del self.daemons[fd]
            else:
                self.epoll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if channel.pending else 0))
        if self.keeper.pending:
            self.keeper.flush()
        if not self.keeper.closed:
            self.epoll.modify(self.keeper.fileno(), select.EPOLLIN | (select.EPOLLOUT if self.keeper.pending else 0))

    def _janitor_ended(self) -> None:
        self.epoll.unregister(self.janitor_pidfd)
        os.waitid(os.P_PIDFD, self.janitor_pidfd, os.WEXITED)
        os.close(self.janitor_pidfd)
        self.janitor_pidfd = -1
        self.cleaning = set()

    def _spare_ended(self, fd: int) -> None:
        for spare in list(self.pool):
            if spare.pidfd == fd:
                self.pool.remove(spare)
                self._give_up(spare)

    # --- messages

    def _hear_keeper(self) -> None:
        while got := self.keeper.recv():
            message, fds = got
            if message.get("op") == "connect":
                channel = PolledChannel(socket.socket(fileno=fds[0]))
                self.daemons[fds[0]] = channel
                self.epoll.register(fds[0], select.EPOLLIN)
            elif message.get("op") == "clean":
                self._to_be_cleaned(str(message["key"]), int(message.get("pid", 0)), fds)

    def _serve(self, channel: PolledChannel) -> None:
        fd = channel.fileno()
        while got := channel.recv():
            message, fds = got
            try:
                self._answer(channel, message, fds)
            except (OSError, ValueError, KeyError, IndexError) as error:
                channel.refuse(message, f"launcher: {message.get('op')}: {error}", errno=getattr(error, "errno", None))
            finally:
                for each in fds:
                    os.close(each)
        if channel.closed:
            self.daemons.pop(fd, None)

    def _answer(self, channel: PolledChannel, message: Message, fds: list[int]) -> None:
        op = message["op"]
        if op == "reserve":
            self._hand_over(channel, message, self._reserve())
        elif op == "spawn":
            self._clear(str(message["key"]))
            self._hand_over(channel, message, self._make(str(message["key"]), Shape(tuple(message["new"])), bool(message["cgroup"])))
        elif op == "exec":
            self._hand_over(channel, message, self._make_exec(str(message["key"]), str(message["container"]), fds[0]))
        elif op == "ping":
            channel.answer(message)
        elif op == "pool":
            self.pool_size = int(message["size"])
            while len(self.pool) > self.pool_size:
                self._give_up(self.pool.pop())
            channel.answer(message)
        elif op == "ahead":
            self.ahead = message["steps"]
            while self.pool:
                self._give_up(self.pool.pop())  # they were made without
            channel.answer(message)
        elif op == "sweep":
            busy = {*message["known"], *self.made, *self.cleaning, *(key for key, _ in self.to_clean)}
            stray = [key for key in self.layout.ids() if key not in busy and not self.layout.pids(key)]
            self.to_clean += [(key, []) for key in stray]
            channel.answer(message, removed=stray)
        else:
            raise ValueError("unknown request")

    def _hand_over(self, channel: PolledChannel, message: Message, child: Newborn) -> None:
        trace.point("launcher.hand_over")
        channel.answer(message, child.fds(), key=child.key, pid=child.pid, start_time=child.start_time)
        child.close()

    # --- children

    def _reserve(self) -> Newborn:
        if not self.pool:
            return self._make(new_id(), self.shape, cgroup=True)
        trace.point("launcher.reserve")
        spare = self.pool.popleft()
        self.epoll.unregister(spare.pidfd)
        self.keeper.send({"op": "taken", "key": spare.key})
        return spare

    def _give_up(self, spare: Newborn) -> None:
        """Let go of a spare child: its socket ends, it exits, and the keeper sends its key back to be cleaned."""
        try:
            self.epoll.unregister(spare.pidfd)
        except OSError:
            pass  # was unregistered before
        spare.close()

    def _make(self, key: str, shape: Shape, cgroup: bool, spare: bool = False) -> Newborn:
        if cgroup:
            self.layout.create(key)
            self.made[key] = 0
        try:
            child = self._clone(key, shape, key if cgroup else None, spare, cgroup)
            if cgroup:
                self.made[key] = child.pid
            return child
        except BaseException:
            if cgroup:
                self.to_clean.append((key, []))
                self.made.pop(key, None)
            raise

    def _to_be_cleaned(self, key: str, pid: int, fds: list[int]) -> None:
        """The process `pid` of `key` is forgotten. Where another one has the key by now, the cgroups are that one's."""
        if self.made.get(key, pid) in (0, pid) or not pid:
            self.made.pop(key, None)
        else:
            key = ""
        self.to_clean.append((key, fds))

    def _clear(self, key: str) -> None:
        """The cgroups of an earlier run go before those of the next are made: its counters, limits and device programs are not the next one's.

        Nobody removes them later, when the new child may not have joined yet.
        """
        if key in self.cleaning:
            self._janitor_ended()  # waits for it
        self.to_clean = [("" if each == key else each, fds) for each, fds in self.to_clean]
        if self.layout.exists(key):
            self.layout.remove(key)

    def _make_exec(self, key: str, container: str, container_pidfd: int) -> Newborn:
        """The child that is to be an exec: born in the container's namespaces with nothing of ours (midwife.py), and in its cgroups."""
        tasks, birthplace = self.layout.open_joins(container, pidfd.pid_of(container_pidfd) if self.layout.mode == "v2" else 0)
        ours, theirs = pair()
        child_fd = -1
        try:
            pid, child_fd = midwife.deliver(container_pidfd, theirs, self.child_main, tasks, birthplace)
            return self._announced(Newborn(key, pid, child_fd, 0, ours, -1), Shape(()), False, False)
        except BaseException:
            ours.close()  # the child, where there is one, exits
            if child_fd >= 0:
                os.close(child_fd)
            raise
        finally:
            for fd in (*tasks, birthplace, theirs.detach()):
                if fd >= 0:
                    os.close(fd)

    def _clone(self, key: str, shape: Shape, join: str | None, spare: bool, cgroup: bool) -> Newborn:
        tasks, birthplace = self.layout.open_joins(join) if join is not None else ([], -1)
        ours, theirs = pair()
        try:
            pid, fd = processes.clone3(shape.clone_flags() | processes.CLONE_PARENT, cgroup_fd=birthplace)
            if pid == 0:
                self._be_blank(theirs.fileno(), tasks, "cgroup" in shape.new, self.ahead if spare else [])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            for each in (*tasks, birthplace):
                if each >= 0:
                    os.close(each)
        child = Newborn(key, pid, fd, 0, ours, -1)
        try:
            return self._announced(child, shape, spare, cgroup)
        except BaseException:
            child.close()  # its socket ends: it exits; the keeper reaps it as an orphan
            raise

    def _announced(self, child: Newborn, shape: Shape, spare: bool, cgroup: bool) -> Newborn:
        """Tell the keeper, whose child it is, before anybody else learns of it."""
        mntns = -1
        try:
            trace.point("launcher.cloned")
            child.start_time = exits.start_time(child.pid)
            if "mount" in shape.new:
                mntns = namespaces.open_namespace(child.pid, "mount")
            if "network" in shape.new:
                child.netns = namespaces.open_namespace(child.pid, "network")
            self.keeper.send(
                {"op": "announce", "key": child.key, "pid": child.pid, "start_time": child.start_time, "spare": spare, "cgroup": cgroup},
                [child.pidfd, *([mntns] if mntns >= 0 else [])],
            )
        finally:
            if mntns >= 0:
                os.close(mntns)
        return child

    def _be_blank(self, fd: int, tasks: Sequence[int], own_cgroup_namespace: bool, ahead: list[Any]) -> NoReturn:
        """In the child: nothing may return or raise into the launcher's frames, whose objects are not ours to finalise."""
        try:
            problem: OSError | None = None
            try:
                for each in tasks:
                    os.write(each, b"0")
            except OSError as error:
                problem = error
            fd = forked.keep_only(fd)
            processes.set_name("pier-blank")
            try:
                if problem is not None:
                    raise problem
                if own_cgroup_namespace:
                    namespaces.unshare(namespaces.CLONE_NEWCGROUP)
            except OSError as error:
                failed = {"op": "failed", "step": "join the cgroups", "errno": error.errno, "path": error.filename}
                Channel(socket.socket(fileno=fd)).send({**failed, "message": str(error), "exit_code": 128})
                os._exit(1)
            self.child_main(fd, *([ahead] if ahead else []))
        finally:
            os._exit(1)


def new_id() -> str:
    """A fresh ID of 64 hex digits; its first 12 are never a number, as in Docker, since `docker rm 123` must not mean two things."""
    while True:
        text = os.urandom(32).hex()  # `secrets` would load OpenSSL into every child
        if not text[:12].isdigit():
            return text


def memory_is_short() -> bool:
    """Whether less than 128 MiB and 2 % of the memory are left: no time for spare children."""
    try:
        with open("/proc/meminfo") as file:
            rows = dict(line.split(":", 1) for line in file.read(2048).splitlines() if ":" in line)
        available, total = int(rows["MemAvailable"].split()[0]), int(rows["MemTotal"].split()[0])
    except (OSError, KeyError, ValueError):
        return False
    return available < max(_MEMORY_FLOOR_KB, total // 50)


def say(text: str) -> None:
    """A line into the keeper's log, the helpers' stderr."""
    os.write(2, f"pier-launcher[{os.getpid()}]: {text}\n".encode())


def main(channel: Channel, instance: str, child_main: Callable[..., NoReturn], pool_size: int = POOL_SIZE) -> None:
    """Be a launcher until the keeper's channel ends. `child_main(sock_fd)` is what each child runs (pier.runtime.child.main)."""
    processes.prctl(processes.PR_SET_DUMPABLE, 0)  # inherited: nobody in a container looks into a blank child (CVE-2016-9962)
    gc.collect()
    gc.disable()
    gc.freeze()
    Launcher(PolledChannel(channel.sock), CgroupLayout.detect(instance), child_main, pool_size).run()
