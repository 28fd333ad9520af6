"""What every volume driver promises (pier.volumes.driver), over the local one and a plugin; then what is the plugin's alone."""

import asyncio
import os
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pier.errors import Internal, Invalid, NotFound, PierError, Unavailable
from pier.store import Store
from pier.volumes.driver import Driver
from pier.volumes.local import Local
from pier.volumes.local_driver import LocalDriver
from pier.volumes.plugins import Plugins
from pier.volumes.quotas import Quotas
from pier.volumes.schema import PROJECTS
from tests.harness.volume_plugin import VolumePlugin

PATIENCE_S = 0.3
T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[VolumePlugin]:
    with VolumePlugin(tmp_path, "shelves", scope="global") as plugin:
        yield plugin


@pytest.fixture
def plugins(plugin: VolumePlugin) -> Plugins:
    return Plugins([str(plugin.folder)], PATIENCE_S)


@pytest.fixture(params=["local", "plugin"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    if request.param == "local":
        local, store = Local(tmp_path / "volumes"), Store.open(tmp_path / "state.db", (PROJECTS,))
        yield LocalDriver(local, Quotas(store, local))
        local.close()
        store.close()
    else:
        yield run(request.getfixturevalue("plugins").driver("shelves"))


def test_made_found_listed_removed(driver: Driver) -> None:
    async def story() -> None:
        assert await driver.find("one") is None
        for _ in range(2):  # again after a crash
            await driver.create("one", None)
        found = await driver.find("one")
        assert found is not None and found.name == "one" and os.path.isdir(found.mountpoint)
        assert [volume.name for volume in await driver.list()] == ["one"]
        for _ in range(2):
            await driver.remove("one")
        assert await driver.find("one") is None and await driver.list() == []

    run(story())


def test_mounted_for_several_users(driver: Driver) -> None:
    async def story() -> None:
        await driver.create("one", None)
        paths = {await driver.mount("one", None, user) for user in ("a", "b")}
        assert len(paths) == 1
        Path(paths.pop(), "file").write_text("x")
        await driver.unmount("one", None, "a", last=False)
        assert Path(await driver.mount("one", None, "a"), "file").read_text() == "x"
        for user in ("a", "b"):
            await driver.unmount("one", None, user, last=user == "b")
        await driver.remove("one")

    run(story())


@pytest.mark.parametrize("name", ["a", "a/b", "../x", "", "x" * 300])
def test_what_is_no_name_is_refused(driver: Driver, name: str) -> None:
    with pytest.raises(Invalid):
        driver.check(name, None)


# -- plugins alone


def test_a_plugin_gets_what_its_protocol_says(plugin: VolumePlugin, plugins: Plugins) -> None:
    async def story() -> None:
        driver = await plugins.driver("shelves")
        assert (driver.name, driver.scope, plugins.active) == ("shelves", "global", ["shelves"])
        await driver.create("one", {"size": "3"})
        await driver.mount("one", None, "user")
        await driver.unmount("one", None, "user", last=True)
        await driver.remove("one")

    run(story())
    assert plugin.calls == [
        ("Plugin.Activate", {}), ("VolumeDriver.Capabilities", {}), ("VolumeDriver.Create", {"Name": "one", "Opts": {"size": "3"}}),
        ("VolumeDriver.Mount", {"Name": "one", "ID": "user"}), ("VolumeDriver.Unmount", {"Name": "one", "ID": "user"}),
        ("VolumeDriver.Remove", {"Name": "one"}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("hang", "no answer within 0.3 s: does the plugin hang?"), ("die", "does the plugin run?"), ("garbage", "does the plugin run?"),
        ("endless", "an answer of more than 1048576 bytes"), ("wrong", "an answer that is none"), ("relative", "is no absolute path"),
    ],
)  # fmt: skip
def test_a_bad_answer_fails_its_own_call_and_names_the_plugin(plugin: VolumePlugin, plugins: Plugins, how: str, words: str) -> None:
    plugin.misbehave["VolumeDriver.Mount"] = how

    async def story() -> None:
        driver = await plugins.driver("shelves")
        await driver.create("one", None)
        begun = time.monotonic()
        with pytest.raises(Unavailable) as told:
            await driver.mount("one", None, "user")
        assert words in str(told.value) and 'plugin "shelves": VolumeDriver.Mount' in str(told.value) and time.monotonic() - begun < 5
        plugin.misbehave.clear()
        assert await driver.mount("one", None, "user") == str(plugin.path("one"))

    run(story())


def test_a_plugins_error_is_told_in_one_clean_line(plugin: VolumePlugin, plugins: Plugins) -> None:
    plugin.misbehave["VolumeDriver.Create"] = "no\x1b[31m room\r\n" + "y" * 9000

    async def story() -> None:
        with pytest.raises(Internal) as told:
            await (await plugins.driver("shelves")).create("one", None)
        assert str(told.value).startswith('plugin "shelves": VolumeDriver.Create: no [31m room yyy') and len(str(told.value)) < 2100

    run(story())


def test_who_is_no_volume_plugin(plugin: VolumePlugin, plugins: Plugins) -> None:
    async def story() -> None:
        for name in ("nope", "../shelves", "a/b", ""):
            with pytest.raises(NotFound, match=f'error looking up volume plugin {name}: plugin "{name}" not found'):
                await plugins.driver(name)
        plugin.implements = "NetworkDriver"
        with pytest.raises(NotFound, match="does not implement VolumeDriver"):
            await plugins.driver("shelves")
        plugin.stop()
        with pytest.raises(Unavailable, match=r"plugin \"shelves\": Plugin[.]Activate: .*refused"):
            await plugins.driver("shelves")

    run(story())


def test_several_plugins_are_asked_at_once_and_a_silent_one_is_left_alone(plugin: VolumePlugin, tmp_path: Path) -> None:
    async def story() -> None:
        plugins = Plugins([str(tmp_path)], PATIENCE_S)
        with VolumePlugin(tmp_path, "other") as other, VolumePlugin(tmp_path, "third") as third:
            for one in (other, third):
                one.misbehave["Plugin.Activate"] = "hang"
            await (await plugins.driver("shelves")).create("one", None)
            begun = time.monotonic()
            found = await plugins.find("one")
            assert found is not None and found[0].name == "shelves" and time.monotonic() - begun < 2 * PATIENCE_S
            begun = time.monotonic()
            await plugins.find("two")
            assert time.monotonic() - begun < PATIENCE_S
            volumes, warnings = await plugins.volumes()
            assert [volume.name for _, volume in volumes] == ["one"] and len(warnings) == 2 and "other" in warnings[0]

    run(story())


def test_a_removal_that_was_cut_off_is_a_removal(plugin: VolumePlugin, plugins: Plugins) -> None:
    async def story() -> None:
        driver = await plugins.driver("shelves")
        await driver.create("one", None)
        plugin.misbehave["VolumeDriver.Remove"] = "busy"
        with pytest.raises(PierError, match="busy"):
            await driver.remove("one")
        del plugin.volumes["one"]
        await driver.remove("one")

    run(story())
