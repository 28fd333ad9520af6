"""What a pull is to do, decided on values: which name is meant, which manifest of an index fits, whether it is an image, which layers it has. Pure.

Sources: OCI image-spec manifest.md, image-index.md; the words of errors that clients match on are Docker's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pier.archive.limits import DEFAULT as LIMITS
from pier.errors import Forbidden, Invalid, NotFound
from pier.images.sources import LayerSource
from pier.oci import digest as digests
from pier.oci import image_config
from pier.oci import platform as platforms
from pier.oci.descriptor import (
    DOCKER_CONFIG,
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    Descriptor,
    PlatformFields,
)
from pier.oci.image_config import ImageConfig
from pier.oci.manifest import Index, Manifest, is_attestation
from pier.oci.platform import Platform
from pier.oci.reference import Reference, parse
from pier.registry.errors import clean

MAX_DEPTH = 4  # indexes within indexes
MAX_INDEXES = 32  # that are fetched to find one image
_NON_DISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
LAYER_TYPES = frozenset({
    OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, _NON_DISTRIBUTABLE, _NON_DISTRIBUTABLE + "+gzip", _NON_DISTRIBUTABLE + "+zstd",
    DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_LAYER + ".zstd", DOCKER_LAYER + "+zstd", DOCKER_FOREIGN_LAYER,
})  # fmt: skip
# What registries and tools of old said of a configuration, as Docker takes it.
CONFIG_TYPES = frozenset({OCI_CONFIG, DOCKER_CONFIG, "application/octet-stream", "application/json", "text/html", ""})
# What a machine runs beside its own kind, the best first, as containerd has it.
_BESIDE = {"amd64": (Platform("linux", "386"),), "arm64": tuple(Platform("linux", "arm", variant) for variant in ("v8", "v7", "v6", "v5"))}


@dataclass(frozen=True)
class Asked:
    """What a request wants: one reference, or every tag of its repository."""

    reference: Reference
    every_tag: bool = False


@dataclass(frozen=True)
class Step:
    """One layer of the image: what its tar must be, and the blob that has it."""

    diff_id: str
    blob: Descriptor


def asked(image: str, tag: str) -> Asked:
    """What `fromImage` and `tag` mean: a digest in the name wins, then `tag` (a tag or a digest), then the name's own; without any it is all tags.

    Raises Invalid, and Forbidden for `scratch`.
    """
    name = parse(image)
    if name.familiar_name == "scratch":
        raise Forbidden("'scratch' is a reserved name")
    if tag and not name.digest:
        name = replace(name.bare(), digest=digests.check(tag)) if _is_digest(tag) else name.with_tag(tag)
    return Asked(name, every_tag=not (name.tag or name.digest))


def _is_digest(text: str) -> bool:
    try:
        digests.check(text)
    except Invalid:
        return False
    return True


def candidates(index: Index, wanted: Platform) -> list[Descriptor]:
    """The entries of an index to look at for a platform, the best first: manifests that fit, then indexes and manifests that do not say.

    Statements about images (attestations) and what is for other machines are left out.
    """
    fitting: list[tuple[int, int, Descriptor]] = []
    unknown = []
    for number, entry in enumerate(index.manifests):
        if is_attestation(entry) or entry.media_type not in (INDEX_TYPES | MANIFEST_TYPES):
            continue
        platform = platform_of(entry.platform)
        if platform is None:
            unknown.append(entry)
        elif (fit := _fit(wanted, platform)) >= 0:
            fitting.append((-fit, number, entry))
    return [entry for _, _, entry in sorted(fitting, key=lambda found: found[:2])] + unknown


def _fit(wanted: Platform, platform: Platform) -> int:
    """How well a machine runs it: -1 not at all; its own kind always before another."""
    own = wanted.closeness(platform)
    if own >= 0:
        return 1000 + own
    beside = _BESIDE.get(wanted.architecture, ()) if wanted.os == "linux" else ()
    return max((100 - number for number, other in enumerate(beside) if other.closeness(platform) >= 0), default=-1)


def platform_of(fields: PlatformFields | None) -> Platform | None:
    """What an entry of an index says it is for; None where it does not."""
    if fields is None or not fields.os or not fields.architecture:
        return None
    return platforms.normalise(fields.os, fields.architecture, fields.variant or "")


def no_match(index: Index, wanted: Platform) -> NotFound:
    """The error for an index that has nothing for a platform, in Docker's words and with what it has."""
    there = dict.fromkeys(str(platform) for entry in index.manifests if (platform := platform_of(entry.platform)) and not is_attestation(entry))
    text = f"no matching manifest for {wanted} in the manifest list entries"
    return NotFound(f"{text}: there is {clean(', '.join(there))}" if there else text)


def check_image(manifest: Manifest) -> None:
    """Raises Invalid for what is no image, or one that cannot be: the first thing that is wrong is named."""
    if manifest.config.media_type not in CONFIG_TYPES:
        kind = clean(manifest.config.media_type)
        known = f" ({clean(manifest.artifact_type)})" if manifest.artifact_type else ""
        raise Invalid(f"it is an artifact{known} and no image: unsupported media type {kind}")
    for descriptor in (manifest.config, *manifest.layers):
        if not digests.is_sha256(descriptor.digest):
            raise Invalid(f"{descriptor.digest}: only sha256 digests are supported")
    if manifest.config.size > image_config.MAX_CONFIG_BYTES:
        raise Invalid(f"its configuration has {manifest.config.size} bytes: the limit is {image_config.MAX_CONFIG_BYTES}")
    for layer in manifest.layers:
        if layer.media_type not in LAYER_TYPES:
            raise Invalid(f"layer {layer.digest}: unsupported media type {clean(layer.media_type)}")
        if not 0 < layer.size <= LIMITS.total_bytes:
            raise Invalid(f"layer {layer.digest}: a size of {layer.size} bytes: there are layers of 1 to {LIMITS.total_bytes}")
    sizes: dict[str, int] = {}
    for layer in manifest.layers:
        if sizes.setdefault(layer.digest, layer.size) != layer.size:
            raise Invalid(f"layer {layer.digest}: it is named twice, with {sizes[layer.digest]} bytes and with {layer.size}")


def steps(manifest: Manifest, config: ImageConfig) -> tuple[Step, ...]:
    """The layers, the bottom one first. Raises Invalid where manifest and configuration do not belong together."""
    if config.os not in ("linux", ""):
        raise Invalid(f'image operating system "{clean(config.os)}" cannot be used on this platform: operating system is not supported')
    if len(config.diff_ids) != len(manifest.layers):
        there = f"the manifest has {len(manifest.layers)}, the configuration {len(config.diff_ids)}"
        raise Invalid(f"layers from manifest don't match image configuration: {there}")
    return tuple(Step(diff_id, layer) for diff_id, layer in zip(config.diff_ids, manifest.layers, strict=True))


def check_layer(step: Step, diff_id: str) -> None:
    """Raises Invalid where the layer that came is not the one that the configuration has at this place."""
    if step.diff_id != diff_id:
        why = f"the tar of {step.blob.digest} is {diff_id}, the configuration says {step.diff_id}"
        raise Invalid(f"layers from manifest don't match image configuration: {why}")


def sources(found: Sequence[Step], reference: Reference) -> tuple[LayerSource, ...]:
    """Where the layers were seen."""
    return tuple(LayerSource(step.diff_id, step.blob.digest, step.blob.size, step.blob.media_type, reference.repository) for step in found)
