"""A volume plugin as a driver: Docker's plugin protocol. Source: Docker's "Volume plugin protocol"."""

import os
from typing import Any

import msgspec

from pier.errors import Internal, PierError, Unavailable
from pier.volumes import options as checks
from pier.volumes.driver import Found, Options
from pier.volumes.plugin_address import Address
from pier.volumes.plugin_call import Answer, NotThere, call

_MAX_PATH_BYTES = 4095
LOOK_S = 5.0
"""A question that changes nothing is answered in this time, or not at all."""


class _Mounted(Answer, frozen=True):
    mountpoint: str = msgspec.field(name="Mountpoint", default="")


class _Volume(msgspec.Struct, frozen=True):
    name: str = msgspec.field(name="Name", default="")
    mountpoint: str = msgspec.field(name="Mountpoint", default="")
    created_at: str = msgspec.field(name="CreatedAt", default="")
    status: dict[str, Any] | None = msgspec.field(name="Status", default=None)

    def found(self) -> Found:
        return Found(self.name, self.mountpoint, self.created_at, self.status or {})


class _Got(Answer, frozen=True):
    volume: _Volume | None = msgspec.field(name="Volume", default=None)


class _Listed(Answer, frozen=True):
    volumes: list[_Volume] | None = msgspec.field(name="Volumes", default=None)


class _Scope(msgspec.Struct, frozen=True):
    scope: str = msgspec.field(name="Scope", default="local")


class _Capable(Answer, frozen=True):
    capabilities: _Scope = msgspec.field(name="Capabilities", default_factory=_Scope)


class PluginDriver:
    """See driver.Driver. Each call is a connection of its own: a plugin that was restarted is the same plugin."""

    def __init__(self, name: str, address: Address, patience_s: float) -> None:
        """patience_s: for each call."""
        self.name, self.scope, self._address, self._patience_s = name, "local", address, patience_s

    async def learn_scope(self) -> None:
        """Ask whether its volumes are of this host alone; plugins need not say."""
        try:
            said = await call(self.name, self._address, "VolumeDriver.Capabilities", {}, _Capable, min(self._patience_s, LOOK_S))
            self.scope = "global" if said.capabilities.scope == "global" else "local"
        except (Unavailable, Internal):
            self.scope = "local"

    def check(self, name: str, options: Options) -> None:
        """See Driver."""
        checks.check_name(name)

    async def create(self, name: str, options: Options) -> None:
        """See Driver."""
        await call(self.name, self._address, "VolumeDriver.Create", {"Name": name, "Opts": dict(options or {})}, Answer, self._patience_s)

    async def remove(self, name: str) -> None:
        """See Driver. An error counts where the volume is there after it."""
        try:
            await call(self.name, self._address, "VolumeDriver.Remove", {"Name": name}, Answer, self._patience_s)
        except Internal:
            if await self.find(name) is not None:
                raise

    async def mount(self, name: str, options: Options, user: str) -> str:
        """See Driver."""
        said = await call(self.name, self._address, "VolumeDriver.Mount", {"Name": name, "ID": user}, _Mounted, self._patience_s)
        path = said.mountpoint
        if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > _MAX_PATH_BYTES:
            raise Unavailable(f'plugin "{self.name}": VolumeDriver.Mount of {name}: {path[:100]!r} is no absolute path')
        return path

    async def unmount(self, name: str, options: Options, user: str, last: bool) -> None:
        """See Driver."""
        await call(self.name, self._address, "VolumeDriver.Unmount", {"Name": name, "ID": user}, Answer, self._patience_s)

    async def find(self, name: str) -> Found | None:
        """See Driver."""
        try:
            said = await call(self.name, self._address, "VolumeDriver.Get", {"Name": name}, _Got, min(self._patience_s, LOOK_S))
        except NotThere:  # an old plugin
            said = _Got(volume=next((_Volume(one.name, one.mountpoint) for one in await self.list() if one.name == name), None))
        except Internal:
            return None
        return said.volume.found() if said.volume is not None and said.volume.name == name else None

    async def list(self) -> list[Found]:
        """See Driver. What is no name is left out."""
        said = await call(self.name, self._address, "VolumeDriver.List", {}, _Listed, min(self._patience_s, LOOK_S))
        return [volume.found() for volume in said.volumes or [] if _is_name(volume.name)]


def _is_name(name: str) -> bool:
    try:
        checks.check_name(name)
    except PierError:
        return False
    return True
