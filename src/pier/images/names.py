"""Names given to images: what `repo` and `tag` of a request mean, the names an archive may bring, what a name stands for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pier.errors import Invalid
from pier.oci.reference import Reference, parse


@dataclass(frozen=True)
class Attestation:
    """What an index has about one of its images (images/attestations.py): digests of the manifest and of the blobs that it names."""

    manifest: str
    blobs: tuple[str, ...]

    @property
    def digests(self) -> tuple[str, ...]:
        """All of it."""
        return (self.manifest, *self.blobs)


@dataclass(frozen=True)
class Meaning:
    """What a name stands for: one index and those of its images that are here, or one image alone.

    index: digest of the index, a blob that is kept as long as a name stands for it; None for a single image. images: by ID, the digest
    of the manifest by which the name means it (None where it came without one). attestations: of these images, by ID, what is here.
    """

    index: str | None
    images: Mapping[str, str | None]
    attestations: Mapping[str, tuple[Attestation, ...]] = field(default_factory=dict)

    def joined(self, before: "Meaning | None") -> "Meaning":
        """The meaning of a name that had `before` and gets this one: images of the same index join, everything else replaces."""
        if before is None or self.index is None or before.index != self.index:
            return self
        return replace(self, images={**before.images, **self.images}, attestations={**before.attestations, **self.attestations})

    def without(self, identity: str) -> "Meaning":
        """The same but for one image."""
        images = {image: manifest for image, manifest in self.images.items() if image != identity}
        return replace(self, images=images, attestations={image: about for image, about in self.attestations.items() if image != identity})

    def documents(self) -> set[str]:
        """The index, the manifests, and all of the attestations."""
        about = {digest for found in self.attestations.values() for one in found for digest in one.digests}
        return about | {digest for digest in (self.index, *self.images.values()) if digest}


def from_request(repo: str, tag: str) -> Reference | None:
    """The name that the parameters `repo` and `tag` make; None without a repo. Raises Invalid with Docker's texts."""
    if not repo:
        return None
    name = parse(repo)
    if name.digest:
        raise Invalid("cannot import digest reference")
    if tag:
        name = name.with_tag(tag)
    if name.familiar_name == "sha256":
        raise Invalid("refusing to create an ambiguous tag using digest algorithm as name")
    return name.with_default_tag()


def from_archive(text: str) -> Reference:
    """A name in an image archive; it must have a tag. Raises Invalid."""
    name = parse(text)
    if not name.tag or name.digest:
        raise Invalid(f'invalid tag "{text}"')
    return name


def order(name: Reference) -> str:
    """By what names are sorted where clients see several: the default registry's name counts, as in Docker, though nobody types it."""
    return f"{name.domain or 'docker.io'}/{name.path}" + (f"@{name.digest}" if name.digest else f":{name.tag}")


def short_id(identity: str) -> str:
    """Twelve digits of an ID."""
    return identity.removeprefix("sha256:")[:12]


def means_id(identity: str, text: str) -> bool:
    """Whether `text` is the beginning of that ID, and so no name that was resolved."""
    return identity.startswith(text) or identity.removeprefix("sha256:").startswith(text)
