"""What stands behind a name: the manifests of its index, which of them are here, and what they take on the disk.

For GET /images/json?manifests=1 and inspect (API 1.47, 1.48). Decided on the loop's thread as a `Target`, described in another: describing
reads documents and asks the disk for sizes.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pier.api.models.images import AttestationData, ImageData, ManifestSize, ManifestSummary, UnpackedSize
from pier.errors import PierError
from pier.images.catalog import Catalog
from pier.images.image import Image
from pier.images.usage import Disk
from pier.oci import manifest as documents
from pier.oci.descriptor import DOCKER_CONFIG, INDEX_TYPES, Descriptor, PlatformFields
from pier.oci.manifest import REFERENCE_DIGEST, Index, Manifest
from pier.oci.platform import Platform, host
from pier.oci.reference import Reference

_log = logging.getLogger("pier.images")
Containers = Mapping[str, Sequence[str]]  # image ID -> IDs of the containers made from it


@dataclass(frozen=True)
class Target:
    """What a name stands for, or an image by itself. images: those that are here with the manifest that each is meant by, best first.

    about: the blobs of the index' attestations.
    """

    index: str | None
    images: tuple[tuple[Image, str | None], ...]
    about: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """What no other target has: the digest of the index, or the ID of the image."""
        return self.index or self.images[0][0].id


def of_image(image: Image, manifest: str | None = None) -> Target:
    """An image by itself. manifest: by which it is meant, where it is not the one that it came with last."""
    return Target(None, ((image, manifest or image.manifest),))


def of_name(catalog: Catalog, name: Reference) -> Target:
    """What a name that is here stands for."""
    meaning = catalog.meaning(name)
    assert meaning
    about = frozenset(digest for found in meaning.attestations.values() for one in found for digest in one.digests)
    return Target(meaning.index, tuple((image, meaning.images[image.id]) for image in catalog.variants(name)), about)


def of_text(catalog: Catalog, text: str, platform: Platform | None = None) -> Target:
    """What a user's text means; of a name, with a platform, the image for it alone. Raises Invalid, NotFound."""
    image = catalog.resolve(text, platform)
    name = catalog.name_of(text)
    if name is None:
        return of_image(image)
    whole = of_name(catalog, name)
    return whole if platform is None else of_image(image, {one.id: manifest for one, manifest in whole.images}[image.id])


def descriptor(disk: Disk, target: Target) -> dict[str, Any] | None:
    """The descriptor of the index or manifest; None for an image that came without."""
    digest = target.index or target.images[0][1]
    found = _document(disk, digest) if digest else None
    if found is None:
        return None
    data, document = found
    described = Descriptor(media_type=documents.media_type_of(document), digest=str(digest), size=len(data))
    if isinstance(document, Manifest):
        described = msgspec.structs.replace(described, platform=_platform(target.images[0][0]))
    return _plain(described)


def describe(disk: Disk, target: Target, containers: Containers) -> list[ManifestSummary]:
    """Each manifest of the index, or the one of the image; where it came without, its configuration stands for it."""
    found = _document(disk, target.index) if target.index else None
    if found is None or not isinstance(found[1], Index):
        return [_image(disk, _own_descriptor(disk, image, manifest), image, manifest, containers) for image, manifest in target.images]
    here = {manifest: image for image, manifest in target.images}
    entries = [_entry(disk, entry, here.get(entry.digest), containers) for entry in found[1].manifests]
    # What an index within the index names.
    further = [(image, manifest) for image, manifest in target.images if manifest not in {entry.digest for entry in found[1].manifests}]
    return entries + [_image(disk, _own_descriptor(disk, image, manifest), image, manifest, containers) for image, manifest in further]


def contents(targets: Iterable[Target]) -> tuple[set[str], set[str]]:
    """(blobs, layers) that the targets consist of."""
    blobs: set[str] = set()
    layers: set[str] = set()
    for target in targets:
        blobs |= {target.index, *target.about} if target.index else set()
        for image, manifest in target.images:
            layers.update(image.diff_ids)
            blobs.update({image.id, manifest, *(blob.digest for layer in image.layers for blob in layer.blobs)} - {None})  # type: ignore[arg-type]
    return blobs, layers


def _entry(disk: Disk, entry: Descriptor, image: Image | None, containers: Containers) -> ManifestSummary:
    if image:
        return _image(disk, entry, image, entry.digest, containers)
    if documents.is_attestation(entry):
        content, whole = _kept(disk, entry)
        about = (entry.annotations or {}).get(REFERENCE_DIGEST, "")
        # The docker client takes this member for granted.
        return _summary(entry, whole, content, 0, "attestation", attestation_data=AttestationData(for_=about))
    if entry.platform and entry.media_type not in INDEX_TYPES:
        content, _ = _kept(disk, entry)
        data = ImageData(platform=_plain(entry.platform), size=UnpackedSize(unpacked=0), containers=[])
        return _summary(entry, False, content, 0, "image", image_data=data)
    content, whole = _kept(disk, entry)
    return _summary(entry, whole, content, 0, "unknown")


def _image(disk: Disk, entry: Descriptor, image: Image, manifest: str | None, containers: Containers) -> ManifestSummary:
    blobs, layers = contents([of_image(image, manifest)])
    unpacked = sum(map(disk.layer, layers))
    data = ImageData(
        platform=_plain(entry.platform or _platform(image)), size=UnpackedSize(unpacked=unpacked), containers=list(containers.get(image.id, ()))
    )
    return _summary(entry, True, sum(map(disk.blob, blobs)), unpacked, "image", image_data=data)


def _summary(entry: Descriptor, available: bool, content: int, unpacked: int, kind: str, **data: Any) -> ManifestSummary:
    size = ManifestSize(content=content, total=content + unpacked)
    return ManifestSummary(id=entry.digest, descriptor=_plain(entry), available=available, size=size, kind=kind, **data)


def _kept(disk: Disk, entry: Descriptor) -> tuple[int, bool]:
    """(bytes that are here of a manifest and what it names, whether that is all)."""
    found = _document(disk, entry.digest)
    if found is None or not isinstance(found[1], Manifest):
        return disk.blob(entry.digest), False
    named = {found[1].config.digest, *(layer.digest for layer in found[1].layers)}
    return disk.blob(entry.digest) + sum(map(disk.blob, named)), all(map(disk.has_blob, named))


def _document(disk: Disk, digest: str) -> tuple[bytes, Manifest | Index] | None:
    try:
        data = disk.content.read(digest)
        return data, documents.parse(data)
    except PierError as error:
        if disk.has_blob(digest):
            _log.warning("%s", error)
        return None


def _own_descriptor(disk: Disk, image: Image, manifest: str | None) -> Descriptor:
    found = _document(disk, manifest) if manifest else None
    if manifest and found:
        return Descriptor(media_type=documents.media_type_of(found[1]), digest=manifest, size=len(found[0]), platform=_platform(image))
    return Descriptor(media_type=DOCKER_CONFIG, digest=image.id, size=len(image.config_bytes), platform=_platform(image))


def _platform(image: Image) -> PlatformFields:
    config = image.config
    return PlatformFields(architecture=config.architecture or host().architecture, os=config.os or "linux", variant=config.variant or None)


def _plain(document: Descriptor | PlatformFields) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(document)
    return plain
