"""What an image is to the rest of Pier: a frozen value; a changed tag makes a new one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pier.oci.image_config import ImageConfig
from pier.oci.reference import Reference

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Blob:
    """A compressed form of a layer, in the content store."""

    digest: str
    media_type: str = ""


@dataclass(frozen=True)
class Layer:
    """One layer that is here; shared by the images that name its diff ID. blobs: its compressed forms, which go with it."""

    diff_id: str
    size_bytes: int  # of the files in it
    blobs: tuple[Blob, ...] = ()


@dataclass(frozen=True)
class Image:
    """An image as of now."""

    id: str  # sha256:<hex>, the digest of the configuration
    config: ImageConfig
    config_bytes: bytes
    layers: tuple[Layer, ...]  # the bottom one first
    references: tuple[Reference, ...] = ()  # sorted as Docker shows them
    manifest: str | None = None  # digest of the manifest that it came with first, for who knows it by its ID; each name has its own: catalog.meaning
    parent: str = ""
    added_ns: int = 0
    last_tag_ns: int = 0
    hidden: bool = False

    def contents(self) -> Iterator[str]:
        """The digests that it stands on: configuration, manifest, layers (diff IDs) and their compressed forms."""
        yield self.id
        if self.manifest:
            yield self.manifest
        for layer in self.layers:
            yield layer.diff_id
            yield from (blob.digest for blob in layer.blobs)

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The layers' diff IDs, the bottom one first."""
        return tuple(layer.diff_id for layer in self.layers)

    @property
    def size(self) -> int:
        """Bytes of the files in all layers."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def tags(self) -> tuple[str, ...]:
        """`busybox:latest`, ..."""
        return tuple(str(name) for name in self.references if name.tag)

    @property
    def digests(self) -> tuple[str, ...]:
        """`app@sha256:...`, ..."""
        return tuple(str(name) for name in self.references if name.digest)

    @property
    def created(self) -> str:
        """When it was made, as its configuration says; "" where it does not."""
        return self.config.created or ""

    @property
    def created_ns(self) -> int:
        """The same in ns since the epoch; 0 where it is not known."""
        return timestamp_ns(self.config.created)

    @property
    def labels(self) -> dict[str, str]:
        """Its labels, never None."""
        return self.config.config.labels or {}


def timestamp_ns(text: str | None) -> int:
    """ns since the epoch of an RFC 3339 time; 0 for None and for what is none."""
    found = _RFC3339.fullmatch(text or "")
    if not found:
        return 0
    zone = "+00:00" if found[4] in "Zz" else found[4]
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}")
    except ValueError:
        return 0
    seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    return seconds * 1_000_000_000 + int((found[3] or "0")[:9].ljust(9, "0"))


def timestamp_text(ns: int) -> str:
    """RFC 3339 in UTC with as many decimals as it needs, as Go writes it; the zero time for 0."""
    if ns == 0:
        return "0001-01-01T00:00:00Z"
    seconds, rest = divmod(ns, 1_000_000_000)
    text = (datetime(1970, 1, 1, tzinfo=UTC)).fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    decimals = f".{rest:09}".rstrip("0") if rest else ""
    return f"{text}{decimals}Z"
