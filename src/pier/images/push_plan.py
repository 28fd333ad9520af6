"""What a push is to do, decided on values: which images a name means, what is known of their layers, and the manifest that comes out. Pure.

Facts: media types and the layout of manifests are those of Docker 28.5 pushing to a docker-registry; of an index, those of its containerd store.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pier.errors import Invalid, NotFound
from pier.images.catalog import Catalog
from pier.images.image import Image, Layer
from pier.images.names import Attestation
from pier.images.sources import LayerSource
from pier.oci import descriptor as kinds
from pier.oci import manifest as documents
from pier.oci import reference as references
from pier.oci.descriptor import Descriptor
from pier.oci.manifest import Index, Manifest
from pier.oci.platform import Platform
from pier.oci.reference import Reference, parse

_MOST_FORMS = 8
GZIP, ZSTD, PLAIN = "gzip", "zstd", "none"
_OCI_LAYERS = {GZIP: kinds.OCI_LAYER_GZIP, ZSTD: kinds.OCI_LAYER_ZSTD, PLAIN: kinds.OCI_LAYER}


@dataclass(frozen=True)
class Asked:
    """What a request wants: one name with a tag, or every tag of its repository."""

    reference: Reference
    every_tag: bool = False


@dataclass(frozen=True)
class Part:
    """One image to be pushed, and the manifest by which the name means it, if it has one."""

    image: Image
    manifest: str | None


@dataclass(frozen=True)
class Target:
    """What is pushed under one name: an index with all its images, or one image. instead: it is sent in place of an index that is not whole here.

    attestations: entries of the index, with what they name.
    """

    reference: Reference
    parts: tuple[Part, ...]
    index: str | None = None
    instead: str | None = None
    attestations: tuple[tuple[Descriptor, Attestation], ...] = ()

    def alone(self) -> "Target":
        """The image for this machine in place of the index."""
        return Target(self.reference, self.parts[:1], instead=self.index)


@dataclass(frozen=True)
class Form:
    """A compressed form of a layer that is known: kept here, or seen in repositories of the registry that the push goes to."""

    digest: str
    media_type: str
    size: int | None = None  # where it is known without asking
    kept: bool = False
    repositories: tuple[Reference, ...] = ()  # the latest seen first


@dataclass(frozen=True)
class LayerTask:
    """One layer to be at the registry. wanted: as which blob its manifest has it; None: as whatever form is there, or is made.

    origins: repositories that have the manifest, and so the wanted blob.
    """

    layer: Layer
    wanted: Descriptor | None
    origins: tuple[Reference, ...] = ()

    @property
    def diff_id(self) -> str:
        """The layer's."""
        return self.layer.diff_id

    @property
    def key(self) -> tuple[str, str]:
        """What no other task of the same repository has, unless it is done with this one."""
        return self.layer.diff_id, self.wanted.digest if self.wanted else ""


@dataclass(frozen=True)
class Placed:
    """A layer that is at the registry as this blob. how: what there is to tell of it."""

    diff_id: str
    digest: str
    size: int
    media_type: str
    how: str


def asked(name: str, tag: str) -> Asked:
    """What the path and `tag` of a request mean; without any tag it is all of them. Raises Invalid with Docker's words."""
    reference = parse(name)
    if tag:
        reference = reference.with_tag(tag)
    return Asked(reference, every_tag=not (reference.tag or reference.digest))


def names(catalog: Catalog, wanted: Asked) -> list[Reference]:
    """The names to be pushed, in order. Raises Invalid, NotFound with Docker's words."""
    name = wanted.reference
    if name.digest:
        raise Invalid("cannot push a digest reference")
    tags = {one for image in catalog for one in image.references if one.tag and not one.digest and one.repository == name.repository}
    if not tags:
        raise NotFound(f"An image does not exist locally with the tag: {name.familiar_name}")
    if wanted.every_tag:
        return sorted(tags, key=references.key_of)
    if catalog.meaning(name) is None:
        raise NotFound(f"tag does not exist: {name}")
    return [name]


def target(catalog: Catalog, name: Reference, platform: Platform | None, index: Index | None) -> Target:
    """What a name stands for, as it can be pushed. index: the document that the name means, if it means one. Raises NotFound."""
    meaning = catalog.meaning(name)
    variants = catalog.variants(name, platform)
    if meaning is None or not variants:
        raise NotFound(f"tag does not exist: {name}")
    parts = [Part(image, meaning.images[image.id]) for image in variants]
    best = variants[0].config.platform
    if platform and not platform.runs(best):
        raise NotFound(f"image with reference {name} was found but its platform ({best}) does not match the specified platform ({platform})")
    if platform or meaning.index is None or index is None:
        return Target(name, (parts[0],))
    here = {part.manifest for part in parts}
    known = {one.manifest: one for about in meaning.attestations.values() for one in about}
    about = tuple((entry, known[entry.digest]) for entry in index.manifests if entry.digest in known)
    whole = Target(name, tuple(parts), index=meaning.index, attestations=about)
    return whole if all(entry.digest in here or entry.digest in known for entry in index.manifests) else whole.alone()


def announced(document: Manifest | Index) -> str:
    """The media type to send a document as: its own; one that does not say is OCI's where its configuration is."""
    oci = isinstance(document, Index) or document.config.media_type == kinds.OCI_CONFIG
    return documents.media_type_of(document, "oci" if oci else "docker")


def instead_of(index: bytes, entry: Descriptor, digest: str) -> dict[str, object]:
    """What a client hears of a manifest that was sent in place of its index. entry: the manifest's, in the index."""
    document = documents.parse(index)
    platform = entry.platform
    selected: dict[str, object] = {"mediaType": entry.media_type, "digest": entry.digest, "size": entry.size}
    if platform:
        named = (("architecture", platform.architecture), ("os", platform.os), ("variant", platform.variant))
        selected["platform"] = {key: value for key, value in named if value}
    original = {"mediaType": announced(document), "digest": digest, "size": len(index)}
    return {"manifestPushedInsteadOfIndex": True, "originalIndex": original, "selectedManifest": selected}


def kept(data: bytes, part: Part, known_elsewhere: bool) -> Manifest | None:
    """The manifest of an image, if it is to be sent as it is; None where a new one has to be made.

    known_elsewhere: it was pulled or pushed. One that only an archive had may name uncompressed layers, which is nothing to send.
    """
    document = documents.parse(data)
    image = part.image
    if not isinstance(document, Manifest) or document.config.digest != image.id or len(document.layers) != len(image.diff_ids):
        return None
    plain = any(form_kind(layer.media_type) == PLAIN for layer in document.layers)
    return None if plain and not known_elsewhere else document


def known_elsewhere(catalog: Catalog, part: Part) -> bool:
    """Whether a registry has had the image by that manifest: the image carries its digest, or that of an index which names it."""
    by_digest = [meaning for name in part.image.references if name.digest and (meaning := catalog.meaning(name))]
    return any(meaning.images.get(part.image.id) == part.manifest for meaning in by_digest)


def tasks(image: Image, manifest: Manifest | None) -> list[LayerTask]:
    """The layers, the bottom one first."""
    wanted: Sequence[Descriptor | None] = manifest.layers if manifest else [None] * len(image.layers)
    named = {name.bare(): None for name in image.references if manifest and name.digest}
    return [LayerTask(layer, blob, tuple(named)) for layer, blob in zip(image.layers, wanted, strict=True)]


def forms(layer: Layer, wanted: Descriptor | None, seen: Sequence[LayerSource], to: Reference, origins: Sequence[Reference] = ()) -> tuple[Form, ...]:
    """What is known of a layer, the likeliest to be there first: seen where it goes to, then kept, then seen elsewhere on that registry."""
    found: dict[str, Form] = {}
    if wanted:
        own = tuple(name for name in origins if name.domain == to.domain)
        found[wanted.digest] = Form(wanted.digest, wanted.media_type, wanted.size, repositories=own)
    for source in seen:
        name = references.from_key(f"{source.repository}:x").bare()
        if name.domain == to.domain and _fits(source.digest, source.media_type, wanted):
            form = found.setdefault(source.digest, Form(source.digest, source.media_type, source.size_bytes))
            found[source.digest] = replace(form, repositories=tuple(dict.fromkeys((*form.repositories, name))))
    for blob in layer.blobs:
        if _fits(blob.digest, blob.media_type, wanted):
            found[blob.digest] = replace(found.get(blob.digest) or Form(blob.digest, blob.media_type), kept=True)
    there = to.bare()
    ordered = sorted(found.values(), key=lambda form: (there not in form.repositories, not form.kept))
    return tuple(ordered[:_MOST_FORMS])


def _fits(digest: str, media_type: str, wanted: Descriptor | None) -> bool:
    """A manifest names one blob; without one, whatever is compressed will do."""
    return digest == wanted.digest if wanted else form_kind(media_type) != PLAIN


def form_kind(media_type: str) -> str:
    """How a layer of that media type is compressed."""
    return GZIP if media_type.endswith("gzip") else ZSTD if media_type.endswith("zstd") else PLAIN


def is_foreign(blob: Descriptor | None) -> bool:
    """A layer that its maker does not let others distribute: it is to be had at its URLs."""
    return blob is not None and bool(blob.urls) and ("foreign" in blob.media_type or "nondistributable" in blob.media_type)


def manifest_of(image: Image, placed: Sequence[Placed], before: Manifest | None) -> tuple[bytes, str]:
    """(a new manifest, its media type): Docker's own where it can be, OCI's where the image had such a one, or a layer is in zstd."""
    family = announced(before) if before else kinds.DOCKER_MANIFEST
    forms_ = [form_kind(layer.media_type) for layer in placed]
    if family == kinds.OCI_MANIFEST or any(form != GZIP for form in forms_):
        layers = [(_OCI_LAYERS[form], layer) for form, layer in zip(forms_, placed, strict=True)]
        media_type, config = kinds.OCI_MANIFEST, kinds.OCI_CONFIG
    else:
        layers = [(kinds.DOCKER_LAYER_GZIP, layer) for layer in placed]
        media_type, config = kinds.DOCKER_MANIFEST, kinds.DOCKER_CONFIG
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": config, "size": len(image.config_bytes), "digest": image.id},
        "layers": [{"mediaType": kind, "size": layer.size, "digest": layer.digest} for kind, layer in layers],
    }
    return json.dumps(document, indent=3).encode(), media_type
