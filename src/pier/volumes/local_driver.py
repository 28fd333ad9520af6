"""The local driver: folders of the data root, and what mount(8) mounts on them (local.py), without blocking the loop."""

import asyncio
from collections.abc import Mapping

from pier.volumes import options as checks
from pier.volumes.driver import Found, Options
from pier.volumes.local import Local
from pier.volumes.quotas import Quotas

NAME = "local"


class LocalDriver:
    """See driver.Driver."""

    name, scope = NAME, "local"

    def __init__(self, local: Local, quotas: Quotas) -> None:
        self._local, self._quotas = local, quotas

    def check(self, name: str, options: Options) -> None:
        """See Driver."""
        checks.check_name(name)
        checks.filesystem(options)
        self._quotas.check(options)

    async def create(self, name: str, options: Mapping[str, str] | None) -> None:
        """See Driver."""
        await self._quotas.begin(name, options)
        await asyncio.to_thread(self._local.create, name)
        await self._quotas.bind(name, self._local.path(name))

    async def remove(self, name: str) -> None:
        """See Driver."""
        await asyncio.to_thread(self._local.remove, name)
        await self._quotas.release(name)

    async def mount(self, name: str, options: Options, user: str) -> str:
        """See Driver. Raises Internal with the words of mount(8), or where that does not come to an end."""
        what = checks.filesystem(options)
        if what is not None and not await asyncio.to_thread(self._local.is_mounted, name):
            await asyncio.to_thread(self._local.mount, name, what)
        return str(self._local.path(name))

    async def unmount(self, name: str, options: Options, user: str, last: bool) -> None:
        """See Driver."""
        if last and checks.filesystem(options) is not None:
            await asyncio.to_thread(self._local.unmount, name)

    async def find(self, name: str) -> Found | None:
        """See Driver."""
        path = self._local.path(name)
        return Found(name, str(path)) if await asyncio.to_thread(path.is_dir) else None

    async def list(self) -> list[Found]:
        """See Driver."""
        return [Found(name, str(self._local.path(name))) for name in await asyncio.to_thread(self._local.names)]
