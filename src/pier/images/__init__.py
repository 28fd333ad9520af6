"""Images: what is here, what it is called, and the verbs on it, one file each.

    images, tags, layers, image_layers    the tables (schema.py); catalog.py has them in memory
    <data-root>/content                   configuration and manifest of each image, compressed layers where they came so
    <data-root>/layers                    the layers, stored once whatever the number of images that have them

True at every instant: a row names only files that are there; a name stands for one image, or for one index and the images of it that are
here, one for each platform (names.Meaning); an image's ID is the digest of its configuration. What nothing needs goes (garbage.py).
Files without a row are what a daemon that died left: `repair` collects them.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Sequence

from pier.api.models.images import DeleteItem, HistoryItem, ImageInspect, ImageSummary, PruneReport
from pier.content import ContentStore
from pier.errors import Invalid, NotFound
from pier.events import Journal
from pier.images import check as _check
from pier.images import derive as _derive
from pier.images import diff as _diff
from pier.images import history as _history
from pier.images import import_ as _import
from pier.images import inspect as _inspect
from pier.images import listing as _listing
from pier.images import load as _load
from pier.images import progress, push_plan
from pier.images import prune as _prune
from pier.images import pull as _pull
from pier.images import push as _push
from pier.images import remove as _remove
from pier.images import repair as _repair
from pier.images import save as _save
from pier.images import squash as _squash
from pier.images import tag as _tag
from pier.images.catalog import Catalog
from pier.images.context import Context, HasLayers, LayerStore, Users, WorkerPool
from pier.images.derive import Recipe, Source
from pier.images.filters import Filters
from pier.images.image import Image, Layer
from pier.images.pull_layers import Transfers
from pier.images.pull_plan import Asked
from pier.images.push_layers import Uploads
from pier.images.remote import Remote
from pier.images.save import Archive
from pier.images.schema import SCHEMA, STEPS
from pier.oci.platform import Platform
from pier.registry.credentials import Credentials
from pier.store import Store

__all__ = ["SCHEMA", "STEPS", "Image", "Images", "Layer", "LayerStore", "Users", "WorkerPool"]


class Images:
    """The images of this daemon; use from the loop's thread. Errors carry Docker's words (pier.errors)."""

    def __init__(
        self, store: Store, content: ContentStore, snapshots: HasLayers, workers: WorkerPool, journal: Journal, remote: Remote | None = None
    ) -> None:
        """Read what the tables name. snapshots: whose `layers` is the store of layers that it chose. remote: the registries."""
        self._ctx = Context(store, content, snapshots.layers, workers, journal, Catalog.read(store, content), remote or Remote())
        self._transfers = Transfers(self._ctx)
        self._uploads = Uploads(self._ctx)

    @property
    def remote(self) -> Remote:
        """The registries."""
        return self._ctx.remote

    def resolve(self, name: str, platform: Platform | None = None) -> Image:
        """What a user's text means: name, ID or the beginning of one.

        platform: take the image of that name for it; None: for this machine, else the newest. Raises NotFound, also where it is here for
        other platforms only, and Invalid.
        """
        return self._ctx.catalog.resolve(name, platform)

    def carries(self, name: str, identity: str) -> bool:
        """Whether a user's text still means that image, for one platform or another."""
        with contextlib.suppress(NotFound, Invalid):
            return identity in (image.id for image in self._ctx.catalog.meant(name))
        return False

    def by_id(self, identity: str) -> Image:
        """By the whole ID; also an image that was removed by force while containers use it. Raises NotFound."""
        image = self._ctx.catalog.get(identity)
        if image is None:
            raise NotFound(f"No such image: {identity}")
        return image

    @contextlib.contextmanager
    def hold(self, identity: str) -> Iterator[None]:
        """While a container is being made from it, an image cannot be removed; from its record on, `users` tells of the container."""
        self._ctx.held[identity] += 1
        try:
            yield
        finally:
            self._ctx.held[identity] -= 1

    def load(self, stream: AsyncIterator[bytes], quiet: bool = False, platform: Platform | None = None) -> AsyncIterator[progress.Line]:
        """Take every image of an archive (docker-archive or OCI layout) or none; the lines of Docker's progress, errors among them."""
        return _load.load(self._ctx, stream, quiet, platform)

    def pull(self, asked: Asked, platform: Platform | None = None, credentials: Credentials | None = None) -> AsyncGenerator[progress.Line, None]:
        """Fetch an image, or what is missing of it; the lines of Docker's pull. What goes wrong before the first is raised. See pull.pull."""
        return _pull.pull(self._ctx, self._transfers, asked, platform, credentials)

    def save(
        self, names: Sequence[str], platforms: Sequence[Platform] = (), without: Collection[str] = ()
    ) -> contextlib.AbstractAsyncContextManager[Archive]:
        """An archive of images, for the time of the block. See save.save."""
        return _save.save(self._ctx, names, platforms, without)

    def open_tar(self, diff_id: str) -> int:
        """A descriptor to read a layer's tar from, once, front to back, the caller's; from any thread. Raises NotFound."""
        return self._ctx.layers.open_tar(diff_id)

    def push(
        self, asked: push_plan.Asked, platform: Platform | None = None, credentials: Credentials | None = None
    ) -> AsyncIterator[progress.Line]:
        """Send an image to its registry, or what is missing of it there; the lines of Docker's push, errors among them. See push.push.

        Raises NotFound at once for a platform that the name does not have here.
        """
        _push.check(self._ctx, asked, platform)
        return _push.push(self._ctx, self._uploads, asked, platform, credentials)

    async def import_(
        self,
        stream: AsyncIterator[bytes],
        *,
        repo: str = "",
        tag: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        platform: str = "",
        version: str = "",
    ) -> str:
        """Make an image of one layer from a tar; returns its ID. See import_.import_."""
        return await _import.import_(
            self._ctx, stream, repo=repo, tag=tag, message=message, changes=changes, platform=platform, version=version
        )

    async def derive(self, parent: Image, source: Source, recipe: Recipe) -> str:
        """Make an image of what a container of `parent` wrote; returns its ID. See derive.derive."""
        return await _derive.derive(self._ctx, parent, source, recipe)

    async def squash(self, name: str, repo: str = "", tag: str = "", since: str = "") -> str:
        """Make an image that shows the same with fewer layers; returns its ID. See squash.squash."""
        return await _squash.squash(self._ctx, name, repo, tag, since)

    def check(self, asked: _check.Asked, users: Users) -> AsyncIterator[progress.Line]:
        """Verify what images stand on, and repair it where asked; lines of progress and a report. See check.check."""
        return _check.check(self._ctx, self._transfers, users, asked)

    async def diff(self, before: str, after: str) -> tuple[bytes, int, int]:
        """What one image shows and says that another does not. See diff.diff."""
        return await _diff.diff(self._ctx, before, after)

    async def tag(self, name: str, repo: str, tag: str = "") -> bool:
        """One more name for an image; False where `repo` is empty. Raises NotFound, Invalid."""
        return await _tag.tag(self._ctx, name, repo, tag)

    async def remove(self, name: str, force: bool, noprune: bool, users: Users, platforms: Sequence[Platform] = ()) -> list[DeleteItem]:
        """Take a name away, and the image with its last one. See remove.remove."""
        return await _remove.remove(self._ctx, name, users, force=force, noprune=noprune, platforms=platforms)

    async def release(self, identity: str, users: Users) -> None:
        """Call it when a container is removed: an image that was removed by force goes with the last container made from it."""
        await _repair.release(self._ctx, identity, users)

    async def prune(self, filters: Filters, users: Users) -> PruneReport:
        """Remove what has no name, or all that is not used. See prune.prune."""
        return await _prune.prune(self._ctx, filters, users)

    async def repair(self, users: Users) -> list[str]:
        """At start, once the containers are known: collect what a dead daemon left. Returns a line for each thing done."""
        return await _repair.repair(self._ctx, users)

    async def keep_tidy(self) -> None:
        """Runs till it is cancelled: removes what is left of old unfinished pulls, once a day."""
        await _repair.keep_tidy(self._ctx)

    def close(self) -> None:
        """Let go of the registries."""
        self._ctx.remote.close()

    def list(self, filters: Filters, *, all: bool = False, shared_size: bool = False, users: Users | None = None) -> list[ImageSummary]:
        """The images, the newest first. Raises Invalid for a wrong filter, NotFound where one names no image."""
        count = (lambda identity: len(users(identity))) if users else None
        return _listing.list_images(self._ctx.catalog, filters, all=all, shared_size=shared_size, containers=count)

    async def list_with_manifests(
        self, filters: Filters, users: Users, *, all: bool = False, shared_size: bool = False
    ) -> Sequence[ImageSummary]:
        """The same, each index once, with all its manifests and what they take on the disk. See listing.list_targets."""
        return await _listing.list_targets(self._ctx, filters, users, all=all, shared_size=shared_size)

    async def disk_usage(self, users: Users) -> tuple[int, Sequence[ImageSummary]]:
        """For GET /system/df. See listing.disk_usage."""
        return await _listing.disk_usage(self._ctx, users)

    def count(self) -> int:
        """How many images there are (`Images` of GET /info)."""
        return sum(1 for _ in self._ctx.catalog)

    async def inspect(self, name: str, platform: Platform | None = None, *, manifests: bool = False, users: Users | None = None) -> ImageInspect:
        """All that is known of an image; with `manifests` also of the others that the name stands for. See inspect.inspect."""
        return await _inspect.inspect(self._ctx, name, platform, manifests, users or (lambda identity: ()))

    def history(self, name: str, platform: Platform | None = None) -> Sequence[HistoryItem]:
        """How it was made, the newest step first. Raises NotFound, Invalid."""
        return _history.history(self._ctx.catalog, name, platform)
