"""The poll loop of a permanent helper (pump, netd): the control connections first, then everything else that is ready."""

import os
import select
import socket
import time
from collections.abc import Callable

from pier.errors import PierError
from pier.ipc.channel import Message
from pier.ipc.polled import PolledChannel

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_TICK_S = 0.05
_REST_S = 0.2

Handler = Callable[[int], None]


class Loop:
    """Polls for a subclass, which carries out requests (`answer`) and waits for things (`waiting`, `tick`)."""

    @property
    def waiting(self) -> bool:
        """Whether `tick` is to be called."""
        return False

    def __init__(self, keeper: PolledChannel) -> None:
        self.keeper = keeper
        self.daemons: dict[int, PolledChannel] = {}
        self.handlers: dict[int, Handler] = {}
        self.interest: dict[int, int] = {}
        self.fresh: set[int] = set()  # registered in this round: an event of the round is of an earlier descriptor of that number
        self.resting: dict[int, float] = {}  # not polled for now, until when
        self.epoll = select.epoll()
        self.keeper_fd = keeper.fileno()
        self.sending: set[int] = set()  # control connections that are polled for writing, too
        self.epoll.register(self.keeper_fd, _IN)

    def answer(self, channel: PolledChannel, message: Message, fds: list[int]) -> None:
        """Carry out a request; takes the descriptors out of `fds` when it owns them."""
        raise NotImplementedError

    def hear_keeper(self, message: Message, fds: list[int]) -> None:
        """A message of the keeper other than a new connection; owns the descriptors."""
        raise NotImplementedError

    def tick(self) -> None:
        """Called every 50 ms or so while `waiting`."""
        raise NotImplementedError

    def finish(self) -> None:
        """Called once, when the keeper is gone."""
        raise NotImplementedError

    def run(self) -> None:
        while not self.keeper.closed:
            events = self.epoll.poll(_TICK_S if self.waiting or self.resting else None, 64)
            self.fresh.clear()
            self._control(events)
            for fd, mask in events:
                handler = self.handlers.get(fd)
                if handler and fd not in self.fresh:
                    handler(mask)
            if self.waiting:
                self.tick()
            if self.resting:
                self._wake()
            self._flush()
        self.finish()

    def _control(self, events: list[tuple[int, int]]) -> None:
        for fd, _ in events:
            if fd == self.keeper_fd:
                while got := self.keeper.recv():
                    self._heard(*got)
            elif fd in self.daemons:
                self._serve(self.daemons[fd])

    def _flush(self) -> None:
        for fd, channel in list(self.daemons.items()):
            if channel.pending:
                channel.flush()
            if channel.closed:
                del self.daemons[fd]
                self.sending.discard(fd)
            else:
                self._poll_for(fd, channel)
        if self.keeper.pending:
            self.keeper.flush()
        if not self.keeper.closed:
            self._poll_for(self.keeper_fd, self.keeper)

    def _poll_for(self, fd: int, channel: PolledChannel) -> None:
        """Wait for room in a channel's socket while something is to be sent."""
        if channel.pending != (fd in self.sending):
            self.epoll.modify(fd, _IN | (_OUT if channel.pending else 0))
            (self.sending.add if channel.pending else self.sending.discard)(fd)

    def watch(self, fd: int, mask: int, handler: Handler) -> None:
        """Poll a descriptor for `mask` (hang-ups always come with it); 0 stops it."""
        before = self.interest.get(fd) if self.resting.pop(fd, None) is None else 0
        if mask and before is None:
            self.epoll.register(fd, mask)
            self.fresh.add(fd)
        elif mask and before != mask:
            self.epoll.modify(fd, mask)
        elif not mask and before is not None:
            self.epoll.unregister(fd)
        if mask:
            self.interest[fd], self.handlers[fd] = mask, handler
        else:
            self.interest.pop(fd, None)
            self.handlers.pop(fd, None)

    def rest(self, fd: int) -> None:
        """Do not poll a watched descriptor for a moment: what it has cannot be taken now (no descriptors), and it would say so each turn."""
        self.epoll.modify(fd, 0)
        self.resting[fd] = time.monotonic() + _REST_S

    def _wake(self) -> None:
        now_s = time.monotonic()
        for fd in [fd for fd, until_s in self.resting.items() if now_s >= until_s]:
            del self.resting[fd]
            self.epoll.modify(fd, self.interest[fd])

    def _heard(self, message: Message, fds: list[int]) -> None:
        if message["op"] == "connect":
            channel = PolledChannel(socket.socket(fileno=fds[0]))
            self.daemons[fds[0]] = channel
            self.sending.discard(fds[0])
            self.epoll.register(fds[0], _IN)
        else:
            self.hear_keeper(message, fds)

    def _serve(self, channel: PolledChannel) -> None:
        fd = channel.fileno()
        for _ in range(64):
            got = channel.recv()
            if got is None:
                break
            message, fds = got
            try:
                self.answer(channel, message, fds)
            except (OSError, ValueError, KeyError, PierError) as error:
                for each in fds:
                    os.close(each)
                channel.refuse(message, str(error), errno=getattr(error, "errno", None))
        if channel.closed:
            self.daemons.pop(fd, None)
            self.sending.discard(fd)
