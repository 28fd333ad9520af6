"""What an archive's documents say: which images there are, with which configuration, layers and names. Pure.

Two formats, often both in one archive: `manifest.json` (docker save; it decides where it is there) and an OCI layout
(`index.json`, manifests, nested indexes). Sources: moby image/tarexport; OCI image-spec image-layout.md, image-index.md.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pier.archive.image_archive import Blob, Contents
from pier.archive.limits import DEFAULT, Limits
from pier.archive.refusal import BadArchive
from pier.oci.platform import Platform, normalise

_DIGEST_PREFIX, _HEX = "sha256:", frozenset("0123456789abcdef")
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_LAYER_MEDIA = {
    "none": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}
_ATTESTATION = "vnd.docker.reference.type"
Json = dict[str, Any]


@dataclass(frozen=True)
class ImageLayer:
    """A layer of an image: its blob, what its manifest calls it (or what it is), and its number among the layers read."""

    diff_id: str
    blob_digest: str
    blob_size: int
    media_type: str
    number: int


@dataclass(frozen=True)
class FoundImage:
    """One image of the archive; `manifest` is the OCI manifest's own text, None where the archive has none."""

    config_digest: str
    config: str
    manifest: str | None
    tags: tuple[str, ...]
    layers: tuple[ImageLayer, ...]


class Documents:
    """Reads the documents of one archive; `text_of` gives the bytes of a blob that was kept."""

    def __init__(self, contents: Contents, text_of: Callable[[Blob], bytes], platform: Platform, limits: Limits = DEFAULT) -> None:
        self._contents, self._text_of, self._platform, self._limits = contents, text_of, platform, limits

    def images(self) -> list[FoundImage]:
        """All images of the archive. Raises BadArchive naming the entry."""
        if self._contents.find("manifest.json"):
            found = self._docker_images()
        elif self._contents.find("index.json"):
            found = self._oci_images()
        elif self._contents.find("repositories"):
            raise BadArchive("", "it is in the format of Docker before 1.10 (no manifest.json): load and save it with a newer docker first")
        else:
            raise BadArchive("", "it is not an image archive: it has neither manifest.json nor index.json (a root file system? then use import)")
        if not found:
            raise BadArchive("", "it holds no image")
        return found

    # docker save

    def _docker_images(self) -> list[FoundImage]:
        listed = self._read("manifest.json", self._contents.find("manifest.json"))
        if not isinstance(listed, list) or len(listed) > self._limits.images:
            raise BadArchive("manifest.json", f"it is not a list of at most {self._limits.images} images")
        manifests = self._manifests_by_config()
        return [self._docker_image(item, manifests) for item in listed]

    def _docker_image(self, item: object, manifests: dict[str, tuple[str, list[Json]]]) -> FoundImage:
        here = "manifest.json"
        if not isinstance(item, dict):
            raise BadArchive(here, "an image in it is not an object")
        config_name, names, tags = item.get("Config"), item.get("Layers"), item.get("RepoTags") or []
        if not isinstance(config_name, str) or not config_name:
            raise BadArchive(here, "an image in it names no Config")
        if names is None:
            names = []
        if not _strings(names) or not _strings(tags):
            raise BadArchive(here, "Layers and RepoTags must be lists of names")
        config = self._named(here, config_name)
        blobs = [self._named(here, name) for name in names]
        found = manifests.get(config.digest)
        text, described = found if found else (None, [])
        if len(described) != len(blobs) or any(d.get("digest") != b.digest for d, b in zip(described, blobs, strict=False)):
            text, described = None, []
        media = [str(d.get("mediaType") or "") for d in described] or [_LAYER_MEDIA[blob.media] for blob in blobs]
        return self._image(config, text, tags, list(zip(blobs, media, strict=True)))

    def _named(self, where: str, name: str) -> Blob:
        blob = self._contents.find(name)
        if blob is None:
            raise BadArchive(where, f"it names {name!r}, which is not in the archive")
        return blob

    def _manifests_by_config(self) -> dict[str, tuple[str, list[Json]]]:
        """The OCI manifests beside manifest.json, so that an image keeps its manifest and with it its digest."""
        found: dict[str, tuple[str, list[Json]]] = {}
        if not self._contents.find("index.json"):
            return found
        for descriptor in self._flat("index.json", self._read("index.json", self._contents.find("index.json")), 0):
            blob = self._contents.by_digest.get(str(descriptor.get("digest")))
            if blob is None or not blob.stored:
                continue
            text, manifest = self._manifest(blob)
            if isinstance(manifest.get("config"), dict):
                found.setdefault(str(manifest["config"].get("digest")), (text, [d for d in manifest.get("layers") or [] if isinstance(d, dict)]))
        return found

    # OCI layout

    def _oci_images(self) -> list[FoundImage]:
        index = self._read("index.json", self._contents.find("index.json"))
        groups: dict[str, list[Json]] = {}
        for descriptor in self._descriptors("index.json", index):
            groups.setdefault(_tag(descriptor) or "", []).append(descriptor)
        by_manifest: dict[str, list[str]] = {}
        for tag, group in groups.items():
            candidates = [c for d in group for c in self._candidates(d, 0)]
            for digest in self._chosen(tag, candidates):
                by_manifest.setdefault(digest, []).extend([tag] if tag else [])
        if len(by_manifest) > self._limits.images:
            raise BadArchive("index.json", f"more than {self._limits.images} images: the limit")
        return [self._oci_image(self._contents.by_digest[digest], tags) for digest, tags in by_manifest.items()]

    def _candidates(self, descriptor: Json, depth: int) -> list[tuple[str, Platform | None]]:
        """(manifest digest, platform) of every image manifest of the archive below a descriptor; attestations are passed over."""
        if _is_attestation(descriptor):
            return []
        blob = self._contents.by_digest.get(_digest("index.json", descriptor))
        if blob is None:
            return []  # an index may name platforms that were not saved
        self._check_size(descriptor, blob)
        text, document = self._document(blob)
        del text
        if _kind(blob.entry, descriptor, document) == "index":
            if depth >= self._limits.index_depth:
                raise BadArchive(blob.entry, f"indexes more than {self._limits.index_depth} deep: the limit")
            return [c for d in self._descriptors(blob.entry, document) for c in self._candidates(d, depth + 1)]
        return [(blob.digest, _platform(descriptor) or self._config_platform(document))]

    def _chosen(self, tag: str, candidates: list[tuple[str, Platform | None]]) -> list[str]:
        digests = list(dict.fromkeys(digest for digest, _ in candidates))
        if len(digests) <= 1:
            return digests
        fitting = [digest for digest, platform in candidates if platform and self._platform.runs(platform)]
        if fitting:
            exact = [digest for digest, platform in candidates if platform == self._platform]
            platforms = {platform for _, platform in candidates}
            if not tag and len(platforms) == 1:
                return digests  # several images without a name, all for one platform
            return [(exact or fitting)[0]]
        offered = ", ".join(sorted({str(platform) for _, platform in candidates if platform}))
        raise BadArchive("index.json", f"no image {tag!r} for {self._platform}; there is: {offered or 'no platform named'}")

    def _config_platform(self, manifest: Json) -> Platform | None:
        config = manifest.get("config")
        blob = self._contents.by_digest.get(str(config.get("digest"))) if isinstance(config, dict) else None
        if blob is None or not blob.stored:
            return None
        return _platform({"platform": self._document(blob)[1]})

    def _oci_image(self, blob: Blob, tags: list[str]) -> FoundImage:
        text, manifest = self._manifest(blob)
        config, layers = manifest.get("config"), manifest.get("layers")
        if not isinstance(config, dict) or not isinstance(layers, list) or not all(isinstance(d, dict) for d in layers):
            raise BadArchive(blob.entry, "a manifest has a config and a list of layers")
        pairs = [(self._described(blob.entry, d), str(d.get("mediaType") or "")) for d in layers]
        return self._image(self._described(blob.entry, config), text, tags, pairs)

    def _described(self, where: str, descriptor: Json) -> Blob:
        digest = _digest(where, descriptor)
        blob = self._contents.by_digest.get(digest)
        if blob is None:
            raise BadArchive(where, f"it names {digest}, which is not in the archive")
        self._check_size(descriptor, blob)
        return blob

    def _check_size(self, descriptor: Json, blob: Blob) -> None:
        size = descriptor.get("size")
        if size is not None and size != blob.size:
            raise BadArchive(blob.entry, f"it has {blob.size} bytes, its descriptor says {size}")

    # both

    def _image(self, config: Blob, manifest: str | None, tags: list[str], layers: list[tuple[Blob, str]]) -> FoundImage:
        text, document = self._document(config)
        rootfs = document.get("rootfs")
        diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        diff_ids = [] if diff_ids is None and isinstance(rootfs, dict) else diff_ids
        if not _strings(diff_ids):
            raise BadArchive(config.entry, "it is not an image configuration: it has no rootfs.diff_ids")
        assert isinstance(diff_ids, list)
        if len(diff_ids) != len(layers):
            raise BadArchive(config.entry, f"it names {len(diff_ids)} layers, the manifest {len(layers)}")
        if len(layers) > self._limits.layers:
            raise BadArchive(config.entry, f"{len(layers)} layers: the limit is {self._limits.layers}")
        found = []
        for (blob, media), diff_id in zip(layers, diff_ids, strict=True):
            if blob.layer is None:
                raise BadArchive(blob.entry, "it is not a layer: neither a tar nor a tar compressed with gzip or zstd")
            if blob.layer.refusal:
                raise blob.layer.refusal
            if blob.layer.diff_id != diff_id:
                raise BadArchive(blob.entry, f"its diff ID is {blob.layer.diff_id}, the configuration says {diff_id}")
            found.append(ImageLayer(diff_id, blob.digest, blob.size, media or _LAYER_MEDIA[blob.media], blob.layer.number))
        return FoundImage(config.digest, text, manifest, tuple(dict.fromkeys(tags)), tuple(found))

    def _manifest(self, blob: Blob) -> tuple[str, Json]:
        text, document = self._document(blob)
        if _kind(blob.entry, {}, document) != "manifest":
            raise BadArchive(blob.entry, "it is not an image manifest")
        return text, document

    def _document(self, blob: Blob) -> tuple[str, Json]:
        if not blob.stored or blob.layer is not None:
            raise BadArchive(blob.entry, f"it is not a JSON document of at most {self._limits.document_bytes} bytes")
        text, document = _parse(blob.entry, self._text_of(blob))
        if not isinstance(document, dict):
            raise BadArchive(blob.entry, "it is not a JSON object")
        return text, document

    def _read(self, name: str, blob: Blob | None) -> Any:
        assert blob is not None
        if not blob.stored or blob.layer is not None:
            raise BadArchive(name, f"it is not a JSON document of at most {self._limits.document_bytes} bytes")
        return _parse(name, self._text_of(blob))[1]

    def _flat(self, where: str, index: object, depth: int) -> list[Json]:
        found = []
        for descriptor in self._descriptors(where, index):
            blob = self._contents.by_digest.get(str(descriptor.get("digest")))
            if _is_attestation(descriptor) or blob is None or not blob.stored:
                continue
            _, document = self._document(blob)
            if _kind(blob.entry, descriptor, document) != "index":
                found.append(descriptor)
            elif depth < self._limits.index_depth:
                found += self._flat(blob.entry, document, depth + 1)
        return found

    def _descriptors(self, where: str, index: object) -> list[Json]:
        listed = index.get("manifests") if isinstance(index, dict) else None
        if not isinstance(listed, list) or not all(isinstance(d, dict) for d in listed) or len(listed) > self._limits.images:
            raise BadArchive(where, f"it has no list of at most {self._limits.images} manifests")
        return listed


def _parse(entry: str, data: bytes) -> tuple[str, Any]:
    try:
        text = data.decode("utf-8")
        return text, json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadArchive(entry, f"it is not JSON: {error}") from None


def _kind(entry: str, descriptor: Json, document: Json) -> str:
    """"manifest" or "index"; a document that could be both, or is not what its media type says, is refused (CVE-2021-41190)."""
    as_index, as_manifest = "manifests" in document, "config" in document or "layers" in document
    if as_index == as_manifest or "fsLayers" in document:
        raise BadArchive(entry, "it is neither an image manifest nor an index" if not as_index else "it is a manifest and an index at once")
    for media in (descriptor.get("mediaType"), document.get("mediaType")):
        if (media in _INDEXES and as_manifest) or (media in _MANIFESTS and as_index):
            raise BadArchive(entry, f"its media type {media} is not what it is")
    return "index" if as_index else "manifest"


def _digest(where: str, descriptor: Json) -> str:
    digest = descriptor.get("digest")
    if not isinstance(digest, str) or len(digest) != 71 or not digest.startswith(_DIGEST_PREFIX) or not _HEX.issuperset(digest[7:]):
        raise BadArchive(where, f"a descriptor's digest is {digest!r}: sha256 and 64 hexadecimal digits are supported")
    return digest


def _tag(descriptor: Json) -> str | None:
    """The full name of an image in an index: containerd's annotation, or the OCI one where it is more than a bare tag."""
    annotations = descriptor.get("annotations")
    if not isinstance(annotations, dict):
        return None
    full, short = annotations.get("io.containerd.image.name"), annotations.get("org.opencontainers.image.ref.name")
    if isinstance(full, str) and full:
        return full
    return short if isinstance(short, str) and (":" in short or "/" in short) else None


def _is_attestation(descriptor: Json) -> bool:
    annotations, platform = descriptor.get("annotations"), descriptor.get("platform")
    if isinstance(annotations, dict) and annotations.get(_ATTESTATION):
        return True
    return isinstance(platform, dict) and platform.get("os") == "unknown" and platform.get("architecture") == "unknown"


def _platform(descriptor: Json) -> Platform | None:
    given = descriptor.get("platform")
    if not isinstance(given, dict) or not isinstance(given.get("os"), str) or not isinstance(given.get("architecture"), str):
        return None
    variant = given.get("variant")
    return normalise(given["os"], given["architecture"], variant if isinstance(variant, str) else "")


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
