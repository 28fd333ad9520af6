"""Images with the real worker and the real kinds of layers, in this process."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from pier.archive.workers import Workers
from pier.content import ContentStore
from pier.events import Journal
from pier.images import STEPS, Images
from pier.images.pull_plan import asked
from pier.images.remote import Remote
from pier.ipc.aio import AsyncChannel
from pier.ipc.channel import pair
from pier.oci import platform as platforms
from pier.registry.config import RegistryConfig
from pier.snapshots.layers import ErofsLayers, UnpackedLayers
from pier.store import Store

WORKER = "import sys; from pier.archive.worker import main; main(int(sys.argv[1]))"
Layers = ErofsLayers | UnpackedLayers


class Provider:
    """Worker processes for Workers, started here; `environment` is theirs."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.environment = dict(environment or {})
        self._channels: list[AsyncChannel] = []
        self._free: list[AsyncChannel] = []
        self._on_event: Callable[[Any, list[int]], None] | None = None

    def listen(self, name: str, on_event: Callable[[Any, list[int]], None], /) -> None:
        self._on_event = on_event

    async def worker(self) -> AsyncChannel:
        while self._free:
            if not (channel := self._free.pop()).closed:
                return channel
        ours, theirs = pair()
        with theirs:
            command = [sys.executable, "-c", WORKER, str(theirs.fileno())]
            self.processes.append(subprocess.Popen(command, pass_fds=[theirs.fileno()], env={**os.environ, **self.environment}))
        self._channels.append(AsyncChannel(ours, self._on_event))
        return self._channels[-1]

    def release_worker(self, channel: AsyncChannel, /) -> None:
        self._free.append(channel)

    def close(self) -> None:
        for channel in self._channels:
            channel.close()
        for process in self.processes:
            process.wait(10)


class Snapshots:
    """What Images take of pier.snapshots."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers


class World:
    """Images and everything below them, in the folder `root`, which the next one finds as this one left it."""

    def __init__(self, root: Path, kind: str, config: RegistryConfig | None = None, worker_environment: Mapping[str, str] | None = None) -> None:
        (root / "layers").mkdir(exist_ok=True)
        self.root, self.provider = root, Provider(worker_environment)
        self.layers: Layers = ErofsLayers(root / "layers") if kind == "erofs" else UnpackedLayers(root / "layers")
        self.store, self.content, self.journal = Store.open(root / "state.db", STEPS), ContentStore(root / "content"), Journal()
        workers = Workers(self.provider)
        self.images = Images(self.store, self.content, Snapshots(self.layers), workers, self.journal, Remote(config))

    async def load(self, data: bytes, quiet: bool = True) -> list[dict[str, Any]]:
        return [line async for line in self.images.load(chunked(data), quiet)]

    async def pull(self, image: str, tag: str = "", platform: str = "", **more: Any) -> list[dict[str, Any]]:
        """The lines; raises what is raised before the first of them."""
        wanted = platforms.parse(platform) if platform else None
        return [line async for line in self.images.pull(asked(image, tag), wanted, **more)]

    def left(self) -> list[str]:
        """Every file of layers and content; the layers' own content is not looked into."""
        self.layers.wait_removed()
        paths = [path for folder in ("layers", "content") for path in (self.root / folder).rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(self.root)) for path in paths)

    def ingests(self) -> list[str]:
        return sorted(os.listdir(self.root / "content" / "ingests"))

    def close(self) -> None:
        self.images.close()
        self.provider.close()
        self.layers.close()
        self.store.close()


async def chunked(data: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]
        await asyncio.sleep(0)


def tell(root: Path, kind: str, story: Callable[[World], Awaitable[None]], config: RegistryConfig | None = None, limit_s: float = 60.0,
         worker_environment: Mapping[str, str] | None = None) -> None:  # fmt: skip
    """Run a story in a world of its own loop."""

    async def main() -> None:
        world = World(root, kind, config, worker_environment)
        try:
            async with asyncio.timeout(limit_s):
                await story(world)
        finally:
            world.close()

    asyncio.run(main())
