"""One image on its way: its configuration and layers to the registry, then the manifest that names them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pier.images import push_plan
from pier.images.context import Context
from pier.images.push_layers import Destination, Uploads, all_of
from pier.images.push_plan import LayerTask, Part, Placed
from pier.images.push_report import EXISTS, FOREIGN, PREPARING, Report
from pier.oci import digest as digests
from pier.oci.manifest import Manifest
from pier.oci.reference import Reference


@dataclass(frozen=True)
class Sent:
    """An image whose blobs are all at the registry, and its manifest, which is to be put there. made: it is a new one."""

    part: Part
    data: bytes
    media_type: str
    made: bool
    placed: tuple[Placed, ...]

    @property
    def digest(self) -> str:
        """The manifest's."""
        return digests.of(self.data)


class Sender:
    """Sends the images of one request; what it has placed for one it does not ask after again for the next."""

    def __init__(self, ctx: Context, uploads: Uploads, to: Destination, report: Report) -> None:
        self._ctx, self._uploads, self._to, self._report = ctx, uploads, to, report
        self._there: dict[tuple[str, str], Placed] = {}
        self._configurations: set[bytes] = set()

    def begin(self, part: Part) -> "Sending":
        """Read what is known of an image, and tell of its layers, the top one first. Blocking for the time of a small file."""
        own = self._own(part)
        tasks = push_plan.tasks(part.image, own[1] if own else None)
        for task in reversed(tasks):
            self._report.layer(task.diff_id, PREPARING)
        return Sending(self, part, own, tasks)

    def is_own(self, part: Part) -> bool:
        """Whether the image goes with the manifest by which it is meant, as far as is known before. Blocking for the time of a small file."""
        return self._own(part) is not None

    async def blob(self, digest: str, origins: Sequence[Reference]) -> None:
        """Have a blob there that is kept here as it is to be. origins: where else the registry may have it. Raises PierError, OSError."""
        await self._uploads.place_kept(self._to, digest, origins)

    def _own(self, part: Part) -> tuple[bytes, Manifest] | None:
        """The manifest that is sent as it is, if there is one."""
        if part.manifest is None:
            return None
        data = self._ctx.content.read(part.manifest)
        document = push_plan.kept(data, part, push_plan.known_elsewhere(self._ctx.catalog, part))
        return (data, document) if document else None

    async def layer(self, task: LayerTask) -> Placed:
        """Have a layer there. Raises PierError, OSError."""
        if there := self._there.get(task.key):
            self._report.layer(task.diff_id, EXISTS)
            return there
        placed = self._there[task.key] = await self._uploads.place(self._to, task, self._report)
        return placed

    def there(self, task: LayerTask) -> Placed:
        """A layer that is there as its manifest has it."""
        assert task.wanted
        how = FOREIGN if push_plan.is_foreign(task.wanted) else EXISTS
        self._report.layer(task.diff_id, how)
        return Placed(task.diff_id, task.wanted.digest, task.wanted.size, task.wanted.media_type, how)

    async def configuration(self, data: bytes) -> None:
        """Have a configuration there. Raises PierError."""
        if data not in self._configurations:
            await self._uploads.place_bytes(self._to, data)
            self._configurations.add(data)


@dataclass(frozen=True)
class Sending:
    """An image that was begun."""

    sender: Sender
    part: Part
    own: tuple[bytes, Manifest] | None
    tasks: Sequence[LayerTask]

    @property
    def digest(self) -> str | None:
        """Of the manifest that it is sent with, where that is known."""
        return digests.of(self.own[0]) if self.own else None

    def there(self) -> Sent:
        """It is at the registry already, by its own manifest."""
        assert self.own
        data, manifest = self.own
        return Sent(self.part, data, push_plan.announced(manifest), False, tuple(self.sender.there(task) for task in self.tasks))

    async def send(self) -> Sent:
        """Its blobs, all at once. Raises PierError, OSError."""
        once = {task.key: task for task in self.tasks}
        layers, _ = await all_of([self._layers(list(once.values())), self._configuration()])
        by_key = dict(zip(once, layers, strict=True))
        placed = tuple(by_key[task.key] for task in self.tasks)
        if self.own and all(task.wanted and task.wanted.digest == layer.digest for task, layer in zip(self.tasks, placed, strict=True)):
            data, manifest = self.own
            return Sent(self.part, data, push_plan.announced(manifest), False, placed)
        data, media_type = push_plan.manifest_of(self.part.image, placed, self.own[1] if self.own else None)
        return Sent(self.part, data, media_type, True, placed)

    async def _layers(self, tasks: Sequence[LayerTask]) -> list[Placed]:
        return await all_of([self.sender.layer(task) for task in tasks])

    async def _configuration(self) -> list[Placed]:
        await self.sender.configuration(self.part.image.config_bytes)
        return []
