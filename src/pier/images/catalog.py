"""All images in memory, as the tables and blobs have them: names are looked up here, in microseconds, on the loop's thread."""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace

from pier.content import ContentStore
from pier.errors import NotFound, PierError
from pier.images import attestations
from pier.images.image import Blob, Image, Layer
from pier.images.names import Attestation, Meaning, order
from pier.oci import image_config
from pier.oci import platform as platforms
from pier.oci import reference as references
from pier.oci.platform import Platform
from pier.oci.reference import Reference, key_of
from pier.store import Store

_HEX, _SHORT_ID = frozenset("0123456789abcdef"), 12
_log = logging.getLogger("pier.images")


class Catalog:
    """The images that are here. Only a committed transaction changes it (`put`, `drop`, `give`, `take`, `tagged`).

    A name may mean several images: one for each platform, of one index. `Image.references` are the names that mean the image.
    Images that share a layer have the same value of it.
    """

    def __init__(self) -> None:
        """An empty catalog."""
        self._images: dict[str, Image] = {}
        self._meanings: dict[str, Meaning] = {}
        self._sorted_ids: list[str] = []
        self._having: dict[str, set[str]] = {}  # diff ID -> IDs of the images that have the layer
        self._uses: Counter[str] = Counter()  # digest -> how many images and names stand on it

    @classmethod
    def read(cls, store: Store, content: ContentStore) -> "Catalog":
        """What the tables say; an image whose configuration is missing or damaged is left out, with a line in the log."""
        catalog = cls()
        blobs: dict[str, list[Blob]] = {}
        for row in store.read("SELECT diff_id, digest, media_type FROM layer_blobs"):
            blobs.setdefault(row["diff_id"], []).append(Blob(row["digest"], row["media_type"]))
        layers = {
            row["diff_id"]: Layer(row["diff_id"], row["size_bytes"], tuple(blobs.get(row["diff_id"], ())))
            for row in store.read("SELECT diff_id, size_bytes FROM layers")
        }
        stacks: dict[str, list[Layer]] = {}
        for row in store.read("SELECT image_id, diff_id FROM image_layers ORDER BY image_id, position"):
            stacks.setdefault(row["image_id"], []).append(layers[row["diff_id"]])
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
        meanings: dict[str, Meaning] = {}
        about: dict[tuple[str | None, str | None], tuple[Attestation, ...]] = {}
        for row in store.read("SELECT reference, image_id, manifest_digest, index_digest FROM tags"):
            if row["image_id"] in catalog._images:
                by = row["index_digest"], row["manifest_digest"]
                if by not in about:
                    about[by] = attestations.kept(content, *by)
                meaning = Meaning(by[0], {row["image_id"]: by[1]}, {row["image_id"]: about[by]} if about[by] else {})
                meanings[row["reference"]] = meaning.joined(meanings.get(row["reference"]))
        for key, meaning in meanings.items():
            catalog.give(references.from_key(key), meaning)
        return catalog

    def put(self, image: Image) -> None:
        """Add an image, or exchange it for its new value; a reference that did not mean it so far means it alone from now on.

        Other images that have its layers get its values of them.
        """
        if image.id not in self._images:
            self._sorted_ids.insert(bisect_left(self._sorted_ids, image.id), image.id)
        self._exchange(image.id, image)
        layers = {layer.diff_id: layer for layer in image.layers}
        for other in {identity for diff_id in layers for identity in self._having[diff_id]} - {image.id}:
            stale = self._images[other]
            fresh = tuple(layers.get(layer.diff_id, layer) for layer in stale.layers)
            if fresh != stale.layers:
                self._exchange(other, replace(stale, layers=fresh))
        for name in image.references:
            before = self.meaning(name)
            if before is None or image.id not in before.images:
                self.give(name, Meaning(None, {image.id: image.manifest}))

    def drop(self, identity: str) -> None:
        """Forget an image and its names."""
        image = self._images.get(identity)
        if image:
            for name in image.references:
                self.take(name, identity)
            self._exchange(identity, None)
            del self._sorted_ids[bisect_left(self._sorted_ids, identity)]

    def _exchange(self, identity: str, image: Image | None) -> None:
        """The one place that sets or removes an entry; keeps what is derived from it."""
        before = self._images.pop(identity, None)
        if before:
            self._uses.subtract(before.contents())
            for layer in before.layers:
                self._having[layer.diff_id].discard(identity)
        if image:
            self._images[identity] = image
            self._uses.update(image.contents())
            for layer in image.layers:
                self._having.setdefault(layer.diff_id, set()).add(identity)

    def _stand_for(self, name: Reference, meaning: Meaning | None) -> None:
        """The same for what a name stands for."""
        before = self._meanings.pop(key_of(name), None)
        if before:
            self._uses.subtract(before.documents())
        if meaning:
            self._meanings[key_of(name)] = meaning
            self._uses.update(meaning.documents())

    def give(self, name: Reference, meaning: Meaning) -> None:
        """Let a name stand for exactly this: images that it meant before and that are not in it lose the name."""
        name = name.with_default_tag()
        before = self.meaning(name)
        for identity in before.images if before else ():
            if identity not in meaning.images:
                self._rename(identity, name, named=False)
        self._stand_for(name, meaning)
        for identity in meaning.images:
            self._rename(identity, name, named=True)

    def tagged(self, identity: str, now_ns: int) -> None:
        """Remember when an image got a name."""
        self._images[identity] = replace(self._images[identity], last_tag_ns=now_ns)

    def take(self, name: Reference, identity: str) -> None:
        """Let a name mean that image no more; a name without any image is gone."""
        before = self.meaning(name)
        if before and identity in before.images:
            left = before.without(identity)
            self._stand_for(name, left if left.images else None)
            self._rename(identity, name, named=False)

    def _rename(self, identity: str, name: Reference, *, named: bool) -> None:
        image = self._images[identity]
        wanted = {key_of(one): one for one in image.references if key_of(one) != key_of(name)}
        if named:
            wanted[key_of(name)] = name
        self._images[identity] = replace(image, references=tuple(sorted(wanted.values(), key=order)))

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

    def needs(self, digest: str) -> bool:
        """Whether an image or a name stands on this layer or blob."""
        return self._uses[digest] > 0

    def layer(self, diff_id: str) -> Layer | None:
        """A layer that images here have."""
        for identity in self._having.get(diff_id, ()):
            return next(layer for layer in self._images[identity].layers if layer.diff_id == diff_id)
        return None

    def having(self, diff_id: str) -> Collection[str]:
        """IDs of the images, hidden ones too, that have a layer."""
        return self._having.get(diff_id, ())

    def get(self, identity: str) -> Image | None:
        """By the whole ID, hidden ones too."""
        return self._images.get(identity)

    def meaning(self, name: Reference) -> Meaning | None:
        """What this very name stands for (`latest` where it has neither tag nor digest); None for a name that is not here."""
        return self._meanings.get(key_of(name))

    def variants(self, name: Reference, platform: Platform | None = None) -> list[Image]:
        """The images that a name means, those first that a machine of `platform` (default: this one) runs best, then the newest."""
        meaning = self.meaning(name)
        wanted = platform or platforms.host()
        found = [self._images[identity] for identity in meaning.images] if meaning else []
        return sorted(found, key=lambda image: (wanted.closeness(image.config.platform), image.last_tag_ns, image.created_ns, image.id), reverse=True)

    def named(self, name: Reference, platform: Platform | None = None) -> Image | None:
        """The image that a name means: the one that runs best on `platform`, None where none does.

        Without a platform the one that runs best here, else the newest.
        """
        image = self._best(name, platform)
        return None if image and platform and not platform.runs(image.config.platform) else image

    def resolve(self, text: str, platform: Platform | None = None) -> Image:
        """What a user's text means: a name, else an ID or the unambiguous beginning of one, else the same of a manifest (from 12 digits on).

        platform: what the image must be for, None for what suits this machine best. Raises Invalid for a text that is neither,
        NotFound with Docker's words, also for an image that is here for other platforms only.
        """
        wanted = references.parse_any(text)
        found = self._images.get(wanted) if isinstance(wanted, str) else self._best(wanted, platform) or self._by_prefix(text)
        found = found or self._by_manifest(text)
        if found is None or found.hidden:
            raise NotFound(f"No such image: {references.shown(wanted)}")
        if platform and not platform.runs(found.config.platform):
            found = (None if isinstance(wanted, str) else self._best(wanted, None)) or found
            raise NotFound(
                f"image with reference {text} was found but its platform ({found.config.platform}) does not match the specified platform ({platform})"
            )
        return found

    def name_of(self, text: str) -> Reference | None:
        """The name that a user's text is, where it is one that is here and no ID. Raises Invalid."""
        wanted = references.parse_any(text)
        return None if isinstance(wanted, str) or self.meaning(wanted) is None else wanted.with_default_tag()

    def meant(self, text: str) -> list[Image]:
        """All images that a user's text means, the one that suits this machine best first. Raises Invalid, NotFound."""
        name = self.name_of(text)
        return self.variants(name) if name else [self.resolve(text)]

    def _best(self, name: Reference, platform: Platform | None) -> Image | None:
        return next(iter(self.variants(name, platform)), None)

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

    def _by_manifest(self, text: str) -> Image | None:
        digits = text.removeprefix("sha256:")
        if len(digits) < _SHORT_ID or not _HEX.issuperset(digits):
            return None
        prefix = "sha256:" + digits
        matching = {image.id for image in self if image.manifest and image.manifest.startswith(prefix)}
        for meaning in self._meanings.values():
            matching |= {identity for identity, manifest in meaning.images.items() if manifest and manifest.startswith(prefix)}
        return self._images[matching.pop()] if len(matching) == 1 else None

    def attested(self, digest: str) -> list[Reference]:
        """The names whose attestations have this manifest or blob."""
        keys = [key for key, meaning in self._meanings.items() for about in meaning.attestations.values() for one in about if digest in one.digests]
        return [references.from_key(key) for key in dict.fromkeys(keys)]

    def attest(self, known: Attestation) -> None:
        """What is known of an attestation by now, for all names that have it."""
        for name in self.attested(known.manifest):
            meaning = self.meaning(name)
            assert meaning
            about = {image: tuple(known if one.manifest == known.manifest else one for one in found) for image, found in meaning.attestations.items()}
            self._stand_for(name, replace(meaning, attestations=about))

    def children(self, identity: str) -> list[Image]:
        """The images made here from that one."""
        return [image for image in self if image.parent == identity]
