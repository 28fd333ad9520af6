"""Where layers are attached, on kernels whose overlay takes no detached mounts: a mount namespace with nothing else in it.

The keeper holds its descriptor, and with it the namespace, over the daemon's death; the mounter (runtime/mounter.py) goes there.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from pier.errors import Unavailable
from pier.ipc import AsyncChannel, PeerGone, RemoteError

_KEY, _NAME = "layers", "space"


class Holder(Protocol):
    """Who keeps descriptors over the daemon's death, and has helpers: the keeper, through the supervisor."""

    async def hold(self, key: str, name: str, fd: int, /) -> None: ...
    async def fetch(self, key: str, name: str, /) -> int: ...
    async def release(self, key: str, name: str | None = None, /) -> None: ...
    def held(self) -> Mapping[str, Sequence[str]]: ...
    async def worker(self, name: str = "worker", /) -> AsyncChannel: ...


class Places:
    """The namespace; made when the first layer comes, and again where keeper and daemon have both lost it. Use from the loop's thread."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._fd = -1
        self._opening = asyncio.Lock()

    @property
    def fd(self) -> int:
        """The namespace's descriptor, this object's; -1 before the first `attach`."""
        return self._fd

    async def attach(self, name: str, mount_fd: int) -> None:
        """Attach a mount, so that containers' children find it by its name; done already is as good. Raises Unavailable."""
        async with self._opening:
            if self._fd < 0:
                self._fd = await self._open()
        await self._errand("attach", [self._fd, mount_fd], name)

    async def detach(self, name: str) -> None:
        """Take a mount away from there, if it is there; containers that have it keep it. Raises Unavailable."""
        async with self._opening:
            if self._fd < 0:
                try:
                    self._fd = await self._holder.fetch(_KEY, _NAME)
                except KeyError:
                    return
        await self._errand("detach", [self._fd], name)

    async def hold_again(self) -> None:
        """Another keeper has taken the place of the one that held the namespace."""
        if self._fd >= 0:
            await self._holder.hold(_KEY, _NAME, self._fd)

    def close(self) -> None:
        """Let go of it; the keeper has its own descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def _open(self) -> int:
        try:
            return await self._holder.fetch(_KEY, _NAME)
        except KeyError:
            fd = (await self._errand("make", [], ""))[0]
        try:
            await self._holder.hold(_KEY, _NAME, fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    async def _errand(self, op: str, fds: list[int], name: str) -> list[int]:
        channel = await self._holder.worker("mounter")
        try:
            return (await channel.call(op, fds, name=name))[1]
        except (RemoteError, PeerGone) as error:
            raise Unavailable(f"a layer's mount cannot be put in its place: {error}") from error
        finally:
            channel.close()
