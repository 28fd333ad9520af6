"""Images as a registry has them: a manifest, its configuration and compressed layers, and indexes of several; right ones and wrong ones.

made = image([layer({"hello": b"world"})])          # tests.harness.images.layer
both = index([(made, "linux/amd64"), (other, "linux/arm64/v8")])
registry.add("app", made, "latest"); registry.add("app", both, "all")
"""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from backports import zstd

from . import images

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Document:
    """A manifest or an index: its bytes, their media type, the blobs it needs, and the manifests that it names."""

    data: bytes
    media_type: str
    blobs: tuple[bytes, ...] = ()
    manifests: "tuple[Document, ...]" = ()
    image_id: str = ""  # digest of the configuration, "" for an index

    @property
    def digest(self) -> str:
        return digest_of(self.data)

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def layers(self) -> list[str]:
        """The digests of the layers' blobs."""
        return [layer["digest"] for layer in self.json.get("layers", [])]

    def descriptor(self, **more: Any) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}

    def changed(self, **fields: Any) -> "Document":
        """The same with other fields (None: without the field): what a hostile registry would say."""
        document = {key: value for key, value in (self.json | fields).items() if value is not None}
        return Document(json.dumps(document).encode(), str(document.get("mediaType", self.media_type)), self.blobs, self.manifests, self.image_id)


def compressed(tar: bytes, kind: str) -> bytes:
    """A layer as it is sent: kind is gzip, zstd or none; always the same bytes."""
    if kind == "zstd":
        return bytes(zstd.compress(tar, 3))
    return gzip.compress(tar, 6, mtime=0) if kind == "gzip" else tar


def image(
    layers: Sequence[bytes],
    config: Mapping[str, Any] | None = None,
    *,
    compression: str = "gzip",
    docker: bool = False,
    platform: str = "",
    annotations: Mapping[str, str] | None = None,
    subject: Document | None = None,
    artifact_type: str = "",
) -> Document:
    """An image of these layers (tar bytes), of this machine's platform unless `platform` ("linux/arm64/v8") says another."""
    system, _, rest = (platform or f"linux/{architecture()}").partition("/")
    machine, _, variant = rest.partition("/")
    document = {
        "architecture": machine,
        "os": system,
        "created": "2026-01-02T03:04:05Z",
        "config": {"Cmd": ["sh"], "Env": [PATH], **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        "history": [{"created": "2026-01-02T03:04:05Z", "created_by": f"ADD layer {n} in /"} for n in range(len(layers))],
    }
    if variant:
        document["variant"] = variant
    config_blob = json.dumps(document, sort_keys=True).encode()
    blobs = [compressed(layer, compression) for layer in layers]
    suffix = {"gzip": ".gzip" if docker else "+gzip", "zstd": "+zstd", "none": ""}[compression]
    layer_type = (DOCKER_LAYER if docker else OCI_LAYER) + suffix
    config_type = DOCKER_CONFIG if docker else OCI_CONFIG
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": {"mediaType": config_type, "digest": digest_of(config_blob), "size": len(config_blob)},
        "layers": [{"mediaType": layer_type, "digest": digest_of(blob), "size": len(blob)} for blob in blobs],
    }
    if artifact_type:
        manifest["artifactType"] = artifact_type
    if annotations:
        manifest["annotations"] = dict(annotations)
    if subject:
        manifest["subject"] = subject.descriptor()
    data = json.dumps(manifest, indent=2).encode()
    return Document(data, manifest["mediaType"], (config_blob, *blobs), image_id=digest_of(config_blob))


def attestation(*statements: bytes) -> Document:
    """What a build says of an image: a manifest whose layers are in-toto statements."""
    config = json.dumps({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    layers = [{"mediaType": "application/vnd.in-toto+json", "digest": digest_of(one), "size": len(one)} for one in statements]
    described = {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)}
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described, "layers": layers}
    return Document(json.dumps(manifest, indent=2).encode(), OCI_MANIFEST, (config, *statements))


def index(
    members: Sequence[tuple[Document, str]],
    *,
    docker: bool = False,
    annotations: Mapping[str, str] | None = None,
    about: Sequence[tuple[Document, Document]] = (),
) -> Document:
    """An index of images and their platforms ("linux/arm/v7"). about: (attestation, the image that it is about)."""
    entries = []
    for member, platform in members:
        system, _, rest = platform.partition("/")
        machine, _, variant = rest.partition("/")
        said = {"architecture": machine, "os": system} | ({"variant": variant} if variant else {})
        entries.append(member.descriptor(platform=said))
    for statement, subject in about:
        notes = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": subject.digest}
        entries.append(statement.descriptor(platform={"architecture": "unknown", "os": "unknown"}, annotations=notes))
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": DOCKER_LIST if docker else OCI_INDEX, "manifests": entries}
    if annotations:
        document["annotations"] = dict(annotations)
    named = tuple(member for member, _ in (*members, *about))
    return Document(json.dumps(document, indent=2).encode(), document["mediaType"], manifests=named)


@cache
def busybox(**options: Any) -> Document:
    """The busybox image of tests.harness.images."""
    return image([images.busybox_layer()], **options)


def small(name: str = "hello", layers: int = 1, size: int = 1000, **options: Any) -> Document:
    """An image of `layers` layers with a file of `size` bytes each, others for another name; nothing runs in it."""
    return image([images.layer({f"{name}/{n}": _noise(f"{name}.{n}", size)}) for n in range(layers)], **options)


def _noise(seed: str, size: int) -> bytes:
    """Bytes that compress badly, the same for the same seed."""
    return hashlib.shake_256(seed.encode()).digest(size)


@cache
def architecture() -> str:
    return "amd64" if images.busybox_is_amd64() else "arm64"


@dataclass
class Tree:
    """All documents and blobs that a document needs, leaves first: the order in which they are pushed."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Document) -> "Tree":
        tree = cls()
        tree._add(document)
        return tree

    def _add(self, document: Document) -> None:
        for blob in document.blobs:
            self.blobs[digest_of(blob)] = blob
        for member in document.manifests:
            self._add(member)
        self.documents[document.digest] = document
