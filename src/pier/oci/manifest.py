"""Image manifests and indexes of both families of media types (OCI, and Docker's schema 2), checked against confusion of the two.

Sources: OCI image-spec manifest.md and image-index.md. A document that carries both `layers` and `manifests` means different things to
different readers, so it is refused (CVE-2021-41190).
"""

import msgspec

from pier.errors import Invalid
from pier.oci.descriptor import DOCKER_INDEX, DOCKER_MANIFEST, INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST, Descriptor, Document

MAX_DOCUMENT_BYTES = 4 << 20
MAX_LAYERS = 500  # what overlay takes in one mount
ATTESTATION = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"  # of an attestation: the manifest that it is about


class Manifest(Document, kw_only=True, frozen=True):
    """One image for one platform."""

    schema_version: int
    media_type: str = ""
    config: Descriptor
    layers: list[Descriptor]
    annotations: dict[str, str] | None = None
    subject: Descriptor | None = None
    artifact_type: str | None = None


class Index(Document, kw_only=True, frozen=True):
    """A list of manifests, or of further indexes."""

    schema_version: int
    media_type: str = ""
    manifests: list[Descriptor]
    annotations: dict[str, str] | None = None
    subject: Descriptor | None = None


class _Kind(msgspec.Struct, rename="camel"):
    schema_version: int = 0
    media_type: str = ""
    layers: list[msgspec.Raw] | None = None
    manifests: list[msgspec.Raw] | None = None
    fs_layers: list[msgspec.Raw] | None = None


_kind = msgspec.json.Decoder(_Kind)
_manifest = msgspec.json.Decoder(Manifest)
_index = msgspec.json.Decoder(Index)


def parse(data: bytes, media_type: str = "") -> Manifest | Index:
    """The manifest or index in `data`.

    media_type: what the document was announced as; "" where nothing said. Raises Invalid that names the reason.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise Invalid(f"manifest of {len(data)} bytes: the limit is {MAX_DOCUMENT_BYTES}")
    try:
        kind = _kind.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"manifest: {error}") from None
    if kind.schema_version == 1 or kind.fs_layers is not None:
        raise Invalid("manifest: schema version 1 is not supported: make the image again with a tool of this decade")
    if kind.schema_version != 2:
        raise Invalid(f"manifest: unknown schema version {kind.schema_version}")
    if kind.layers is not None and kind.manifests is not None:
        raise Invalid("manifest: it has both layers and manifests, so it could be read as either: refused")
    if kind.media_type and media_type and kind.media_type != media_type:
        raise Invalid(f"manifest: it says {kind.media_type}, but was announced as {media_type}")
    is_index = kind.manifests is not None
    declared = kind.media_type or media_type
    if declared and declared not in (INDEX_TYPES if is_index else MANIFEST_TYPES):
        raise Invalid(f"manifest: media type {declared} does not fit {'an index' if is_index else 'an image manifest'}")
    try:
        return _checked_index(_index.decode(data)) if is_index else _checked_manifest(_manifest.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"manifest: {error}") from None


def _checked_manifest(manifest: Manifest) -> Manifest:
    if len(manifest.layers) > MAX_LAYERS:
        raise Invalid(f"manifest: {len(manifest.layers)} layers: the limit is {MAX_LAYERS}")
    manifest.config.check("manifest: config")
    for number, layer in enumerate(manifest.layers):
        layer.check(f"manifest: layer {number}")
    return manifest


def _checked_index(index: Index) -> Index:
    for number, entry in enumerate(index.manifests):
        entry.check(f"index: manifest {number}")
    return index


def media_type_of(document: Manifest | Index, family: str = "oci") -> str:
    """The media type to announce a document with: its own, else the one of `family` ("oci" or "docker")."""
    if document.media_type:
        return document.media_type
    if isinstance(document, Index):
        return OCI_INDEX if family == "oci" else DOCKER_INDEX
    return OCI_MANIFEST if family == "oci" else DOCKER_MANIFEST


def is_attestation(entry: Descriptor) -> bool:
    """Whether an index entry is a statement about an image (provenance, SBOM) and not an image."""
    annotations = entry.annotations or {}
    unknown = entry.platform is not None and entry.platform.os == "unknown" and entry.platform.architecture == "unknown"
    return ATTESTATION in annotations or unknown
