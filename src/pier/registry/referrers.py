"""What is about a manifest (signatures, SBOMs): the referrers API, and the tag that stands for it on registries without one.

Source: distribution specification 1.1, "Listing Referrers", "Referrers Tag Schema". The tag is `sha256-<hex>`; it names an index.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from pier.errors import Invalid
from pier.oci import digest as digests
from pier.oci import manifest
from pier.oci.descriptor import OCI_INDEX, Descriptor
from pier.oci.manifest import Index, Manifest
from pier.registry.endpoints import Endpoint
from pier.registry.errors import Missing, Untrue, shown_url
from pier.registry.exchange import Exchange
from pier.registry.pages import pages

if TYPE_CHECKING:
    from pier.registry.repository import Repository


def fallback_tag(digest: str) -> str:
    """The tag under which the referrers of a digest are where there is no API."""
    return digest.replace(":", "-", 1)[:128]


def subject(data: bytes) -> Descriptor | None:
    """What a manifest is about; None for one that is about nothing, or is none."""
    try:
        return manifest.parse(data).subject
    except Invalid:
        return None


def described(data: bytes, media_type: str) -> Descriptor:
    """A manifest as the list of referrers names it: with its annotations and the type of artifact that it is. Raises Invalid."""
    document = manifest.parse(data, media_type)
    kind = (document.artifact_type or document.config.media_type) if isinstance(document, Manifest) else None
    return Descriptor(
        media_type=media_type, digest=digests.of(data), size=len(data), annotations=document.annotations or None, artifact_type=kind
    )  # fmt: skip


def index(entries: list[Descriptor]) -> Index:
    """A list of referrers."""
    return Index(schema_version=2, media_type=OCI_INDEX, manifests=entries)


class Referrers:
    """The referrers in one repository at one endpoint."""

    def __init__(self, repository: "Repository", exchange: Exchange, endpoint: Endpoint, wanted: tuple[str, ...]) -> None:
        self._repository = repository
        self._exchange = exchange
        self._endpoint = endpoint
        self._scopes = wanted

    def of(self, digest: str, artifact_type: str) -> Index:
        """Those of a digest; none is no error."""
        try:
            found = self._by_api(digest, artifact_type)
        except Missing:
            found = self._by_tag(digest)
        return index([entry for entry in found if not artifact_type or entry.artifact_type == artifact_type])

    def add(self, about: Descriptor, data: bytes, media_type: str) -> None:
        """List a manifest among those of its subject under the fallback tag. Two who do so at once may lose one, says the specification."""
        entry = described(data, media_type)
        others = [other for other in self._by_tag(about.digest) if other.digest != entry.digest]
        self._repository.put(self._endpoint, fallback_tag(about.digest), msgspec.json.encode(index([*others, entry])), OCI_INDEX)

    def drop(self, about: Descriptor, digest: str) -> None:
        """Take a manifest that is gone from the list under the fallback tag, if it is there; a registry with the API keeps no such list."""
        before = self._by_tag(about.digest)
        left = [other for other in before if other.digest != digest]
        if len(left) < len(before):
            self._repository.put(self._endpoint, fallback_tag(about.digest), msgspec.json.encode(index(left)), OCI_INDEX)

    def _by_api(self, digest: str, artifact_type: str) -> list[Descriptor]:
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        path = f"/{self._repository.reference.path}/referrers/{digest}{query}"
        found: dict[str, Descriptor] = {}
        for response, data in pages(self._exchange, self._endpoint, path, self._scopes, {"Accept": OCI_INDEX}):
            try:
                page = manifest.parse(data, OCI_INDEX)
            except Invalid as error:
                raise Untrue(f"{shown_url(response.url)}: {error}") from None
            fresh = {entry.digest: entry for entry in page.manifests} if isinstance(page, Index) else {}
            if not fresh.keys() - found.keys():
                break
            found.update(fresh)
        return list(found.values())

    def _by_tag(self, digest: str) -> list[Descriptor]:
        try:
            document = self._repository.fetch(self._endpoint, fallback_tag(digest), (OCI_INDEX,)).document
        except Missing:
            return []
        return document.manifests if isinstance(document, Index) else []
