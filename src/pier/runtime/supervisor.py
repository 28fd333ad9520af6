"""The daemon's side of keeper, launcher and the other helpers: ask for children, hear of their ends, survive helpers.

The keeper is started where it does not answer. A helper that dies is forked again by the keeper and connected again here;
requests under way raise PeerGone, and `on_helper_lost(name)` is called once the new one answers. A keeper that dies is
started again, adopts every child that this daemon knows of (by its pidfd, so that no pid is mistaken), and then is
reported in the same way: descriptors that it held for others are to be held again.
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pier.errors import Unavailable
from pier.ipc import PROTOCOL_VERSION, AsyncChannel, PeerGone, RemoteError
from pier.linux.cgroups import CgroupLayout
from pier.runtime import exits
from pier.runtime.child_handle import Child, StartFailed
from pier.runtime.ends import Exit, Kept, Live, Record, open_process
from pier.runtime.idle_workers import IdleWorkers
from pier.runtime.keeper_door import KeeperDoor
from pier.runtime.shape import Shape

PERMANENT_HELPERS = ("launcher", "pump", "netd")
_HELPER_TRIES, _CGROUP_TRIES, _CGROUP_PAUSE_S = 5, 50, 0.04
_log = logging.getLogger("pier.runtime")

HelperEvent = Callable[[dict[str, Any], list[int]], None]


class Supervisor:
    """Made by `connect`; use from the loop's thread only."""

    def __init__(
        self, exec_root: Path, instance: str, command: Sequence[str], on_exit: Callable[[Exit], None], on_lost: Callable[[str], None]
    ) -> None:
        self._door = KeeperDoor(exec_root, command)
        self._on_exit, self._on_lost = on_exit, on_lost
        self._layout = CgroupLayout.detect(instance)
        self._keeper: AsyncChannel | None = None
        self._helpers: dict[str, AsyncChannel] = {}
        self._listeners: dict[str, HelperEvent] = {}
        self._kept: dict[str, Kept] = {}
        self._held: dict[str, list[str]] = {}
        self._live: dict[str, Live] = {}
        self._ahead: list[list[Any]] = []
        self._discarded: set[str] = set()
        self._idle_workers = IdleWorkers()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.keeper_pid = 0

    @classmethod
    async def connect(
        cls, exec_root: Path, instance: str, keeper_command: Sequence[str],
        on_exit: Callable[[Exit], None], on_helper_lost: Callable[[str], None] = lambda name: None,
    ) -> "Supervisor":  # fmt: skip
        """Connect to the keeper of `exec_root`, starting it by `keeper_command` (run with stderr to keeper.log) where none answers.

        `on_exit` is called on the loop for each end from now on; ends of before are in `kept`. Raises Unavailable.
        """
        self = cls(exec_root, instance, keeper_command, on_exit, on_helper_lost)
        try:
            await self._connect_keeper()
            for name in PERMANENT_HELPERS:
                await self._connect_helper(name)
        except BaseException:
            self.close()
            raise
        return self

    # --- children

    async def reserve(self) -> Child:
        """A blank child of the default shape, from the pool; its ID was made with it, its cgroups are made and joined."""
        return await self._child("reserve")

    async def spawn(self, id: str, shape: Shape, join_cgroup: bool = True) -> Child:
        """A blank child of any shape, made now; `join_cgroup`: its cgroups are made and joined. Raises Unavailable."""
        return await self._child("spawn", key=id, new=shape.encode(), cgroup=join_cgroup)

    async def spawn_exec(self, exec_id: str, container_pidfd: int, container_id: str) -> Child:
        """A blank child born in the container's pid namespace and cgroups. Raises Unavailable (the container may be gone)."""
        return await self._child("exec", [container_pidfd], key=exec_id, container=container_id)

    def watch(self, record: Record, pidfd: int) -> None:
        """A child that an earlier daemon started and the keeper holds: should that keeper die, the next one gets it. `pidfd` is duplicated."""
        self._forget_live(record.key)
        self._live[record.key] = Live(record, os.dup(pidfd), started=True)

    def started(self, key: str) -> None:
        """The child of a key runs the user's program now: the keeper knows it when this returns, whoever dies then."""
        if key in self._live:
            self._live[key].started = True
        if self._keeper is not None and not self._keeper.closed:
            self._keeper.post("started", key=key)

    async def acknowledge(self, key: str, pid: int = 0, wait: bool = True) -> None:
        """The exit is in the database: the keeper forgets the child, the launcher's janitor closes and removes what is left.

        With `pid` nothing happens where the key has another child by now. `wait` until it has: for who may give the key to another child.
        """
        live = self._live.get(key)
        if not pid or live is None or live.record.pid == pid:
            self._forget_live(key)
            self._kept.pop(key, None)
        if wait:
            await self._ask("acknowledge", key=key, pid=pid)
        elif self._keeper is not None and not self._keeper.closed:
            self._keeper.post("acknowledge", key=key, pid=pid)

    def kept(self) -> list[Kept]:
        """What the keeper held when this daemon connected, less what was acknowledged since."""
        return list(self._kept.values())

    def held(self) -> dict[str, list[str]]:
        """What the keeper held for earlier daemons under keys by name, at the time of connecting."""
        return {key: list(names) for key, names in self._held.items()}

    async def adopt(self, records: Sequence[Record]) -> None:
        """Give the keeper the children of the database that it does not hold, since an earlier keeper died.

        One that is gone is reported to `on_exit` with `known=False`; so is its end later, where the kernel does not tell it.
        """
        for record in records:
            if record.key in self._kept or record.key in self._live:
                continue
            fd = open_process(record)
            if fd < 0:
                self._on_exit(Exit(record.key, record.pid, exits.UNKNOWN_CODE, 0, self._oom(record.key), time.time_ns(), known=False))
                continue
            self._live[record.key] = Live(record, fd, started=True)
            await self._adopt(self._live[record.key])

    async def sweep(self, known: set[str]) -> list[str]:
        """Remove the cgroups of this instance that are empty and whose container is not `known`; their IDs."""
        message, _ = await self._call("launcher", "sweep", known=sorted({*known, *self._live, *self._kept}))
        return [str(id) for id in message["removed"]]

    async def set_pool_size(self, size: int) -> None:
        """How many blank children wait ready."""
        await self._call("launcher", "pool", size=size)

    async def make_ahead(self, steps: list[list[Any]]) -> None:
        """Tell the launcher, and each that comes after it, what the children of the pool make while they wait (pier.runtime.ahead)."""
        self._ahead = steps
        await self._call("launcher", "ahead", steps=steps)

    def living_keeper(self) -> int:
        """The pid of the keeper, 0 from its end on until another one answers."""
        if self._keeper is not None:
            self._keeper.hear()
        return 0 if self._keeper is None or self._keeper.closed else self.keeper_pid

    # --- descriptors in the keeper

    async def hold(self, key: str, name: str, fd: int) -> None:
        """Let the keeper keep a duplicate, over the daemon's death; in the place of an earlier one of the name."""
        await self._ask("hold", [fd], key=key, name=name)

    async def fetch(self, key: str, name: str) -> int:
        """A duplicate of what is held; "pidfd" and "mntns" are the child's. Raises KeyError where nothing is."""
        try:
            _, fds = await self._ask("fetch", key=key, name=name)
        except RemoteError as error:
            raise KeyError(f"{key} {name}") from error
        return fds[0]

    async def release(self, key: str, name: str | None = None) -> None:
        """Let the keeper close (key, name), or all of the key."""
        await self._ask("release", key=key, name=name)

    # --- helpers

    def helper(self, name: str) -> AsyncChannel:
        """The connection to "launcher" or "pump". Raises PeerGone in the moment in which it is being replaced."""
        channel = self._helpers.get(name)
        if channel is None or channel.closed:
            raise PeerGone(f"{name} is being started again")
        return channel

    def listen(self, name: str, on_event: HelperEvent) -> None:
        """Hear the events of a helper, over its replacements; `on_event` owns the descriptors."""
        self._listeners[name] = on_event

    async def worker(self, name: str = "worker") -> AsyncChannel:
        """A worker (or "mounter") that nobody else uses: give it back by `release_worker`, or close the channel, which ends the process."""
        if name == "worker" and (spare := self._idle_workers.take()) is not None:
            return spare
        _, fds = await self._ask("helper", name=name)
        return AsyncChannel(socket.socket(fileno=fds[0]), lambda message, got: self._event(name, message, got))

    def release_worker(self, channel: AsyncChannel) -> None:
        """Give a worker back; one stays for the next who asks, the others end."""
        self._idle_workers.give_back(channel, keep=not self._stopping)

    async def restart_helper(self, name: str) -> None:
        """Replace a permanent helper by a fresh process (an upgrade); reported like any loss of it."""
        await self._ask("restart", name=name)

    async def upgrade_keeper(self) -> None:
        """Let the keeper execute itself anew, from what is installed now; it keeps all it holds."""
        await self._ask("upgrade")

    async def stop_helpers(self) -> None:
        """End keeper and helpers and remove the empty cgroups: for `make stop`, after the containers. Children that still run lose their parent."""
        self._stopping = True
        with contextlib.suppress(PeerGone, RemoteError):
            await self.helper("launcher").call("pool", size=0)
        with contextlib.suppress(PeerGone):
            await self._ask("shutdown")
        await self._door.closed()
        self.close()
        for _ in range(_CGROUP_TRIES):
            if not [id for id in self._layout.ids() if not self._layout.remove(id)]:
                break
            await asyncio.sleep(_CGROUP_PAUSE_S)
        self._layout.remove_parent()

    def close(self) -> None:
        """End the connections; keeper, helpers and containers go on."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        self._idle_workers.close()
        for channel in [*self._helpers.values(), *([self._keeper] if self._keeper else [])]:
            channel.close()
        for key in list(self._live):
            self._forget_live(key)

    # --- inside

    async def _connect_keeper(self) -> None:
        while True:
            self._keeper = None
            channel = self._open_keeper(await self._door.reach())
            try:
                message, _ = await channel.call("hello", version=PROTOCOL_VERSION)
                break
            except PeerGone:
                continue  # it was about to die when it took the connection
        self._keeper = channel
        self.keeper_pid = int(message["pid"])
        self._held = message["held"]
        self._kept = {fields["key"]: Kept.decode(fields, self._oom) for fields in message["kept"]}

    def _open_keeper(self, sock: socket.socket) -> AsyncChannel:
        channel = AsyncChannel(sock, self._keeper_event, lambda: self._keeper_closed(channel))
        return channel

    async def _connect_helper(self, name: str) -> None:
        """Connect until the helper answers: one that is about to die may still have taken the connection.

        Raises PeerGone where the keeper is gone, Unavailable where one helper after the other dies.
        """
        for _ in range(_HELPER_TRIES):
            _, fds = await self._ask("helper", name=name)
            channel = self._open_helper(name, socket.socket(fileno=fds[0]))
            try:
                await channel.call("ping", key="")
                if name == "launcher" and self._ahead:
                    await channel.call("ahead", steps=self._ahead)
            except PeerGone:
                continue
            self._helpers[name] = channel
            return
        raise Unavailable(f"{name} ends as soon as it is started; {self._door.log} says why")

    def _open_helper(self, name: str, sock: socket.socket) -> AsyncChannel:
        channel = AsyncChannel(sock, lambda message, got: self._event(name, message, got), lambda: self._helper_closed(name, channel))
        return channel

    def _helper_closed(self, name: str, channel: AsyncChannel) -> None:
        if not self._stopping and self._helpers.get(name) is channel and self._keeper and not self._keeper.closed:
            self._spawn_task(self._reconnect_helper(name))

    async def _reconnect_helper(self, name: str) -> None:
        while True:
            try:
                await self._connect_helper(name)
                if name == "launcher":
                    await self.sweep(set())  # it may have died between making a child's cgroups and the child
            except PeerGone:
                return  # the keeper is gone, too: its own reconnection brings the helpers back
            except Unavailable as error:
                _log.error("%s; trying again", error)
                await asyncio.sleep(1)
                continue
            self._on_lost(name)
            return

    def _keeper_closed(self, channel: AsyncChannel) -> None:
        if not self._stopping and self._keeper is channel:
            self._spawn_task(self._reconnect_keeper())

    async def _reconnect_keeper(self) -> None:
        before = self.keeper_pid
        await self._connect_keeper()
        lost = self.keeper_pid != before
        for key, live in list(self._live.items()):
            if (kept := self._kept.get(key)) is None:
                await self._adopt(live)
            elif kept.exit:
                self._on_exit(kept.exit)  # it ended while nobody listened
        for name in PERMANENT_HELPERS:
            old = self._helpers.get(name)
            if old is None or old.closed or lost:
                self._helpers.pop(name, None)
                if old:
                    old.close()
                try:
                    await self._connect_helper(name)
                    self._on_lost(name)
                except Unavailable:
                    self._spawn_task(self._reconnect_helper(name))  # the others are not to wait for it
        if lost:
            await self.sweep(set())  # the dead keeper's spare children have left their cgroups
            self._on_lost("keeper")

    async def _adopt(self, live: Live) -> None:
        fds = [live.pidfd]
        try:
            fds.append(os.open(f"/proc/{live.record.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            pass  # it ended meanwhile: its namespace is gone with it
        try:
            record = live.record
            await self._ask(
                "adopt", fds, key=record.key, pid=record.pid, start_time=record.start_time, cgroup=record.cgroup, started=live.started
            )  # fmt: skip
        finally:
            for fd in fds[1:]:
                os.close(fd)

    def _spawn_task(self, work: "Any") -> None:
        self._tasks.add(task := asyncio.get_running_loop().create_task(work))
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, op: str, fds: Sequence[int] = (), **fields: Any) -> tuple[dict[str, Any], list[int]]:
        if self._keeper is None:
            raise PeerGone("the keeper is not connected")
        return await self._keeper.call(op, fds, **fields)

    async def _call(self, name: str, op: str, fds: Sequence[int] = (), **fields: Any) -> tuple[dict[str, Any], list[int]]:
        try:
            return await self.helper(name).call(op, fds, **fields)
        except RemoteError as error:
            raise Unavailable(str(error)) from error
        except PeerGone as error:
            raise PeerGone(f"{name} was killed and is being started again: try again") from error

    async def _child(self, op: str, fds: Sequence[int] = (), **fields: Any) -> Child:
        message, got = await self._call("launcher", op, fds, **fields)
        child = Child(str(message["key"]), int(message["pid"]), int(message["start_time"]), got, self._discarded.add)
        record = Record(child.id, child.pid, child.start_time, cgroup=op != "exec" and bool(fields.get("cgroup", True)))
        self._forget_live(child.id)
        self._live[child.id] = Live(record, os.dup(child.pidfd))
        return child

    def _forget_live(self, key: str) -> None:
        live = self._live.pop(key, None)
        if live:
            os.close(live.pidfd)

    def _keeper_event(self, message: dict[str, Any], fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)
        if message.get("op") == "exit":
            ended = Exit.decode(message, self._oom)
            if ended.key in self._discarded:
                self._discarded.discard(ended.key)
                self._spawn_task(self._drop(ended.key))
                return
            if ended.key in self._kept:
                self._kept[ended.key] = replace(self._kept[ended.key], exit=ended)
            self._on_exit(ended)

    async def _drop(self, key: str) -> None:
        with contextlib.suppress(PeerGone):  # the next connection shows it in `kept`
            await self.acknowledge(key)

    def _oom(self, key: str) -> bool:
        return self._layout.oom_kills(key) > 0

    def _event(self, name: str, message: dict[str, Any], fds: list[int]) -> None:
        listener = self._listeners.get(name)
        if listener:
            listener(message, fds)
        else:
            for fd in fds:
                os.close(fd)


__all__ = ["Child", "Exit", "Kept", "PeerGone", "Record", "Shape", "StartFailed", "Supervisor"]
