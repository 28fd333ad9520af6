"""What a process says before it goes is heard, also when it leaves messages unread: the kernel then reports a reset first."""

import asyncio
import os
import socket
from typing import Any

import pytest

from pier.ipc import AsyncChannel, PeerGone
from pier.ipc.channel import Channel


def pair() -> tuple[socket.socket, Channel]:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return here, Channel(there)


def go_with_last_words(there: Channel, fd: int) -> None:
    there.send({"op": "failed", "why": "no such user"}, [fd])
    there.close()


def test_by_who_waits() -> None:
    here, there = pair()
    channel = Channel(here)
    channel.send({"op": "plan"})
    go_with_last_words(there, 0)
    message, fds = channel.recv() or ({}, [])
    assert message["why"] == "no such user" and len(fds) == 1
    os.close(fds[0])
    assert channel.recv() is None


@pytest.mark.parametrize("then", ["listens", "posts"])
def test_by_a_loop(then: str) -> None:
    async def go() -> list[Any]:
        heard: list[Any] = []

        def event(message: dict[str, Any], fds: list[int]) -> None:
            heard.append(message)
            for fd in fds:
                os.close(fd)

        over = asyncio.Event()
        here, there = pair()
        channel = AsyncChannel(here, event, over.set)
        channel.post("plan")
        go_with_last_words(there, 0)
        if then == "posts":
            channel.post("rest")
            with pytest.raises(PeerGone):
                channel.post("more")
        await asyncio.wait_for(over.wait(), 5)
        return heard

    assert asyncio.run(go()) == [{"op": "failed", "why": "no such user"}]
