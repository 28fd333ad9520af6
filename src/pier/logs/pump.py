"""pier-pump: moves what containers write to their logs and to attached clients, and what clients type to containers.

One thread, one epoll loop: the control connections first, then clients, then one read of each ready source, so that a flood
holds up nothing else. Requests of the daemon:
  open {key, names, log, stdin_once} + fds named by names ("console" or "stdin", "stdout", "stderr")
  attach {key, number, stdin, stdout, stderr, multiplexed, detach_keys, initial} + socket; the end is the event `attach-done`
  resize {key, rows, cols}; drain {key, close} -> {lost: [bytes, cause] | null}; close {key}; stdin-close {key}; ping
The keeper gets a duplicate of every descriptor of a session and a note of how it is logged, and hands them to the next pump
(`resume`), so that nothing that a container has written is lost when this process is killed, but what it had just read.
"""

import gc
import os
import select
import signal
import socket
import time
from typing import Any

from pier import trace
from pier.ipc import Channel
from pier.ipc.channel import Message
from pier.ipc.loop import Loop
from pier.ipc.polled import PolledChannel
from pier.linux import terminals
from pier.logs.attached import Attached
from pier.logs.session import STDIN_BUFFER_BYTES, Session, Source
from pier.logs.writer import NoWriter, lost, open_or_count

READ_BYTES = 128 << 10
SLOW_CLIENT_S = 5.0
_DRAIN_CLIENTS_S = 2.0
_TERMINAL_END_S = 0.1
_PARKED_RETRY_S = 0.1
_IN, _OUT, _HUP = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR


class Pump(Loop):
    """The sessions, and what is done to them."""

    def __init__(self, keeper: PolledChannel) -> None:
        super().__init__(keeper)
        self.sessions: dict[str, Session] = {}
        self.timed: set[Session] = set()
        self.buffer = bytearray(READ_BYTES)
        self.view = memoryview(self.buffer)

    @property
    def waiting(self) -> bool:
        """Whether a session has something to wait for."""
        return bool(self.timed)

    def tick(self) -> None:
        """Every 50 ms while a session has something to wait for."""
        for session in list(self.timed):
            self._tick(session)

    def finish(self) -> None:
        """The keeper is gone: what is held back of lines goes to the logs."""
        for session in list(self.sessions.values()):
            session.writer.close()

    # --- messages

    def hear_keeper(self, message: Message, fds: list[int]) -> None:
        if message["op"] == "resume":
            note = message["note"]
            self._open(str(message["key"]), dict(zip(message["names"], fds, strict=True)), note["log"], bool(note["stdin_once"]))

    def answer(self, channel: PolledChannel, message: Message, fds: list[int]) -> None:
        """Carry out a request; takes the descriptors out of `fds` when it owns them."""
        op, key = message["op"], str(message["key"])
        trace.point("pump." + op)
        if op == "open":
            names = dict(zip(message["names"], fds, strict=True))
            note = {"log": message["log"], "stdin_once": bool(message["stdin_once"])}
            # before the opening, which closes a stdin whose client had nothing to say
            self.keeper.send({"op": "hold", "key": key, "names": list(names), "note": note}, list(names.values()))
            warning = self._open(key, names, message["log"], bool(message["stdin_once"]))
            trace.point("pump.opened")
            fds.clear()
            channel.answer(message, warning=warning)
            return
        if op == "attach":
            self._attach(channel, message, fds)
        elif op == "drain":
            session = self.sessions.get(key)
            if session and session.opened:
                session.drains.append((channel, message))
                self._begin_drain(session)
            else:
                if message.get("close"):
                    self._close(key)
                channel.answer(message, lost=None)
            return
        elif op == "close":
            self._close(key)
        elif op == "resize":
            terminals.set_size(self._console(key), int(message["rows"]), int(message["cols"]))
        elif op == "stdin-close":
            self._end_input(self.sessions[key])
        elif op != "ping":
            raise ValueError(f"pump: unknown request {op}")
        channel.answer(message)

    def _console(self, key: str) -> int:
        session = self.sessions.get(key)
        if session is None or not session.terminal:
            raise ValueError(f"{key} has no terminal")
        return session.console

    def _open(self, key: str, fds: dict[str, int], log: dict[str, Any] | None, stdin_once: bool) -> str | None:
        session = self.sessions.get(key)
        if session is None or session.opened:
            if session is not None:
                self._close(key, release=False)
            session = self.sessions[key] = Session(key)
        writer = open_or_count(log["driver"], log["directory"], log["options"]) if log else NoWriter()
        session.open(fds, writer, stdin_once)
        self._resume_sources(session)
        self._push_input(session)
        if writer.lost_cause:
            say(f"{key[:12]}: no log is written: {writer.lost_cause}")
        return writer.lost_cause or None

    def _close(self, key: str, release: bool = True) -> None:
        session = self.sessions.pop(key, None)
        if session is None:
            return
        self.timed.discard(session)
        for client in list(session.clients):
            self._end_client(session, client, "eof")
        for channel, message in session.drains:
            channel.answer(message, lost=lost(session.writer))
        session.writer.close()
        fds = session.fds()
        for fd in fds.values():
            self.watch(fd, 0, _nothing)
            os.close(fd)
        session.sources, session.drains, session.console, session.stdin_fd = [], [], -1, -1
        if release:
            self._release(session.key, list(fds))

    def _release(self, key: str, names: list[str]) -> None:
        if names:
            self.keeper.send({"op": "release", "key": key, "names": names})

    # --- output

    def _resume_sources(self, session: Session) -> None:
        session.paused = False
        for source in session.sources:
            if not source.done and not source.parked:
                self._watch_source(source)

    def _watch_source(self, source: Source) -> None:
        session = source.session
        mask = 0 if session.paused or source.done or source.parked else _IN
        if source.fd == session.console and session.input:
            mask |= _OUT
        self.watch(source.fd, mask, lambda got: self._source_ready(source, got))

    def _source_ready(self, source: Source, mask: int) -> None:
        session = source.session
        if mask & _OUT:
            self._push_input(session)
        if mask & (_IN | _HUP) and not session.paused:
            self._read(source)

    def _read(self, source: Source) -> bool:
        """One read of a source; False where there is nothing more to read now."""
        session = source.session
        try:
            count = os.readv(source.fd, [self.buffer])
        except BlockingIOError:
            return False
        except OSError:  # EIO of a terminal that nobody has open now: its program may open it again
            count = 0
            if not session.drains:
                source.parked = True
                self.watch(source.fd, 0, _nothing)
                self.timed.add(session)
                return False
        if not count:
            source.done = True
            self.watch(source.fd, 0, _nothing)
            return False
        data = self.view[:count]
        session.writer.write(source.stream, data)
        if session.clients:
            self._to_clients(session, source.stream, data)
        return True

    def _to_clients(self, session: Session, stream: int, data: memoryview) -> None:
        for client in list(session.clients):
            client.send(stream, data)
            if client.gone:
                self._end_client(session, client, "client-gone")
            elif client.queue:
                self._watch_client(session, client)
        self._weigh(session)

    def _weigh(self, session: Session) -> None:
        """Make the container wait while a client is full; with others attached the full one goes after five seconds."""
        now = time.monotonic()
        full = [client for client in session.clients if client.full]
        for client in session.clients:
            client.full_since = (client.full_since or now) if client in full else 0.0
        listening = [client for client in session.clients if client.streams and not client.ending]
        if len(listening) > 1 and full:
            self.timed.add(session)
            for client in full:
                if now - client.full_since >= SLOW_CLIENT_S and not client.ending:
                    say(f"{session.key[:12]}: an attached client read nothing for {SLOW_CLIENT_S:.0f} s and was dropped, others are attached")
                    client.queue.clear()
                    self._end_client(session, client, "too-slow")
            full = [client for client in session.clients if client.full]
        waiting = any(not client.ending for client in full) and not session.drains
        if waiting != session.paused:
            session.paused = waiting
            for source in session.sources:
                if not source.done:
                    self._watch_source(source)

    # --- clients

    def _attach(self, channel: PolledChannel, message: Message, fds: list[int]) -> None:
        key = str(message["key"])
        session = self.sessions.setdefault(key, Session(key))
        sock = socket.socket(fileno=fds.pop(0))
        streams = frozenset(number for number, name in ((1, "stdout"), (2, "stderr")) if message[name])
        client = Attached(
            int(message["number"]), sock, channel, streams,
            stdin=bool(message["stdin"]), multiplexed=bool(message["multiplexed"]), keys=message["detach_keys"].encode("latin-1"),
        )  # fmt: skip
        session.clients.append(client)
        self._watch_client(session, client)
        if client.stdin and message["initial"]:
            self._typed(session, client, client.keys.feed(message["initial"].encode("latin-1")))

    def _watch_client(self, session: Session, client: Attached) -> None:
        mask = _OUT if client.queue else 0
        if client.typing and session.input_bytes < STDIN_BUFFER_BYTES:
            mask |= _IN
        # A client that only has to be noticed when it hangs up stays registered; one whose input has to wait would hang up in a loop.
        blocked = client.typing and not mask
        self.watch(client.sock.fileno(), 0 if blocked else mask or select.EPOLLERR, lambda got: self._client_ready(session, client, got))

    def _client_ready(self, session: Session, client: Attached, mask: int) -> None:
        if mask & _OUT:
            client.flush()
        if mask & (_IN | _HUP) and client.typing:
            try:
                got = client.receive(65536)
            except BlockingIOError:
                pass
            else:
                if self._typed(session, client, got):
                    return
        elif mask & _HUP:
            client.gone = True
        if client.gone:
            self._end_client(session, client, "client-gone")
        elif client.ending and not client.queue:
            self._end_client(session, client, "eof")
        else:
            self._watch_client(session, client)
        self._weigh(session)
        self._finish_drain(session)

    def _typed(self, session: Session, client: Attached, got: tuple[bytes, bool] | None) -> bool:
        """Pass on what a client typed, None: its input ended. True where the client is no more."""
        if got is None:
            client.typing = False
            if session.stdin_once and not session.terminal:
                session.stdin_ending = True
                self._push_input(session)
            elif not session.opened:
                session.input_ended_early = True
            return False
        session.take_input(got[0])
        self._push_input(session)
        if got[1]:
            self._end_client(session, client, "detached")
        return got[1]

    def _end_client(self, session: Session, client: Attached, why: str) -> None:
        if client not in session.clients:
            return
        if why == "eof" and client.queue and not client.gone:
            client.ending, client.typing = True, False
            self._watch_client(session, client)
            return  # it is closed when it has taken the rest, even after its session
        session.clients.remove(client)
        self.watch(client.sock.fileno(), 0, _nothing)
        client.close()
        if client.stdin and client.typing and session.stdin_once and not session.terminal and why != "detached":
            session.stdin_ending = True
            self._push_input(session)
        owner = client.owner
        if isinstance(owner, PolledChannel):
            owner.send({"op": "attach-done", "number": client.number, "why": why})

    # --- input

    def _push_input(self, session: Session) -> None:
        was_full = session.input_bytes >= STDIN_BUFFER_BYTES
        session.write_input()
        if session.terminal:
            for source in session.sources:
                self._watch_source(source)
        elif session.stdin_fd >= 0:
            mask = _OUT if session.input else 0
            if session.stdin_ending and not session.input:
                if not session.unread_input():
                    self._end_input(session)
                    return
                # What nobody has read would vanish with the last writer. Edge-triggered, each read by the container wakes us.
                mask = _OUT | select.EPOLLET
                self.timed.add(session)
            self.watch(session.stdin_fd, mask, lambda got: self._push_input(session))
        if was_full and session.input_bytes < STDIN_BUFFER_BYTES:
            for client in session.clients:
                self._watch_client(session, client)

    def _end_input(self, session: Session) -> None:
        """Close the container's stdin for good: ours, and by the keeper its own."""
        if session.stdin_fd >= 0 and not session.terminal:
            self.watch(session.stdin_fd, 0, _nothing)
            os.close(session.stdin_fd)
            session.stdin_fd = -1
            self._release(session.key, ["stdin"])

    # --- the end of a container

    def _begin_drain(self, session: Session) -> None:
        """Read all that was written; then the clients get the rest of their queues and the end."""
        for source in session.sources:
            source.parked = False
            while not source.done and self._read(source):
                pass
        session.drain_deadline = session.drain_deadline or time.monotonic() + (_TERMINAL_END_S if session.terminal else 0)
        self.timed.add(session)
        self._finish_drain(session)

    def _finish_drain(self, session: Session) -> None:
        if not session.drains:
            return
        now = time.monotonic()
        if any(not source.done for source in session.sources) and now < session.drain_deadline:
            return  # a terminal says by EIO that all was read
        session.writer.flush()
        for client in list(session.clients):
            self._end_client(session, client, "eof")
        if session.clients and now < session.drain_deadline + _DRAIN_CLIENTS_S:
            return
        drains, session.drains = session.drains, []
        for channel, message in drains:
            channel.answer(message, lost=lost(session.writer))
        session.drain_deadline = 0.0
        if any(message.get("close") for _, message in drains):
            self._close(session.key)

    def _tick(self, session: Session) -> None:
        parked = [source for source in session.sources if source.parked]
        for source in parked:
            source.parked = False
            if self._read(source) or not source.parked:
                self._watch_source(source)
        self._weigh(session)
        ending = session.stdin_ending and session.stdin_fd >= 0 and not session.terminal
        if ending:
            self._push_input(session)
        if session.drains:
            for source in session.sources:
                while not source.done and self._read(source):
                    pass
            self._finish_drain(session)
        slow = len(session.clients) > 1 and any(client.full for client in session.clients)
        if not (slow or ending or session.drains or any(source.parked for source in session.sources)):
            self.timed.discard(session)


def _nothing(mask: int) -> None:
    return


def say(text: str) -> None:
    """A line into the keeper's log, the helpers' stderr."""
    os.write(2, f"pier-pump[{os.getpid()}]: {text}\n".encode())


def main(channel: Channel) -> None:
    """Be the pump until the keeper's channel ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the processes that compress are nobody's to reap
    gc.collect()
    gc.freeze()
    Pump(PolledChannel(channel.sock)).run()
