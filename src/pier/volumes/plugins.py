"""The volume plugins of this host, found when they are asked for: a plugin may come and go while the daemon runs."""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from pier.errors import NotFound, PierError, Unavailable
from pier.volumes import plugin_address
from pier.volumes.driver import Found
from pier.volumes.plugin_address import Address
from pier.volumes.plugin_call import Answer, call
from pier.volumes.plugin_driver import LOOK_S, PluginDriver

DEFAULT_PATIENCE_S = 30.0
SILENCE_S = 30.0
"""So long a plugin that did not answer is not asked for volumes that may be somebody else's."""


class _Activated(Answer, frozen=True):
    implements: list[str] | None = msgspec.field(name="Implements", default=None)


class Plugins:
    """A driver for each plugin that is a volume driver."""

    def __init__(self, folders: Sequence[str] = plugin_address.FOLDERS, patience_s: float = DEFAULT_PATIENCE_S) -> None:
        """patience_s: for each call of a plugin."""
        self._folders, self._patience_s = tuple(folders), patience_s
        self._known: dict[str, tuple[Address, PluginDriver]] = {}
        self._silent: dict[str, float] = {}  # plugin -> until when it is not asked

    @property
    def active(self) -> list[str]:
        """Those that were asked for and are volume drivers."""
        return sorted(self._known)

    async def driver(self, name: str) -> PluginDriver:
        """A plugin's driver. Raises NotFound with Docker's text, Invalid for a broken specification, Unavailable."""
        name = name.removesuffix(":latest")
        address = plugin_address.find(name, self._folders)
        if address is None:
            self._known.pop(name, None)
            raise NotFound(f'error looking up volume plugin {name}: plugin "{name}" not found')
        if name in self._known and self._known[name][0] == address:
            return self._known[name][1]
        try:
            said = await call(name, address, "Plugin.Activate", {}, _Activated, min(self._patience_s, LOOK_S))
        except PierError as error:
            raise Unavailable(f"error looking up volume plugin {name}: {error}") from None
        if "VolumeDriver" not in (said.implements or []):
            raise NotFound(f'error looking up volume plugin {name}: plugin "{name}" does not implement VolumeDriver')
        driver = PluginDriver(name, address, self._patience_s)
        await driver.learn_scope()
        self._known[name] = address, driver
        return driver

    async def find(self, name: str) -> tuple[PluginDriver, Found] | None:
        """Which plugin has a volume of that name; those that do not answer have none."""
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._find(plugin, name)) for plugin in plugin_address.names(self._folders)]
        return next((task.result() for task in asked if task.result()), None)

    async def _find(self, plugin: str, name: str) -> tuple[PluginDriver, Found] | None:
        if time.monotonic() < self._silent.get(plugin, 0.0):
            return None
        try:
            driver = await self.driver(plugin)
            found = await driver.find(name)
        except PierError:
            self._silent[plugin] = time.monotonic() + SILENCE_S
            return None
        return (driver, found) if found else None

    async def volumes(self) -> tuple[list[tuple[PluginDriver, Found]], list[str]]:
        """What all plugins have, and a warning for each that does not say."""
        found: list[tuple[PluginDriver, Found]] = []
        warnings: list[str] = []

        async def ask(plugin: str) -> None:
            try:
                driver = await self.driver(plugin)
                found.extend((driver, volume) for volume in await driver.list())
            except NotFound:
                pass  # a plugin for something else
            except PierError as error:
                warnings.append(str(error))

        async with asyncio.TaskGroup() as group:
            for plugin in plugin_address.names(self._folders):
                group.create_task(ask(plugin))
        return sorted(found, key=lambda pair: (pair[1].name, pair[0].name)), sorted(warnings)
