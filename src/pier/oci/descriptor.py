"""Descriptors: how one document names another by media type, digest and size (OCI image-spec descriptor.md)."""

import msgspec

from pier.errors import Invalid
from pier.oci import digest as digests

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})


class Document(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True, frozen=True):
    """What the OCI documents share: camelCase on the wire, a field at its default is left out, unknown fields are ignored."""


class PlatformFields(Document, kw_only=True, frozen=True):
    """The `platform` object of an index entry."""

    architecture: str = ""
    os: str = ""
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")
    variant: str | None = None


class Descriptor(Document, kw_only=True, frozen=True):
    """A pointer to a blob. Build with the constructor; documents from outside go through `check`."""

    media_type: str
    digest: str
    size: int
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    data: str | None = None
    platform: PlatformFields | None = None
    artifact_type: str | None = None

    def check(self, where: str) -> None:
        """Raises Invalid, naming `where`, for a digest that is none or a size that cannot be."""
        try:
            digests.check(self.digest)
        except Invalid as error:
            raise Invalid(f"{where}: {error}: {self.digest!r}") from None
        if self.size < 0:
            raise Invalid(f"{where}: a size of {self.size} bytes")
