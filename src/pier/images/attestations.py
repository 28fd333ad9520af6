"""Attestations of an index: what a build says of one of its images (provenance, SBOM), by a manifest of its own beside the image's.

One belongs to an image as an index has it: it is kept as blobs, not unpacked, as long as a name means the image by that index, and sent with the
index again. Which are here is not recorded: the index, which is kept, names them, and each manifest names its blobs. Only whole ones are taken.

Source: BuildKit's docs/attestations/attestation-storage.md: `vnd.docker.reference.digest` of the entry is the digest of the image's manifest.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pier.content import ContentStore
from pier.errors import Invalid, PierError
from pier.images.names import Attestation, Meaning
from pier.oci import digest as digests
from pier.oci import manifest as documents
from pier.oci.descriptor import MANIFEST_TYPES, Descriptor
from pier.oci.manifest import ATTESTATION, REFERENCE_DIGEST, Index, Manifest

if TYPE_CHECKING:
    from pier.registry.repository import Repository

MOST = 8  # of one image
MOST_BLOBS = 64  # of one attestation
MOST_BYTES = 256 << 20  # the same, in all


def entries(index: Index, manifest: str) -> list[Descriptor]:
    """What an index has about the image of that manifest. Pure. No more than MOST: what is beyond is as if it were not here."""
    found = {
        entry.digest: entry
        for entry in index.manifests
        if entry.media_type in MANIFEST_TYPES
        and ATTESTATION in (entry.annotations or {})
        and (entry.annotations or {}).get(REFERENCE_DIGEST) == manifest
        and digests.is_sha256(entry.digest)
    }
    return list(found.values())[:MOST]


def blobs(data: bytes) -> tuple[Descriptor, ...]:
    """What the manifest of an attestation names, each once. Pure. Raises Invalid for one that is none, or asks for too much."""
    document = documents.parse(data)
    if not isinstance(document, Manifest):
        raise Invalid("an attestation is a manifest, this is an index")
    named = {blob.digest: blob for blob in (document.config, *document.layers)}
    if len(named) > MOST_BLOBS or sum(blob.size for blob in named.values()) > MOST_BYTES:
        raise Invalid(f"an attestation has at most {MOST_BLOBS} parts of {MOST_BYTES >> 20} MB in all")
    if wrong := next((digest for digest in named if not digests.is_sha256(digest)), None):
        raise Invalid(f"{wrong}: only sha256 digests are supported")
    return tuple(named.values())


def of_document(data: bytes) -> Attestation:
    """The attestation of that manifest. Raises Invalid."""
    return Attestation(digests.of(data), tuple(blob.digest for blob in blobs(data)))


def kept(content: ContentStore, index: str | None, manifest: str | None) -> tuple[Attestation, ...]:
    """Those of an image, as an index means it, whose manifests are here; what cannot be read has no parts. Blocks for some small files."""
    if index is None or manifest is None:
        return ()
    try:
        document = documents.parse(content.read(index))
    except PierError:
        return ()
    named = entries(document, manifest) if isinstance(document, Index) else []
    return tuple(_kept(content, entry.digest) for entry in named if content.has(entry.digest))


def _kept(content: ContentStore, digest: str) -> Attestation:
    try:
        return of_document(content.read(digest))
    except PierError:  # damaged: it stays, so that a check can tell and repair it
        return Attestation(digest, ())


def are_here(content: ContentStore, index: Index, meaning: Meaning, identity: str) -> bool:
    """Whether all that an index has about an image is here, as far as a pull takes it."""
    named = {entry.digest for entry in entries(index, meaning.images[identity] or "")}
    known = meaning.attestations.get(identity, ())
    return named <= {one.manifest for one in known} and all(content.has(digest) for one in known for digest in one.digests)


def fetch_documents(repository: "Repository", wanted: list[Descriptor], tell: Callable[[str], None]) -> list[tuple[Attestation, bytes]]:
    """The manifests, each with its bytes; one that cannot be had is told, and left out: the image is there without. Blocks."""
    from pier.registry.transfer import child

    found = []
    for entry in wanted:
        try:
            data = child(repository, entry).data
            found.append((of_document(data), data))
        except PierError as error:
            tell(f"attestation {entry.digest} is not kept: {error}")
    return found


def fetch(
    repository: "Repository", content: ContentStore, wanted: list[tuple[Attestation, bytes]], tell: Callable[[str], None]
) -> tuple[Attestation, ...]:
    """Make blobs of the manifests and of what they name; one that cannot be had is told, and left out. Returns those that are whole. Blocks.

    The caller keeps their digests (garbage.keeping), which removes what is not whole. Raises OSError where the disk refuses.
    """
    whole = []
    for attestation, data in wanted:
        try:
            for blob in blobs(data):
                if not content.has(blob.digest):
                    fetch_blob(repository, content, blob.digest, blob.size)
            content.write(data)
            whole.append(attestation)
        except PierError as error:
            tell(f"attestation {attestation.manifest} is not kept: {error}")
    return tuple(whole)


def fetch_blob(repository: "Repository", content: ContentStore, digest: str, size: int) -> None:
    """One blob of `size` bytes, verified. Blocks; raises Invalid for other bytes, what the client raises, OSError."""
    folder = content.scratch()
    try:
        ingest = content.ingest(folder.name)
        try:
            with repository.blob(digest) as stream:
                while ingest.offset_bytes <= size and (piece := stream.read()):
                    ingest.write(piece)
            ingest.commit(digest, size)
        finally:
            ingest.abort()
    finally:
        content.remove_scratch(folder)
