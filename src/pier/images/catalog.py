"""All images in memory, as the tables and blobs have them: names are looked up here, in microseconds, on the loop's thread."""

import logging
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pier.content import ContentStore
from pier.errors import NotFound, PierError
from pier.images.image import Image, Layer
from pier.oci import image_config
from pier.oci import reference as references
from pier.oci.reference import Reference
from pier.store import Store

_log = logging.getLogger("pier.images")


class Catalog:
    """The images that are here. Only a committed transaction changes it (`put`, `drop`, `set_references`)."""

    def __init__(self) -> None:
        """An empty catalog."""
        self._images: dict[str, Image] = {}
        self._by_key: dict[str, str] = {}
        self._sorted_ids: list[str] = []

    @classmethod
    def read(cls, store: Store, content: ContentStore) -> "Catalog":
        """What the tables say; an image whose configuration is missing or damaged is left out, with a line in the log."""
        catalog = cls()
        layers = {row["diff_id"]: Layer(*row) for row in store.read("SELECT diff_id, size_bytes, blob_digest, media_type FROM layers")}
        stacks: dict[str, list[Layer]] = {}
        for row in store.read("SELECT image_id, diff_id FROM image_layers ORDER BY image_id, position"):
            stacks.setdefault(row["image_id"], []).append(layers[row["diff_id"]])
        names: dict[str, list[Reference]] = {}
        for row in store.read("SELECT reference, image_id FROM tags"):
            names.setdefault(row["image_id"], []).append(references.from_key(row["reference"]))
        for row in store.read("SELECT id, manifest_digest, parent, added_ns, last_tag_ns, hidden FROM images"):
            identity = row["id"]
            try:
                data = content.read(identity)
                config = image_config.parse(data)
            except PierError as error:
                _log.error("image %s cannot be used: %s", identity, error)
                continue
            image = Image(identity, config, data, tuple(stacks.get(identity, ())), manifest=row["manifest_digest"], parent=row["parent"],
                          added_ns=row["added_ns"], last_tag_ns=row["last_tag_ns"], hidden=bool(row["hidden"]))  # fmt: skip
            catalog.put(image)
            catalog.set_references(identity, names.get(identity, ()))
        return catalog

    def put(self, image: Image) -> None:
        """Add an image, or exchange it for its new value; its references are taken over as they are."""
        if image.id not in self._images:
            self._sorted_ids.insert(bisect_left(self._sorted_ids, image.id), image.id)
        self._images[image.id] = image
        for name in image.references:
            self._by_key[references.key_of(name)] = image.id

    def drop(self, identity: str) -> None:
        """Forget an image and its names."""
        image = self._images.pop(identity, None)
        if image:
            del self._sorted_ids[bisect_left(self._sorted_ids, identity)]
            for name in image.references:
                self._by_key.pop(references.key_of(name), None)

    def set_references(self, identity: str, names: Iterable[Reference], last_tag_ns: int | None = None) -> Image:
        """Give an image these names and no others; a name that another image had is taken from it."""
        image = self._images[identity]
        wanted = {references.key_of(name): name for name in names}
        for name in image.references:
            if references.key_of(name) not in wanted:
                self._by_key.pop(references.key_of(name), None)
        for key in wanted:
            before = self._by_key.get(key)
            if before not in (None, identity):
                other = self._images[str(before)]
                self._images[other.id] = replace(other, references=tuple(name for name in other.references if references.key_of(name) != key))
            self._by_key[key] = identity
        ordered = tuple(sorted(wanted.values(), key=references.key_of))
        changed = replace(image, references=ordered, last_tag_ns=image.last_tag_ns if last_tag_ns is None else last_tag_ns)
        self._images[identity] = changed
        return changed

    def __iter__(self) -> Iterator[Image]:
        """All images but the hidden ones."""
        return iter([image for image in self._images.values() if not image.hidden])

    def hide(self, identity: str) -> None:
        """Make an image one that only the containers made from it know."""
        self._images[identity] = replace(self._images[identity], hidden=True)

    def everything(self) -> list[Image]:
        """All images, hidden ones too."""
        return list(self._images.values())

    def hidden(self) -> list[Image]:
        """Those that wait for the last container that uses them."""
        return [image for image in self._images.values() if image.hidden]

    def get(self, identity: str) -> Image | None:
        """By the whole ID, hidden ones too."""
        return self._images.get(identity)

    def named(self, name: Reference) -> Image | None:
        """The image that carries this very name (`latest` where it has neither tag nor digest)."""
        return self._images.get(self._by_key.get(references.key_of(name), ""))

    def resolve(self, text: str) -> Image:
        """What a user's text means: a name, else an ID or the unambiguous beginning of one.

        Raises Invalid for a text that is neither, NotFound with Docker's words.
        """
        wanted = references.parse_any(text)
        found = self._images.get(wanted) if isinstance(wanted, str) else self.named(wanted) or self._by_prefix(text)
        if found is None or found.hidden:
            raise NotFound(f"No such image: {references.shown(wanted)}")
        return found

    def _by_prefix(self, text: str) -> Image | None:
        prefix = "sha256:" + text.removeprefix("sha256:")
        at = bisect_left(self._sorted_ids, prefix)
        matching: list[Image] = []
        while at < len(self._sorted_ids) and self._sorted_ids[at].startswith(prefix) and len(matching) < 2:
            image = self._images[self._sorted_ids[at]]
            if not image.hidden:
                matching.append(image)
            at += 1
        return matching[0] if len(matching) == 1 and prefix != "sha256:" else None

    def children(self, identity: str) -> list[Image]:
        """The images made here from that one."""
        return [image for image in self if image.parent == identity]

    def layer_users(self, diff_id: str) -> list[str]:
        """IDs of all images, hidden ones too, that have a layer."""
        return [image.id for image in self._images.values() if diff_id in image.diff_ids]
