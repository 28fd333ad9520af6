"""A supervisor with its own keeper, and the check that nothing is left of them."""

import asyncio
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pier.linux.cgroups import CgroupLayout
from pier.runtime.supervisor import Exit, Supervisor

PROGRAM = Path(__file__).with_name("keeper_program.py")


class Place:
    """An exec root with an instance name of its own, and what its supervisors reported."""

    def __init__(self, root: Path) -> None:
        self.root, self.instance = root, "t" + secrets.token_hex(4)
        self.layout = CgroupLayout.detect(self.instance)
        self.exits: dict[str, Exit] = {}
        self.lost: list[str] = []
        self.changed = asyncio.Event()

    def on_exit(self, ended: Exit) -> None:
        assert ended.key not in self.exits, "an exit was reported twice"
        self.exits[ended.key] = ended
        self.changed.set()

    def on_lost(self, name: str) -> None:
        self.lost.append(name)
        self.changed.set()

    async def connect(self) -> Supervisor:
        command = [sys.executable, str(PROGRAM), str(self.root), self.instance]
        return await Supervisor.connect(self.root, self.instance, command, self.on_exit, self.on_lost)

    async def until(self, condition: Callable[[], object], limit_s: float = 20) -> None:
        """Wait for what must come to be true; the limit only ends a test that hangs."""
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, f"never came true; log: {self.log()}"
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), 0.02)
            except TimeoutError:
                pass

    async def exit_of(self, key: str) -> Exit:
        await self.until(lambda: key in self.exits)
        return self.exits[key]

    def log(self) -> str:
        return (self.root / "keeper.log").read_text() if (self.root / "keeper.log").exists() else ""

    def processes(self) -> list[int]:
        """Every process that runs keeper_program for this place: keeper, helpers, blank children."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    if self.instance.encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                        found.append(int(name))
                except OSError:
                    pass
        return found

    def pid_of(self, comm: str) -> int:
        for pid in self.processes():
            if Path(f"/proc/{pid}/comm").read_text().strip() == comm and int(Path(f"/proc/{pid}/stat").read_text().split(") ")[1].split()[1]) > 0:
                return pid
        raise AssertionError(f"no process {comm}")

    @asynccontextmanager
    async def supervisor(self) -> AsyncIterator[Supervisor]:
        """A supervisor for the length of a block; afterwards its keeper is stopped and nothing may be left."""
        supervisor = await self.connect()
        try:
            yield supervisor
            await self.finish(supervisor)
        finally:
            supervisor.close()

    async def finish(self, supervisor: Supervisor) -> None:
        for key, live in list(self.exits.items()):
            await supervisor.acknowledge(key)
            del live
        await supervisor.set_pool_size(0)
        await self.until(lambda: not self.layout.ids())
        await supervisor.stop_helpers()
        await self.until(lambda: not self.processes())
        self.layout.remove_parent()
        assert not any(os.path.exists(f"{tree.folder}/{self.layout.parent}") for tree in self.layout.hierarchies)


@pytest.fixture
def place() -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    root = Path(tempfile.mkdtemp(prefix="pier-t-"))
    made = Place(root)
    yield made
    for pid in made.processes():
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
    for id in made.layout.ids():
        made.layout.kill(id)
        made.layout.remove(id)
    made.layout.remove_parent()
    shutil.rmtree(root)
