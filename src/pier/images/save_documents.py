"""The documents of an image archive: index.json, manifest.json, repositories, oci-layout and the manifests. Pure.

Key order, and what is left out where it is empty, are those of Docker 28.5.
"""

from collections.abc import Collection, Sequence

import msgspec

from pier.archive.image_documents import WITHOUT
from pier.errors import Invalid
from pier.images.image import Image
from pier.oci import digest as digests
from pier.oci import manifest as manifests
from pier.oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from pier.oci.reference import Reference

BLOBS = "blobs/sha256/"
_encode = msgspec.json.encode
Json = dict[str, object]
Wanted = Sequence[tuple[Reference | None, tuple[Image, ...]]]


def blob_path(digest: str) -> str:
    """Where a blob stands in the archive."""
    return BLOBS + digests.hex_part(digest)


def fitting(data: bytes, image: Image) -> bytes | None:
    """A manifest, where it names the image's layers as the uncompressed tars that an archive has; else None."""
    try:
        document = manifests.parse(data)
    except Invalid:
        return None
    if not isinstance(document, manifests.Manifest) or document.config.digest != image.id:
        return None
    return data if tuple(layer.digest for layer in document.layers) == image.diff_ids else None


def write(wanted: Wanted, sizes: dict[str, int], own: dict[str, bytes], without: Collection[str] = ()) -> dict[str, bytes]:
    """All documents by their path in the archive.

    wanted: names (None for what is saved by its ID) and the images that each means, the one for readers of docker-archives first.
    sizes: of the layers' tars by diff ID. own: manifests that are kept, by image ID. without: layers that the archive does not hold.
    """
    blobs: dict[str, bytes] = {}
    described: dict[str, Json] = {}
    for _, images in wanted:
        for image in images:
            data = own.get(image.id) or _manifest(image, sizes)
            blobs[blob_path(digests.of(data))] = data
            described[image.id] = _described(manifests.media_type_of(manifests.parse(data)), data)
    entries = [_entry(name, images, described, blobs) for name, images in wanted]
    files = {**blobs, "index.json": _encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})}
    files["manifest.json"] = _encode(_docker_manifest(wanted, sizes)) + b"\n"
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    if left_out := sorted(set(without).intersection(sizes)):
        files[WITHOUT] = _encode(left_out)
    if repositories := _repositories(wanted):
        files["repositories"] = _encode(repositories) + b"\n"
    return files


def _manifest(image: Image, sizes: dict[str, int]) -> bytes:
    config = {"mediaType": OCI_CONFIG, "digest": image.id, "size": len(image.config_bytes)}
    layers = [_layer(diff_id, sizes) for diff_id in image.diff_ids]
    return _encode({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers})


def _layer(diff_id: str, sizes: dict[str, int]) -> Json:
    return {"mediaType": OCI_LAYER, "digest": diff_id, "size": sizes[diff_id]}


def _described(media_type: str, data: bytes) -> Json:
    return {"mediaType": media_type, "digest": digests.of(data), "size": len(data)}


def _entry(name: Reference | None, images: tuple[Image, ...], described: dict[str, Json], blobs: dict[str, bytes]) -> Json:
    """What index.json says of a name: a manifest, or an index of one for each platform."""
    if len(images) == 1:
        entry = dict(described[images[0].id])
    else:
        platforms = [{**described[image.id], "platform": _platform(image)} for image in images]
        index = _encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": platforms})
        blobs[blob_path(digests.of(index))] = index
        entry = _described(OCI_INDEX, index)
    if name:
        entry["annotations"] = {"io.containerd.image.name": f"{name.domain or 'docker.io'}/{name.path}:{name.tag}",
                                "org.opencontainers.image.ref.name": name.tag}  # fmt: skip
    return entry


def _platform(image: Image) -> Json:
    own = image.config.platform
    return {"architecture": own.architecture, "os": own.os, **({"variant": own.variant} if own.variant else {})}


def _docker_manifest(wanted: Wanted, sizes: dict[str, int]) -> list[Json]:
    """An item for each image that a name means first; such a reader knows names of one image only."""
    tags: dict[str, list[str]] = {}
    first = {}
    for name, images in wanted:
        first[images[0].id] = images[0]
        tags.setdefault(images[0].id, []).extend([str(name)] if name else [])
    return [
        {
            "Config": blob_path(image.id),
            "RepoTags": tags[image.id] or None,
            "Layers": [blob_path(diff_id) for diff_id in image.diff_ids],
            "LayerSources": {diff_id: _layer(diff_id, sizes) for diff_id in sorted(image.diff_ids)},
        }
        for image in first.values()
    ]


def _repositories(wanted: Wanted) -> dict[str, dict[str, str]]:
    """Each name's tags and the top layer of the image."""
    found: dict[str, dict[str, str]] = {}
    for name, images in wanted:
        if name and name.tag and images[0].diff_ids:
            found.setdefault(name.familiar_name, {})[name.tag] = digests.hex_part(images[0].diff_ids[-1])
    return {repository: dict(sorted(found[repository].items())) for repository in sorted(found)}
