"""The packet format, and a channel for processes that poll for themselves (keeper, launcher, pump, worker, child).

Packet: one kind byte, then
  b"J"  the JSON text of a message; its descriptors are those of the packets `F` before it and its own
  b"M"  the same, but the text is in a sealed memfd, the last descriptor of the packet
  b"F"  nothing: descriptors only, they belong to the next J or M
Invariant: after an error the channel is closed and every descriptor received for an unfinished message with it.
"""

import array
import fcntl
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

PROTOCOL_VERSION = 1
MAX_INLINE_BYTES = 65536
MAX_FDS = 32
MAX_MESSAGE_BYTES = 16 << 20
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode
_decode = json.JSONDecoder().decode

Message = dict[str, Any]


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected SEQPACKET sockets, close-on-exec, with room for a burst."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)


def pack(message: Message, fds: Sequence[int]) -> tuple[list[tuple[bytes, list[int]]], int]:
    """Cut a message into packets.

    Returns (packets, memfd): each packet is its bytes and descriptors; memfd is -1, or a descriptor
    that the caller closes once the packets are sent.
    """
    text = _encode(message).encode()
    if len(text) > MAX_MESSAGE_BYTES:
        raise ValueError(f"message {message.get('op', message.get('re'))!r} has {len(text)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    rest, memfd, kind = list(fds), -1, b"J"
    if len(text) >= MAX_INLINE_BYTES:
        memfd = os.memfd_create("pier-ipc", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(memfd, "wb", closefd=False) as file:
            file.write(text)
        fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, _SEALS)
        rest.append(memfd)
        kind, text = b"M", b""
    packets = []
    while len(rest) > MAX_FDS:
        packets.append((b"F", rest[:MAX_FDS]))
        rest = rest[MAX_FDS:]
    packets.append((kind + text, rest))
    return packets, memfd


class Channel:
    """One end of a SEQPACKET connection that sends and receives whole messages.

    Works on a blocking or a non-blocking socket; on a non-blocking one `recv` and `send` raise BlockingIOError
    (a send of several packets either starts whole or is not to be retried: use it for short messages there).
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._pending: list[int] = []

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send a message and duplicates of `fds`. Raises OSError (EPIPE: the peer is gone)."""
        packets, memfd = pack(message, fds)
        try:
            for data, part in packets:
                control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", part))] if part else []
                self.sock.sendmsg([data], control, socket.MSG_NOSIGNAL)
        finally:
            if memfd >= 0:
                os.close(memfd)

    def recv(self) -> tuple[Message, list[int]] | None:
        """The next message and its descriptors (close-on-exec, owned by the caller); None when the peer is gone.

        Raises BlockingIOError on a non-blocking socket with nothing (or not all) there, ValueError on a malformed packet.
        """
        while True:
            data, fds, truncated = _receive(self.sock)
            self._pending += fds
            if truncated:
                self.close()
                raise ValueError("ipc: a packet or its descriptors were cut short")
            if not data:
                self.close()
                return None
            kind = data[:1]
            if kind == b"F":
                continue
            if kind == b"M" and self._pending:
                text = _read_memfd(self._pending.pop())
            elif kind == b"J":
                text = data[1:]
            else:
                self.close()
                raise ValueError(f"ipc: unknown kind of packet {kind!r}")
            got, self._pending = self._pending, []
            return _decode(text.decode()), got

    def close(self) -> None:
        """Close the socket and what had been received for an unfinished message."""
        for fd in self._pending:
            os.close(fd)
        self._pending = []
        self.sock.close()


def _receive(sock: socket.socket) -> tuple[bytes, list[int], bool]:
    try:
        data, control, flags, _ = _packet(sock)
    except ConnectionResetError:  # the peer went and left packets of ours unread; the kernel says so once, before what the peer had sent
        data, control, flags, _ = _packet(sock)
    fds = array.array("i")
    for level, kind, payload in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, list(fds), bool(flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC))


def _read_memfd(fd: int) -> bytes:
    try:
        if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
            raise ValueError("ipc: a long message must come in a sealed memfd")
        size = os.fstat(fd).st_size
        if size > MAX_MESSAGE_BYTES:
            raise ValueError(f"ipc: a message of {size} bytes, the limit is {MAX_MESSAGE_BYTES}")
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)


def _packet(sock: socket.socket) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
    return sock.recvmsg(MAX_INLINE_BYTES + 1, socket.CMSG_SPACE(4 * (MAX_FDS + 1)), socket.MSG_CMSG_CLOEXEC)
