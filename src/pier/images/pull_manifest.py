"""Asking a registry what a name means for a platform: one manifest, through however many indexes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pier.errors import Invalid
from pier.images import pull_plan
from pier.oci import digest as digests
from pier.oci.descriptor import INDEX_TYPES, Descriptor
from pier.oci.manifest import Index, Manifest
from pier.oci.platform import Platform
from pier.registry.errors import Untrue

if TYPE_CHECKING:
    from pier.registry.repository import Fetched, Repository


@dataclass(frozen=True)
class Found:
    """What a name means. digest: of what the name stands for, index or manifest; index: the bytes of the former."""

    digest: str
    data: bytes  # of the manifest, as it came
    manifest: Manifest
    index: bytes | None = None


def find(repository: "Repository", name: str, wanted: Platform) -> Found:
    """The image of a tag or digest for a platform. Blocks.

    Raises NotFound with Docker's words where there is none for it, Invalid for what is no image or cannot be read, Untrue for documents
    that are not what the index says, and what the client raises.
    """
    top = repository.manifest(name)
    if isinstance(top.document, Manifest):
        found = Found(top.digest, top.data, top.document)
    else:
        search = _Search(repository, wanted)
        image = search.image(top.document, 1)
        if image is None:
            raise pull_plan.no_match(top.document, wanted)
        assert isinstance(image.document, Manifest)
        found = Found(top.digest, image.data, image.document, top.data)
    try:
        pull_plan.check_image(found.manifest)
    except Invalid as error:
        raise Invalid(f"{repository.reference.bare()}@{digests.of(found.data)}: {error}") from None
    return found


class _Search:
    """Through an index and those within it; how many are fetched is bounded."""

    def __init__(self, repository: "Repository", wanted: Platform) -> None:
        self._repository, self._wanted = repository, wanted
        self._left = pull_plan.MAX_INDEXES

    def image(self, index: Index, depth: int) -> "Fetched | None":
        for entry in pull_plan.candidates(index, self._wanted):
            if entry.media_type not in INDEX_TYPES:
                return self._fetch(entry)
            self._left -= 1
            if depth >= pull_plan.MAX_DEPTH or self._left < 0:
                limit = f"indexes {pull_plan.MAX_DEPTH} deep, {pull_plan.MAX_INDEXES} in all"
                raise Invalid(f"{self._repository.reference.bare()}: too many indexes within each other: the limit is {limit}")
            inner = self._fetch(entry)
            assert isinstance(inner.document, Index)
            if (found := self.image(inner.document, depth + 1)) is not None:
                return found
        return None

    def _fetch(self, entry: Descriptor) -> "Fetched":
        """What an entry of an index names; it must be what the entry says."""
        what = f"{self._repository.reference.bare()}@{entry.digest}"
        if not digests.is_sha256(entry.digest):
            raise Invalid(f"{what}: only sha256 digests are supported")
        fetched = self._repository.manifest(entry.digest)
        if len(fetched.data) != entry.size:
            raise Untrue(f"{what}: it has {len(fetched.data)} bytes, the index that names it says {entry.size}")
        if isinstance(fetched.document, Index) != (entry.media_type in INDEX_TYPES) or fetched.media_type not in ("", entry.media_type):
            raise Untrue(f"{what}: it is {fetched.media_type}, the index that names it says {entry.media_type}")
        return fetched


def chosen(index: Index, wanted: Platform) -> str | None:
    """The digest of the manifest that `find` would come to in an index; None where that takes more than the index."""
    entries = pull_plan.candidates(index, wanted)
    return entries[0].digest if entries and entries[0].media_type not in INDEX_TYPES else None


def configuration(repository: "Repository", descriptor: Descriptor, here: Callable[[], bytes | None]) -> bytes:
    """The bytes of an image's configuration, verified. here: gives them where they are here. Blocks; raises Untrue and what the client raises."""
    from pier.registry.transfer import small_blob

    data = here()
    return small_blob(repository, descriptor) if data is None else data
