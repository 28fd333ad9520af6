"""Descriptors in an archive's indexes and manifests, as JSON from outside: what they say, or that they cannot be. Pure."""

from typing import Any

from pier.archive.refusal import BadArchive
from pier.errors import Invalid
from pier.oci.platform import Platform, normalise
from pier.oci.reference import key_of, parse

_DIGEST_PREFIX, _HEX = "sha256:", frozenset("0123456789abcdef")
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_ATTESTATION, _REFERENCE_DIGEST = "vnd.docker.reference.type", "vnd.docker.reference.digest"
Json = dict[str, Any]


def kind(entry: str, descriptor: Json, document: Json) -> str:
    """"manifest" or "index"; a document that could be both, or is not what its media type says, is refused (CVE-2021-41190)."""
    as_index, as_manifest = "manifests" in document, "config" in document or "layers" in document
    if as_index == as_manifest or "fsLayers" in document:
        raise BadArchive(entry, "it is neither an image manifest nor an index" if not as_index else "it is a manifest and an index at once")
    for media in (descriptor.get("mediaType"), document.get("mediaType")):
        if (media in _INDEXES and as_manifest) or (media in _MANIFESTS and as_index):
            raise BadArchive(entry, f"its media type {media} is not what it is")
    return "index" if as_index else "manifest"


def digest_of(where: str, descriptor: Json) -> str:
    """The digest that a descriptor names. Raises BadArchive, naming `where` it stands."""
    digest = descriptor.get("digest")
    if not isinstance(digest, str) or len(digest) != 71 or not digest.startswith(_DIGEST_PREFIX) or not _HEX.issuperset(digest[7:]):
        raise BadArchive(where, f"a descriptor's digest is {digest!r}: sha256 and 64 hexadecimal digits are supported")
    return digest


def tag_of(descriptor: Json) -> str | None:
    """The full name of an image in an index: containerd's annotation, or the OCI one where it is more than a bare tag."""
    annotations = descriptor.get("annotations")
    if not isinstance(annotations, dict):
        return None
    full, short = annotations.get("io.containerd.image.name"), annotations.get("org.opencontainers.image.ref.name")
    if isinstance(full, str) and full:
        return full
    return short if isinstance(short, str) and (":" in short or "/" in short) else None


def key_of_tag(tag: str) -> str:
    """A name in the form in which two spellings of it are the same."""
    try:
        return key_of(parse(tag))
    except Invalid:
        return tag


def is_attestation(descriptor: Json) -> bool:
    """Whether it is of a statement about an image (provenance, SBOM)."""
    annotations, platform = descriptor.get("annotations"), descriptor.get("platform")
    if isinstance(annotations, dict) and annotations.get(_ATTESTATION):
        return True
    return isinstance(platform, dict) and platform.get("os") == "unknown" and platform.get("architecture") == "unknown"


def is_attestation_of(descriptor: Json, manifest_digest: str) -> bool:
    """Whether it is of a statement about the image of that manifest."""
    annotations = descriptor.get("annotations")
    return isinstance(annotations, dict) and bool(annotations.get(_ATTESTATION)) and annotations.get(_REFERENCE_DIGEST) == manifest_digest


def platform_of(descriptor: Json) -> Platform | None:
    """The platform that a descriptor names; None where it names none."""
    given = descriptor.get("platform")
    if not isinstance(given, dict) or not isinstance(given.get("os"), str) or not isinstance(given.get("architecture"), str):
        return None
    variant = given.get("variant")
    return normalise(given["os"], given["architecture"], variant if isinstance(variant, str) else "")


def are_strings(value: object) -> bool:
    """Whether it is a list of texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
