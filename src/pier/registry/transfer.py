"""From one repository to another without unpacking: which documents and blobs that takes, and sending what is missing there.

A *tree* is all that a name stands for: its manifest, or an index with everything below it. Documents are sent as they came, byte for byte, so that
digests stay; a blob goes before the manifest that names it, a manifest before its index, the name last: at every instant the target is sound.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

from pier.errors import Invalid, NotFound
from pier.oci.descriptor import DOCKER_FOREIGN_LAYER, INDEX_TYPES, MANIFEST_TYPES, Descriptor
from pier.oci.manifest import Index, Manifest, is_attestation
from pier.oci.platform import Platform, normalise
from pier.registry.blob import Blob
from pier.registry.cancel import Cancel
from pier.registry.errors import Missing, Refused, Untrue
from pier.registry.referrers import fallback_tag
from pier.registry.repository import Fetched, Repository
from pier.registry.transport import READ_BYTES

MAX_DOCUMENTS = 1000
MAX_DEPTH = 4
MAX_SMALL_BYTES = 8 << 20
WORKERS = 4
COSIGN_SUFFIXES = (".sig", ".att", ".sbom")  # cosign's tags for what it says of `sha256-<hex>`: signatures, attestations, SBOMs


@dataclass(frozen=True)
class Tree:
    """What is to be there: `documents` with the top one last, each after those it names; `blobs` without doubles."""

    documents: tuple[Fetched, ...]
    blobs: tuple[Descriptor, ...]

    @property
    def top(self) -> Fetched:
        """The document that stands for all of it."""
        return self.documents[-1]


def tree(source: Repository, name: str) -> Tree:
    """All that a tag or digest stands for, every platform. Raises what the client raises, Invalid for trees that are too large or too deep."""
    documents: dict[str, Fetched] = {}
    _collect(source, source.manifest(name), documents, 1)
    return tree_of(*documents.values())


def tree_of(*documents: Fetched) -> Tree:
    """A tree of documents that are here already, the top one last."""
    blobs: dict[str, Descriptor] = {}
    for document in documents:
        if isinstance(document.document, Manifest):
            blobs.update({blob.digest: blob for blob in _blobs(document.document)})
    return Tree(documents, tuple(blobs.values()))


def referring(source: Repository, what: Tree) -> list[tuple[str, Tree]]:
    """What the source has about a tree, each with the name under which it is to be had: what refers to one of its manifests (and what refers to
    that), by its digest, and what cosign keeps under tags of its own. In an order in which nothing comes before what it is about."""
    found: dict[str, Tree] = {}
    known = {document.digest for document in what.documents}
    left = [document.digest for document in reversed(what.documents)]
    while left:
        digest = left.pop(0)
        for entry in _referrers(source, digest):
            if entry.digest in known or entry.media_type not in INDEX_TYPES | MANIFEST_TYPES:
                continue
            if len(known) >= MAX_DOCUMENTS:
                raise Invalid(f"{source.reference.bare()}: more than {MAX_DOCUMENTS} manifests refer to it")
            found[entry.digest] = tree(source, entry.digest)
            known.add(entry.digest)
            left.append(entry.digest)
        for tag in (fallback_tag(digest) + suffix for suffix in COSIGN_SUFFIXES):
            if source.head(tag) is not None:
                found[tag] = tree(source, tag)
    return list(found.items())


def _referrers(source: Repository, digest: str) -> list[Descriptor]:
    try:
        return source.referrers(digest).manifests
    except (Missing, Refused):  # a registry that knows nothing of them, and says so in words of its own
        return []


def _blobs(manifest: Manifest) -> list[Descriptor]:
    return [blob for blob in (manifest.config, *manifest.layers) if not _elsewhere(blob)]


def _elsewhere(blob: Descriptor) -> bool:
    """Layers that are not to be handed on: they have places of their own."""
    return bool(blob.urls) or blob.media_type == DOCKER_FOREIGN_LAYER or ".nondistributable." in blob.media_type


def _collect(source: Repository, fetched: Fetched, documents: dict[str, Fetched], depth: int) -> None:
    if isinstance(fetched.document, Index):
        if depth > MAX_DEPTH:
            raise Invalid(f"{source.reference.bare()}@{fetched.digest}: indexes within each other more than {MAX_DEPTH} deep")
        for entry in fetched.document.manifests:
            if entry.media_type not in INDEX_TYPES | MANIFEST_TYPES:
                raise Invalid(f"{source.reference.bare()}@{entry.digest}: neither a manifest nor an index, but {entry.media_type}")
            if entry.digest in documents:
                continue
            if len(documents) >= MAX_DOCUMENTS:
                raise Invalid(f"{source.reference.bare()}: more than {MAX_DOCUMENTS} manifests in one index")
            _collect(source, child(source, entry), documents, depth + 1)
    documents[fetched.digest] = fetched


def child(source: Repository, entry: Descriptor) -> Fetched:
    """What an entry of an index names. Raises Untrue where it is not what the entry says."""
    fetched = source.manifest(entry.digest)
    if len(fetched.data) != entry.size:
        raise Untrue(f"{source.reference.bare()}@{entry.digest}: it has {len(fetched.data)} bytes, the index that names it says {entry.size}")
    return fetched


def for_platform(source: Repository, name: str, wanted: Platform) -> str:
    """The digest of the manifest in an index that a platform runs best. Raises NotFound, with what there is; Invalid where the name is no index."""
    top = source.manifest(name).document
    if isinstance(top, Manifest):
        raise Invalid(f"{source.reference}: it is one image, not an index of several: leave the platform away")
    offered = [(entry, platform) for entry in top.manifests if (platform := platform_of(entry)) is not None]
    entry, platform = max(offered, key=lambda pair: wanted.closeness(pair[1]), default=(None, None))
    if entry is None or platform is None or wanted.closeness(platform) < 0:
        there = ", ".join(sorted({str(platform) for _, platform in offered})) or "none"
        raise NotFound(f"{source.reference}: no image for {wanted}; there are: {there}")
    return entry.digest


def platform_of(entry: Descriptor) -> Platform | None:
    """The platform of an index's entry, None for one that is no image or does not say."""
    if entry.platform is None or is_attestation(entry) or not entry.platform.architecture:
        return None
    return normalise(entry.platform.os, entry.platform.architecture, entry.platform.variant or "")


def small_blob(source: Repository, descriptor: Descriptor) -> bytes:
    """A blob that is a document (a configuration), whole and verified. Raises Untrue for other bytes, Invalid for too many."""
    what = f"{source.reference.bare()}: blob {descriptor.digest}"
    if descriptor.size > MAX_SMALL_BYTES:
        raise Invalid(f"{what}: {descriptor.size} bytes: a document has at most {MAX_SMALL_BYTES}")
    data = b""
    with source.blob(descriptor.digest, urls=descriptor.urls or ()) as stream:
        while stream.total in (None, descriptor.size) and len(data) <= descriptor.size and (piece := stream.read()):
            data += piece
    if len(data) != descriptor.size or "sha256:" + hashlib.sha256(data).hexdigest() != descriptor.digest:
        raise Untrue(f"{what}: the registry sent other bytes")
    return data


# Sending

EXISTS, MOUNTED, MOVING, DONE = "exists", "mounted", "moving", "done"
Progress = Callable[[Descriptor, str, int], None]
"""A blob, what became of it (EXISTS, MOUNTED, MOVING, DONE), and how many of its bytes went out. Called from several threads."""


def copy(source: Repository, target: Repository, what: Tree, name: str, cancel: Cancel, progress: Progress) -> str:
    """Have `what` of the source in the target, under a tag (or its own digest) `name`. Returns the digest.

    Sends only what is not there: a manifest that is there has its blobs. `cancel` is that of both repositories: it is thrown when one blob fails.
    """
    missing = [document for document in what.documents if target.head(document.digest) is None]
    wanted = {blob.digest for fetched in missing if isinstance(fetched.document, Manifest) for blob in _blobs(fetched.document)}
    send_blobs(source, target, [blob for blob in what.blobs if blob.digest in wanted], cancel, progress)
    for document in missing:
        target.put_manifest(document.digest, document.data, document.media_type)
    if name != what.top.digest:
        target.put_manifest(name, what.top.data, what.top.media_type)
    return what.top.digest


def send_blobs(source: Repository, target: Repository, blobs: Sequence[Descriptor], cancel: Cancel, progress: Progress) -> None:
    """Have blobs of the source in the target: found there, mounted where both are on one registry, or passed through."""
    if not blobs:
        return
    with ThreadPoolExecutor(min(WORKERS, len(blobs)), thread_name_prefix="copy") as pool:
        running = [pool.submit(_send, source, target, blob, progress) for blob in blobs]
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            failure = next((error for future in done if (error := future.exception()) is not None), None)
        except BaseException:
            cancel.cancel()
            raise
        if failure is not None:
            cancel.cancel()
            raise failure


def _send(source: Repository, target: Repository, blob: Descriptor, progress: Progress) -> None:
    if target.blob_size(blob.digest) is not None:
        progress(blob, EXISTS, blob.size)
    elif source.reference.domain == target.reference.domain and target.mount(blob.digest, source.reference):
        progress(blob, MOUNTED, blob.size)
    else:
        relay = _Relay(source, blob)
        try:
            target.upload(blob.digest, blob.size, relay, lambda sent: progress(blob, MOVING, sent))
        finally:
            relay.close()
        progress(blob, DONE, blob.size)


class _Relay:
    """A blob of the source as what an upload reads; asked for anew where the upload goes back. Every byte is counted in the digest once."""

    def __init__(self, source: Repository, blob: Descriptor) -> None:
        self._source = source
        self._blob = blob
        self._stream: Blob | None = None
        self._at = 0
        self._hash = hashlib.sha256()
        self._hashed = 0

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; b"" at the end. Raises Untrue at the end of bytes that have another digest."""
        if offset >= self._blob.size:
            return b""
        if self._stream is None or offset != self._at:
            self._open(offset)
        assert self._stream is not None
        data = self._stream.read(min(size, self._blob.size - offset))
        if not data:
            raise Untrue(f"{self._what}: it has {offset} bytes, its manifest says {self._blob.size}")
        self._at = offset + len(data)
        self._count(offset, data)
        return data

    @property
    def digest(self) -> str:
        """The digest of what was read."""
        return f"sha256:{self._hash.hexdigest()}"

    def close(self) -> None:
        """Nothing more is read."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    @property
    def _what(self) -> str:
        return f"{self._source.reference.bare()}: blob {self._blob.digest}"

    def _open(self, offset: int) -> None:
        self.close()
        self._stream = self._source.blob(self._blob.digest, start=offset)
        at = self._stream.start
        while at < offset:  # the server gives no ranges
            skipped = self._stream.read(min(READ_BYTES, offset - at))
            if not skipped:
                raise Untrue(f"{self._what}: it ends at byte {at}")
            at += len(skipped)

    def _count(self, offset: int, data: bytes) -> None:
        fresh = data[max(0, self._hashed - offset) :] if offset <= self._hashed else b""
        self._hash.update(fresh)
        self._hashed += len(fresh)
        if self._hashed == self._blob.size and fresh and self.digest != self._blob.digest:
            raise Untrue(f"{self._what}: the registry sent bytes with the digest {self.digest}")
