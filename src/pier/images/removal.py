"""What removing an image would do: decided here, on values, before anything is touched. Docker's rules and words.

A name is taken first; the image goes with its last name. "Soft" reasons against it yield to force, "hard" ones do not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pier.api.models.images import DeleteItem
from pier.errors import Conflict
from pier.images.catalog import Catalog
from pier.images.context import Users
from pier.images.image import Image
from pier.images.names import means_id, short_id
from pier.oci import digest as digests
from pier.oci.reference import Reference, parse


@dataclass
class Removal:
    """A plan. `items` is the answer; `untagged` and `gone` are what happens, in order; of `gone`, `hidden` stay for their containers."""

    items: list[DeleteItem] = field(default_factory=list)
    untagged: list[tuple[Image, Reference]] = field(default_factory=list)
    gone: list[Image] = field(default_factory=list)
    hidden: list[Image] = field(default_factory=list)


@dataclass(frozen=True)
class _Reason:
    text: str
    hard: bool
    used: bool


def plan(
    catalog: Catalog,
    text: str,
    users: Users,
    *,
    force: bool,
    prune: bool,
    held: frozenset[str] = frozenset(),
    only: Callable[[Image], bool] = lambda image: True,
) -> Removal:
    """The removal of what `text` names: of a name, all its platforms.

    users: the containers of an image. force: soft reasons do not count. prune: go on with parents that nothing else needs. held: images
    that a container is being made from. only: those of a name's images that are meant. Raises NotFound, Invalid, Conflict.
    """
    image = catalog.resolve(text)
    removal = Removal()
    world = _World(catalog, users, held, removal)
    if means_id(image.id, text):
        if _single(image.references):
            if reason := world.reason(image, force=force, references=False):
                raise _conflict(image, reason)
            world.untag(image, image.references)
        world.delete(image, force=force, prune=prune, quiet=False)
        return removal
    asked = parse(text).with_default_tag()
    meant = [variant for variant in catalog.variants(asked) if only(variant)]
    for variant in meant:
        if not force and _single(variant.references) and (using := users(variant.id)):
            raise Conflict(
                f'conflict: unable to remove repository reference "{text}" (must force) - container {using[0][0][:12]} is using its referenced '
                f"image {short_id(variant.id)}"
            )
    left = {variant.id: world.take(variant, asked) for variant in meant}
    for variant in meant:
        if not left[variant.id]:
            world.delete(variant, force=force, prune=prune, quiet=True)
    return removal


class _World:
    """The catalog as it will be, once what is planned so far has happened."""

    def __init__(self, catalog: Catalog, users: Users, held: frozenset[str], removal: Removal) -> None:
        self._catalog, self._users, self._held, self._removal = catalog, users, held, removal

    def references(self, image: Image) -> list[Reference]:
        taken = [name for owner, name in self._removal.untagged if owner.id == image.id]
        return [name for name in image.references if name not in taken]

    def children(self, image: Image) -> list[Image]:
        gone = {other.id for other in self._removal.gone}
        return [child for child in self._catalog.children(image.id) if child.id not in gone]

    def take(self, image: Image, asked: Reference) -> list[Reference]:
        """Plan to take a name from an image; returns the names that it keeps. Digests of a repository go with its last tag."""
        taken = [name for name in image.references if _same(name, asked)]
        left = [name for name in image.references if name not in taken]
        if not asked.digest and not any(name.tag for name in left if name.repository == asked.repository):
            taken += [name for name in left if name.repository == asked.repository]
        self.untag(image, taken)
        return self.references(image)

    def untag(self, image: Image, names: Sequence[Reference]) -> None:
        for name in names:
            told = any(other == name for _, other in self._removal.untagged)
            self._removal.untagged.append((image, name))
            if not told:
                self._removal.items.append(DeleteItem(untagged=str(name)))

    def reason(self, image: Image, *, force: bool, references: bool) -> _Reason | None:
        """Why an image may not go; references: whether names that it still has are one."""
        using = self._users(image.id)
        running = next((container for container, is_running in using if is_running), None)
        if self.children(image):
            return _Reason("image has dependent child images", hard=True, used=False)
        if running:
            return _Reason(f"image is being used by running container {running[:12]}", hard=True, used=True)
        if image.id in self._held:
            return _Reason("image is being used by a container that is being created", hard=True, used=True)
        if force:
            return None
        if references and self.references(image):
            return _Reason("image is referenced in multiple repositories", hard=False, used=False)
        if using:
            return _Reason(f"image is being used by stopped container {using[0][0][:12]}", hard=False, used=True)
        return None

    def delete(self, image: Image, *, force: bool, prune: bool, quiet: bool) -> None:
        """Plan the end of an image and, with `prune`, of the parents that nothing needs. quiet: a reason against it just ends this."""
        if reason := self.reason(image, force=force, references=True):
            dangling = not self.references(image) and not self.children(image)
            if quiet and (not dangling or reason.used):
                return
            raise _conflict(image, reason)
        self.untag(image, self.references(image))
        removal = self._removal
        removal.gone.append(image)
        if self._users(image.id):
            removal.hidden.append(image)
        removal.items.append(DeleteItem(deleted=image.id))
        removal.items += [DeleteItem(deleted=chain) for chain in self._freed_chains(image)]
        parent = self._catalog.get(image.parent) if prune and image.parent else None
        if parent and not parent.hidden:
            self.delete(parent, force=False, prune=True, quiet=True)

    def _freed_chains(self, image: Image) -> list[str]:
        """Chain IDs of the layers that no image needs any more, the top one first."""
        hidden = {other.id for other in self._removal.hidden}
        gone = {other.id for other in self._removal.gone}
        staying = [other for other in self._catalog.everything() if other.id not in gone or other.id in hidden]
        chains = []
        for depth in range(len(image.diff_ids), 0, -1):
            stack = image.diff_ids[:depth]
            if any(other.diff_ids[:depth] == stack for other in staying):
                break
            chains.append(digests.chain_id(stack))
        return chains


def _same(name: Reference, asked: Reference) -> bool:
    if name.repository != asked.repository:
        return False
    return name.digest == asked.digest if asked.digest else name.tag == asked.tag


def _single(names: Sequence[Reference]) -> bool:
    """Whether taking one name takes all: at most one tag, and digests of its repository only."""
    if len(names) <= 1:
        return True
    tags = [name for name in names if not name.digest]
    repositories = {name.repository for name in names if name.digest}
    if len(tags) > 1:
        return False
    first = tags[0] if tags else names[0]
    return repositories == {first.repository}


def _conflict(image: Image, reason: _Reason) -> Conflict:
    how = "cannot be forced" if reason.hard else "must be forced"
    return Conflict(f"conflict: unable to delete {short_id(image.id)} ({how}) - {reason.text}")
