"""pier-keeper: parent and reaper of every container, holder of what must outlive the daemon. One thread, one poll loop.

It parses nothing that a container, an image or a client of the API can influence: only messages of the daemon and of its
own helpers. It holds each child until the daemon has the exit in its database and acknowledges it. Requests:
  hello {}                                -> {version, kept: [...]}: and from now on events `exit`
  helper {name}                           -> fd of a new connection to the helper ("worker", "mounter": to a new one)
  hold {key, name} + fd, fetch {key, name} -> fd, release {key, name?}
  started {key} (no answer: it runs its program), acknowledge {key, pid?}, adopt {key, pid, start_time, cgroup, started} + pidfd, mntns?
  restart {name}, upgrade {}, shutdown {}
From the launcher: announce {key, pid, start_time, spare, cgroup} + pidfd, mntns?; taken {key}. From the pump: hold {key, names,
note} + fds, release {key, names}; the next pump gets all of that as resume {key, names, note} + fds. To the launcher: clean {key, pid}.
Helpers' messages are read before any of the daemon's, so that a child is known here before the daemon can ask for it.
"""

import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping

from pier import trace
from pier.ipc import PROTOCOL_VERSION, pair
from pier.ipc.channel import Message
from pier.ipc.polled import PolledChannel
from pier.linux import pidfd
from pier.runtime import exits, forked, handover
from pier.runtime.forked import Helper
from pier.runtime.kept import KeptChild, KeptTable, close_all

ON_DEMAND = frozenset({"mounter", "worker"})
"""Helpers that are forked for each connection and end with it; the others are always there and serve many connections."""
_OOM_SCORES = {"launcher": -900, "pump": -900, "netd": -900}
_SWEEP_S = 10.0
_ADOPTED_WAIT_S = 2.0


class Keeper:
    """The state and the loop. `run` returns when it was told to shut down."""

    def __init__(self, exec_root: str, instance: str, helpers: Mapping[str, forked.Entry], listener: socket.socket, lock: int) -> None:
        self.exec_root, self.instance, self.lock = exec_root, instance, lock
        self.entries, self.helpers = dict[str, forked.Entry](), dict[str, Helper]()
        self.add(helpers)
        self.table = KeptTable()
        self.listener = listener
        self.daemons: dict[int, PolledChannel] = {}
        self.greeted: set[int] = set()
        self.exit_fds: dict[int, KeptChild] = {}
        self.to_clean: list[KeptChild] = []
        self.unreaped: list[tuple[KeptChild, float]] = []
        self.sweep_until = 0.0
        self.stopping = False
        self.epoll = select.epoll()
        self.wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self.epoll.register(self.wake_read, select.EPOLLIN)
        self.epoll.register(listener.fileno(), select.EPOLLIN)

    # --- the loop

    def run(self) -> None:
        while not self.stopping:
            self.fork_due()
            events = self.epoll.poll(self._timeout())
            self._hear_helpers()  # before any exit: a spare child that ended may have been taken before
            for fd, _ in events:
                if fd == self.wake_read:
                    os.read(fd, 4096)
                    self._sweep()
                elif fd in self.exit_fds:
                    self._ended(self.exit_fds[fd])
                elif fd == self.listener.fileno():
                    self._accept()
                elif fd in self.daemons:
                    self._serve(self.daemons[fd])
            self._hear_helpers()
            if time.monotonic() < self.sweep_until:
                self._sweep()
            self._ask_again()
            self._hand_to_janitor()
            self._flush()

    def _timeout(self) -> float:
        now = time.monotonic()
        if self.unreaped:
            return 0.02
        due = [helper.not_before - now for helper in self.helpers.values() if not helper.pid]
        return max(0.0, min([*due, 0.5 if now < self.sweep_until else 3600.0]))

    def _flush(self) -> None:
        for channel in [*self.daemons.values(), *(h.channel for h in self.helpers.values() if h.channel)]:
            if channel.pending:
                channel.flush()
            if not channel.closed:
                self.epoll.modify(channel.fileno(), select.EPOLLIN | (select.EPOLLOUT if channel.pending else 0))
        for fd, channel in list(self.daemons.items()):
            if channel.closed:
                del self.daemons[fd]
                self.greeted.discard(fd)

    # --- helpers

    def add(self, entries: Mapping[str, forked.Entry]) -> None:
        """Have these helpers, too; `fork_due` forks those that are always there."""
        self.entries.update(entries)
        self.helpers.update({name: Helper() for name in entries if name not in ON_DEMAND})

    def fork_due(self) -> None:
        for name, helper in self.helpers.items():
            if not helper.pid and helper.not_before <= time.monotonic():
                ours, theirs = pair()
                helper.pid = forked.fork(name, self.entries[name], theirs, _OOM_SCORES.get(name, -900))
                theirs.close()
                helper.started = time.monotonic()
                self.greet_helper(helper, PolledChannel(ours), fresh=True)

    def greet_helper(self, helper: Helper, channel: PolledChannel, fresh: bool) -> None:
        """Begin to use the channel of a helper; a fresh one gets what its predecessor left, then the connections that wait."""
        helper.channel = channel
        self.epoll.register(channel.fileno(), select.EPOLLIN)
        if fresh:
            for key, (owner, note) in self.table.notes.items():
                if self.helpers.get(owner) is helper:
                    names = self.table.held.get(key, {})
                    channel.send({"op": "resume", "key": key, "names": list(names), "note": note}, list(names.values()))
        waiting, helper.waiting = helper.waiting, []
        for sock in waiting:
            self._introduce(helper, sock)

    def _introduce(self, helper: Helper, sock: socket.socket) -> None:
        if helper.channel:
            helper.channel.send({"op": "connect"}, [sock.fileno()])
        if helper.channel and not helper.channel.closed:
            sock.close()
        else:
            helper.waiting.append(sock)

    def _hear_helpers(self) -> None:
        for name, helper in self.helpers.items():
            while helper.channel and (got := helper.channel.recv()):
                self._heard(name, *got)
            if helper.channel and helper.channel.closed:
                helper.channel = None
                if helper.pid:
                    os.kill(helper.pid, signal.SIGKILL)  # deaf: without its channel it is of no use
                    say(f"helper {name} (pid {helper.pid}) closed its channel")

    def _heard(self, helper: str, message: Message, fds: list[int]) -> None:
        op, key = message.get("op"), str(message.get("key"))
        if op == "announce":
            try:
                self._keep(message, fds, adopted=False)
            except (ValueError, IndexError) as error:
                say(f"a child was not taken: {error}")
            return
        if op == "taken" and key in self.table.children:
            self.table.children[key].spare = False
        elif op == "hold":
            for each in message["names"]:
                self.table.hold(key, each, fds.pop(0))
            self.table.notes[key] = (helper, message.get("note"))
        elif op == "release":
            for each in message["names"]:
                self.table.release(key, each)
            if not self.table.held.get(key):
                self.table.notes.pop(key, None)
        close_all(fds)

    def _helper_ended(self, name: str, helper: Helper, ended: exits.Ended | None) -> None:
        lived_s, (code, number) = time.monotonic() - helper.started, ended or (exits.UNKNOWN_CODE, 0)
        how = f"by signal {number}" if number else f"with {code}"
        say(f"helper {name} (pid {helper.pid}) ended {how} after {lived_s:.1f} s; starting another")
        if helper.channel:
            while got := helper.channel.recv():
                self._heard(name, *got)
            helper.channel.close()
        helper.channel, helper.pid = None, 0
        helper.not_before = time.monotonic() + (0.0 if lived_s > 1 else 0.1 if lived_s > 0.2 else 1.0)
        self.sweep_until = time.monotonic() + _SWEEP_S

    # --- children

    def _keep(self, message: Message, fds: list[int], adopted: bool) -> None:
        stale = self.table.children.get(str(message["key"]))
        if stale is not None and not stale.started and not stale.spare:
            self._drop_blank(stale)  # of a launcher that died before the daemon heard of it
        child = KeptChild(
            str(message["key"]), int(message["pid"]), int(message["start_time"]), fds[0], fds[1] if len(fds) > 1 else -1,
            spare=bool(message.get("spare")), cgroup=bool(message.get("cgroup")), adopted=adopted,
        )  # fmt: skip
        child.started = bool(message.get("started"))
        try:
            self.table.add(child)
        except ValueError:
            child.close()
            raise
        self.watch(child)

    def _drop_blank(self, child: KeptChild) -> None:
        """Forget a child that never got a plan, for another of its key; it is reaped as an orphan."""
        if child.pidfd in self.exit_fds:
            self.epoll.unregister(child.pidfd)
            del self.exit_fds[child.pidfd]
        self.table.forget(child.key)
        if child.pidfd >= 0:
            pidfd.send_signal(child.pidfd, signal.SIGKILL)
        child.close()
        self.sweep_until = time.monotonic() + _SWEEP_S

    def watch(self, child: KeptChild) -> None:
        """Poll the pidfd of a running child."""
        self.exit_fds[child.pidfd] = child
        self.epoll.register(child.pidfd, select.EPOLLIN)

    def _ended(self, child: KeptChild) -> None:
        """A pidfd is readable: the process is a zombie, or gone."""
        ended = None
        if not child.adopted:
            try:
                ended = exits.reap(child.pid)
            except ChildProcessError:
                child.adopted = True  # not ours after all: ask the kernel instead
            else:
                if ended is None:
                    return
        self.epoll.unregister(child.pidfd)
        del self.exit_fds[child.pidfd]
        if ended is None:
            self.unreaped.append((child, time.monotonic() + _ADOPTED_WAIT_S))
        else:
            self._record(child, ended, known=True)

    def _ask_again(self) -> None:
        waiting, self.unreaped = self.unreaped, []
        for child, deadline in waiting:
            ended = exits.ask_kernel(child.pidfd)
            if ended is None and time.monotonic() < deadline:
                self.unreaped.append((child, deadline))
            else:
                self._record(child, ended or (exits.UNKNOWN_CODE, 0), known=ended is not None)

    def _record(self, child: KeptChild, ended: exits.Ended, known: bool) -> None:
        trace.point("keeper.reaped")
        self.table.finish(child, *ended, time.time_ns(), known)
        os.close(child.pidfd)
        child.pidfd = -1
        if child.spare:
            self._forget(child.key)
            return
        event = {"op": "exit", **child.describe()}
        for fd in self.greeted:
            self.daemons[fd].send(event)

    def _forget(self, key: str) -> None:
        child = self.table.forget(key)
        if child is None:
            return
        if child.pidfd in self.exit_fds:
            self.epoll.unregister(child.pidfd)
            del self.exit_fds[child.pidfd]
        if child.cgroup and "launcher" in self.helpers:
            self.to_clean.append(child)
        else:
            child.close()

    def _hand_to_janitor(self) -> None:
        """The last descriptor of a dead mount namespace costs 4-6 ms to close: the launcher's janitor does it."""
        launcher = self.helpers["launcher"].channel if "launcher" in self.helpers else None
        while self.to_clean and launcher and not launcher.closed:
            child = self.to_clean.pop()
            launcher.send({"op": "clean", "key": child.key, "pid": child.pid}, [child.mntns] if child.mntns >= 0 else [])
            child.close()

    def _sweep(self) -> None:
        """Reap whatever has ended: helpers, orphans that came to us as subreaper, blank children nobody announced."""
        while pid := exits.peek_any():
            child = self.table.by_pid.get(pid)
            if child and child.pidfd in self.exit_fds and not child.adopted:
                self._ended(child)
                continue
            ended = exits.reap(pid)
            for name, helper in self.helpers.items():
                if helper.pid == pid:
                    self._helper_ended(name, helper, ended)

    # --- the daemon

    def _accept(self) -> None:
        sock = handover.accept(self.listener)
        if sock is None:
            return
        channel = PolledChannel(sock)
        self.daemons[channel.fileno()] = channel
        self.greeted.discard(channel.fileno())
        self.epoll.register(channel.fileno(), select.EPOLLIN)

    def _serve(self, channel: PolledChannel) -> None:
        fd = channel.fileno()
        for _ in range(64):
            got = channel.recv()
            if got is None:
                break
            self._hear_helpers()
            message, fds = got
            try:
                self._answer(fd, channel, message, fds)
            except (OSError, ValueError, KeyError, IndexError) as error:
                channel.refuse(message, f"keeper: {message.get('op')}: {error}", errno=getattr(error, "errno", None))
        if channel.closed:
            self.daemons.pop(fd, None)
            self.greeted.discard(fd)

    def _answer(self, fd: int, channel: PolledChannel, message: Message, fds: list[int]) -> None:
        op, key, name = message["op"], str(message.get("key")), message.get("name")
        if op == "hold":
            self.table.hold(key, str(name), fds.pop(0))
        elif op == "fetch":
            found = self.table.find(key, str(name))
            if found < 0:
                raise ValueError(f"nothing is held as {key} {name}")
            channel.answer(message, [found])
            return
        elif op == "release":
            self.table.release(key, name)
        elif op == "started":
            if key in self.table.children:
                self.table.children[key].started = True
            return
        elif op == "acknowledge":
            trace.point("keeper.acknowledge")
            kept = self.table.children.get(key)
            if kept is None or message.get("pid") in (0, None, kept.pid):
                self._forget(key)
        elif op == "adopt":
            self._keep(message, fds, adopted=True)
            fds = []
        elif op == "hello":
            self.greeted.add(fd)
            every = [{**c.describe(), "names": self.table.names(c.key)} for c in self.table.children.values() if not c.spare]
            channel.answer(message, version=PROTOCOL_VERSION, pid=os.getpid(), kept=every, held={k: sorted(v) for k, v in self.table.held.items()})
            return
        elif op == "helper":
            self._connect_helper(channel, message, str(name))
            return
        elif op == "restart":
            os.kill(self.helpers[str(name)].pid or 0x7FFFFFFF, signal.SIGKILL)
        elif op == "upgrade":
            channel.answer(message)
            handover.execute(self)
        elif op == "shutdown":
            self.stopping = True
        else:
            raise ValueError("unknown request")
        close_all(fds)
        channel.answer(message)

    def _connect_helper(self, channel: PolledChannel, message: Message, name: str) -> None:
        ours, theirs = pair()
        try:
            if name in self.helpers:
                self._introduce(self.helpers[name], ours)
                channel.answer(message, [theirs.fileno()])
            else:
                pid = forked.fork(name, self.entries[name], ours, 0)
                ours.close()
                channel.answer(message, [theirs.fileno()], pid=pid)
        finally:
            theirs.close()


def say(text: str) -> None:
    """A line into the keeper's log, its stderr."""
    os.write(2, f"pier-keeper[{os.getpid()}]: {text}\n".encode())


def main(exec_root: str, instance: str, first: Mapping[str, forked.Entry], others: Callable[[], Mapping[str, forked.Entry]] = dict) -> None:
    """Be the keeper of an exec root until told to shut down. Entry points of helpers: `first` are forked before `others` imports theirs.

    What is in memory then is copied, and thrown away, with each child of the launcher; another launcher, after a kill, has more of it.
    Raises OSError where the socket cannot be made; ends at once, without an error, where another keeper answers on it.
    """
    if (begun := handover.begin(exec_root)) is None:
        return
    state, listener = begun
    keeper = Keeper(exec_root, instance, first, listener, state["lock"])
    if "helpers" not in state:
        keeper.fork_due()
    keeper.add(others())
    handover.restore(keeper, state)
    keeper.sweep_until = time.monotonic() + _SWEEP_S  # what ended during an execve
    gc.collect()
    gc.freeze()
    gc.disable()
    keeper.run()
    os.unlink(os.path.join(exec_root, handover.SOCKET_NAME))
    for channel in keeper.daemons.values():
        channel.flush()
