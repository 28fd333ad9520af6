"""What an archive's documents say: which images there are, with which configuration, layers and names. Pure.

Two formats, often both in one archive: `manifest.json` (docker save; it decides where it is there) and an OCI layout
(`index.json`, manifests, nested indexes). Sources: moby image/tarexport; OCI image-spec image-layout.md, image-index.md.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pier.archive.descriptors import Json, are_strings, digest_of, is_attestation, is_attestation_of, key_of_tag, kind, platform_of, tag_of
from pier.archive.image_archive import ABSENT, Blob, Contents, TakenLayer, promised_digest
from pier.archive.limits import DEFAULT, Limits
from pier.archive.refusal import BadArchive
from pier.oci.platform import Platform

WITHOUT = "without.json"  # Pier's own: the layers, by diff ID, that an archive names and does not hold
_LAYER_MEDIA = {
    "none": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}


@dataclass(frozen=True)
class ImageLayer:
    """A layer of an image: its blob, what its manifest calls it (or what it is), and its number among the layers read.

    number: ABSENT for one that the archive was written without, because its reader has it.
    """

    diff_id: str
    blob_digest: str
    blob_size: int
    media_type: str
    number: int


@dataclass(frozen=True)
class FoundImage:
    """One image of the archive; `manifest` is the OCI manifest's own text, None where the archive has none.

    index: the text of the index by which the tags mean it, for one platform among others; None where they mean it alone. The same image may
    be found several times, for several indexes. attestations: texts of the manifests that the index has about it, of which the archive has all.
    """

    config_digest: str
    config: str
    manifest: str | None
    tags: tuple[str, ...]
    layers: tuple[ImageLayer, ...]
    index: str | None = None
    attestations: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Named:
    """What an index says of a name: the manifests to take, the configurations of all that are in the archive, the index' own text."""

    manifests: list[str]
    configs: frozenset[str]
    index: str


class Documents:
    """Reads the documents of one archive.

    text_of: the bytes of a blob that was kept. platform: of an index, take the image for it; None: all that are whole in the archive.
    """

    def __init__(self, contents: Contents, text_of: Callable[[Blob], bytes], platform: Platform | None, limits: Limits = DEFAULT) -> None:
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
        manifests, named = self._manifests_by_config(), self._named_indexes()
        return [found for item in listed for found in self._with_platforms(self._docker_image(item, manifests), named)]

    def _with_platforms(self, image: FoundImage, named: dict[str, _Named]) -> list[FoundImage]:
        """An image of manifest.json, and beside it those for other platforms that index.json has under its tags.

        An index counts only if it names the image itself: the two documents must not mean different things.
        """
        found, left = [], []
        for tag in image.tags:
            by_index = named.get(key_of_tag(tag))
            if by_index and image.config_digest in by_index.configs:
                found += [self._oci_image(self._contents.by_digest[digest], [tag], by_index.index) for digest in by_index.manifests]
            else:
                left.append(tag)
        return [*([replace(image, tags=tuple(left))] if left or not found else []), *found]

    def _named_indexes(self) -> dict[str, _Named]:
        """The names that index.json gives to an index with something for the platform."""
        if not self._contents.find("index.json"):
            return {}
        found = {}
        for tag, group in self._by_tag().items():
            index = self._index_of(group) if tag else None
            if index:
                candidates = self._candidates(group[0], 0)
                chosen = self._fitting(candidates)
                if chosen:
                    found[key_of_tag(tag)] = _Named(chosen, frozenset(map(self._config_of, (digest for digest, _ in candidates))), index)
        return found

    def _docker_image(self, item: object, manifests: dict[str, tuple[str, list[Json]]]) -> FoundImage:
        here = "manifest.json"
        if not isinstance(item, dict):
            raise BadArchive(here, "an image in it is not an object")
        config_name, names, tags = item.get("Config"), item.get("Layers"), item.get("RepoTags") or []
        if not isinstance(config_name, str) or not config_name:
            raise BadArchive(here, "an image in it names no Config")
        if names is None:
            names = []
        if not are_strings(names) or not are_strings(tags):
            raise BadArchive(here, "Layers and RepoTags must be lists of names")
        config = self._named(here, config_name)
        blobs = [self._contents.find(name) or self._absent(name) or self._named(here, name) for name in names]
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
        by_manifest: dict[tuple[str, str | None], list[str]] = {}
        for tag, group in self._by_tag().items():
            candidates = [c for d in group for c in self._candidates(d, 0)]
            index = self._index_of(group) if tag else None
            for digest in self._chosen(tag, candidates):
                by_manifest.setdefault((digest, index), []).extend([tag] if tag else [])
        if len(by_manifest) > self._limits.images:
            raise BadArchive("index.json", f"more than {self._limits.images} images: the limit")
        return [self._oci_image(self._contents.by_digest[digest], tags, index) for (digest, index), tags in by_manifest.items()]

    def _by_tag(self) -> dict[str, list[Json]]:
        """The entries of index.json by their names, "" for those without."""
        groups: dict[str, list[Json]] = {}
        for descriptor in self._descriptors("index.json", self._read("index.json", self._contents.find("index.json"))):
            groups.setdefault(tag_of(descriptor) or "", []).append(descriptor)
        return groups

    def _index_of(self, group: list[Json]) -> str | None:
        """The text of the index that a name stands for, if it stands for one."""
        blob = self._contents.by_digest.get(digest_of("index.json", group[0])) if len(group) == 1 else None
        if blob is None:
            return None
        text, document = self._document(blob)
        return text if kind(blob.entry, group[0], document) == "index" else None

    def _candidates(self, descriptor: Json, depth: int) -> list[tuple[str, Platform | None]]:
        """(manifest digest, platform) of every image manifest of the archive below a descriptor; attestations are passed over."""
        if is_attestation(descriptor):
            return []
        blob = self._contents.by_digest.get(digest_of("index.json", descriptor))
        if blob is None:
            return []  # an index may name platforms that were not saved
        self._check_size(descriptor, blob)
        text, document = self._document(blob)
        del text
        if kind(blob.entry, descriptor, document) == "index":
            if depth >= self._limits.index_depth:
                raise BadArchive(blob.entry, f"indexes more than {self._limits.index_depth} deep: the limit")
            return [c for d in self._descriptors(blob.entry, document) for c in self._candidates(d, depth + 1)]
        return [(blob.digest, platform_of(descriptor) or self._config_platform(document))]

    def _chosen(self, tag: str, candidates: list[tuple[str, Platform | None]]) -> list[str]:
        digests = list(dict.fromkeys(digest for digest, _ in candidates))
        if len(digests) <= 1:
            return digests
        if fitting := self._fitting(candidates):
            platforms = {platform for _, platform in candidates}
            return digests if not tag and len(platforms) == 1 else fitting  # several images without a name, all for one platform
        offered = ", ".join(sorted({str(platform) for _, platform in candidates if platform}))
        raise BadArchive("index.json", f"no image {tag!r} for {self._platform}; there is: {offered or 'no platform named'}")

    def _fitting(self, candidates: list[tuple[str, Platform | None]]) -> list[str]:
        """Of manifests the one for the platform; without a platform all that are whole, at least the first."""
        digests = list(dict.fromkeys(digest for digest, _ in candidates))
        wanted = self._platform
        if wanted is None:
            return [digest for digest in digests if self._whole(digest)] or digests[:1]
        exact = [digest for digest, platform in candidates if platform == wanted]
        return (exact or [digest for digest, platform in candidates if platform and wanted.runs(platform)])[:1]

    def _whole(self, manifest_digest: str) -> bool:
        """Whether the archive has the configuration and all layers of a manifest."""
        _, manifest = self._document(self._contents.by_digest[manifest_digest])
        layers = manifest.get("layers")
        named = [manifest.get("config"), *(layers if isinstance(layers, list) else [None])]
        return all(isinstance(one, dict) and (one.get("digest") in self._contents.by_digest or one.get("digest") in self._without) for one in named)

    @cached_property
    def _without(self) -> frozenset[str]:
        """The layers, by diff ID, that the archive was written without (GET /images/get?without=)."""
        found = self._contents.find(WITHOUT)
        listed = self._read(WITHOUT, found) if found else []
        if not are_strings(listed):
            raise BadArchive(WITHOUT, "it is not a list of diff IDs")
        return frozenset(listed)

    def _absent(self, name: str) -> Blob | None:
        """A layer that the archive names by the digest of its tar and was written without."""
        digest = promised_digest(name)
        return Blob(name, digest, -1, "none", TakenLayer(ABSENT, digest, None, None)) if digest in self._without else None

    def _config_of(self, manifest_digest: str) -> str:
        config = self._document(self._contents.by_digest[manifest_digest])[1].get("config")
        return str(config.get("digest")) if isinstance(config, dict) else ""

    def _config_platform(self, manifest: Json) -> Platform | None:
        config = manifest.get("config")
        blob = self._contents.by_digest.get(str(config.get("digest"))) if isinstance(config, dict) else None
        if blob is None or not blob.stored:
            return None
        return platform_of({"platform": self._document(blob)[1]})

    def _oci_image(self, blob: Blob, tags: list[str], index: str | None) -> FoundImage:
        text, manifest = self._manifest(blob)
        config, layers = manifest.get("config"), manifest.get("layers")
        if not isinstance(config, dict) or not isinstance(layers, list) or not all(isinstance(d, dict) for d in layers):
            raise BadArchive(blob.entry, "a manifest has a config and a list of layers")
        here = self._contents.by_digest
        pairs = [
            ((digest_of(blob.entry, d) not in here and self._absent(_blob_name(d))) or self._described(blob.entry, d), str(d.get("mediaType") or ""))
            for d in layers
        ]
        about = self._attestations(index, blob.digest) if index else ()
        return replace(self._image(self._described(blob.entry, config), text, tags, pairs), index=index, attestations=about)

    def _attestations(self, index: str, manifest_digest: str) -> tuple[str, ...]:
        """What an index has about an image; what is not whole in the archive, or was too long to be kept, is left out."""
        found = []
        for descriptor in self._descriptors("index.json", json.loads(index)):
            blob = self._contents.by_digest.get(str(descriptor.get("digest")))
            if is_attestation_of(descriptor, manifest_digest) and blob and self._is_kept(blob):
                text, document = self._document(blob)
                layers = document.get("layers")
                named = [document.get("config"), *(layers if isinstance(layers, list) else [None])]
                parts = [self._contents.by_digest.get(str(one.get("digest"))) if isinstance(one, dict) else None for one in named]
                if all(part and self._is_kept(part) for part in parts):
                    found.append(text)
        return tuple(dict.fromkeys(found))

    def _is_kept(self, blob: Blob) -> bool:
        return blob.stored and blob.layer is None

    def _described(self, where: str, descriptor: Json) -> Blob:
        digest = digest_of(where, descriptor)
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
        if not are_strings(diff_ids):
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
        if kind(blob.entry, {}, document) != "manifest":
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
            if is_attestation(descriptor) or blob is None or not blob.stored:
                continue
            _, document = self._document(blob)
            if kind(blob.entry, descriptor, document) != "index":
                found.append(descriptor)
            elif depth < self._limits.index_depth:
                found += self._flat(blob.entry, document, depth + 1)
        return found

    def _descriptors(self, where: str, index: object) -> list[Json]:
        listed = index.get("manifests") if isinstance(index, dict) else None
        if not isinstance(listed, list) or not all(isinstance(d, dict) for d in listed) or len(listed) > self._limits.images:
            raise BadArchive(where, f"it has no list of at most {self._limits.images} manifests")
        return listed


def _blob_name(descriptor: Json) -> str:
    return "blobs/" + str(descriptor.get("digest")).replace(":", "/", 1)


def _parse(entry: str, data: bytes) -> tuple[str, Any]:
    try:
        text = data.decode("utf-8")
        return text, json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadArchive(entry, f"it is not JSON: {error}") from None
