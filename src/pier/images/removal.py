"""What removing an image would do: decided here, on values, before anything is touched. Docker's rules and words.

A name is taken first; the image goes with its last name. "Soft" reasons against it yield to force, "hard" ones do not.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pier.api.models.images import DeleteItem
from pier.errors import Conflict, NotFound
from pier.images.catalog import Catalog
from pier.images.context import Users
from pier.images.image import Image
from pier.images.names import means_id, short_id
from pier.oci import digest as digests
from pier.oci.platform import Platform
from pier.oci.reference import Reference


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
    platforms: Sequence[Platform] = (),
) -> Removal:
    """The removal of what `text` names: of a name, all its platforms.

    users: the containers of an image. force: soft reasons do not count. prune: go on with parents that nothing else needs. held: images
    that a container is being made from. platforms: remove only the images for these, as by their IDs. Raises NotFound, Invalid, Conflict.
    """
    image = catalog.resolve(text)
    removal = Removal()
    world = _World(catalog, users, held, removal)
    name = None if means_id(image.id, text) else catalog.name_of(text)
    if platforms:
        for chosen in _for_platforms(text, catalog.variants(name) if name else [image], platforms):
            world.remove(chosen, force=force, prune=prune)
    elif name:
        _plan_name(world, text, name, catalog.variants(name), force=force, prune=prune)
    else:
        world.remove(image, force=force, prune=prune)
    return removal


def plan_unused(catalog: Catalog, images: Iterable[Image], users: Users, *, held: frozenset[str] = frozenset()) -> Removal:
    """The removal of those of the images, under all their names, that no container uses and no child needs."""
    removal = Removal()
    world = _World(catalog, users, held, removal)
    for image in images:
        world.remove_unused(image)
    return removal


def _plan_name(world: "_World", text: str, name: Reference, variants: Sequence[Image], *, force: bool, prune: bool) -> None:
    for image in variants:
        if not force and _single(image.references) and (using := world.users(image.id)):
            raise Conflict(
                f'conflict: unable to remove repository reference "{text}" (must force) - container {using[0][0][:12]} is using its referenced '
                f"image {short_id(image.id)}"
            )
    for image in variants:
        world.take(image, name)
    for image in variants:
        if not world.references(image):
            world.delete(image, force=force, prune=prune, quiet=True)


def _for_platforms(text: str, variants: Sequence[Image], platforms: Sequence[Platform]) -> list[Image]:
    chosen: dict[str, Image] = {}
    for platform in platforms:
        found = [image for image in variants if image.config.platform == platform]
        if not found:
            raise NotFound(f"image with reference {text} was found but does not provide the specified platform ({platform})")
        chosen.update((image.id, image) for image in found)
    return list(chosen.values())


class _World:
    """The catalog as it will be, once what is planned so far has happened."""

    def __init__(self, catalog: Catalog, users: Users, held: frozenset[str], removal: Removal) -> None:
        self._catalog, self.users, self._held, self._removal = catalog, users, held, removal
        self._gone: set[str] = set()  # IDs; also of those that stay, hidden, for their containers
        self._losers: defaultdict[Reference, set[str]] = defaultdict(set)  # name -> IDs of the images that lose it
        self._children: defaultdict[str, set[str]] = defaultdict(set)
        for child in catalog:
            if child.parent:
                self._children[child.parent].add(child.id)

    def references(self, image: Image) -> list[Reference]:
        return [name for name in image.references if image.id not in self._losers[name]]

    def children(self, image: Image) -> bool:
        return not self._children[image.id] <= self._gone

    def take(self, image: Image, asked: Reference) -> None:
        """Plan to take a name from an image. Digests of a repository go with its last tag."""
        taken = [name for name in image.references if _same(name, asked)]
        left = [name for name in image.references if name not in taken]
        if not asked.digest and not any(name.tag for name in left if name.repository == asked.repository):
            taken += [name for name in left if name.repository == asked.repository]
        self.untag(image, taken)

    def untag(self, image: Image, names: Sequence[Reference]) -> None:
        """Plan to take names; the answer tells of one when no image has it any more."""
        for name in names:
            self._removal.untagged.append((image, name))
            self._losers[name].add(image.id)
            meaning = self._catalog.meaning(name)
            if meaning is None or self._losers[name].issuperset(meaning.images):
                self._removal.items.append(DeleteItem(untagged=str(name)))

    def remove(self, image: Image, *, force: bool, prune: bool) -> None:
        """Plan the end of an image that was asked for by its ID: with the names of one repository at once, with more by force."""
        if _single(image.references):
            if reason := self.reason(image, force=force, references=False):
                raise _conflict(image, reason)
            self.untag(image, image.references)
        self.delete(image, force=force, prune=prune, quiet=False)

    def remove_unused(self, image: Image) -> None:
        """Plan the end of an image and its names, if there is no reason against it."""
        if image.id not in self._gone and not self.reason(image, force=False, references=False):
            self.untag(image, image.references)
            self.delete(image, force=False, prune=True, quiet=True)

    def reason(self, image: Image, *, force: bool, references: bool) -> _Reason | None:
        """Why an image may not go; references: whether names that it still has are one."""
        using = self.users(image.id)
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
        self._gone.add(image.id)
        if self.users(image.id):
            removal.hidden.append(image)
        removal.items.append(DeleteItem(deleted=image.id))
        removal.items += [DeleteItem(deleted=chain) for chain in self._freed_chains(image)]
        parent = self._catalog.get(image.parent) if prune and image.parent else None
        if parent and not parent.hidden:
            self.delete(parent, force=False, prune=True, quiet=True)

    def _freed_chains(self, image: Image) -> list[str]:
        """Chain IDs of the layers that no image needs any more, the top one first."""
        leaving = self._gone - {other.id for other in self._removal.hidden}
        chains = []
        for depth in range(len(image.diff_ids), 0, -1):
            stack = image.diff_ids[:depth]
            staying = (self._catalog.get(identity) for identity in self._catalog.having(stack[-1]) if identity not in leaving)
            if any(other and other.diff_ids[:depth] == stack for other in staying):
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
